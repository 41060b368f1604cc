"""A voice for tasks that no head was trained for, in use (classifier) and as what a first head has to beat (trainer): the label whose name and meaning lie
nearest to the text, by the sentence encoder alone.

Each label is said in three ways, and its vector is the unit vector of their sum; a text's cosines to the labels of a task, over a temperature, make their
probabilities (zero-shot classification by embeddings; Yin et al. 2019, Benchmarking Zero-shot Text Classification, compare it with others). Temperature and
ways were chosen on training parts of fourteen public sets, ten of them those of docs/model.md; nothing else is learned, so that it speaks of any label set
from the start.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.encoder import DIMS, Read, Vectors
from shared.events import digest_of
from shared.taxonomy import LabelSet, Task

TEMPERATURE = 0.06  # of the cosines
SLOPE, HALF = 6.5, 0.65  # of a multi task: from a label's share to whether it holds, even at HALF; lower, texts to which no label belongs get one
BARE = frozenset("yes no true false none other others unknown maybe low medium normal high".split())  # names that say nothing of a text
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class ByName:
    """The labels of some tasks as vectors. `digest` names what its answers rest on."""

    vectors: Mapping[str, Floats]  # task -> [labels, DIMS], in the task's order
    tasks: Mapping[str, Task]
    digest: str

    @classmethod
    def of(cls, encoder: Vectors, tasks: Sequence[Task]) -> "ByName":
        """Blocking: reads three short texts a label. Raises what the encoder raises."""
        vectors, spoken = {}, []
        for task in tasks:
            ways = [way for label in task.labels for way in said(task, label)]
            read = {place: vector for batch in encoder.read(ways) for place, vector in zip(batch.places, batch.pooled, strict=True)}
            summed = np.stack([read[place] for place in range(len(ways))]).reshape(len(task.labels), -1, DIMS).sum(axis=1)
            vectors[task.name] = summed / np.maximum(np.linalg.norm(summed, axis=1, keepdims=True), 1e-12)
            spoken += ways
        digest = digest_of(encoder.digest, repr((TEMPERATURE, SLOPE, HALF)), *spoken, *(f"{task.name}/{task.kind}" for task in tasks))
        return cls(vectors, {task.name: task for task in tasks}, digest)

    def says(self, read: Read) -> Iterator[tuple[str, Sequence[str], Floats]]:
        """Task, its labels, and their probabilities [n, labels] of one batch; of a multi task that each holds."""
        for name, vectors in self.vectors.items():
            # sums, and no matrix product: that takes other steps for one row than for several, and a text would differ by what is read beside it
            scores = (read.pooled[:, None, :] * vectors).sum(axis=2) / TEMPERATURE
            shares = np.exp(scores - scores.max(axis=1, keepdims=True))
            shares /= shares.sum(axis=1, keepdims=True)
            task = self.tasks[name]
            yield name, list(task.labels), 1 / (1 + np.exp(-SLOPE * (shares - HALF))) if task.kind == "multi" else shares


def said(task: Task, label: str) -> tuple[str, str, str]:
    """How a label is put to the encoder."""
    meaning = task.labels[label]
    return f"This text is about {label}.", f"{task.name}: {label}", f"{label}: {meaning}" if meaning else label


def speaks_of(task: Task) -> bool:
    """Whether nearness means something there: not of labels in an order (what is urgent is near to nothing of that name: worse than chance on our own
    items), not of safety (nearness to the word is no sign of danger), not of labels with bare names such as yes and no and no meaning beside them."""
    bare = any(label.casefold() in BARE and not meaning for label, meaning in task.labels.items())
    return "neural" in task.parts and task.kind != "ordinal" and not task.safety_labels and not bare


def left_to_names(labels: LabelSet, taught: Sequence[str]) -> list[Task]:
    """The tasks of a label set that the encoder answers by name: those that no head was `taught`."""
    return [task for task in labels.tasks.values() if task.name not in taught and speaks_of(task)]
