"""Search: by meaning (dense) and by word (BM25) side by side, the two rankings fused by reciprocal rank in Qdrant."""

import asyncio
from typing import Any

from services.retriever.indexer import point_id
from services.retriever.passages import Passage, rebuilt
from services.retriever.shapes import Document, Filters, Hit
from services.retriever.store import DENSE, SPARSE, Store
from services.retriever.terms import query_vector
from shared.encoder import Encoder


class Search:
    """Reads the store."""

    def __init__(self, store: Store, encoder: Encoder) -> None:
        self.store, self.encoder = store, encoder

    async def passages(self, query: str, limit: int, filters: Filters | None = None, collection: str = "news") -> list[Hit]:
        """The best passages, best first; a document may have several."""
        name = await self.store.existing(collection)
        if not name:
            return []
        vector = (await asyncio.to_thread(self.encoder.encode, [query]))[0].tolist()
        indices, values = query_vector(query)
        condition = _condition(filters or Filters())

        def ask(client: Any) -> Any:
            from qdrant_client import models

            ways = [models.Prefetch(query=vector, using=DENSE, filter=condition, limit=limit)]
            if indices:
                sparse = models.SparseVector(indices=indices, values=values)
                ways.append(models.Prefetch(query=sparse, using=SPARSE, filter=condition, limit=limit))
            return client.query_points(name, prefetch=ways, query=models.FusionQuery(fusion=models.Fusion.RRF), limit=limit, with_payload=True)

        return [_hit(point) for point in (await self.store.call(ask)).points]

    async def documents(self, query: str, limit: int, filters: Filters | None = None, collection: str = "news") -> list[Hit]:
        """The best documents, each by its best passage."""
        best: dict[str, Hit] = {}
        for hit in await self.passages(query, min(limit * 5, 250), filters, collection):
            best.setdefault(hit.document_id, hit)
        return list(best.values())[:limit]

    async def document(self, document_id: str, collection: str = "news") -> Document | None:
        """A document as it is indexed; none where it is not."""
        name = await self.store.existing(collection)
        if not name:
            return None

        def read(client: Any) -> list[dict[str, Any]]:
            first = client.retrieve(name, [point_id(document_id, 0)], with_payload=True)
            rest = [point_id(document_id, n) for n in range(1, first[0].payload["passages"])] if first else []
            return [point.payload for point in [*first, *(client.retrieve(name, rest, with_payload=True) if rest else [])]]

        payloads = sorted(await self.store.call(read), key=lambda payload: payload["number"])
        if not payloads:
            return None
        first = payloads[0]
        parts = [Passage(p["start"], p["end"], p["text"]) for p in payloads if p["version"] == first["version"]]
        fields = {name: first[name] for name in ("document_id", "version", "title", "url", "published_at", "labels", "stage")}
        return Document(**fields, source=_source(first), text=rebuilt(parts), passages=parts)


def _hit(point: Any) -> Hit:
    payload = point.payload
    fields = {name: payload[name] for name in ("document_id", "version", "title", "start", "end", "published_at", "url", "labels", "stage")}
    return Hit(**fields, passage=payload["text"], score=point.score, source=_source(payload), source_id=payload["source"]["id"])


def _source(payload: dict[str, Any]) -> str:
    return str(payload["source"]["title"] or payload["source"]["id"])


def _condition(filters: Filters) -> Any:
    from qdrant_client import models

    def equal(key: str, value: str) -> models.FieldCondition:
        return models.FieldCondition(key=key, match=models.MatchValue(value=value))

    must: list[Any] = [equal(f"labels.{task}", label) for task, label in filters.labels.items()]
    if filters.source:
        must.append(models.Filter(should=[equal("source.id", filters.source), equal("source.title", filters.source)]))
    if filters.since:
        must.append(models.FieldCondition(key="published_at", range=models.DatetimeRange(gte=filters.since)))
    return models.Filter(must=must) if must else None
