"""The way of an item into Kafka: cleaned, compared with what was told before, given its story, published; or quarantined with the reason."""

import asyncio
from collections.abc import Awaitable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from services.ingest.documents import documents_of
from services.ingest.items import RawItem, Refused, Unusable
from services.ingest.known import Known
from services.ingest.quarantine import Quarantine
from services.ingest.stories import Signature, signature_of
from shared import metrics
from shared.clock import Clock
from shared.errors import TransientError
from shared.events import DocumentIngested, Event, SourceRef, digest_of
from shared.logs import logger
from shared.objects import ObjectStore

log = logger(__name__)
CHUNK = 100  # items cleaned and published together


class Publish(Protocol):
    """shared.bus.Bus.publish: returns when the events are durable."""

    def __call__(self, *events: Event) -> Awaitable[None]: ...


@dataclass
class Taken:
    """What became of a batch. `marks` name the items (id and version) that the source lists now."""

    published: list[DocumentIngested] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Draft:
    document: DocumentIngested
    signature: Signature | None


class Intake:
    """One for the service: all sources and pushed texts go through it."""

    def __init__(self, publish: Publish, store: ObjectStore, known: Known, quarantine: Quarantine, clock: Clock) -> None:
        self._publish, self._store, self._known, self._quarantine, self._clock = publish, store, known, quarantine, clock
        self._left: dict[str, set[asyncio.Task[None]]] = {}  # by source: what a cancelled poll was publishing

    async def take(
        self,
        items: Sequence[RawItem | Refused],
        source: SourceRef,
        collection: str,
        listed_before: Collection[str] = frozenset(),
        since: datetime | None = None,
    ) -> Taken:
        """Returns once all that is new is durable; what was published before `since` is taken for known. Raises TransientError (object store) or what the bus raises (Kafka): then take them again."""
        taken, marks = Taken(), set[str]()
        for start in range(0, len(items), CHUNK):
            drafts = await asyncio.to_thread(self._clean, items[start : start + CHUNK], source, collection, taken)
            if left := self._left.get(source.id):  # what is published there is known only then
                await asyncio.wait(set(left))
            news = [self._told(draft) for draft in drafts if self._is_news(draft.document, listed_before, since, taken, marks)]
            if news:
                await self._tell(news, source)
            taken.published += news
        return taken

    async def _tell(self, news: list[DocumentIngested], source: SourceRef) -> None:
        """Publish and remember, both: a poll that is cancelled meanwhile (its source has changed) leaves this going on, and the next one waits for it."""

        async def work() -> None:
            await self._publish(*news)
            for document in news:
                self._known.remember(document)
                metrics.INGESTED.labels(source.kind).inc()
                log.info(
                    "document.ingested",
                    id=document.id,
                    source=source.id,
                    title=document.title[:100],
                    correlation=digest_of(document.key())[:32],
                )

        task = asyncio.create_task(work(), name=f"tell {source.id}")
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            self._left.setdefault(source.id, set()).add(task)
            task.add_done_callback(lambda _: self._forget(source.id, task))
            raise

    def _forget(self, source: str, task: asyncio.Task[None]) -> None:
        if left := self._left.get(source):
            left.discard(task)
            if not left:
                del self._left[source]

    async def refuse(self, source: str, refused: Refused) -> None:
        """Quarantine something that never became an item."""
        await asyncio.to_thread(self._quarantine.put, source, refused)

    async def replay(self, ids: Sequence[str]) -> tuple[int, list[str]]:
        """Publish documents again as they are. Returns how many, and the ids that are not held."""
        found = [(identity, self._known.document(identity)) for identity in dict.fromkeys(ids)]
        documents = [document for _, document in found if document]
        for start in range(0, len(documents), CHUNK):
            await self._publish(*documents[start : start + CHUNK])
        return len(documents), [identity for identity, document in found if document is None]

    def _clean(self, items: Sequence[RawItem | Refused], source: SourceRef, collection: str, taken: Taken) -> list[_Draft]:
        drafts = []
        for item in items:
            try:
                if isinstance(item, Refused):
                    raise Unusable(item.reason, item.detail)
                documents, refused = documents_of(item, source, collection, self._clock(), self._store)
                drafts += [_Draft(document, signature_of(document)) for document in documents]
                for part in refused:  # of a digest, whose other items are good
                    self._quarantine.put(source.id, part)
                    taken.refused.append(part.detail)
            except Unusable as error:
                self._quarantine.put(source.id, Refused(error.reason, str(error), item.raw))
                taken.refused.append(str(error))
            except (TransientError, OSError):  # the object store is away: no fault of the item's
                raise
            except Exception as error:  # input that our own cleaning stumbles on: refused, and told
                log.exception("item.stumbled", source=source.id, error=f"{type(error).__name__}: {error}")
                self._quarantine.put(source.id, Refused("unreadable", f"{type(error).__name__}: {error}", item.raw))
                taken.refused.append(f"{type(error).__name__}: {error}")
        return drafts

    def _is_news(self, document: DocumentIngested, listed_before: Collection[str], since: datetime | None, taken: Taken, marks: set[str]) -> bool:
        mark = digest_of(document.id, document.version)[:12]
        again = mark in marks
        marks.add(mark)
        taken.marks.append(mark)
        old = since is not None and document.published_at < since
        if again or old or mark in listed_before or not self._known.tells(document):
            taken.unchanged.append(document.id)
            return False
        return True

    def _told(self, draft: _Draft) -> DocumentIngested:
        """With its story; an edit that names no date keeps the date of the first version."""
        document, stories = draft.document, self._known.stories
        story = stories.story_of(document.id, draft.signature)
        stories.add(document.id, draft.signature, story)
        before = self._known.document(document.id)
        dateless = before is not None and document.published_at == document.received_at
        return document.model_copy(update={"story": story, **({"published_at": before.published_at} if before and dateless else {})})
