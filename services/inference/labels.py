"""The labels of texts that are no documents, by the live model: what `feedloop classify --llm` comes down to. /openapi.json describes it, out of the
models of shared.asked."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.inference.adapters import Served
from services.inference.enrich import Enricher
from shared import metrics
from shared.asked import MOST_ASKED, Asked, LabelsAsked, LabelsSpoken, Spoken
from shared.bodies import LARGE, body
from shared.errors import PermanentError, TransientError, one_line
from shared.guard import TRANSIENT
from shared.openapi import document, holds, refusals
from shared.prompts import headed
from shared.service import Json
from shared.taxonomy import Task, known, label_set

Ask = Callable[[Callable[[Served], Awaitable[Spoken]]], Awaitable[Spoken]]


class Labels:
    """`ask` has something asked of the live model, as for a document (Handlers.ask). `at_once`: texts side by side, of all requests together: documents
    come first."""

    def __init__(self, enricher: Enricher, ask: Ask, settled: Callable[[], bool], at_once: int = 2) -> None:
        self.enricher, self.ask, self.settled = enricher, ask, settled
        self._free = asyncio.Semaphore(at_once)

    def routes(self) -> list[Route]:
        return [Route("/api/labels", self.labels, methods=["POST"]), Route("/openapi.json", self.described)]

    async def labels(self, request: Request) -> Response:
        """As shared.asked says. A text that the model can't be asked about has its `problem`; 503 where the engine is away or slow, and after a start until the
        adapter that was live is live again."""
        outcome = "refused"  # what it is where it ends before the next line that says otherwise
        try:
            asked = await body(request, LabelsAsked)
            tasks = self._tasks(asked.collection)
            outcome = "failed"
            told = await self._told(tasks, asked.items)
            outcome = "problem" if any(one.problem for one in told) else "ok"
        except TRANSIENT:
            outcome = "away"
            raise
        finally:
            metrics.LABEL_REQUESTS.labels(outcome).inc()
        return Json(LabelsSpoken(items=told))

    def _tasks(self, collection: str) -> list[Task]:
        """What is asked about each text. Raises HTTPException or ValueError where there is no label set of this name."""
        labels = label_set(collection)
        if labels.collection != collection:
            raise HTTPException(422, f"collection: there is no label set {collection!r}; there are {', '.join(known())}")
        return labels.asked_of("llm")

    async def _told(self, tasks: list[Task], items: Sequence[Asked]) -> list[Spoken]:
        """What is said of each text, in their order. Raises what one of them met, once none is under way any more."""
        if not self.settled():  # outside the time that is measured: nobody was asked
            raise TransientError("the adapter that was live is not loaded yet: try again in a moment")
        with metrics.LABEL_SECONDS.time():
            told = await asyncio.gather(*(self._one(tasks, item) for item in items), return_exceptions=True)
        if failed := next((one for one in told if isinstance(one, BaseException)), None):
            raise failed
        return [one for one in told if isinstance(one, Spoken)]

    async def _one(self, tasks: list[Task], item: Asked) -> Spoken:
        async def read(served: Served) -> Spoken:
            stamp = self.enricher.stamp(served.name, served.digest, served.taught)
            try:
                verdict = await self.enricher.verdict(tasks, item.title or headed(item.text) or "(untitled)", item.text, served.name)
            except PermanentError as error:
                return Spoken(problem=one_line(error))
            return Spoken(verdict=verdict, model=stamp)

        async with self._free:  # before the adapter is leased: a swap waits for those that are at work, and not for a queue
            return await self.ask(read)

    async def described(self, _: Request) -> Response:
        """This interface as an OpenAPI 3.1 document."""
        return Json(described())


def described() -> dict[str, Any]:
    """The OpenAPI document of /api/labels. The gateway's routes are not in it: they are OpenAI's own, cut down to what services.inference.gateway says."""
    wrong = refusals(
        {
            413: f"the body is longer than {LARGE // 1_000_000} MB",
            422: "what was sent is not understood, or no label set has the name of the collection",
            503: "the engine is away or slow, or the adapter that was live before the start is not loaded yet: try again",
        }
    )
    asking = {
        "summary": f"What the live language model says of up to {MOST_ASKED} texts that are no documents",
        "description": "Each task of the label set that a language model is asked is a question about each text. The texts of all requests wait for their "
        "turn, for documents come first: allow minutes where there are many. One for which the engine is away refuses the whole request.",
        "requestBody": {"required": True, **holds("the texts, and the label set", LabelsAsked)},
        "responses": {"200": holds("what was said of each text, in the order given; of some perhaps only why nothing was", LabelsSpoken), **wrong},
    }
    return document(
        "Feedloop inference",
        "Labels by the live language model. They sort texts for a person; they are no diagnosis.",
        {"/api/labels": {"post": asking}},
        given=(LabelsAsked,),
        answers=(LabelsSpoken,),
    )
