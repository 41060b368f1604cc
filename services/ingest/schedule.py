"""What is due when: one heap for all sources, so that ten thousand that sleep cost ten thousand numbers and not ten thousand tasks."""

import heapq
from collections.abc import Iterator


class Schedule:
    """Names with the time at which they are due (any clock that only goes forward). Setting a name again replaces its time."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, str]] = []
        self._current: dict[str, int] = {}  # the number of the entry that counts; older ones of the name are passed over
        self._number = 0

    def __len__(self) -> int:
        return len(self._current)

    def set(self, name: str, due: float) -> None:
        self._number += 1
        self._current[name] = self._number
        heapq.heappush(self._heap, (due, self._number, name))
        if len(self._heap) > 2 * len(self._current) + 100:  # mostly replaced ones: memory stays bounded
            self._heap = [entry for entry in self._heap if self._counts(entry)]
            heapq.heapify(self._heap)

    def drop(self, name: str) -> None:
        """Forget a name; none that is not there."""
        self._current.pop(name, None)

    def next_due(self) -> float | None:
        """When the first is due; None where nothing is waited for."""
        while self._heap and not self._counts(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take_due(self, now: float) -> Iterator[tuple[str, float]]:
        """The names that are due at `now`, the longest due first, each with its time. They are taken out."""
        while (due := self.next_due()) is not None and due <= now:
            _, _, name = heapq.heappop(self._heap)
            del self._current[name]
            yield name, due

    def _counts(self, entry: tuple[float, int, str]) -> bool:
        return self._current.get(entry[2]) == entry[1]
