"""What answering takes: texts a second by the clock, and seconds of processor. What else runs slows the clock, and hardly the processor."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

BATCH = 32  # texts at once, where a part can; the encoder's vectors don't depend on what is read beside a text


@dataclass(frozen=True)
class Spent:
    """What answering takes: texts a second by the clock, one by one and in batches, and seconds of processor for a thousand texts one by one. None where
    it can't be known."""

    texts_per_s: float | None = None
    cpu_s: float | None = None
    batched_per_s: float | None = None

    @staticmethod
    def sum(spent: Sequence["Spent"]) -> "Spent":
        """One after the other. Unknown where one of them is."""

        def rate(rates: list[float | None]) -> float | None:
            return None if None in rates else 1 / sum(1 / one for one in rates if one)

        costs = [one.cpu_s for one in spent]
        batched = [one.batched_per_s or one.texts_per_s for one in spent]
        return Spent(rate([one.texts_per_s for one in spent]), None if None in costs else sum(one for one in costs if one), rate(batched))


def took(work: Callable[[], object], texts: int) -> Spent:
    """Do it once, and say what that took of the clock and of this process's processor time."""
    began, ticks = time.perf_counter(), time.process_time()
    work()
    seconds, spent = time.perf_counter() - began, time.process_time() - ticks
    return Spent(texts / max(seconds, 1e-9), 1000 * spent / texts)


def both(work: Callable[[int], object], texts: int) -> Spent:
    """The same, one text at a time and BATCH at a time: `work` is given how many."""
    one, many = took(lambda: work(1), texts), took(lambda: work(BATCH), texts)
    return Spent(one.texts_per_s, one.cpu_s, many.texts_per_s)
