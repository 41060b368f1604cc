"""How good probabilities are: accuracy, macro-F1, log loss, calibration error, and what prediction sets cover. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared import conformal
from shared.conformal import Kind
from shared.pooling import LEAST, chosen, median

BINS = 15  # as in Guo et al. 2017
Chances = Mapping[str, float]


@dataclass(frozen=True)
class Figures:
    """`ece`: expected calibration error, the mean distance between a stated probability and how often it came true, over BINS of equal width: of the label
    that was said, or of every label where any number hold. Log loss in nats a text (or a label of it)."""

    texts: int
    accuracy: float
    macro_f1: float
    log_loss: float
    ece: float


def figures(
    golds: Sequence[frozenset[str]], chances: Sequence[Chances], labels: Sequence[str], kind: Kind, thresholds: Mapping[str, float], threshold: float
) -> Figures:
    """`thresholds` as in TaskFusion; `threshold` is for labels of a multi task that have none. Accuracy of a multi task is that of whole label sets."""
    if kind == "multi":
        said = [frozenset(label for label, p in each.items() if p >= thresholds.get(label, threshold)) for each in chances]
        pairs = [(each.get(label, 0.0), label in gold) for gold, each in zip(golds, chances, strict=True) for label in labels]
        losses = [-math.log(max(p if holds else 1 - p, LEAST)) for p, holds in pairs]
    else:
        said = [frozenset([median(each) if kind == "ordinal" else chosen(each, thresholds)]) for each in chances]
        pairs = [(each[label], label in gold) for gold, each, one in zip(golds, chances, said, strict=True) for label in one]
        losses = [-math.log(max(*(each.get(label, 0.0) for label in gold), LEAST)) for gold, each in zip(golds, chances, strict=True)]
    right = sum(one == gold for one, gold in zip(said, golds, strict=True))
    return Figures(len(golds), right / len(golds), macro_f1(golds, said, labels), sum(losses) / len(losses), ece(pairs))


def ece(pairs: Sequence[tuple[float, bool]]) -> float:
    """Of (stated probability, came true)."""
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(BINS)]
    for p, true in pairs:
        bins[min(int(p * BINS), BINS - 1)].append((p, true))
    return sum(abs(sum(p for p, _ in each) - sum(true for _, true in each)) for each in bins) / len(pairs) if pairs else 0.0


def macro_f1(golds: Sequence[frozenset[str]], said: Sequence[frozenset[str]], labels: Sequence[str]) -> float:
    """Mean F1 over the labels that are true or said of any text."""
    scores = []
    for label in labels:
        both = sum(label in gold and label in one for gold, one in zip(golds, said, strict=True))
        either = sum((label in gold) + (label in one) for gold, one in zip(golds, said, strict=True))
        if either:
            scores.append(2 * both / either)
    return sum(scores) / len(scores) if scores else 0.0


@dataclass(frozen=True)
class Coverage:
    """covered: share of texts whose truth is among what is possible (of a multi task: of which nothing that was not in doubt is wrong). unsure: share of
    texts that go to a person. right_when_sure: share of the others whose one possible label is right."""

    covered: float
    unsure: float
    right_when_sure: float


def coverage(golds: Sequence[frozenset[str]], chances: Sequence[Chances], labels: Sequence[str], kind: Kind, most: float) -> Coverage:
    covered = unsure = right = 0
    for gold, each in zip(golds, chances, strict=True):
        found = frozenset(conformal.possible(labels, each, most, kind))
        if kind == "multi":
            doubtful = frozenset(conformal.doubtful(each, most))
            inside, sure = found - doubtful == gold - doubtful, not doubtful
        else:
            inside, sure = gold <= found, len(found) == 1
        covered += inside
        unsure += not sure
        right += sure and inside
    n = len(golds)
    return Coverage(covered / n, unsure / n, right / (n - unsure) if n > unsure else 0.0)
