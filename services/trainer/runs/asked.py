"""Examples as the questions that the model is asked, and its answers as the gate and the engine read them.

A multi task is a yes or no for each of its labels (shared.prompts.questions, as services.inference.enrich asks it): it is taught so, and put together
again to be judged.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from services.trainer.dataset import Example
from shared.events import LabelScore
from shared.prompts import NO, YES, holds, questions
from shared.taxonomy import NOTHING, Task, label_set


@dataclass(frozen=True)
class Heard:
    """An answer. `label`: as a person writes it, of a multi task the labels that hold, between commas, or `none`. `known`: as the engine is asked for a
    known answer, of a multi task the likeliest label. `sure`: its probability; of a multi task by how much it is likelier than the next, because of two
    labels that hardly hold, or both do, the engine may well name the other."""

    label: str
    known: str
    sure: float


def asked(examples: Iterable[Example]) -> list[Example]:
    """Each example as the questions that it is; one without a label gives questions without answers."""
    return [question for example in examples for question in _questions(example)]


def gold(example: Example) -> str:
    """Its label as `Heard.label` writes it. Raises ValueError for one that the label set does not have."""
    return ",".join(_task(example).chosen(example.label)) or NOTHING


def heard(example: Example, answers: Mapping[Example, LabelScore]) -> Heard:
    """What was answered to the questions that `asked` made of it."""
    task, scores = _task(example), [answers[question] for question in _questions(example)]
    if task.kind != "multi":
        return Heard(scores[0].label, scores[0].label, scores[0].probability)
    found = holds(task, scores)
    first, second = sorted(found, key=lambda label: -found[label])[:2]
    return Heard(",".join(label for label, p in found.items() if p >= task.threshold) or NOTHING, first, found[first] - found[second])


def _questions(example: Example) -> list[Example]:
    task = _task(example)
    if task.kind != "multi":
        return [example]
    said = task.chosen(example.label) if example.label else []
    answers = [(YES if label in said else NO) if example.label else "" for label in task.labels]
    return [
        example.model_copy(update={"task": question.name, "label": answer, "incorrect": ""})
        for question, answer in zip(questions(task), answers, strict=True)
    ]


def _task(example: Example) -> Task:
    return label_set(example.collection).tasks[example.task]
