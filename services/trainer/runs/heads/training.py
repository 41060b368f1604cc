"""From labelled texts to a measured network, whatever its kind."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from services.trainer.runs.heads import logistic, mlp, textcnn, tuned
from services.trainer.runs.heads.examples import Targets, dealt
from services.trainer.runs.heads.figures import figures
from services.trainer.runs.heads.network import Network
from services.trainer.runs.heads.start import Start
from services.trainer.runs.heads.vectors import Store

KINDS: dict[str, ModuleType] = {"logistic": logistic, "mlp": mlp, "textcnn": textcnn, "tuned": tuned}
HELD = 7  # one text in so many is held out to stop by and to fit the temperatures on
MANY = 3000  # from so many own texts on one fold in five is measured and not all five: five trainings would be long, and one split is enough
FOLDS, SEED = 5, 11


@dataclass(frozen=True)
class Trained:
    """`figures`: task -> what the network scored on own texts that it did not see; `measured`: how they came about. `said`: task -> the probabilities
    [n, labels] of these texts, which stand at `places`."""

    network: Network
    figures: dict[str, Any]
    measured: str
    places: NDArray[np.int64]
    said: dict[str, NDArray[np.float64]]


def train(kind: str, store: Store, target: Targets, seed: int = SEED, measure: bool = True, start: Start | None = None) -> Trained:
    """Train on all texts; before that, on all but a fold, to measure. `start`: the head whose layers a tuned one begins with; no other kind has any."""
    torch.use_deterministic_algorithms(True)
    places, said, how = measured(kind, store, target, seed, start) if measure else (np.zeros(0, dtype=np.int64), {}, "")
    found = figures(target, places, said) if measure else {}
    return Trained(once(kind, store, target, np.arange(len(target)), seed, start), found, how, places, said)


def once(kind: str, store: Store, target: Targets, places: NDArray[np.int64], seed: int = SEED, start: Start | None = None) -> Network:
    """One training on these texts. What is held out, to stop by and for the temperatures, is dealt from the own ones among them. `start` as in train."""
    own = places[target.own[places]]
    held = own[dealt(target, own, HELD, seed) == 0]
    network: Network = KINDS[kind].train(store, target, np.setdiff1d(places, held), held, seed, **({"start": start} if start else {}))
    return network


def measured(
    kind: str, store: Store, target: Targets, seed: int, start: Start | None = None
) -> tuple[NDArray[np.int64], dict[str, NDArray[np.float64]], str]:
    """Cross-validation in five folds over the own texts; where there are many, one of the folds alone. Texts of others are trained on throughout. Returns
    the places of the texts that were measured, what was said of them, and how."""
    own = np.flatnonzero(target.own)
    fold = dealt(target, own, FOLDS, seed + 1)
    chosen = range(FOLDS) if len(own) < MANY else range(1)
    parts: list[dict[str, NDArray[np.float64]]] = []
    places: list[NDArray[np.int64]] = []
    for number in chosen:
        test = own[fold == number]
        network = once(kind, store, target, np.setdiff1d(np.arange(len(target)), test), seed, start)
        parts.append(network.probabilities(store, test))
        places.append(test)
    said = {task.name: np.concatenate([part[task.name] for part in parts]) for task in target.tasks}
    how = f"cross-validation, {FOLDS} folds" if len(own) < MANY else f"one text in {FOLDS} held out"
    return np.concatenate(places), said, f"{how}, {len(own)} texts"


def summary(found: dict[str, Any]) -> Sequence[str]:
    """A line a task."""
    lines = []
    for task, one in found.items():
        first = f"accuracy {one['accuracy']:.3f}, commonest label {one['majority']:.3f}" if "accuracy" in one else f"all right {one['all_right']:.3f}"
        lines.append(f"{task}: macro-F1 {one['macro_f1']:.3f}, {first}, ECE {one['ece']:.3f}, {one['texts']} texts")
    return lines
