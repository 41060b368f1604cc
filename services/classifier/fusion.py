"""One task's decision out of what its parts said.

In this order, the first that speaks decides: a block-list safety rule; a person's correction; an allow or plain rule; the pooled LLM and neural
head; the task's default. A block-list hit is never lowered: a correction may only raise it.

Pooling is log-linear: score(label) = sum of w(part) * log p(part, label), over the parts that are there, weights made to add up to 1, then softmax.
The LLM names one label with a probability; what is left is spread evenly over the others. A label that the head was never taught (this desk's own)
counts as log(1 / number of labels) in the head's voice, so that the head neither proposes nor forbids it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.classifier.rules import Hit
from shared.events import Decision, LabelScore, PartScore
from shared.taxonomy import Task

LLM_WEIGHT = 0.75  # chosen by hand for now: the LLM learns from corrections within minutes, the head much later
LLM_WEIGHTS = {"sentiment": 0.4, "urgency": 0.4}  # where the bundled LLM is the weaker of the two before any correction (docs/model.md)
LEAST = 1e-6  # a probability of 0 would forbid a label whatever the other part says
DIGITS = 6


@dataclass(frozen=True)
class Correction:
    """What a person said the label is. `of_this` is False where the correction was given on another text that tells the same."""

    label: str
    why: str = ""
    by: str = "anonymous"
    of_this: bool = True

    def reason(self) -> str:
        where = "" if self.of_this else " on the same story or a near-duplicate"
        return f"corrected to {self.label} by {self.by}{where}{': ' + self.why if self.why else ''}"


def decide(
    task: Task,
    hits: Sequence[Hit] = (),
    correction: Correction | None = None,
    llm: LabelScore | None = None,
    neural: Mapping[str, float] | None = None,
) -> Decision | None:
    """The decision on one task, None where no part speaks and the task has no default. Hits on other tasks and parts that the task does not
    ask are left out; so are answers that are no label of the task. Labels of a safety task stand in order of severity."""
    severity = {label: place for place, label in enumerate(task.labels)}
    spoken = [hit for hit in hits if hit.rule.task == task.name and hit.rule.label in severity] if "rule" in task.parts or task.safety else []
    if correction and correction.label not in severity:
        correction = None
    if llm and ("llm" not in task.parts or llm.label not in severity):
        llm = None
    known = {label: p for label, p in (neural or {}).items() if label in severity} if "neural" in task.parts else {}
    parts = _parts(spoken, correction, llm, known)

    blocks = [hit for hit in spoken if hit.rule.kind == "block"]
    if blocks:
        block = min(blocks, key=lambda hit: (-severity[hit.rule.label], -hit.rule.priority, hit.rule.id))
        if correction is None or severity[correction.label] <= severity[block.rule.label]:
            reasons = [block.reason(), *([f"{correction.reason()}: not followed, a safety rule stands above it"] if correction else [])]
            return Decision(label=block.rule.label, probability=1.0, by="rule", reasons=reasons, parts=parts)
    if correction:
        return Decision(label=correction.label, probability=1.0, by="correction", reasons=[correction.reason()], parts=parts)
    if spoken:
        rule = min(spoken, key=lambda hit: (-hit.rule.priority, hit.rule.kind != "allow", hit.rule.id))
        return Decision(label=rule.rule.label, probability=1.0, by="rule", reasons=[rule.reason()], parts=parts)
    if llm or known:
        return _pooled(task, llm, known, parts)
    if task.default:
        part = PartScore(part="default", label=task.default, probability=1.0)
        return Decision(label=task.default, probability=1.0, by="default", reasons=["nothing speaks against the default"], parts=[part])
    return None


def pool(labels: Sequence[str], llm: LabelScore | None, neural: Mapping[str, float], llm_weight: float = LLM_WEIGHT) -> dict[str, float]:
    """Probability of each label that a part can answer with, adding up to 1. Without the LLM those are the head's labels alone."""
    weights = {part: weight for part, weight, there in (("llm", llm_weight, llm), ("neural", 1 - llm_weight, neural)) if there}
    total = sum(weights.values())
    floor = math.log(1 / len(labels))
    scores = {}
    for label in labels if llm else [label for label in labels if label in neural]:
        score = 0.0
        if llm:
            p = llm.probability if label == llm.label else (1 - llm.probability) / (len(labels) - 1)
            score += weights["llm"] / total * math.log(max(p, LEAST))
        if neural:
            score += weights["neural"] / total * (math.log(max(neural[label], LEAST)) if label in neural else floor)
        scores[label] = score
    top = max(scores.values())
    mass = {label: math.exp(score - top) for label, score in scores.items()}
    return {label: value / sum(mass.values()) for label, value in mass.items()}


def _pooled(task: Task, llm: LabelScore | None, neural: Mapping[str, float], parts: list[PartScore]) -> Decision:
    chances = pool(list(task.labels), llm, neural, LLM_WEIGHTS.get(task.name, LLM_WEIGHT))
    label = max(chances, key=lambda name: chances[name])  # the first in the task's order where two are equal
    said = []
    if llm:
        said.append(f"the language model says {llm.label} ({llm.probability:.0%})")
    if neural:
        best = max(neural, key=lambda name: neural[name])
        said.append(f"the neural head says {best} ({neural[best]:.0%})")
        if label not in neural:
            said.append(f"the head was never taught {label}")
    if llm and neural:
        said.append(f"together {label} ({chances[label]:.0%})")
        return Decision(label=label, probability=round(chances[label], DIGITS), by="fusion", reasons=said, parts=parts)
    return Decision(label=label, probability=round(chances[label], DIGITS), by="llm" if llm else "neural", reasons=said, parts=parts)


def _parts(hits: Sequence[Hit], correction: Correction | None, llm: LabelScore | None, neural: Mapping[str, float]) -> list[PartScore]:
    parts = [PartScore(part="rule", label=hit.rule.label, probability=1.0, why=hit.reason()) for hit in hits]
    if correction:
        parts.append(PartScore(part="correction", label=correction.label, probability=1.0, why=correction.why))
    if llm:
        parts.append(PartScore(part="llm", label=llm.label, probability=round(llm.probability, DIGITS)))
    if neural:
        best = max(neural, key=lambda name: neural[name])
        parts.append(PartScore(part="neural", label=best, probability=round(min(neural[best], 1.0), DIGITS)))
    return parts
