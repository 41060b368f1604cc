"""What the parts said of one task, without what does not belong there: hits on other tasks, answers that are no label of it or no number, parts that it
does not ask."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.classifier.rules import Hit
from shared.events import LabelScore, PartScore
from shared.pooling import likeliest, spread
from shared.taxonomy import Task

DIGITS = 6


@dataclass(frozen=True)
class Correction:
    """What a person said the label is (of a multi task: the labels, between commas). `of_this` is False where the correction was given on another text
    that tells the same."""

    label: str
    why: str = ""
    by: str = "anonymous"
    of_this: bool = True

    def reason(self) -> str:
        where = "" if self.of_this else " on the same story or a near-duplicate"
        return f"corrected to {self.label} by {self.by}{where}{': ' + self.why if self.why else ''}"


@dataclass(frozen=True)
class Said:
    """`voices`: part -> label -> probability, of the parts that answer with probabilities. `trained`: the head's voice is one's that was trained for the
    task, and not the encoder's by the labels' names."""

    hits: list[Hit]
    correction: Correction | None
    llm: LabelScore | None
    neural: dict[str, float]
    voices: dict[str, dict[str, float]]
    trained: bool = True

    @classmethod
    def of(
        cls,
        task: Task,
        hits: Sequence[Hit],
        correction: Correction | None,
        llm: LabelScore | None,
        neural: Mapping[str, float] | None,
        trained: bool = True,
    ) -> "Said":
        spoken = [hit for hit in hits if hit.rule.task == task.name and hit.rule.label in task.labels] if "rule" in task.parts or task.safety else []
        if correction and not _means_something(task, correction.label):
            correction = None
        if llm and ("llm" not in task.parts or llm.label not in task.labels):
            llm = None
        head = (
            {label: neural[label] for label in task.labels if math.isfinite(neural.get(label, math.nan))} if neural and "neural" in task.parts else {}
        )
        voices = {"llm": spread(list(task.labels), _told(task, llm))} if llm else {}
        return cls(spoken, correction, llm, head, voices | ({"neural": head} if head else {}), trained)

    def is_hint(self, hit: Hit) -> bool:
        """Whether a hit is weighed with what the voices say and does not decide: a plain one with `odds`, where a trained head knows its label. A language
        model alone, or the names of the labels, may know nothing of the task."""
        return bool(self.trained and hit.rule.label in self.neural and hit.rule.kind == "plain" and hit.rule.odds)

    def hints(self) -> dict[str, Hit]:
        """Label -> the strongest hint that there is for it: rules that find the same words are no two witnesses."""
        found: dict[str, Hit] = {}
        for hit in sorted(filter(self.is_hint, self.hits), key=lambda hit: (-(hit.rule.odds or 1), hit.rule.id)):
            found.setdefault(hit.rule.label, hit)
        return found

    def _worth(self, hit: Hit) -> float:
        """How likely a hit makes its label by itself: 1 where it decides, else by its odds, against evens."""
        odds = hit.rule.odds if self.is_hint(hit) else None
        return 1.0 if odds is None else bounded(odds / (1 + odds))

    def parts(self) -> list[PartScore]:
        """Each part's own voice, for the decision to carry."""
        parts = [
            PartScore(part="rule", label=hit.rule.label, probability=self._worth(hit), why=hit.reason(), spans=list(hit.spans)) for hit in self.hits
        ]
        if self.correction:
            parts.append(PartScore(part="correction", label=self.correction.label, probability=1.0, why=self.correction.why))
        if self.llm:
            told = _rounded(self.voices["llm"]) if self.llm.probabilities else {}
            parts.append(PartScore(part="llm", label=self.llm.label, probability=round(self.llm.probability, DIGITS), probabilities=told))
        if self.neural:
            best = likeliest(self.neural)
            parts.append(PartScore(part="neural", label=best, probability=bounded(self.neural[best]), probabilities=_rounded(self.neural)))
        return parts


def _told(task: Task, llm: LabelScore) -> dict[str, float]:
    """The labels whose probability the model gave: all, or at least the one it names."""
    return {label: llm.probabilities[label] for label in task.labels if label in llm.probabilities} or {llm.label: llm.probability}


def bounded(p: float) -> float:
    return round(min(max(p, 0.0), 1.0), DIGITS)


def _rounded(chances: Mapping[str, float]) -> dict[str, float]:
    return {label: bounded(p) for label, p in chances.items()}


def _means_something(task: Task, label: str) -> bool:
    try:
        task.chosen(label)
    except ValueError:
        return False  # a label that has been taken out of the set since
    return True
