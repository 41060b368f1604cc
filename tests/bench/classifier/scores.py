"""The arithmetic of the figures: accuracy, macro-F1, calibration error, false alarms at a recall, each with a bootstrap interval. Pure.

Everything is a matrix of texts by labels, so that one label or several can hold. Intervals are percentile bootstrap (Efron 1979) over the texts: a
resample is a row of weights, how often each text was drawn, and a figure of all resamples is one product of matrices.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.bench.model.figures import LEVEL, RESAMPLES, SEED, Figure, share

BINS = 15  # as in Guo et al. 2017
CURVE_RESAMPLES = 500  # of figures that need a sorted list each
CHANCE_DRAWS = 200
Flags = NDArray[np.bool_]  # [texts, labels]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Answers:
    """What one contender said of the texts: the labels that hold, and every label's probability."""

    said: Flags
    chances: Floats

    def __post_init__(self) -> None:
        if self.said.shape != self.chances.shape:
            raise ValueError(f"{self.said.shape} labels that hold, and {self.chances.shape} probabilities")
        if not np.isfinite(self.chances).all() or self.chances.min(initial=0) < 0 or self.chances.max(initial=0) > 1 + 1e-6:
            raise ValueError("a probability is not between 0 and 1")


def draws(n: int, resamples: int = RESAMPLES) -> Floats:
    """[resamples, n]: how often each text was drawn. The same n gives the same draws, so that two contenders are compared on the same ones."""
    if n < 1:
        raise ValueError("figures need at least one text")
    return np.random.default_rng(SEED).multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.float64)


def bounds(values: Floats) -> tuple[float, float]:
    """The 95 % interval of the resampled figures; of those that can be computed."""
    low, high = np.nanpercentile(values, [(100 - LEVEL) / 2, (100 + LEVEL) / 2])
    return float(low), float(high)


def right(gold: Flags, said: Flags) -> Flags:
    """Text by text: whether exactly the true labels were said."""
    return np.asarray((gold == said).all(axis=1))


def accuracy(gold: Flags, said: Flags) -> Figure:
    """The share of texts of which exactly the true labels were said, in percent."""
    return share(right(gold, said).tolist())


def _macro_f1(gold: Flags, said: Flags, weights: Floats) -> Floats:
    """[resamples], 0 to 1: the mean F1 over the labels that are true of a drawn text. A label that is never said counts 0."""
    true = weights @ gold
    both = weights @ (gold & said)
    with np.errstate(invalid="ignore", divide="ignore"):
        f1 = np.where(true > 0, 2 * both / (true + weights @ said), np.nan)
    counted = (true > 0).sum(axis=1)
    return np.asarray(np.where(counted > 0, np.nansum(f1, axis=1) / np.maximum(counted, 1), np.nan))


def macro_f1(gold: Flags, said: Flags) -> Figure:
    """In percent, with its interval."""
    value = float(_macro_f1(gold, said, np.ones((1, len(gold))))[0])
    low, high = bounds(100 * _macro_f1(gold, said, draws(len(gold))))
    return Figure(100 * value, len(gold), low, high)


def f1_difference(gold: Flags, ours: Flags, theirs: Flags) -> Figure:
    """Macro-F1 of the first less that of the second, in points, with the paired interval: both are drawn alike."""
    whole, weights = np.ones((1, len(gold))), draws(len(gold))
    value = float((_macro_f1(gold, ours, whole) - _macro_f1(gold, theirs, whole))[0])
    low, high = bounds(100 * (_macro_f1(gold, ours, weights) - _macro_f1(gold, theirs, weights)))
    return Figure(100 * value, len(gold), low, high, "points")


def verdict(difference: Figure) -> str:
    """`ahead`, `behind` or `even`, with the difference and its interval: even where the interval holds 0."""
    assert difference.low is not None and difference.high is not None
    word = "ahead" if difference.low > 0 else "behind" if difference.high < 0 else "even"
    return f"{word} ({difference.value:+.1f} [{difference.low:+.1f} to {difference.high:+.1f}])"


def stated(gold: Flags, answers: Answers, multi: bool) -> tuple[Floats, Floats]:
    """([texts, pairs] probabilities that were stated, [texts, pairs] whether they came true): of the label that was said, or of every label where any
    number hold. Of a text of which nothing was said, the likeliest label."""
    if multi:
        return answers.chances, gold.astype(np.float64)
    rows = np.arange(len(gold))
    place = np.where(answers.said.any(axis=1), answers.said.argmax(axis=1), answers.chances.argmax(axis=1))
    return answers.chances[rows, place][:, None], gold[rows, place].astype(np.float64)[:, None]


def _gaps(chances: Floats, came_true: Floats) -> Floats:
    """[texts, bins]: how far each text moves the sum of (stated less true) of each bin."""
    texts, pairs = chances.shape
    gaps = np.zeros((texts, BINS))
    bins = np.minimum((chances * BINS).astype(np.int64), BINS - 1)
    np.add.at(gaps, (np.repeat(np.arange(texts), pairs), bins.ravel()), (chances - came_true).ravel())
    return gaps


def calibration_error(gold: Flags, answers: Answers, multi: bool) -> Figure:
    """Expected calibration error, 0 to 1 (Naeini et al. 2015): the mean distance between a stated probability and how often it came true, over bins of equal
    width. Noise alone makes it larger than 0, and the interval's middle larger than the value: with few texts read it as an upper bound."""
    chances, came_true = stated(gold, answers, multi)
    gaps, pairs = _gaps(chances, came_true), chances.size
    low, high = bounds(np.abs(draws(len(gold)) @ gaps).sum(axis=1) / pairs)
    return Figure(float(np.abs(gaps.sum(axis=0)).sum() / pairs), len(gold), low, high, "")


def error_by_chance(gold: Flags, answers: Answers, multi: bool) -> float:
    """The expected calibration error, 0 to 1, that probabilities like these would have if they were perfectly honest: the mean over outcomes that are drawn
    by them. What is above it is miscalibration; the rest is the sample's size (Bröcker & Smith 2007, Increasing the Reliability of Reliability
    Diagrams)."""
    chances, _ = stated(gold, answers, multi)
    random = np.random.default_rng(SEED)
    found = [np.abs(_gaps(chances, (random.random(chances.shape) < chances).astype(np.float64)).sum(axis=0)).sum() for _ in range(CHANCE_DRAWS)]
    return float(np.mean(found) / chances.size)


def threshold_at(scores: Floats, risky: Flags, recall: float) -> float:
    """The highest threshold at which at least this share (0 to 1) of the risky texts scores as much or more. Raises ValueError where there are none."""
    found = np.sort(scores[risky])[::-1]
    if not len(found):
        raise ValueError("no text is risky, so there is no recall to fix")
    return float(found[max(1, math.ceil(recall * len(found) - 1e-9)) - 1])


def false_alarms(scores: Floats, risky: Flags, recall: float) -> float:
    """The share (0 to 1) of the safe texts that score as much as the threshold at this recall, or more. Ties count as alarms: a part that can't tell two
    texts apart raises both or none."""
    safe = scores[~risky]
    if not len(safe):
        raise ValueError("no text is safe, so there are no false alarms to count")
    return float((safe >= threshold_at(scores, risky, recall)).mean())


def alarms_at(scores: Floats, risky: Flags, recall: float) -> Figure:
    """False alarms at a recall, in percent. The threshold is found anew in every resample, so the interval holds its uncertainty too. `n`: safe texts."""
    value = false_alarms(scores, risky, recall)
    random, found = np.random.default_rng(SEED), []
    yes, no = np.flatnonzero(risky), np.flatnonzero(~risky)
    for _ in range(CURVE_RESAMPLES):
        drawn = np.concatenate([random.choice(yes, len(yes)), random.choice(no, len(no))])
        found.append(100 * false_alarms(scores[drawn], risky[drawn], recall))
    low, high = bounds(np.array(found))
    return Figure(100 * value, int((~risky).sum()), low, high)
