"""The decision on a task where any number of labels hold: each label on its own, in the order of authority of services.classifier.fusion."""

from services.classifier.pooled import Calibration, doubts, pooled
from services.classifier.said import Said, bounded
from shared.events import Decision, PartScore
from shared.taxonomy import Task

NOT_FOR = ": not followed for "  # a correction, of some labels


def decide_each(task: Task, said: Said, calibration: Calibration) -> Decision | None:
    """Block rules set their labels, whatever else is said; a correction settles all the others; allow rules take back the labels that they clear, and allow
    and plain rules set their own (the higher priority first, at equal ones allow); what is left is pooled. Where no label holds the default does, if there
    is one."""
    blocked = {hit.rule.label: hit for hit in said.hits if hit.rule.kind == "block"}
    settled = dict.fromkeys(blocked, True)
    reasons = [hit.reason() for hit in blocked.values()]
    by = "rule" if blocked else ""
    if said.correction:
        wanted = task.chosen(said.correction.label)
        against = [label for label in blocked if label not in wanted]
        reasons.append(said.correction.reason() + (f"{NOT_FOR}{', '.join(against)}, a safety rule stands above it" if against else ""))
        settled = {label: label in wanted for label in task.labels} | settled
        by = by or "correction"
    else:
        rules = [hit for hit in said.hits if hit.rule.kind != "block" and not said.is_hint(hit)]
        for hit in sorted(rules, key=lambda hit: (-hit.rule.priority, hit.rule.kind != "allow", hit.rule.id)):
            says = {**dict.fromkeys(hit.rule.clears, False), hit.rule.label: True}
            if new := {label: holds for label, holds in says.items() if label not in settled}:
                settled |= new
                reasons.append(hit.reason())
                by = by or "rule"
    chances, possible, doubtful = {label: 1.0 if holds else 0.0 for label, holds in settled.items()}, [], []
    if said.voices and len(settled) < len(task.labels):
        found = pooled(task, said, calibration)
        chances = found.chances | chances
        possible, doubtful = ([name for name in names if name not in settled] for names in (found.possible, found.doubtful))
        settled = {name: name in found.labels for name in found.chances} | settled
        reasons, by = [*reasons, *found.reasons, *doubts(task, "", doubtful)], by or found.by
    labels = [label for label in task.labels if settled.get(label)]
    parts = said.parts()
    if not labels and task.default:
        labels = [task.default]
        if not by:
            by, reasons, parts = "default", ["nothing speaks against the default"], [PartScore(part="default", label=task.default, probability=1.0)]
    if not by:
        return None
    label = max(labels, key=lambda name: (chances.get(name, 0.0), task.severity(name))) if labels else ""
    none_holds = 1 - max((p for name, p in chances.items() if name != label), default=0.0)
    return Decision.model_validate(
        {
            "label": label,
            "probability": bounded(chances[label] if settled.get(label) else none_holds),
            "by": by,
            "reasons": reasons,
            "parts": parts,
            "labels": labels,
            "probabilities": {name: bounded(chances[name]) for name in task.labels if name in chances},
            "unsure": bool(doubtful),
            "possible": [name for name in task.labels if name in labels or name in possible],
        }
    )
