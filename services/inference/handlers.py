"""What the inference service does with the events that reach it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from services.inference.adapters import ROLE, Adapters, Served
from services.inference.engine import UnknownModel
from services.inference.enrich import Enricher
from shared import metrics
from shared.bus import Bus
from shared.errors import PermanentError, TransientError, one_line
from shared.events import BASE_DIGEST, DocumentEnriched, DocumentIngested, ModelPublished
from shared.guard import Paused
from shared.logs import logger

log = logger(__name__)
T = TypeVar("T")


class Handlers:
    """on_document_ingested enriches; on_model_published notes what is wanted, and `keep_live` brings it about."""

    def __init__(self, enricher: Enricher, adapters: Adapters, bus: Bus, check_every_s: float = 15.0, document_s: float = 180.0) -> None:
        self.enricher, self.adapters, self.bus, self.check_every_s, self.document_s = enricher, adapters, bus, check_every_s, document_s
        self.wanted: ModelPublished | None = None
        self._done: str = ""  # event id of the newest ModelPublished that was acted on, well or badly
        self._changed = asyncio.Event()
        self._settled = asyncio.Event()

    async def on_document_ingested(self, document: DocumentIngested) -> list[DocumentEnriched]:
        await self._settled.wait()  # after a restart: not before the adapter that was live is live again
        began = time.monotonic()
        enriched = await self.ask(lambda served: self.enricher.enrich(document, served.name, served.digest, served.taught), f"document {document.id}")
        metrics.ENRICH_SECONDS.observe(time.monotonic() - began)
        adapter = enriched.model.adapter[:12] if enriched.model else ""
        log.info("document.enriched", id=document.id, adapter=adapter, labels={t: s.label for t, s in enriched.verdict.items()})
        return [enriched]

    @property
    def settled(self) -> bool:
        """Whether the adapter that was live before the start is live again."""
        return self._settled.is_set()

    async def ask(self, read: Callable[[Served], Awaitable[T]], what: str = "a text") -> T:
        """What `read` makes of the live adapter, which stays loaded meanwhile. Raises Paused where it takes longer than a document may."""
        async with self.adapters.lease() as served:
            try:
                async with asyncio.timeout(self.document_s):
                    return await read(served)
            except TimeoutError as error:
                raise Paused(f"{what} was not read within {self.document_s:g} s (FEEDLOOP_DOCUMENT_S)") from error
            except UnknownModel:
                self._changed.set()  # the engine lost the adapter: have it loaded again before the retry
                raise

    def on_model_published(self, event: ModelPublished) -> None:
        if event.role == ROLE:
            self.wanted = event
            self._changed.set()

    async def keep_live(self) -> None:
        """Bring about what is wanted, report it, and see now and then that the engine still has it. Runs as long as the service."""
        await self.bus.caught_up()
        while True:
            self._changed.clear()
            try:
                await self._reconcile()
                self._settled.set()
            except TransientError as error:
                log.warning("adapter.waiting", reason=str(error))
                await asyncio.sleep(1.0)
                continue
            try:
                async with asyncio.timeout(self.check_every_s):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _reconcile(self) -> None:
        there = await self.adapters.still_there()
        wanted = self.wanted
        if wanted is None or (wanted.event_id() == self._done and there):
            return
        report = await self.adapters.activate(wanted)
        self._done = wanted.event_id()
        await self.bus.publish(report)
        if report.outcome == "refused" and self.adapters.live.digest == BASE_DIGEST and (before := self._before(wanted)):
            await self.bus.publish(await self.adapters.activate(before))

    def _before(self, wanted: ModelPublished) -> ModelPublished | None:
        """How the adapter before `wanted` was published, None where there was none. After a restart the compacted topic holds `wanted` alone: were that
        refused, base weights would speak although an adapter had been live."""
        if wanted.previous in (BASE_DIGEST, wanted.digest):
            return None
        try:
            return ModelPublished.model_validate_json(self.adapters.registry.store.read(f"published/{ROLE}/{wanted.previous}.json"))
        except (PermanentError, ValueError) as error:
            log.error("adapter.no_record", digest=wanted.previous, reason=one_line(error), serving=BASE_DIGEST)
            return None
