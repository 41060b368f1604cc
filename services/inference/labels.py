"""The labels of texts that are no documents, by the live model: what `feedloop classify --llm` comes down to."""

import asyncio

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.inference.adapters import Adapters
from services.inference.enrich import Enricher
from shared.asked import Asked, LabelsAsked, LabelsSpoken, Spoken
from shared.bodies import body
from shared.errors import PermanentError, one_line
from shared.service import Json
from shared.taxonomy import known, label_set


class Labels:
    """`at_once`: texts side by side, for all requests together: documents come first."""

    def __init__(self, enricher: Enricher, adapters: Adapters, at_once: int = 2) -> None:
        self.enricher, self.adapters = enricher, adapters
        self._free = asyncio.Semaphore(at_once)

    def routes(self) -> list[Route]:
        return [Route("/api/labels", self.labels, methods=["POST"])]

    async def labels(self, request: Request) -> Response:
        """As shared.asked says. A text that the model can't be asked about has its `problem`; 503 where the engine is away."""
        asked = await body(request, LabelsAsked)
        labels = label_set(asked.collection)
        if labels.collection != asked.collection:
            raise HTTPException(422, f"collection: there is no label set {asked.collection!r}; there are {', '.join(known())}")
        tasks = labels.asked_of("llm")
        async with self.adapters.lease() as served:

            async def one(item: Asked) -> Spoken:
                async with self._free:
                    try:
                        return Spoken(verdict=await self.enricher.verdict(tasks, item.title, item.text, served.name))
                    except PermanentError as error:
                        return Spoken(problem=one_line(error))

            told = await asyncio.gather(*(one(item) for item in asked.items), return_exceptions=True)
            stamp = self.enricher.stamp(served.name, served.digest, served.taught)
        if failed := next((one for one in told if isinstance(one, BaseException)), None):
            raise failed  # once none is under way any more: the adapter must not go before
        return Json(LabelsSpoken(items=[one for one in told if isinstance(one, Spoken)], model=stamp))
