"""Thresholds that turn the pool's probabilities into labels with a high macro-F1, where log loss alone would name the commonest labels too often
(Lipton et al. 2014, Optimal Thresholding of Classifiers to Maximize F1 Measure). The probabilities stay what they are. Pure."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
LEAST_POSITIVES = 10  # of a label, for a threshold of its own
STEPS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
ROUNDS, FOLDS, SEED = 3, 4, 11
LEAST_GAIN = 0.005  # in macro-F1 on what the thresholds were not chosen on; less is not worth naming a label that is not the likeliest


def several_thresholds(labels: Sequence[str], chances: Array, y: Array, known: Array) -> dict[str, float]:
    """Where any number of labels hold: for each the threshold with the highest F1, half-way between two probabilities that were seen."""
    found = {}
    for n, label in enumerate(labels):
        order = np.argsort(-chances[:, n], kind="stable")
        p, hit = chances[order, n], y[order, n]
        if hit.sum() < LEAST_POSITIVES or hit.sum() == len(hit) or not known[:, n].all():
            continue
        f1 = 2 * np.cumsum(hit) / (np.arange(1, len(hit) + 1) + hit.sum())
        cuts = np.append((p[:-1] + p[1:]) / 2, p[-1])
        usable = np.append(p[:-1] > p[1:], True)  # no cut between two equal ones
        best = int(np.argmax(np.where(usable, f1, -1)))
        found[label] = round(min(max(float(cuts[best]), 0.02), 0.98), 6)
    return found


def one_thresholds(labels: Sequence[str], chances: Array, y: Array) -> dict[str, float]:
    """Where one label holds (shared.pooling.chosen): empty unless thresholds chosen on some of the texts win LEAST_GAIN on the others."""
    gold = y.argmax(axis=1)
    fold = np.random.default_rng(SEED).permutation(len(y)) % FOLDS
    gains = []
    for number in range(FOLDS if len(y) >= FOLDS * LEAST_POSITIVES else 0):
        inside, outside = fold != number, fold == number
        chosen = _ascend(chances[inside], gold[inside])
        gains.append(_macro_f1(chances[outside] / chosen, gold[outside]) - _macro_f1(chances[outside], gold[outside]))
    if not gains or float(np.mean(gains)) < LEAST_GAIN:
        return {}
    return {label: float(value) for label, value in zip(labels, _ascend(chances, gold), strict=True) if value < 1}


def _ascend(chances: Array, gold: NDArray[np.int64]) -> Array:
    """Label by label the best of STEPS, the others as they are, ROUNDS times."""
    thresholds = np.ones(chances.shape[1])
    best = _macro_f1(chances, gold)
    for _ in range(ROUNDS):
        for n in np.flatnonzero(np.bincount(gold, minlength=len(thresholds)) >= LEAST_POSITIVES):
            for step in STEPS:
                tried = thresholds.copy()
                tried[n] = step
                if (f1 := _macro_f1(chances / tried, gold)) > best + 1e-9:
                    best, thresholds = f1, tried
    return thresholds


def _macro_f1(scores: Array, gold: NDArray[np.int64]) -> float:
    """Over the labels that are true or said of any text."""
    said, classes = scores.argmax(axis=1), scores.shape[1]
    both = np.bincount(gold[said == gold], minlength=classes)
    either = np.bincount(gold, minlength=classes) + np.bincount(said, minlength=classes)
    return float(np.mean(2 * both[either > 0] / either[either > 0]))
