"""Which files of a folder have been read, however many they are: eight bytes each, in the object store, and of the last ones in the cursor.

The cursor goes to Kafka with every batch and stays small. Once it holds MAX_TAIL names they are moved into one object. That is written only when the
caller has come back for more, so that all that is named in it is durable in Kafka: an object that is newer than the cursor (the process was killed between
the two) is as good as the one that the cursor meant.
"""

import base64
import hashlib
import struct
from collections.abc import Iterable, Mapping

from services.ingest.table import Table
from shared.errors import PermanentError
from shared.objects import ObjectStore

HASH = 8  # bytes a name: of a million, two are taken for one another once in thirty million folders
MAX_TAIL = 2_000  # names in the cursor: 21 kB
SPARE = 10_000  # names that are gone and may stay
LOST = "the list of what was read is gone from the object store: all is read again, and what is known is recognised by its ids"


def hash_of(name: str) -> bytes:
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[:HASH]


class Seen:
    """Of one source. `begin`, `fold` and `keep` block and raise TransientError: call them in a thread."""

    def __init__(self, store: ObjectStore, source: str) -> None:
        self._store, self._name = store, f"seen/{source}.names"
        self._table, self._held, self._tail, self._kept = Table(), bytearray(), bytearray(), False

    def begin(self, cursor: Mapping[str, str]) -> str:
        """Take up what the cursor says, nothing where it is empty. Returns what is to be told of it, in words."""
        self._table, self._held, self._tail, self._kept = Table(), bytearray(), bytearray(), False
        self._add(base64.b64decode(cursor.get("read", "")))
        if cursor.get("kept"):  # else the object is that of a pass before this one
            try:
                self._held += self._store.read(self._name)
            except PermanentError:
                return LOST
            self._kept = True
            self._enter(self._held)
        return ""

    def __contains__(self, name: bytes) -> bool:
        return int.from_bytes(name, "little") in self._table

    @property
    def full(self) -> bool:
        return len(self._tail) >= MAX_TAIL * HASH

    def add(self, names: Iterable[bytes]) -> None:
        self._add(b"".join(names))

    def cursor(self) -> dict[str, str]:
        read = {"read": base64.b64encode(self._tail).decode()} if self._tail else {}
        return {**read, "kept": self._name} if self._kept else read

    def fold(self) -> None:
        """Move what the cursor holds into the object. All of it must be durable."""
        self._held += self._tail
        self._store.write(self._name, bytes(self._held))
        self._tail, self._kept = bytearray(), True

    def keep(self, present: bytes | bytearray) -> None:
        """Forget all but these, where many of the others are gone; not where all are, as when a disk is not mounted."""
        if not present or (len(self._held) + len(self._tail)) // HASH <= 2 * (len(present) // HASH) + SPARE:
            return
        self._store.write(self._name, bytes(present))
        self._table, self._held, self._tail, self._kept = Table(), bytearray(present), bytearray(), True
        self._enter(self._held)

    def _add(self, packed: bytes) -> None:
        self._tail += packed
        self._enter(packed)

    def _enter(self, packed: bytes | bytearray) -> None:
        for (name,) in struct.iter_unpack("<Q", packed):
            self._table.put(name)
