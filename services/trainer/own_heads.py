"""Which neural heads the loop trains by itself, and when there is enough to train one on. Pure: no torch, no files.

The heads that come with Feedloop learned from thousands of texts, and one of some dozens of corrections must not take their place: a collection for which
a shipped head speaks is left alone. All others are a user's own, where the encoder goes by the labels' names until a head has been trained.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from services.trainer.dataset import Example
from shared.taxonomy import LabelSet, Task

LEAST = 12  # training examples of a task
LEAST_LABELS, LEAST_EACH = 2, 3  # so many labels of it have so many training examples each
RECIPE = {"least": float(LEAST), "least_labels": float(LEAST_LABELS), "least_each": float(LEAST_EACH), "version": 1.0}
"""Part of a head's snapshot: where it changes, the same corrections are another run."""


class Readiness(BaseModel):
    """How far a task's corrections are on the way to a head. Counted is the training part alone (confirmations too): what is held out to
    judge a head by brings it no nearer. Only `silent` is asked of both parts.

    examples: training examples. counts: how many of them name each label of the task, in its order; of a multi task one may name several,
    or none. more: how many are missing at least, 0 where the task is `ready`; `missing`: the same in a sentence, then empty. silent: labels
    that nobody has named in a correction or confirmation.
    """

    model_config = ConfigDict(frozen=True)

    collection: str
    task: str
    examples: int
    counts: dict[str, int]
    ready: bool
    more: int
    missing: str
    silent: list[str]


def enough(labels: LabelSet, examples: Sequence[Example]) -> dict[str, Task]:
    """The tasks that have enough training examples, in the label set's order."""
    return {one.task: labels.tasks[one.task] for one in readiness(labels, examples) if one.ready}


def readiness(labels: LabelSet, examples: Sequence[Example]) -> list[Readiness]:
    """How far each task is that a head may be taught, in the label set's order; `examples` are all of the label set, or the training part alone.
    Raises ValueError for a label that its task does not have."""
    taught = [task for task in labels.asked_of("neural") if not task.safety]  # see dataset.teachable
    return [_of_task(labels.collection, task, [one for one in examples if one.task == task.name]) for task in taught]


def _of_task(collection: str, task: Task, said: Sequence[Example]) -> Readiness:
    chosen = [task.chosen(one.label) for one in said if one.split == "train"]
    named = Counter(label for labels in chosen for label in labels)
    counts = {label: named[label] for label in task.labels}
    lacking = [max(0, LEAST_EACH - count) for count in sorted(counts.values(), reverse=True)[:LEAST_LABELS]]
    # an answer of a multi task may name all the labels that lack at once
    more = max(0, LEAST - len(chosen), max(lacking) if task.kind == "multi" else sum(lacking))
    ever = {label for one in said for label in task.chosen(one.label)}
    missing = _missing(len(chosen), counts)
    return Readiness(
        collection=collection,
        task=task.name,
        examples=len(chosen),
        counts=counts,
        ready=not missing,
        more=more,
        missing=missing,
        silent=[label for label in task.labels if label not in ever],
    )


def _missing(examples: int, counts: Mapping[str, int]) -> str:
    parts = [f"{LEAST - examples} more of {LEAST} corrections or confirmations"] if examples < LEAST else []
    have = [repr(label) for label, count in counts.items() if count >= LEAST_EACH]
    if len(have) < LEAST_LABELS:
        parts.append(f"{LEAST_EACH} each of {LEAST_LABELS} labels at least, so far {'only of ' + ', '.join(have) if have else 'of none'}")
    return "; ".join(parts)
