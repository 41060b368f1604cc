"""One task's decision out of what its parts said.

In this order, the first that speaks decides: a block-list safety rule; a person's correction; a plain rule; the pooled LLM and neural head
(services.classifier.pooled); the task's default. A block-list hit is never lowered: a correction may only raise it. A plain rule does not lower a safety
label that the others say: doubt goes to the person. An allow rule takes back the labels that it `clears`, of plain rules (services.classifier.rules), of
the LLM and the head, and of the default, and says its own instead; where a plain rule decides, that is what it may not lower. A plain rule that has
`odds` decides only where no trained head knows its label, and else is pooled with LLM and head. Of a multi task each label is decided on its own, in the
same order (services.classifier.several).
"""

from collections.abc import Mapping, Sequence

from services.classifier.pooled import Calibration, doubts, expected_rank, pooled
from services.classifier.rules import Hit
from services.classifier.said import Correction as Correction
from services.classifier.said import Said, bounded
from services.classifier.several import decide_each
from shared.events import Decision, LabelScore, PartScore
from shared.taxonomy import Task

UNCALIBRATED = Calibration()


def decide(
    task: Task,
    hits: Sequence[Hit] = (),
    correction: Correction | None = None,
    llm: LabelScore | None = None,
    neural: Mapping[str, float] | None = None,
    calibration: Calibration = UNCALIBRATED,
) -> Decision | None:
    """The decision on one task, None where no part speaks and the task has no default. Hits on other tasks and parts that the task does not ask are left
    out; so are answers that are no label of the task. Without learned weights the parts are pooled by hand-set ones, and the reasons say so."""
    said = Said.of(task, hits, correction, llm, neural, not calibration.named)
    if task.kind == "multi":
        return decide_each(task, said, calibration)
    parts, correction = said.parts(), said.correction
    blocks = [hit for hit in said.hits if hit.rule.kind == "block"]
    if blocks:
        block = min(blocks, key=lambda hit: (-task.severity(hit.rule.label), -hit.rule.priority, hit.rule.id))
        if correction is None or task.severity(correction.label) <= task.severity(block.rule.label):
            other = ": not followed, a safety rule stands above it" if correction and correction.label != block.rule.label else ""
            return _settled(block.rule.label, "rule", [block.reason(), *([f"{correction.reason()}{other}"] if correction else [])], parts)
    if correction:
        return _settled(correction.label, "correction", [correction.reason()], parts)
    found = _without_rules(task, said, parts, calibration)
    if plain := [hit for hit in said.hits if hit.rule.kind == "plain" and not said.is_hint(hit)]:
        rule = min([*plain, *_above(task, said, plain)], key=lambda hit: (-hit.rule.priority, hit.rule.id))
        grave = task.severity(rule.rule.label)
        others = found and _allowed(said, found, parts)
        if others and task.severity(others.label) > grave:
            return others.model_copy(update={"reasons": [*others.reasons, f"{rule.reason()}: {rule.rule.label} does not lower a safety label"]})
        against = others.reasons if found and others and task.severity(found.label) > grave else []  # why the safety label does not stand above it
        return _settled(rule.rule.label, "rule", [rule.reason(), *against], parts)
    return _allowed(said, found, parts)


def _above(task: Task, said: Said, plain: Sequence[Hit]) -> list[Hit]:
    """The hits that would only be weighed and yet stand above the plain rules that decide: of a graver label and of a higher priority than all of them."""
    highest, gravest = max(hit.rule.priority for hit in plain), max(task.severity(hit.rule.label) for hit in plain)
    return [hit for hit in said.hits if said.is_hint(hit) and hit.rule.priority > highest and task.severity(hit.rule.label) > gravest]


def _allowed(said: Said, found: Decision | None, parts: list[PartScore]) -> Decision | None:
    """What the others found, or in its place what the first allow rule says that clears it or says the same; also where nothing was found."""
    for allow in sorted((hit for hit in said.hits if hit.rule.kind == "allow"), key=lambda hit: (-hit.rule.priority, hit.rule.id)):
        label = allow.rule.label
        if found is None or found.label in (label, *allow.rule.clears):
            against = (
                [] if found is None or found.label == label else [f"{found.label}, which the others say ({found.probability:.0%}), is cleared by it"]
            )
            return _settled(label, "rule", [allow.reason(), *against], parts)
    return found


def _without_rules(task: Task, said: Said, parts: list[PartScore], calibration: Calibration) -> Decision | None:
    """What language model and head say together, else the default."""
    if said.voices:
        found = pooled(task, said, calibration)
        return Decision(
            label=found.label,
            probability=bounded(found.chances[found.label]),
            by=found.by,
            reasons=[*found.reasons, *doubts(task, found.label, found.doubtful)],
            parts=parts,
            probabilities=found.probabilities(),
            expected_rank=expected_rank(task, found.chances),
            unsure=bool(found.doubtful),
            possible=found.possible,
        )
    if task.default:
        part = PartScore(part="default", label=task.default, probability=1.0)
        return _settled(task.default, "default", ["nothing speaks against the default"], [part])
    return None


def _settled(label: str, by: str, reasons: list[str], parts: list[PartScore]) -> Decision:
    return Decision.model_validate({"label": label, "probability": 1.0, "by": by, "reasons": reasons, "parts": parts, "possible": [label]})
