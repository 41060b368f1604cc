"""The trainer's HTTP routes: ask for a run, offer an adapter or a head, roll back, look."""

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.trainer.handlers import Handlers
from services.trainer.run import ADAPTER
from shared.bodies import body
from shared.service import Json


class Ask(BaseModel):
    reason: str = "asked for"


class Offer(BaseModel):
    digest: str
    reason: str = "offered"


class Rollback(BaseModel):
    role: str = ADAPTER
    reason: str = ""


class Api:
    def __init__(self, handlers: Handlers) -> None:
        self.handlers = handlers

    def routes(self) -> list[Route]:
        return [
            Route("/api/train", self.train, methods=["POST"]),
            Route("/api/offer", self.offer, methods=["POST"]),
            Route("/api/rollback", self.rollback, methods=["POST"]),
            Route("/api/state", self.state),
        ]

    async def train(self, request: Request) -> Response:
        asked = await self.handlers.ask((await body(request, Ask)).reason)
        return Json({"run_id": asked.run_id, "examples": asked.examples}, status_code=202)

    async def offer(self, request: Request) -> Response:
        offer = await body(request, Offer)
        asked = await self.handlers.offer(offer.digest, offer.reason)
        return Json({"run_id": asked.run_id, "examples": asked.examples}, status_code=202)

    async def rollback(self, request: Request) -> Response:
        wish = await body(request, Rollback)
        wanted = await self.handlers.rollback(wish.role, wish.reason)
        return Json({"role": wanted.role, "digest": wanted.digest, "previous": wanted.previous}, status_code=202)

    async def state(self, _: Request) -> Response:
        return Json(
            {
                "waiting": len(self.handlers.waiting()),
                "train_after": self.handlers.settings.train_after,
                "running": self.handlers.running,
                "live": {role: event.digest for role, event in self.handlers.live.items()},
                "heads": await self.handlers.readiness(),
            }
        )
