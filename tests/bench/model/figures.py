"""Figures with their uncertainty: shares and means with a bootstrap interval, macro-F1, and which of two systems is ahead. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES, SEED, LEVEL = 2000, 20, 95.0


@dataclass(frozen=True)
class Figure:
    """A value over `n` things; `low` and `high` bound the 95 % bootstrap interval where there is one. `unit` is "%" (0 to 100), "/s" or empty."""

    value: float
    n: int
    low: float | None = None
    high: float | None = None
    unit: str = "%"

    def text(self) -> str:
        """As it stands in a table: `61.2 % [55–67]`."""
        if self.unit == "%":
            own, digits = f"{self.value:.1f} %", 0
        else:
            own, digits = f"{self.value:.2f}{' ' + self.unit if self.unit else ''}", 2
        if self.low is None or self.high is None:
            return own
        return f"{own} [{self.low:.{digits}f}–{self.high:.{digits}f}]"


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """95 % interval of the mean: percentile bootstrap (Efron 1979), 2,000 resamples, seeded. Where all values are the same it has no width, which
    says nothing: of n right answers out of n, the true share may still be as low as 1 - 3/n (the rule of three)."""
    drawn = np.random.default_rng(SEED).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.percentile(values[drawn].mean(axis=1), [(100 - LEVEL) / 2, (100 + LEVEL) / 2])
    return float(low), float(high)


def share(flags: Sequence[bool]) -> Figure:
    """The share of true ones in percent, with its interval. Raises ValueError where there are none."""
    return mean([100.0 * flag for flag in flags], "%")


def mean(values: Sequence[float], unit: str = "") -> Figure:
    """The mean, with its interval. Raises ValueError where there are no values."""
    if not values:
        raise ValueError("a mean needs at least one value")
    array = np.array(values, dtype=np.float64)
    return Figure(float(array.mean()), len(array), *interval(array), unit)


def macro_f1(gold: Sequence[str], said: Sequence[str]) -> float:
    """The mean F1 (0 to 1) over the gold labels: a label that is never said counts 0, one that is never gold only costs the others."""
    labels = sorted(set(gold))
    scores = []
    for label in labels:
        both = sum(g == label == s for g, s in zip(gold, said, strict=True))
        scores.append(2 * both / (gold.count(label) + list(said).count(label)) if both else 0.0)
    return sum(scores) / len(scores) if scores else 0.0


def recalls(gold: Sequence[str], said: Sequence[str]) -> dict[str, float]:
    """For each gold label the share of its items that were given it."""
    return {
        label: round(sum(s == label for g, s in zip(gold, said, strict=True) if g == label) / list(gold).count(label), 3)
        for label in sorted(set(gold))
    }


def against(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Whether the first of two lists of scores (0 to 1, of the same items) is `ahead`, `behind` or `even`, with the difference in points: even where
    the paired bootstrap interval of the difference holds 0."""
    difference = np.array(ours, dtype=np.float64) - np.array(theirs, dtype=np.float64)
    low, high = interval(difference)
    word = "ahead" if low > 0 else "behind" if high < 0 else "even"
    return f"{word} ({100 * difference.mean():+.1f})"
