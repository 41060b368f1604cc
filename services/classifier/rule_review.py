"""What is suspicious about rules that are sound each by itself: two that contradict one another, one that can never decide. Warnings, for a person."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations

from services.classifier.folding import Folded
from services.classifier.judging import Judge
from services.classifier.matching import Finder, Places
from services.classifier.rule_checks import applies
from services.classifier.rule_files import Rule
from shared.taxonomy import LabelSet, Task

MOST = 200  # warnings that are listed
MOST_COMPARED = 20  # rules that are compared with one, of those that share a phrase or text with it
MOST_FOUND = 1_000_000  # rules that are found in phrases and texts, in all
_GUARDS = ("also", "negations", "unless", "without", "soften", "still")
Sets = Callable[[str], Sequence[LabelSet]]  # the collection of a rule's file, empty for one without -> the label sets that it is for


def review(judges: Sequence[Judge], finder: Finder, reads: Callable[[str], Folded], sets: Sets) -> list[str]:
    """A line for each pair of rules that is suspicious, naming both; at most MOST, and one that says how many more there are.

    Looked at: phrases of one rule that hold a phrase of another, equal patterns, and the rules' own test texts (`reads` folds them). How grave
    a label is, each label set says for itself."""
    looking = _Finding(finder)
    told = list(dict.fromkeys([*_conflicts(judges, looking, reads), *_shadowed(judges, looking, sets)]))
    if len(told) > MOST:
        told = [*told[:MOST], f"and {len(told) - MOST} more"]
    return [*told, "so many rules share their phrases that not all pairs were compared"] if looking.left <= 0 else told


class _Finding:
    """Who finds words in a text, until MOST_FOUND have been found: thousands of rules with the same phrase must not make a file slow to read."""

    def __init__(self, finder: Finder) -> None:
        self._finder, self.left = finder, MOST_FOUND

    def find(self, text: str) -> Mapping[int, Places]:
        if self.left <= 0:
            return {}
        found = self._finder.find(text)
        self.left -= len(found)
        return found


def _conflicts(judges: Sequence[Judge], looking: _Finding, reads: Callable[[str], Folded]) -> Iterator[str]:
    """Same span and task, different label, same priority: which of them decides is an accident of their kinds and names."""
    said: set[tuple[int, int]] = set()

    def conflict(one: int, other: int, where: str) -> Iterator[str]:
        a, b = judges[one].rule, judges[other].rule
        if (pair := (min(one, other), max(one, other))) not in said:
            said.add(pair)
            labels = f"{a.label!r} and {b.label!r}"
            yield f"rules {a.id!r} and {b.id!r} contradict each other on {a.task}: {labels} at priority {a.priority}, {where}"

    same: dict[tuple[str, str], list[int]] = {}
    for number, judge in enumerate(judges):
        for what in [("pattern", judge.rule.pattern)] if judge.rule.pattern else []:
            same.setdefault(what, []).append(number)
        for phrase in judge.phrases:
            same.setdefault(("phrase", phrase), []).append(number)
    for (kind, words), numbers in same.items():
        for one, other in combinations(numbers[:MOST_COMPARED], 2):
            if _differ(judges[one], judges[other]):
                yield from conflict(one, other, f"both by the {kind} {words!r}")
    for number, judge in enumerate(judges):
        for test in judge.rule.tests:
            if not test.hit:
                continue
            folded = reads(test.text)
            found = looking.find(folded.text)
            rivals = [other for other in found if other != number and number in found and _differ(judge, judges[other])][:MOST_COMPARED]
            mine = judge.judge(folded, found[number]) if rivals else None
            for other in rivals:
                theirs = judges[other].judge(folded, found[other])
                if mine and mine.verdict == theirs.verdict == "hit" and mine.span[0] < theirs.span[1] and theirs.span[0] < mine.span[1]:
                    yield from conflict(number, other, f"both in {test.text[:80]!r}")


def _differ(a: Judge, b: Judge) -> bool:
    decide = not a.rule.odds and not b.rule.odds  # what is weighed contradicts nobody
    return decide and _meet(a, b) and a.rule.label != b.rule.label and a.rule.priority == b.rule.priority


def _shadowed(judges: Sequence[Judge], looking: _Finding, sets: Sets) -> Iterator[str]:
    """A rule each of whose phrases holds a phrase of another that stands above it and asks for no more than it does."""
    same_pattern: dict[str, list[int]] = {}
    for number, judge in enumerate(judges):
        same_pattern.setdefault(judge.rule.pattern, []).append(number)
    for number, judge in enumerate(judges):
        rule = judge.rule
        if rule.pattern:
            above = [] if judge.phrases else same_pattern[rule.pattern]
        else:
            above = sorted(set.intersection(*(set(looking.find(phrase)) for phrase in judge.phrases)))
        for other in above[:MOST_COMPARED]:
            by = judges[other]
            whole = by.rule.pattern == rule.pattern or not by.rule.pattern
            if other != number and whole and _meet(by, judge) and _covers(by, judge) and _stands_above(by.rule, judge, sets):
                yield f"rule {rule.id!r} can never decide: {by.rule.id!r} always hits where it does, and stands above it on {rule.task}"
                break


def _meet(a: Judge, b: Judge) -> bool:
    return a.rule.task == b.rule.task and (a.collection == b.collection or "" in (a.collection, b.collection))


def _covers(above: Judge, below: Judge) -> bool:
    """Whether `above` hits wherever `below` does: it reads the same collections, lives as long and has no guard that the other has not."""
    a, b = above.rule, below.rule
    if above.collection not in ("", below.collection) or (a.expires and (not b.expires or a.expires < b.expires)):
        return False
    if a.also and set(a.also) != set(b.also):
        return False
    fewer = all(set(getattr(a, guard)) <= set(getattr(b, guard)) for guard in _GUARDS if guard not in ("also", "still"))
    return fewer and (b.own_words or not a.own_words) and (not a.soften or a.still == b.still)


def _stands_above(a: Rule, below: Judge, sets: Sets) -> bool:
    """Whether `a` decides where both hit, in every label set in which the other has a say."""
    its = [labels for labels in sets(below.collection) if applies(below.rule, labels)]
    return bool(its) and all(applies(a, labels) and _decides_first(a, below.rule, labels.tasks[a.task]) for labels in its)


def _decides_first(a: Rule, b: Rule, task: Task) -> bool:
    """Whether `a` decides the task where both hit (services.classifier.fusion, services.classifier.several), or takes back all that `b` says."""
    if a.kind == "plain" and a.odds:
        return False  # it is weighed
    if a.kind == "allow" and b.kind == "plain":
        return _takes_back(a, b)
    if a.kind == "allow" or b.kind == "allow":
        return False  # an allow rule only takes back what it names
    if task.kind == "multi" and a.label != b.label:
        return False  # each label is decided on its own
    if "block" in (a.kind, b.kind):
        if a.kind != b.kind:
            return a.kind == "block"
        mine, other = task.severity(a.label), task.severity(b.label)
        if mine != other:
            return mine > other
    return (-a.priority, a.id) < (-b.priority, b.id)


def _takes_back(allow: Rule, plain: Rule) -> bool:
    """Whether the allow rule clears the plain one wherever that hits (services.classifier.rules): only where it hits outright itself, and not softly."""
    if allow.priority < plain.priority or not {plain.label, plain.softer or plain.label} <= set(allow.clears):
        return False
    in_doubt = allow.own_words or allow.negations  # what makes the plain rule softer and leaves the allow rule silent
    return not allow.soften and not (plain.softer and in_doubt)
