"""How good a head is on texts that it did not see."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.trainer.runs.heads.examples import Targets, Task

BINS = 15
Chances = NDArray[np.float64]


def figures(target: Targets, places: NDArray[np.int64], said: Mapping[str, Chances]) -> dict[str, Any]:
    """Task -> its figures over the texts `places` that say something of it; `said` holds the probabilities of these places, in their order."""
    found = {}
    for task in target.tasks:
        spoken = target.speaks(task.name)[places]
        if spoken.any():
            truth, chances = target.of[task.name][places][spoken], said[task.name][spoken]
            found[task.name] = several(task, truth, chances) if task.kind == "multi" else one_of(task, truth, chances)
    return found


def one_of(task: Task, truth: NDArray[np.int64], chances: Chances) -> dict[str, Any]:
    """Accuracy, macro-F1, the share of the commonest label, log-loss, expected calibration error (15 bins of the top probability), F1 a label; of an
    ordinal task also how many labels the answer is off on average."""
    top = chances.argmax(axis=1)
    f1 = {label: _f1(truth == n, top == n) for n, label in enumerate(task.labels)}
    found: dict[str, Any] = {
        "texts": len(truth),
        "accuracy": _round(float((top == truth).mean())),
        "macro_f1": _round(float(np.mean(list(f1.values())))),
        "majority": _round(float(np.bincount(truth).max() / len(truth))),
        "log_loss": _round(float(-np.log(chances[np.arange(len(truth)), truth].clip(min=1e-9)).mean())),
        "ece": _round(ece(chances.max(axis=1), top == truth)),
        "f1": {label: _round(value) for label, value in f1.items()},
    }
    if task.kind == "ordinal":
        found["off_by"] = _round(float(np.abs(top - truth).mean()))
    return found


def several(task: Task, truth: NDArray[np.int64], chances: Chances) -> dict[str, Any]:
    """Micro- and macro-F1 with a label holding from 0.5 on, the share of texts with all labels right, and F1 a label."""
    there, given = chances >= 0.5, truth == 1
    f1 = {label: _f1(given[:, n], there[:, n]) for n, label in enumerate(task.labels)}
    return {
        "texts": len(truth),
        "all_right": _round(float((there == given).all(axis=1).mean())),
        "micro_f1": _round(_f1(given.ravel(), there.ravel())),
        "macro_f1": _round(float(np.mean(list(f1.values())))),
        "ece": _round(ece(chances.ravel(), given.ravel())),
        "f1": {label: _round(value) for label, value in f1.items()},
    }


def ece(sure: Chances, right: NDArray[np.bool_]) -> float:
    """Expected calibration error: over bins of one width, the mean distance between how sure and how often right."""
    place = np.minimum((sure * BINS).astype(int), BINS - 1)
    return float(sum(abs(sure[place == n].mean() - right[place == n].mean()) * (place == n).mean() for n in range(BINS) if (place == n).any()))


def _f1(truth: NDArray[np.bool_], said: NDArray[np.bool_]) -> float:
    return 2 * int((truth & said).sum()) / max(int(truth.sum() + said.sum()), 1)


def _round(value: float) -> float:
    return round(value, 3)
