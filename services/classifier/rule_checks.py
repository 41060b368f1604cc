"""Whether a rule fits the label sets that it is for."""

from collections.abc import Callable

from services.classifier.rule_files import Rule, RuleFile
from shared.errors import ConfigError
from shared.taxonomy import LabelSet

Labels = Callable[[str], LabelSet]  # collection -> its label set


def fitting(collection: str, labels: Labels) -> list[LabelSet]:
    """The label sets of which a file's rules must fit one at least: the collection's, or of a file without one those that ship."""
    return [labels(collection)] if collection else [labels("news"), labels("wellbeing")]


def knows(labels: LabelSet, task: str, label: str) -> bool:
    return task in labels.tasks and label in labels.tasks[task].labels


def severity(labels: Labels, task: str, label: str) -> int:
    """How grave a label is in the label sets that ship, 0 for one that is no safety label."""
    return max(one.tasks[task].severity(label) if task in one.tasks else 0 for one in fitting("", labels))


def check_implied(file: str, parsed: RuleFile, labels: Labels) -> None:
    """Raises ConfigError where the file's `implies` speaks of what the label set has not."""
    for task, by_label in parsed.implies.items():
        for label, says in by_label.items():
            for other, its_label in [(task, label), *says.items()]:
                try:
                    labels(parsed.collection).check(other, its_label)
                except ValueError as error:
                    raise ConfigError(f"{file}: implies.{task}.{label}: {error}") from error


def check_rule(where: str, rule: Rule, sets: list[LabelSet]) -> None:
    """Raises ConfigError where the rule speaks of what no label set has, or says what its kind may not say."""
    good, wrong = [], ""
    for labels in sets:
        try:
            for label in [rule.label, *([rule.softer] if rule.softer else []), *rule.clears]:
                labels.check(rule.task, label)
            if "rule" not in labels.tasks[rule.task].parts:
                raise ValueError(f"task {rule.task!r} is not decided by rules (its parts are {labels.tasks[rule.task].parts})")
            good.append(labels)
        except ValueError as error:
            wrong = wrong or str(error)
    if not good:
        raise ConfigError(f"{where}: {wrong}")
    if len(sets) == 1:
        for task, label in (rule.implies or {}).items():
            try:
                sets[0].check(task, label)
            except ValueError as error:
                raise ConfigError(f"{where}: implies: {error}") from error
    if rule.kind == "block":
        for label in [rule.label, *([rule.softer] if rule.softer else [])]:
            if not any(labels.tasks[rule.task].severity(label) for labels in good):
                raise ConfigError(f"{where}: `kind: block` is for safety tasks and safety labels, and {label!r} of {rule.task!r} is none; use plain")
    if rule.kind == "allow" and (not rule.clears or rule.label in rule.clears):
        raise ConfigError(f"{where}: `kind: allow` needs `clears`, the labels that it takes back, and `label`, what it says instead of them")
