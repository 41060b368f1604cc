"""HTTP: classify a text on the spot, and see which rules and which head are in force."""

import asyncio

from pydantic import BaseModel, Field, model_validator
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from services.classifier.decide import Decider
from services.classifier.live_head import LiveHead
from shared.service import Json, body

MOST_ITEMS = 256


class Item(BaseModel):
    text: str = Field(max_length=100_000)
    title: str = Field(default="", max_length=1_000)


class ClassifyRequest(BaseModel):
    """Either one `text`, with a `title` if there is one, or many `items`."""

    text: str | None = Field(default=None, max_length=100_000)
    title: str = Field(default="", max_length=1_000)
    items: list[Item] | None = Field(default=None, min_length=1, max_length=MOST_ITEMS)
    collection: str = "news"

    @model_validator(mode="after")
    def _one_or_many(self) -> "ClassifyRequest":
        if (self.text is None) == (self.items is None):
            raise ValueError("send either `text` or `items`")
        return self


class Api:
    """The routes of the classifier."""

    def __init__(self, decider: Decider, head: LiveHead) -> None:
        self.decider, self.head = decider, head

    def routes(self) -> list[BaseRoute]:
        return [Route("/api/classify", self.classify, methods=["POST"]), Route("/api/rules", self.rules)]

    async def classify(self, request: Request) -> Response:
        """{"decision": task -> decision} for one text, {"items": [{"decision": …}, …]} for many, in the order given; by rules and head."""
        asked = await body(request, ClassifyRequest)
        items = asked.items or [Item(text=asked.text or "", title=asked.title)]
        results = await asyncio.to_thread(self._classify, items, asked.collection)
        return Json({"items": results} if asked.items else results[0])

    def _classify(self, items: list[Item], collection: str) -> list[dict[str, object]]:
        scored = self.head.score([(item.title, item.text) for item in items], collection)
        return [
            {
                "decision": self.decider.text(item.title, item.text, collection, neural),
                "rules_digest": self.decider.rulebook.rules.digest,
                "head_digest": neural.digest,
            }
            for item, neural in zip(items, scored, strict=True)
        ]

    async def rules(self, _: Request) -> Response:
        """What is in force, and why the newest edit is not, where it is not."""
        book = self.decider.rulebook
        head = self.head.head
        return Json(
            {
                "digest": book.rules.digest,
                "count": len(book.rules),
                "problems": [book.problem] if book.problem else [],
                "head": {"digest": head.digest if head else "", "problem": self.head.problem},
            }
        )
