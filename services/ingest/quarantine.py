"""Items that can't be documents: counted, logged and kept as they came, with the reason, never dropped in silence."""

import threading
from bisect import bisect_left, insort
from datetime import datetime

from pydantic import BaseModel

from services.ingest.items import Refused
from shared import metrics
from shared.clock import Clock
from shared.events import ObjectRef, digest_of
from shared.logs import logger
from shared.objects import ObjectStore

log = logger(__name__)
FOLDER = "quarantine"
TOLD = "told"  # under it, the refusals: DAY/TIME-KEY.json
PAGE = 200


class Quarantined(BaseModel):
    """One refused item; `object` is where its bytes lie in the object store."""

    source: str
    reason: str
    detail: str
    at: datetime
    object: ObjectRef


class Quarantine:
    """Refusals and their bytes in the object store under quarantine/, where they outlive the process. Of the newest `most` the names are held in memory.
    All that it does blocks: call it in a thread. Raises TransientError where the store can't be written."""

    def __init__(self, objects: str, clock: Clock, most: int = 100_000) -> None:
        self._store = ObjectStore(f"{objects.rstrip('/')}/{FOLDER}")
        self._clock, self._most = clock, most
        self._names: list[str] | None = None  # by time; read from the store when they are needed first
        self._keys: set[str] = set()
        self._lock = threading.Lock()

    def put(self, source: str, refused: Refused) -> Quarantined:
        """Keep an item; a feed that lists the same broken item at every poll adds nothing."""
        ref = self._store.put(refused.raw)
        entry = Quarantined(
            source=source,
            reason=refused.reason,
            detail=refused.detail.encode("utf-8", "replace").decode(),  # half characters have no JSON
            at=self._clock(),
            object=ref.model_copy(update={"uri": f"{FOLDER}/{ref.uri}"}),
        )
        key = digest_of(source, refused.reason, ref.sha256)[:16]
        with self._lock:
            names = self._listed()
            if key in self._keys:
                return entry
            name = f"{entry.at:%Y-%m-%d}/{entry.at:%H%M%S.%f}-{key}.json"
            self._store.write(f"{TOLD}/{name}", entry.model_dump_json().encode())
            insort(names, name)
            self._keys.add(key)
            while len(names) > self._most:
                self._keys.discard(_key(names.pop(0)))
        metrics.QUARANTINED.labels(refused.reason).inc()
        log.warning("item.quarantined", source=source, reason=refused.reason, detail=refused.detail, object=entry.object.uri)
        return entry

    def page(self, before: str = "", most: int = PAGE) -> tuple[list[Quarantined], str]:
        """Newest first, those before a place; and the place of the last of them, empty where there are no more."""
        with self._lock:
            names = self._listed()
            end = bisect_left(names, before) if before else len(names)
            found = names[max(end - most, 0) : end]
        entries = [Quarantined.model_validate_json(self._store.read(f"{TOLD}/{name}")) for name in reversed(found)]
        return entries, found[0] if end > most else ""

    def last(self) -> list[Quarantined]:
        """The newest ones, newest first."""
        return self.page()[0]

    def _listed(self) -> list[str]:
        if self._names is None:
            self._names = sorted(name for name in self._store.names(TOLD) if name.endswith(".json"))[-self._most :]
            self._keys = {_key(name) for name in self._names}
        return self._names


def _key(name: str) -> str:
    return name.removesuffix(".json").rpartition("-")[2]
