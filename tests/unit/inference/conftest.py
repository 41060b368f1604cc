"""A small real HTTP server that speaks as vLLM does, and what is asked of it."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from services.inference.adapters import Adapters
from services.inference.engine import Engine
from services.inference.enrich import Enricher
from shared.events import DocumentIngested, SourceRef

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
TOO_LONG = "This model's maximum context length is 1024 tokens. However, your request has 2000 input tokens."


class FakeEngine:
    """Answers a choice with its first option (`base`) or what `answers` holds for an adapter; JSON with the first value of each enum."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.loaded: dict[str, str] = {}
        self.answers: dict[str, str] = {}  # model -> the label it gives, where it is among the options
        self.longest = 10_000  # characters of a prompt that fit
        self.instead: web.Response | None = None  # answered in place of everything
        self.cut_off = False
        self.hook: Callable[[web.Request], Awaitable[web.Response]] | None = None  # asked in place of `chat`
        self.calls: list[str] = []

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self.chat)
        app.router.add_get("/v1/models", self.models)
        app.router.add_post("/v1/load_lora_adapter", self.load)
        app.router.add_post("/v1/unload_lora_adapter", self.unload)
        return app

    def restart(self) -> None:
        self.loaded.clear()

    def _instead(self) -> web.Response | None:
        return web.Response(status=self.instead.status, text=self.instead.text, content_type=self.instead.content_type) if self.instead else None

    async def models(self, _: web.Request) -> web.Response:
        return self._instead() or web.json_response({"data": [{"id": name} for name in ("base", *self.loaded)]})

    async def load(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.calls.append(f"load {body['lora_name']}")
        if body["lora_name"] in self.loaded:
            return web.json_response({"error": {"message": f"The lora adapter '{body['lora_name']}' has already been loaded."}}, status=400)
        self.loaded[body["lora_name"]] = body["lora_path"]
        return self._instead() or web.Response(text="Success: LoRA adapter added successfully.")

    async def unload(self, request: web.Request) -> web.Response:
        name = (await request.json())["lora_name"]
        self.calls.append(f"unload {name}")
        if self.loaded.pop(name, None) is None:
            return web.json_response({"error": {"message": f"The lora adapter '{name}' cannot be found."}}, status=404)
        return web.Response(text="Success")

    async def chat(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.asked.append(body)
        if self.hook:
            return await self.hook(request)
        if instead := self._instead():
            return instead
        if body["model"] not in ("base", *self.loaded):
            return web.json_response({"error": {"message": f"The model `{body['model']}` does not exist."}}, status=404)
        if sum(len(m["content"]) for m in body["messages"]) > self.longest:
            return web.json_response({"error": {"message": TOO_LONG}}, status=400)
        logprobs = None
        if options := body.get("structured_outputs", {}).get("choice"):
            wish = self.answers.get(body["model"], "")
            text = wish if wish in options else options[0]
            half = len(text) // 2
            tokens = [(text[:half], -0.1), (text[half:], -0.2), ("<|end|>", -9.0)]
            logprobs = {"content": [{"token": t, "logprob": p, "top_logprobs": [{"token": t, "logprob": p}]} for t, p in tokens]}
        elif schema := body.get("response_format"):
            properties = schema["json_schema"]["schema"]["properties"]
            text = json.dumps({name: self._first(shape) for name, shape in properties.items()})
        else:
            text = "hello"
        reason = "length" if self.cut_off else "stop"
        return web.json_response({"model": body["model"], "choices": [{"message": {"content": text}, "finish_reason": reason, "logprobs": logprobs}]})

    def _first(self, shape: dict[str, Any]) -> Any:
        if shape.get("type") == "array":
            return shape["items"]["enum"][:1] if shape["maxItems"] else []
        return shape["enum"][0]


@pytest.fixture
async def fake() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
async def server(fake: FakeEngine) -> AsyncIterator[str]:
    running = TestServer(fake.app())
    await running.start_server()
    yield str(running.make_url("")).rstrip("/")
    await running.close()


@pytest.fixture
async def engine(server: str) -> AsyncIterator[Engine]:
    made = Engine(server, timeout_s=5)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
def enricher(engine: Engine) -> Enricher:
    return Enricher(engine, lambda: NOON, "tiny-base")


@pytest.fixture
def adapters(engine: Engine, enricher: Enricher) -> Adapters:
    return Adapters(engine, enricher, None, base_name="base", base="tiny-base", replica="inference-0", clock=lambda: NOON)  # type: ignore[arg-type]


class Bus:
    async def ping(self) -> str:
        return ""


@pytest.fixture
def quiet_bus() -> Bus:
    """For a Service whose routes alone are asked."""
    return Bus()


@pytest.fixture
def document() -> Callable[..., DocumentIngested]:
    """document(text): an ingested item."""

    def make(text: str = "The bank held its rate at four percent. Governor Edda Rask spoke in Northmark on Tuesday.") -> DocumentIngested:
        source = SourceRef(id="s", kind="feed")
        return DocumentIngested(id="d1", version="v1", source=source, title="Rates stay", text=text, published_at=NOON, received_at=NOON, story="st")

    return make
