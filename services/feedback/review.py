"""Which items a person should look at, and in what order. Pure.

First those whose verdict carries a safety label, the gravest first; then those with an unsure verdict, the most informative first; then the rest. Within
each the newest first. What a person has confirmed or corrected is judged and is in no queue.

How informative an answer would be is the entropy of the fused probabilities divided by the highest entropy that so many labels can have (uncertainty
sampling; Settles 2009, Active Learning Literature Survey, 2.1), the highest over the unsure tasks. Where a safety label is among those that are possible it
counts SAFETY_WEIGHT times. Divided, because otherwise a task of ten labels would nearly always stand before one of three.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Literal

from shared.care import gravest, severity
from shared.events import Decision, DocumentClassified, FeedbackGiven, Record
from shared.taxonomy import Task, label_set

SAFETY_WEIGHT = 2.0  # a doubt about somebody's safety stands before any other doubt that is less than twice as great
Why = Literal["safety", "unsure", "rest", "judged"]
_PLACE: dict[Why, int] = {"safety": 3, "unsure": 2, "rest": 1, "judged": 0}


class Review(Record):
    """Why an item is where it is in the queue. `weight`: of safety the severity, 0 to 1; of unsure the information, 0 to SAFETY_WEIGHT."""

    why: Why
    task: str = ""
    weight: float = 0.0

    def rank(self) -> tuple[int, float]:
        """The higher, the earlier."""
        return _PLACE[self.why], self.weight


def tasks_of(collection: str) -> Mapping[str, Task]:
    """The tasks of a collection; none for a name that is no collection's: one odd record must not keep the page from showing the others."""
    try:
        return label_set(collection).tasks
    except ValueError:
        return {}


def review(item: DocumentClassified, said: Iterable[FeedbackGiven]) -> Review:
    """`said`: the feedback on the item that still holds."""
    tasks = tasks_of(item.collection)
    grave, task = gravest(item.decision, tasks)
    if any(_settles(one, item, grave, tasks) for one in said):
        return Review(why="judged")
    if grave:
        return Review(why="safety", task=task, weight=round(grave, 6))
    unsure = [(_weighed(decision, tasks.get(name)), name) for name, decision in item.decision.items() if decision.unsure]
    if unsure:
        weight, task = max(unsure, key=lambda one: one[0])
        return Review(why="unsure", task=task, weight=round(weight, 6))
    return Review(why="rest")


def information(decision: Decision, task: Task | None = None) -> float:
    """Entropy of a decision's probabilities as a share of the highest possible, 0 to 1. Of a multi task each label is a yes or no of its own. Where only
    the label's own probability is known, what is left is spread evenly, which is the most that may be in doubt."""
    known = decision.probabilities
    labels = max(len(task.labels) if task else 0, len(known), 2)
    if task and task.kind == "multi":
        return sum(_bits(p) + _bits(1 - p) for p in (known.values() or [decision.probability])) / labels
    chances = list(known.values()) or [decision.probability, *[(1 - decision.probability) / (labels - 1)] * (labels - 1)]
    total = sum(chances)
    return min(1.0, sum(_bits(p / total) for p in chances) / math.log2(labels)) if total > 0 else 1.0


def _bits(p: float) -> float:
    return -p * math.log2(p) if p > 0 else 0.0


def _weighed(decision: Decision, task: Task | None) -> float:
    in_danger = task is not None and any(task.severity(label) for label in (decision.possible or task.labels))
    return information(decision, task) * (SAFETY_WEIGHT if in_danger else 1.0)


def _settles(said: FeedbackGiven, item: DocumentClassified, grave: float, tasks: Mapping[str, Task]) -> bool:
    """Whether a person's word takes the item out of the queue. It must have been said of this version. A safety label is settled only by a word on a task
    that has such labels, from somebody who saw one as grave (or named it): correcting the topic in passing, or having judged the text before the
    language model spoke, is no look at it."""
    if said.kind not in ("confirmation", "correction") or (said.document and said.document.version != item.version):
        return False
    if not grave:
        return True
    task = tasks.get(said.task)
    if task is None or not task.safety_labels:
        return False
    seen = gravest(said.document.decision, tasks)[0] if said.document else 0.0
    return max(seen, severity(task, [name.strip() for name in said.correct.split(",")])) >= grave
