"""Fit what shared.pooling uses: a temperature for each part, then weights and biases for each label. Pure: rows in, a TaskFusion out.

Temperatures: one number a part, by log loss (Guo et al. 2017). Weights: the pool is a multinomial logistic regression on the parts' log-probabilities (or,
where any number of labels hold, a logistic regression a label on their logits), so its log loss is convex and L-BFGS-B (Byrd et al. 1995) finds its one
minimum. First one weight a part, for all labels; then one for each label, drawn towards that by L2, as strongly as five-fold cross-validation says.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.trainer.runs.pool_thresholds import one_thresholds, several_thresholds
from shared.pooling import LEAST, TaskFusion, Voices, log_probabilities

Array = NDArray[np.float64]
STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0, math.inf)  # of the pull towards one weight for all labels; inf: no weights of their own
FOLDS, SEED = 5, 11
COLDEST, WARMEST = 0.05, 20.0
MOST_WEIGHT, MOST_BIAS = 50.0, 10.0
DIGITS = 6


@dataclass(frozen=True)
class Example:
    """What the parts said of one text, and the true label; of a multi task all true ones."""

    gold: frozenset[str]
    voices: Voices
    group: str = field(default="", compare=False)


def temperature(examples: Sequence[Example], part: str, multi: bool) -> float:
    """The one that gives the truth the highest likelihood; 1 where the part never spoke of it."""
    from scipy.optimize import minimize_scalar

    rows = [e for e in examples if e.voices.get(part) and (multi or any(label in e.voices[part] for label in e.gold))]
    if not rows:
        return 1.0
    if multi:
        odds = np.array([_logit(p) for e in rows for p in e.voices[part].values()])
        holds = np.array([label in e.gold for e in rows for label in e.voices[part]])

        def loss(log_t: float) -> float:
            return float(np.mean(np.logaddexp(0, np.where(holds, -odds, odds) / math.exp(log_t))))
    else:
        names = sorted({label for e in rows for label in e.voices[part]})
        logs = np.full((len(rows), len(names)), -np.inf)
        for n, e in enumerate(rows):
            for label, p in e.voices[part].items():
                logs[n, names.index(label)] = math.log(max(p, LEAST))
        true = np.array([names.index(next(label for label in sorted(e.gold) if label in e.voices[part])) for e in rows])

        def loss(log_t: float) -> float:
            scaled = logs / math.exp(log_t)
            return float(np.mean(np.logaddexp.reduce(scaled, axis=1) - scaled[np.arange(len(rows)), true]))

    found: Any = minimize_scalar(loss, bounds=(math.log(COLDEST), math.log(WARMEST)), method="bounded", options={"xatol": 1e-4})
    return round(float(math.exp(found.x)), DIGITS)


def fit(labels: Sequence[str], examples: Sequence[Example], parts: Sequence[str], multi: bool, ordinal: bool = False) -> TaskFusion:
    """Temperatures from all examples in which a part speaks; weights, biases and thresholds from those in which all parts do, of which there must be
    some. The same examples give the same numbers."""
    temperatures = {part: temperature(examples, part, multi) for part in parts}
    x, known = features(labels, [e for e in examples if all(e.voices.get(p) for p in parts)], parts, temperatures, multi)
    y = np.array([[float(label in e.gold) for label in labels] for e in examples if all(e.voices.get(p) for p in parts)])
    shared = _shared(x, y, known, multi)
    strength = _strength(x, y, known, multi)
    weights, bias = _own(x, y, known, multi, shared, strength)
    chances = predict(x, weights, bias, known, multi)
    thresholds = several_thresholds(labels, chances, y, known) if multi else {} if ordinal else one_thresholds(labels, chances, y)
    return TaskFusion(
        parts=list(parts),
        temperatures=temperatures,
        weights={part: {label: _short(weights[k, n]) for n, label in enumerate(labels)} for k, part in enumerate(parts)},
        others={part: _short(shared[k]) for k, part in enumerate(parts)},
        bias={label: _short(bias[n]) for n, label in enumerate(labels) if _short(bias[n])},
        thresholds=thresholds,
    )


def features(
    labels: Sequence[str], examples: Sequence[Example], parts: Sequence[str], temperatures: dict[str, float], multi: bool
) -> tuple[Array, Array]:
    """[examples, parts, labels]: tempered log-probabilities, or logits; and [examples, labels]: 1 where a part knows the label, so that it can be answered
    (of a multi task: where all do, because for any other the weights are renormalised)."""
    x, known = np.zeros((len(examples), len(parts), len(labels))), np.full((len(examples), len(labels)), float(multi))
    floor = math.log(1 / len(labels))
    for n, e in enumerate(examples):
        for k, part in enumerate(parts):
            said, t = e.voices[part], temperatures[part]
            each = {label: _logit(p) / t for label, p in said.items()} if multi else log_probabilities(said, t)
            x[n, k] = [each.get(label, 0.0 if multi else floor) for label in labels]
            there = [float(label in said) for label in labels]
            known[n] = np.minimum(known[n], there) if multi else np.maximum(known[n], there)
    return x, known


def predict(x: Array, weights: Array, bias: Array, known: Array, multi: bool) -> Array:
    """[examples, labels]: the pool's probabilities."""
    scores = np.einsum("nkl,kl->nl", x, weights) + bias
    if multi:
        return np.asarray(np.exp(-np.logaddexp(0, -scores)) * known)
    scores = np.where(known > 0, scores, -np.inf)
    return np.asarray(np.exp(scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)))


def _loss(x: Array, y: Array, known: Array, multi: bool, weights: Array, bias: Array) -> tuple[float, Array, Array]:
    """Mean log loss and its slopes in weights [parts, labels] and bias [labels]. A truth that nobody can answer costs what LEAST does, and moves nothing."""
    p = predict(x, weights, bias, known, multi)
    n = len(x)
    if multi:
        value = -np.sum(known * (y * np.log(np.maximum(p, LEAST)) + (1 - y) * np.log(np.maximum(1 - p, LEAST)))) / n
        error = (p - y) * known / n
    else:
        value = -np.sum(y * np.log(np.maximum(p, LEAST))) / n
        error = (p * (y * known).sum(axis=1, keepdims=True) - y * known) / n
    return float(value), np.einsum("nl,nkl->kl", error, x), error.sum(axis=0)


def _shared(x: Array, y: Array, known: Array, multi: bool) -> Array:
    """[parts]: one weight a part, never below 0."""
    from scipy.optimize import minimize

    parts, labels = x.shape[1:]
    start = np.full(parts, 1 / parts)

    def objective(v: Array) -> tuple[float, Array]:
        value, slope, _ = _loss(x, y, known, multi, np.repeat(v[:, None], labels, axis=1), np.zeros(labels))
        return value + float(np.sum((v - start) ** 2)) / (2 * len(x)), slope.sum(axis=1) + (v - start) / len(x)

    found: Any = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=[(0, MOST_WEIGHT)] * parts)
    return np.asarray(found.x)


def _own(x: Array, y: Array, known: Array, multi: bool, shared: Array, strength: float) -> tuple[Array, Array]:
    """Weights [parts, labels] and bias [labels], drawn towards the shared weights and no bias."""
    from scipy.optimize import minimize

    n, parts, labels = x.shape
    centre = np.repeat(shared[:, None], labels, axis=1)
    if math.isinf(strength):
        return centre, np.zeros(labels)

    def objective(theta: Array) -> tuple[float, Array]:
        weights, bias = theta[: parts * labels].reshape(parts, labels), theta[parts * labels :]
        value, slope, tilt = _loss(x, y, known, multi, weights, bias)
        away = np.concatenate([(weights - centre).ravel(), bias])
        return value + strength * float(away @ away) / (2 * n), np.concatenate([slope.ravel(), tilt]) + strength * away / n

    bounds = [(0, MOST_WEIGHT)] * (parts * labels) + [(-MOST_BIAS, MOST_BIAS)] * labels
    start = np.concatenate([centre.ravel(), np.zeros(labels)])
    found: Any = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 500})
    return found.x[: parts * labels].reshape(parts, labels), found.x[parts * labels :]


def _strength(x: Array, y: Array, known: Array, multi: bool) -> float:
    """The strength of the pull with the lowest log loss on what was not fitted."""
    fold = np.random.default_rng(SEED).permutation(len(x)) % FOLDS
    losses = dict.fromkeys(STRENGTHS, 0.0)
    for number in range(FOLDS if len(x) >= 2 * FOLDS else 0):
        inside, outside = fold != number, fold == number
        shared = _shared(x[inside], y[inside], known[inside], multi)
        for strength in STRENGTHS:
            weights, bias = _own(x[inside], y[inside], known[inside], multi, shared, strength)
            losses[strength] += _loss(x[outside], y[outside], known[outside], multi, weights, bias)[0]
    return min(reversed(STRENGTHS), key=lambda strength: losses[strength])  # the strongest of equals


def _logit(p: float) -> float:
    bounded = min(max(p, LEAST), 1 - LEAST)
    return math.log(bounded / (1 - bounded))


def _short(value: float) -> float:
    return round(float(value), DIGITS) + 0.0  # without the minus of -0.0
