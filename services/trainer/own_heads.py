"""Which neural heads the loop trains by itself, and when there is enough to train one on. Pure: no torch, no files.

The heads that come with Feedloop learned from thousands of texts, and one of some dozens of corrections must not take their place: a collection for which
a shipped head speaks is left alone. All others are a user's own, where the encoder goes by the labels' names until a head has been trained.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from services.trainer.dataset import Example
from shared.taxonomy import LabelSet, Task

LEAST = 12  # training examples of a task
LEAST_LABELS, LEAST_EACH = 2, 3  # so many labels of it have so many training examples each
RECIPE = {"least": float(LEAST), "least_labels": float(LEAST_LABELS), "least_each": float(LEAST_EACH), "version": 1.0}
"""Part of a head's snapshot: where it changes, the same corrections are another run."""


def enough(labels: LabelSet, examples: Sequence[Example]) -> dict[str, Task]:
    """The tasks that have enough training examples, in the label set's order."""
    return {task.name: task for task in labels.asked_of("neural") if _enough(task, [one.label for one in examples if one.task == task.name])}


def _enough(task: Task, said: Iterable[str]) -> bool:
    chosen = [task.chosen(answer) for answer in said]
    counts = Counter(label for labels in chosen for label in labels)
    return len(chosen) >= LEAST and sum(count >= LEAST_EACH for count in counts.values()) >= LEAST_LABELS
