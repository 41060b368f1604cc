"""Keeps the index true to the newest verdict on each document, in whatever order and however often the verdicts come."""

import asyncio
import uuid
from collections.abc import Sequence
from typing import Any

from services.retriever.passages import Passage, passages
from services.retriever.store import DENSE, SPARSE, Store
from services.retriever.terms import passage_vector
from shared import metrics
from shared.encoder import Encoder
from shared.events import DocumentClassified
from shared.logs import logger
from shared.objects import ObjectStore

log = logger(__name__)
MOST_CHARS = 200_000  # of one document; the rest of a longer one is not searched
_NAMESPACE = uuid.UUID("6f1c2a52-0c3e-5d0a-9a3f-feed10095a11")
_LOCKS = 64


def point_id(document_id: str, number: int) -> str:
    """The id of a document's passage: the same passage indexed twice is one point."""
    return str(uuid.uuid5(_NAMESPACE, f"{document_id}/{number}"))


class Indexer:
    """Writes documents to the store."""

    def __init__(self, store: Store, encoder: Encoder, objects: ObjectStore) -> None:
        self.store, self.encoder, self.objects = store, encoder, objects
        self._locks = [asyncio.Lock() for _ in range(_LOCKS)]  # two verdicts on one document are compared one after the other
        self._embedding = asyncio.Lock()  # indexing takes the cores of one call, and leaves the rest to questions

    async def apply(self, event: DocumentClassified) -> bool:
        """Index a document, or only its new verdict where the content is known. False where what is indexed is newer than the event."""
        async with self._locks[hash(event.id) % _LOCKS]:
            collection = await self.store.collection(event.collection)
            known = await self.state(collection, event.id)
            if known and tuple(known["rank"]) > event.rank():
                return False
            if known and known["version"] == event.version:
                ids: list[Any] = [point_id(event.id, n) for n in range(known["passages"])]
                await self.store.call(lambda client: client.set_payload(collection, _verdict(event), points=ids, wait=True))
                return True
            await self._write(collection, event, known["passages"] if known else 0)
            metrics.INDEXED.inc()
            return True

    async def state(self, collection: str, document_id: str) -> dict[str, Any] | None:
        """The payload of a document's first passage, which says what is indexed of it; none where nothing is."""
        found = await self.store.call(lambda client: client.retrieve(collection, [point_id(document_id, 0)], with_payload=True))
        return found[0].payload if found else None

    async def _write(self, collection: str, event: DocumentClassified, before: int) -> None:
        text = await self._text(event)
        async with self._embedding:
            points = await asyncio.to_thread(self._points, event, text)
        # what an older version had beyond these goes first, and the first passage is written last: it says what is there, so that a process
        # that dies in between finds on the next try that the work is still to do
        surplus: list[Any] = [point_id(event.id, n) for n in range(len(points), before)]
        if surplus:
            await self.store.call(lambda client: client.delete(collection, surplus, wait=True))
        await self.store.call(lambda client: client.upsert(collection, points[::-1], wait=True))
        log.info("document.indexed", id=event.id, passages=len(points), characters=len(text), replaced=before)

    async def _text(self, event: DocumentClassified) -> str:
        if event.text_ref is None:
            return event.text
        whole = await asyncio.to_thread(self.objects.get, event.text_ref)
        return whole.decode("utf-8", "replace")[:MOST_CHARS]

    def _points(self, event: DocumentClassified, text: str) -> list[Any]:
        """The document's passages as points, in order. Blocking: a long document takes seconds."""
        parts = passages(text) or [Passage(0, 0, "")]  # a document without text is found by its title
        read = [f"{event.title}. {part.text}".strip() for part in parts]
        return _points(event, parts, self.encoder.encode(read).tolist(), read)


def _verdict(event: DocumentClassified) -> dict[str, Any]:
    return {
        "labels": {task: decision.label for task, decision in event.decision.items()},
        "stage": event.stage,
        "rank": list(event.rank()),
        "title": event.title,
        "url": event.url,
        "source": event.source.model_dump(),
        "published_at": event.published_at.isoformat(),
    }


def _points(event: DocumentClassified, parts: Sequence[Passage], dense: list[list[float]], read: Sequence[str]) -> list[Any]:
    from qdrant_client import models

    common = {"document_id": event.id, "version": event.version, "passages": len(parts), **_verdict(event)}
    found = []
    for number, (part, vector, content) in enumerate(zip(parts, dense, read, strict=True)):
        indices, values = passage_vector(content)
        found.append(
            models.PointStruct(
                id=point_id(event.id, number),
                vector={DENSE: vector, SPARSE: models.SparseVector(indices=indices, values=values)},
                payload={**common, "number": number, "start": part.start, "end": part.end, "text": part.text},
            )
        )
    return found
