"""Whether a rule fits the label sets that it is for.

A user's own label set may take the place of one that ships. What speaks of a task or label that the own set has not, and the one that ships has, is left
out with a warning, so that the shipped rules never keep a classifier from starting; what neither has is an error in the rule.
"""

from collections.abc import Callable, Mapping
from functools import cache

from services.classifier.rule_files import Rule, RuleFile
from shared.errors import ConfigError
from shared.taxonomy import LABELS, LabelSet, known, read

Labels = Callable[[str], LabelSet]  # collection -> its label set
SHIPPED = ("news", "wellbeing")


@cache
def _shipped() -> Mapping[str, LabelSet]:
    return read(LABELS)


def check_collection(file: str, collection: str, labels: Labels) -> None:
    """Raises ConfigError for a collection without a label set: no document would ever be read by the rules, and nobody would be told."""
    if collection and labels(collection).collection != collection:
        raise ConfigError(f"{file}: collection: there is no label set {collection!r}; there are {', '.join(known())}")


def fitting(collection: str, labels: Labels) -> list[LabelSet]:
    """The label sets of which a file's rules must fit one at least: the collection's, or of a file without one all that there are: those that ship or stand
    in their place, then the user's others."""
    return [labels(collection)] if collection else [labels(name) for name in dict.fromkeys([*SHIPPED, *known()])]


def knows(labels: LabelSet, task: str, label: str) -> bool:
    return task in labels.tasks and label in labels.tasks[task].labels


def applies(rule: Rule, labels: LabelSet) -> bool:
    """Whether the label set has what the rule says outright; for a block rule as a label of safety. It need not have what the rule says softly."""
    return knows(labels, rule.task, rule.label) and (rule.kind != "block" or labels.tasks[rule.task].severity(rule.label) > 0)


def check_implied(file: str, parsed: RuleFile, labels: Labels) -> list[str]:
    """What of the file's `implies` an own label set has not, a warning each. Raises ConfigError where no label set has it."""
    told = []
    for task, by_label in parsed.implies.items():
        for label, says in by_label.items():
            for other, its_label in [(task, label), *says.items()]:
                try:
                    labels(parsed.collection).check(other, its_label)
                except ValueError as error:
                    shipped = _shipped().get(parsed.collection)
                    if not shipped or not knows(shipped, other, its_label):
                        raise ConfigError(f"{file}: implies.{task}.{label}: {error}") from error
                    told.append(f"{file}: implies.{task}.{label} is left out: {error}")
    return told


def check_rule(where: str, rule: Rule, sets: list[LabelSet]) -> tuple[bool, list[str]]:
    """Whether one of the label sets has what the rule says, and why an own set leaves it out, or a part of it: of one that stands in for a shipped set
    always, of another where a block rule does not watch over it though it has the rule's task. Raises ConfigError where no set has it, or where the rule says
    what its kind may not say."""
    if rule.kind == "allow" and (not rule.clears or rule.label in rule.clears):
        raise ConfigError(f"{where}: `kind: allow` needs `clears`, the labels that it takes back, and `label`, what it says instead of them")
    told: list[str] = []
    silent: list[str] = []
    wrong: dict[bool, str] = {}  # whether the set has the task at all -> what is the matter with the first such set
    fits = False
    for labels in sets:
        error = _misfit(rule, labels)
        if not error:
            fits = True
        elif (shipped := _shipped().get(labels.collection)) and shipped != labels and not _misfit(rule, shipped):
            if not _misfit(rule.model_copy(update={"softer": ""}), labels):
                fits = True  # what it says softly is said as services.classifier.rules has it for such a set
            else:
                told.append(f"{labels.collection}: {error}")
        else:
            if rule.kind == "block" and shipped is None and rule.task in labels.tasks and not applies(rule, labels):
                silent.append(f"{labels.collection}: {error}")
            wrong.setdefault(rule.task in labels.tasks, error)
    if not fits and not told:
        raise ConfigError(f"{where}: {wrong.get(True) or wrong[False]}")
    if len(sets) == 1 and fits:
        for task, label in (rule.implies or {}).items():
            try:
                sets[0].check(task, label)
            except ValueError as error:
                if not (shipped := _shipped().get(sets[0].collection)) or not knows(shipped, task, label):
                    raise ConfigError(f"{where}: implies: {error}") from error
                told.append(f"what it implies in {sets[0].collection}: {error}")
    return fits, [*told, *(silent if fits else ())]


def _misfit(rule: Rule, labels: LabelSet) -> str:
    """What of the rule the label set has not; empty where it has all."""
    try:
        for label in [rule.label, *([rule.softer] if rule.softer else []), *rule.clears]:
            labels.check(rule.task, label)
    except ValueError as error:
        return str(error)
    if "rule" not in labels.tasks[rule.task].parts:
        return f"task {rule.task!r} is not decided by rules (its parts are {labels.tasks[rule.task].parts})"
    for label in [rule.label, *([rule.softer] if rule.softer else [])] if rule.kind == "block" else []:
        if not labels.tasks[rule.task].severity(label):
            return f"`kind: block` is for safety tasks and safety labels, and {label!r} of {rule.task!r} is none; use plain"
    return ""
