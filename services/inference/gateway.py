"""The narrow OpenAI-compatible door to the engine: chat completions only, known fields only, and the model is always an alias of ours."""

from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.inference.adapters import Adapters
from services.inference.engine import Engine
from shared.bodies import LARGE, bounded
from shared.service import Json

ALIAS = "live"
FIELDS = frozenset(
    "messages temperature max_tokens max_completion_tokens top_p stop response_format structured_outputs logprobs top_logprobs user".split()
)
CONSTRAINTS = frozenset(("choice", "json"))  # a grammar or pattern of a caller's could keep the engine busy for ever


class Gateway:
    """Interactive generation for the other services. Refused is what ends the engine for everybody: prompt_logprobs, with LoRA (docs/decisions/0002),
    and seed, on a CPU (vLLM 0.32: "CPU Generator does not use offset")."""

    def __init__(self, engine: Engine, adapters: Adapters) -> None:
        self.engine, self.adapters = engine, adapters

    def routes(self) -> list[Route]:
        return [
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
            Route("/v1/models", self.models),
            Route("/api/adapters", self.state),
        ]

    async def chat(self, request: Request) -> Response:
        """As OpenAI's, for the model `live`; the answer's `model` names the adapter that spoke."""
        try:
            body: dict[str, Any] = orjson.loads(await bounded(request, LARGE, "a request"))
        except ValueError as error:
            raise HTTPException(400, "the body is not JSON") from error
        if not isinstance(body, dict) or not isinstance(body.get("messages"), list):
            raise HTTPException(422, "messages: a list of {role, content} is needed")
        if (model := body.pop("model", ALIAS)) != ALIAS:
            raise HTTPException(404, f"no model {str(model)[:60]!r} here; the only one is {ALIAS!r}")
        if unknown := sorted(set(body) - FIELDS):
            raise HTTPException(422, f"{', '.join(unknown)}: not taken here; known are {', '.join(sorted(FIELDS))}")
        if strange := sorted(set(body.get("structured_outputs") or {}) - CONSTRAINTS):
            raise HTTPException(422, f"structured_outputs.{strange[0]}: not taken here; known are {', '.join(sorted(CONSTRAINTS))}")
        async with self.adapters.lease() as served:
            answer = await self.engine.chat({**body, "model": served.name})
        return Json({**answer, "model": served.name})

    async def models(self, _: Request) -> Response:
        live = self.adapters.live
        return Json({"object": "list", "data": [{"id": ALIAS, "object": "model", "owned_by": "feedloop", "root": live.name, "digest": live.digest}]})

    async def state(self, _: Request) -> Response:
        """What is live, what a rollback would bring back, what is loaded, and whether the engine is asked at all (closed: it is)."""
        previous = self.adapters.previous
        return Json(
            {
                "base": self.adapters.base,
                "live": vars(self.adapters.live),
                "previous": vars(previous) if previous else None,
                "loaded": [vars(served) for served in self.adapters.loaded],
                "circuit": {"state": self.engine.circuit.state, "unanswered": self.engine.circuit.silent},
            }
        )
