"""A language model of no mind, over real HTTP: it speaks the part of vLLM's API that Feedloop uses, obeys `structured_outputs.choice` and the JSON
schema, and picks the first option. An adapter makes it pick another: the one whose number stands in the first cell of the adapter's lora_A weights.
So weights, names and loading have an effect that tests can see; the real engine is in tests/e2e.
"""

import asyncio
import json
import math
from pathlib import Path
from typing import Any

from aiohttp import web
from safetensors.numpy import load_file

SURE = 0.9  # the probability it gives its choice


class Engine:
    """Requests whose prompt holds the text `hold` wait until it is emptied. `said` is (model, prompt) of each answer, `loads` what came and went."""

    def __init__(self) -> None:
        self.adapters: dict[str, int] = {}
        self.said: list[tuple[str, str]] = []
        self.loads: list[str] = []
        self.hold = ""
        self.waiting = 0
        self.deaf_to_adapters = False  # answers as the base weights do under any name

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/models", self.models),
            web.post("/v1/load_lora_adapter", self.load),
            web.post("/v1/unload_lora_adapter", self.unload),
            web.post("/v1/chat/completions", self.chat),
        ]

    def restart(self) -> None:
        """As after a crash: adapters loaded at run time are gone."""
        self.adapters.clear()

    async def models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": name} for name in ("base", *self.adapters)]})

    async def load(self, request: web.Request) -> web.Response:
        asked = await request.json()
        name, folder = asked["lora_name"], Path(asked["lora_path"])
        if name in self.adapters:
            return _error(400, f"The lora adapter '{name}' has already been loaded.")
        weights = load_file(folder / "adapter_model.safetensors")
        self.adapters[name] = int(next(weight for key, weight in weights.items() if "lora_A" in key)[0, 0])
        self.loads.append(f"+{name}")
        return web.Response(text=f"Success: LoRA adapter '{name}' added successfully.")

    async def unload(self, request: web.Request) -> web.Response:
        name = (await request.json())["lora_name"]
        if self.adapters.pop(name, None) is None:
            return _error(404, f"The lora adapter '{name}' cannot be found.")
        self.loads.append(f"-{name}")
        return web.Response(text=f"Success: LoRA adapter '{name}' removed successfully.")

    async def chat(self, request: web.Request) -> web.Response:
        asked = await request.json()
        name = asked["model"]
        prompt = asked["messages"][-1]["content"]
        self.waiting += 1
        while self.hold and self.hold in prompt:
            await asyncio.sleep(0.005)
        self.waiting -= 1
        if name != "base" and name not in self.adapters:
            return _error(404, f"The model `{name}` does not exist.")
        self.said.append((name, prompt))
        pick = 0 if name == "base" or self.deaf_to_adapters else self.adapters[name]
        if "structured_outputs" in asked:
            options = asked["structured_outputs"]["choice"]
            text = options[pick % len(options)]
        elif "response_format" in asked:
            text = json.dumps(_first(asked["response_format"]["json_schema"]["schema"]), separators=(",", ":"), ensure_ascii=False)
        else:
            text = "The first sentence."
        logprobs = {"content": [{"token": text, "logprob": math.log(SURE)}, {"token": "<|end|>", "logprob": 0.0}]} if asked.get("logprobs") else None
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop", "logprobs": logprobs}
        return web.json_response({"object": "chat.completion", "model": name, "choices": [choice]})


def _first(schema: dict[str, Any]) -> Any:
    """The first and shortest value that a schema of ours lets through."""
    if schema["type"] == "object":
        return {name: _first(rule) for name, rule in schema["properties"].items()}
    if schema["type"] == "array":
        return [schema["items"]["enum"][n] for n in range(min(max(1, schema.get("minItems", 0)), schema["maxItems"]))]
    return schema["enum"][0] if "enum" in schema else "x" * schema.get("minLength", 0)


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"message": message, "type": "NotFoundError", "code": status}}, status=status)
