"""Qdrant, a server or embedded: one client, its collections, and its failures as ours.

Every call runs on the one thread of its own that also made the client: the embedded engine is not thread-safe, and its files belong to a thread.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from shared.encoder import DIMS
from shared.errors import ConfigError, PermanentError, TransientError
from shared.taxonomy import label_set

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

T = TypeVar("T")
DENSE, SPARSE = "dense", "bm25"
_TIMEOUT_S = 20


class Store:
    """Where passages are kept: at `url`, or in the folder `path` where there is no url. Open it before the first call, close it at the end."""

    def __init__(self, url: str, path: Path, api_key: str = "") -> None:
        self.url, self.path, self._api_key = url, path, api_key
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="qdrant")
        self._client: QdrantClient | None = None
        self._ensured: set[str] = set()

    async def open(self) -> None:
        """Raises ConfigError where the embedded folder is another process's, or can't be written. A server need not be there yet."""
        self._client = await asyncio.get_running_loop().run_in_executor(self._worker, self._connect)

    async def close(self) -> None:
        if self._client is not None:
            await asyncio.get_running_loop().run_in_executor(self._worker, self._client.close)
            self._client = None
        self._worker.shutdown(wait=False)

    async def ping(self) -> str:
        """Empty where Qdrant answers, else the reason: for /ready."""
        try:
            await self.call(lambda client: client.get_collections())
        except (TransientError, PermanentError) as error:
            return str(error)
        return ""

    async def call(self, work: Callable[["QdrantClient"], T]) -> T:
        """Run one piece of work with the client, alone. Raises TransientError where Qdrant is away or busy, PermanentError where it refuses."""
        client = self._client
        if client is None:
            raise TransientError("the search index is not open")
        return await asyncio.get_running_loop().run_in_executor(self._worker, self._translated, client, work)

    async def collection(self, name: str) -> str:
        """The Qdrant collection of a collection of documents, made where it is missing."""
        if name not in self._ensured:
            await self.call(lambda client: self._create(client, name))
            self._ensured.add(name)
        return _full(name)

    async def existing(self, name: str) -> str:
        """Like `collection`, but makes none: empty where nothing has been indexed there."""
        if name in self._ensured or await self.call(lambda client: client.collection_exists(_full(name))):
            return _full(name)
        return ""

    def _connect(self) -> "QdrantClient":
        from qdrant_client import QdrantClient  # 0.5 s: not before the settings have been read

        if self.url:
            return QdrantClient(url=self.url, api_key=self._api_key or None, timeout=_TIMEOUT_S, check_compatibility=False)
        try:
            return QdrantClient(path=str(self.path))
        except RuntimeError as error:
            raise ConfigError(
                f"the search index in {self.path} is in use by another process: stop that one, give this one its own QDRANT_PATH, "
                "or share a Qdrant server by QDRANT_URL"
            ) from error
        except OSError as error:
            raise ConfigError(f"the search index in {self.path} can't be opened ({error.strerror}): QDRANT_PATH names its folder") from error

    def _translated(self, client: "QdrantClient", work: Callable[["QdrantClient"], T]) -> T:
        from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

        try:
            return work(client)
        except ResponseHandlingException as error:
            raise TransientError(f"Qdrant at {self.url} does not answer ({error.source}): is it running? QDRANT_URL names it") from error
        except UnexpectedResponse as error:
            reason = f"Qdrant at {self.url} answers {error.status_code}: {error.content[:200].decode(errors='replace')}"
            if error.status_code == 404:
                self._ensured.clear()  # somebody dropped a collection: the next try makes it anew
            if error.status_code is None or error.status_code in (401, 403, 404, 408, 409, 429) or error.status_code >= 500:
                raise TransientError(reason) from error  # not the document's fault; 409: another replica makes the same collection
            raise PermanentError(reason) from error

    def _create(self, client: "QdrantClient", collection: str) -> None:
        from qdrant_client import models

        name = _full(collection)
        if not client.collection_exists(name):
            client.create_collection(
                name,
                vectors_config={DENSE: models.VectorParams(size=DIMS, distance=models.Distance.COSINE)},
                sparse_vectors_config={SPARSE: models.SparseVectorParams(modifier=models.Modifier.IDF)},
            )
        if self.url:  # the embedded engine keeps no payload indexes
            for field in ("source.id", "source.title", *(f"labels.{task}" for task in label_set(collection).tasks)):
                client.create_payload_index(name, field, models.PayloadSchemaType.KEYWORD)
            client.create_payload_index(name, "published_at", models.PayloadSchemaType.DATETIME)


def _full(name: str) -> str:
    return f"feedloop-{name}"
