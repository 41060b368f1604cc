"""Items that can't be documents: counted, logged and kept as they came, never dropped in silence."""

from collections import deque
from datetime import datetime

from pydantic import BaseModel

from services.ingest.items import Refused
from shared import metrics
from shared.clock import Clock
from shared.events import ObjectRef
from shared.logs import logger
from shared.objects import ObjectStore

log = logger(__name__)
FOLDER = "quarantine"


class Quarantined(BaseModel):
    """One refused item; `object` is where its bytes lie in the object store."""

    source: str
    reason: str
    detail: str
    at: datetime
    object: ObjectRef


class Quarantine:
    """The last refusals in memory, their bytes in the object store under quarantine/."""

    def __init__(self, objects: str, clock: Clock, most: int = 200) -> None:
        self._store = ObjectStore(f"{objects.rstrip('/')}/{FOLDER}")
        self._clock = clock
        self._last: deque[Quarantined] = deque(maxlen=most)

    def put(self, source: str, refused: Refused) -> Quarantined:
        """Keep an item; a feed that lists the same broken item at every poll adds nothing. Writes: call it in a thread. Raises TransientError."""
        ref = self._store.put(refused.raw)
        entry = Quarantined(
            source=source,
            reason=refused.reason,
            detail=refused.detail,
            at=self._clock(),
            object=ref.model_copy(update={"uri": f"{FOLDER}/{ref.uri}"}),
        )
        if not any((old.source, old.reason, old.object.sha256) == (source, refused.reason, ref.sha256) for old in tuple(self._last)):
            self._last.append(entry)
            metrics.QUARANTINED.labels(refused.reason).inc()
            log.warning("item.quarantined", source=source, reason=refused.reason, detail=refused.detail, object=entry.object.uri)
        return entry

    def last(self) -> list[Quarantined]:
        """Newest first."""
        return list(reversed(self._last))
