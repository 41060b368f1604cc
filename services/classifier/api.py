"""HTTP: classify a text on the spot, and see which rules and which head are in force."""

import asyncio

from pydantic import BaseModel, Field, model_validator
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from services.classifier.decide import Decider, Neural
from services.classifier.live_head import LiveHead
from services.classifier.mattered import mattered
from shared.service import Json, body

MOST_ITEMS = 256
MOST_EXPLAINED = 16  # each is encoded up to 31 times


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
        """{"decision": task -> decision} for one text, {"items": [{"decision": …}, …]} for many, in the order given; by rules and head.
        With ?explain=1 each decision also holds the words that `mattered` to the head. `safety` names the tasks that say a safety label."""
        asked = await body(request, ClassifyRequest)
        explain = request.query_params.get("explain", "") not in ("", "0", "false")
        items = asked.items or [Item(text=asked.text or "", title=asked.title)]
        if explain and len(items) > MOST_EXPLAINED:
            raise HTTPException(422, f"items: at most {MOST_EXPLAINED} at once with explain, and these are {len(items)}")
        results = await asyncio.to_thread(self._classify, items, asked.collection, explain)
        return Json({"items": results} if asked.items else results[0])

    def _classify(self, items: list[Item], collection: str, explain: bool) -> list[dict[str, object]]:
        scored = self.head.score([(item.title, item.text) for item in items], collection)
        return [self._one(item, collection, neural, explain) for item, neural in zip(items, scored, strict=True)]

    def _one(self, item: Item, collection: str, neural: Neural, explain: bool) -> dict[str, object]:
        verdict = self.decider.text(item.title, item.text, collection, neural)
        decision = verdict.decision
        if explain:
            spans = mattered(item.title, item.text, decision, lambda texts: self.head.compare(texts, collection))
            decision = {task: one.model_copy(update={"mattered": spans.get(task, [])}) for task, one in decision.items()}
        labels = self.decider.labels(collection)
        grave = [task for task, one in decision.items() if any(labels.tasks[task].severity(label) for label in one.labels or [one.label])]
        return {**vars(verdict), "decision": decision, "safety": grave, "collection": labels.collection}

    async def rules(self, _: Request) -> Response:
        """What is in force, and why the newest edit is not, where it is not."""
        book = self.decider.rulebook
        return Json(
            {
                "digest": book.rules.digest,
                "count": len(book.rules),
                "source": book.source,
                "problems": [book.problem] if book.problem else [],
                "warnings": book.rules.warnings,
                "expired": book.rules.expired(),
                "head": {"digests": self.head.digests(), "problem": self.head.problem},
                "fusion": {"digests": self.decider.fusions.digests(), "problem": self.decider.fusions.problem},
            }
        )
