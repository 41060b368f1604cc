"""Labelled texts to train a head on, and what they say of each task as numbers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.errors import ConfigError
from shared.heads import joined
from shared.taxonomy import LabelSet

LEAST_TEXTS = 10
NOTHING = -1  # an example says nothing of a task
_ASIDE = ("text", "title", "id", "split", "kind", "note")  # of a JSON line: no tasks, unless the label set has one of that name


@dataclass(frozen=True)
class Example:
    """A text and its label for some of the tasks; of a multi task the labels between commas. Only `own` texts are measured on; the others, from other
    sources and with labels that were carried over, are trained on with less `weight`."""

    text: str
    labels: Mapping[str, str]
    own: bool = True
    weight: float = 1.0


@dataclass(frozen=True)
class Task:
    """What a head is to learn: `labels` in the graph's order. kind: single, multi or ordinal (shared.taxonomy)."""

    name: str
    kind: str
    labels: list[str]


@dataclass(frozen=True)
class Targets:
    """What the examples say. `of`: task -> the place of the label [n], or of a multi task 0 and 1 [n, labels]; NOTHING where an example is silent."""

    tasks: list[Task]
    of: Mapping[str, NDArray[np.int64]]
    own: NDArray[np.bool_]
    weight: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.own)

    def speaks(self, task: str) -> NDArray[np.bool_]:
        """Which examples say something of a task."""
        said = self.of[task]
        return np.asarray(said != NOTHING if said.ndim == 1 else said[:, 0] != NOTHING)


def read(path: Path, labels: LabelSet) -> list[Example]:
    """JSON lines: {"text": …}, a `title` if there is one, and a label for each task. Raises ConfigError naming the line that is wrong."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if not isinstance(row, dict) or not isinstance(row.get("text"), str) or not row["text"].strip():
                raise ValueError("it has no text")
            said = {name: label for name, label in row.items() if name in labels.tasks or name not in _ASIDE}
            for task, label in said.items():
                if not isinstance(label, str):
                    raise ValueError(f"{task}: a label is a string")
                labels.check(task, label)
        except ValueError as error:
            raise ConfigError(f"{path.name} line {number}: {error}") from error
        title = str(row.get("title") or "")
        found.append(Example(joined(title, row["text"]), said))
    return found


def targets(examples: Sequence[Example], labels: LabelSet) -> Targets:
    """The examples as numbers, of the tasks that a head may answer and that have two labels at least among the own texts. Raises ConfigError where there
    is none, or where there are too few texts."""
    if sum(one.own for one in examples) < LEAST_TEXTS:
        raise ConfigError(f"there are {sum(one.own for one in examples)} labelled texts; at least {LEAST_TEXTS} are needed")
    tasks, of = [], {}
    for task in labels.asked_of("neural"):
        chosen = [task.chosen(one.labels[task.name]) if task.name in one.labels else None for one in examples]
        own = [said for said, one in zip(chosen, examples, strict=True) if said is not None and one.own]
        names = [label for label in task.labels if any(label in said for said in own)]
        if len(names) < (1 if task.kind == "multi" else 2):
            continue
        tasks.append(Task(task.name, task.kind, names))
        known = [said if said is None or task.kind == "multi" or said[0] in names else None for said in chosen]
        if task.kind == "multi":
            rows = [[NOTHING] * len(names) if said is None else [int(label in said) for label in names] for said in known]
            of[task.name] = np.array(rows, dtype=np.int64)
        else:
            of[task.name] = np.array([NOTHING if said is None else names.index(said[0]) for said in known], dtype=np.int64)
    if not tasks:
        raise ConfigError(f"no task of {labels.collection!r} has two labels among the texts, of those that a head may answer")
    own_texts = np.array([one.own for one in examples])
    return Targets(tasks, of, own_texts, np.array([one.weight for one in examples], dtype=np.float32))


def dealt(target: Targets, among: NDArray[np.int64], parts: int, seed: int) -> NDArray[np.int64]:
    """A part (0 to parts - 1) for each of the examples `among`, every label of the task with the most labels dealt out evenly, in a fixed random order."""
    main = max(target.tasks, key=lambda task: len(task.labels))
    said = target.of[main.name][among]
    key = said if said.ndim == 1 else said @ (1 << np.arange(said.shape[1]).clip(max=40))
    order = np.random.default_rng(seed).permutation(len(among))
    part = np.zeros(len(among), dtype=np.int64)
    part[order[np.argsort(key[order], kind="stable")]] = np.arange(len(among)) % parts
    return part
