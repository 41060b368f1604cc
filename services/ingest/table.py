"""A map from 64-bit keys to 32-bit values in 18 to 36 bytes an entry: millions of them, where a dict would take ten times as much."""

from array import array

_SHARDS = 256  # each grows alone, so that no single insertion takes long
_FIRST = 8  # slots of one; a power of two
_KEY, _VALUE = (1 << 64) - 1, (1 << 32) - 1


class Table:
    """Open addressing, at most two thirds full. Keys and values are cut to their widths: they are hashes."""

    def __init__(self) -> None:
        self._keys = [array("Q", bytes(8 * _FIRST)) for _ in range(_SHARDS)]
        self._values = [array("I", bytes(4 * _FIRST)) for _ in range(_SHARDS)]
        self._used = [0] * _SHARDS

    def __len__(self) -> int:
        return sum(self._used)

    def __contains__(self, key: int) -> bool:
        return self.get(key) is not None

    def get(self, key: int) -> int | None:
        shard, at, found = self._find(key)
        return self._values[shard][at] if found else None

    def put(self, key: int, value: int = 0) -> None:
        shard, at, found = self._find(key)
        self._keys[shard][at], self._values[shard][at] = (key & _KEY) or 1, value & _VALUE
        if not found:
            self._used[shard] += 1
            if 3 * self._used[shard] > 2 * len(self._keys[shard]):
                self._grow(shard)

    def _find(self, key: int) -> tuple[int, int, bool]:
        """The shard and the slot of a key, or the free one where it belongs."""
        key = (key & _KEY) or 1  # 0 is a free slot
        shard = key & (_SHARDS - 1)
        keys = self._keys[shard]
        mask = len(keys) - 1
        at = (key >> 8) & mask
        while (there := keys[at]) and there != key:
            at = (at + 1) & mask
        return shard, at, there == key

    def _grow(self, shard: int) -> None:
        keys, values = self._keys[shard], self._values[shard]
        self._keys[shard], self._values[shard] = array("Q", bytes(16 * len(keys))), array("I", bytes(8 * len(keys)))
        self._used[shard] = 0
        for key, value in zip(keys, values, strict=True):
            if key:
                self.put(key, value)
