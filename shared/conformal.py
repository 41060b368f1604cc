"""Split-conformal prediction: which labels are possible, such that the true one is missing from them no more often than the error rate says.

Angelopoulos & Bates 2021, A Gentle Introduction to Conformal Prediction; the score is 1 - p(true label) (Sadinle et al. 2019), which gives the smallest
sets on average. Where any number of labels hold, the score is that of the label that was judged worst, so that the promise is on all labels at once. The
promise holds on average over texts like those of the split, not for each kind of text. Pure, and shared because use and fitting must agree.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Literal

Kind = Literal["single", "ordinal", "multi"]
KEPT = 400  # scores of a split that are kept; more are thinned out
_TOLERANCE = 1e-9


def score(chances: Mapping[str, float], true: Collection[str], kind: Kind) -> float:
    """How strange the truth is, 0 to 1. `true`: the one true label, or all true ones of a multi task."""
    if kind != "multi":
        return 1 - max((chances.get(label, 0.0) for label in true), default=0.0)
    wrong = [1 - p if label in true else p for label, p in chances.items()]
    return max([*wrong, *(1.0 for label in true if label not in chances)], default=0.0)


def kept(scores: Sequence[float]) -> list[float]:
    """The scores of a split as they are stored: ascending, four digits, rounded up, at most KEPT. Limits drawn from these are never below those of all."""
    ordered = sorted(scores)
    n = len(ordered)
    if n > KEPT:
        ordered = [ordered[min(n, math.ceil(place * (n + 1) / (KEPT + 1))) - 1] for place in range(1, KEPT + 1)]
    return [min(1.0, math.ceil(value * 10_000 - 1e-6) / 10_000) for value in ordered]


def limit(scores: Sequence[float], error_rate: float) -> float:
    """The score up to which a label counts as possible: the ceil((n + 1)(1 - error rate))-th of the scores, 1 where there are too few for that."""
    place = math.ceil((len(scores) + 1) * (1 - error_rate) - _TOLERANCE)
    return scores[place - 1] if place <= len(scores) else 1.0


def possible(labels: Sequence[str], chances: Mapping[str, float], most: float, kind: Kind) -> list[str]:
    """The labels that may be true, in their order, at a limit; of an ordinal task all between the outermost ones too. May be empty."""
    found = [place for place, label in enumerate(labels) if 1 - chances.get(label, 0.0) <= most + _TOLERANCE]
    if kind == "ordinal" and found:
        found = list(range(found[0], found[-1] + 1))
    return [labels[place] for place in found]


def doubtful(chances: Mapping[str, float], most: float) -> list[str]:
    """Of a multi task: the labels that may hold and may not, and those of which neither would be expected."""
    return [label for label, p in chances.items() if (1 - p <= most + _TOLERANCE) == (p <= most + _TOLERANCE)]
