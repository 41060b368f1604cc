"""The gate: is the candidate better than what is live? Fails closed: one check that does not pass refuses it, with the reason in words. Pure.

The comparison is a paired bootstrap over the held-out examples (Efron & Tibshirani 1993; Koehn 2004 for paired systems): the lower end of the interval
of the difference must lie above zero, so that luck on a few items publishes nothing.
"""

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from services.trainer.dataset import NEWS
from services.trainer.heads import Figures
from shared.events import GateCheck, GateReport
from shared.taxonomy import Task, label_set

CONFIDENCE = 0.95
RESAMPLES = 2000
CLASS_FLOOR = 0.34  # how much of a label's recall may be lost against the incumbent
FEW_FLOOR, FEW_ITEMS = 0.7, 4  # the same for labels of so few held-out items, where one item more or less would decide
FLOOR_ITEMS = 3
SET_FLOOR, SET_ITEMS = 0.1, 2  # a label set loses where more than this share of its held-out items, and so many at least, are wrong that were right
ONE_LABEL = 0.7  # share of the answers that one label may take, unless it has that share of the truth too
SPARE, SPARE_ITEMS = 0.2, 1.5  # by how much more than its share of the truth; of few items one more or less decides nothing
CONSTANT_ITEMS = 8  # from so many held-out items of a task on, one answer to all of them is refused even where it is always right
KEEPS = 0.7  # share of answers on the tasks nobody corrected that must stay what they were
KEPT_ITEMS = 12  # from so many such answers of a label set on they are judged by themselves too


@dataclass(frozen=True)
class Judged:
    """One held-out example with the answers of both. Of a multi task an answer is the labels that hold, between commas."""

    gold: str
    incumbent: str
    candidate: str
    task: str = "category"
    collection: str = NEWS

    @property
    def question(self) -> tuple[str, str]:
        """Tasks of two label sets are two, though they may be called the same."""
        return self.collection, self.task


class Kept(NamedTuple):
    """The answers to one question that nobody corrected, of the incumbent and of the candidate."""

    before: str
    after: str
    collection: str = NEWS


@dataclass(frozen=True)
class Evidence:
    """What the gate judges by. `untouched`: answers on tasks without corrections; `training_examples`: what was trained on; `taught`: label set -> how
    many of these are its own."""

    held_out: list[Judged]
    untouched: list[Kept]
    training_examples: int
    finite: bool = True
    offered: bool = False
    probes: int = 0
    incumbent_digest: str = "base"
    taught: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class HeadEvidence:
    """What a head is judged by. `found`: what was checked when it was read; `held_out`: what people corrected; `figures` and `live`: task -> what its own
    training measured, of the head and of the one in use; `training_examples`: corrections that it was trained on, none for one that is offered."""

    found: list[GateCheck]
    held_out: list[Judged]
    figures: Mapping[str, Figures | None]
    live: Mapping[str, Figures | None]
    incumbent_digest: str = "base"
    training_examples: int = 0


def judge(evidence: Evidence, least_held_out: int = 12, least_training: int = 20, seed: int = 20) -> GateReport:
    """The report on a candidate. All checks are made even when an early one fails, so that the report says everything that is wrong."""
    rows = evidence.held_out
    checks = [
        GateCheck(
            name="finite weights", passed=evidence.finite, detail="every weight is a finite number" if evidence.finite else "a weight is not finite"
        ),
        _enough(
            len(rows),
            least_held_out,
            "" if evidence.offered else f", {evidence.training_examples} to train on (at least {least_training})",
            evidence.offered or evidence.training_examples >= least_training,
        ),
        _better(rows, *_accuracies(rows), seed),
        _floors(rows),
        _sets(rows, evidence.taught),
        _diverse(rows),
        _keeps(evidence.untouched),
        GateCheck(name="known answers", passed=evidence.probes > 0, detail=f"{evidence.probes} answers recorded for the engine to repeat"),
    ]
    return _report(checks, rows, evidence.incumbent_digest)


def judge_head(evidence: HeadEvidence, least_held_out: int = 12, seed: int = 20) -> GateReport:
    """The report on a head. One that is offered was not trained on corrections, so all of them are held out; with too few the figures of its own training
    decide. The loop's own has no figures but those of what was held out. One that does not fit (a failed check in `found`) can't be measured."""
    rows, checks, trained = evidence.held_out, list(evidence.found), evidence.training_examples
    if all(check.passed for check in checks):
        if trained:
            checks.append(_enough(len(rows), least_held_out, f", {trained} trained on"))
        if trained or len(rows) >= least_held_out:
            checks += [_better(rows, *_accuracies(rows), seed), _floors(rows), _tasks(rows), _safety(rows), _diverse(rows)]
        else:
            checks.append(_own_figures(evidence, least_held_out))
    return _report(checks, rows, evidence.incumbent_digest)


def _tasks(rows: list[Judged]) -> GateCheck:
    """No task may pay for another: one head answers them all."""
    told, lost = [], []
    for task in sorted({row.task for row in rows}):
        of_task = [row for row in rows if row.task == task]
        told.append(_fares(task, of_task))
        lost += told[-1:] if _falls(of_task) else []
    return GateCheck(name="no task pays for it", passed=not lost, detail="; ".join(lost or told) or "nothing to judge by")


def _safety(rows: list[Judged]) -> GateCheck:
    """No more safety labels may be missed than before: a text of danger that is called something milder is the error that costs most."""
    before, after, grave = 0, 0, 0
    for row in rows:
        task = label_set(row.collection).tasks.get(row.task)
        if task and any(map(task.severity, _labels(row.gold))):
            grave += 1
            before += _misses(task, row.gold, row.incumbent)
            after += _misses(task, row.gold, row.candidate)
    detail = f"{after} of {grave} are missed, {before} were before" if grave else "none was held out"
    return GateCheck(name="safety labels are found", passed=after <= before, detail=detail)


def _misses(task: Task, gold: str, answer: str) -> bool:
    if task.kind == "multi":
        return not {label for label in _labels(gold) if task.severity(label)} <= set(_labels(answer))
    return task.severity(answer) < task.severity(gold)


def _own_figures(evidence: HeadEvidence, least: int) -> GateCheck:
    """Each task better than its commonest label, and on the mean over the tasks of the head in use no worse than that one in its own training."""
    own, live = evidence.figures, {task: found for task, found in evidence.live.items() if found}
    wrong = [f"{task} was not measured" for task, found in own.items() if not found]
    wrong += [
        f"{task} is right of {found.accuracy:.0%} of the texts, and its commonest label is of {found.majority:.0%}"
        for task, found in own.items()
        if found and found.accuracy is not None and found.majority is not None and found.accuracy <= found.majority
    ]
    means = [
        sum(found.macro_f1 if found else 0.0 for found in part) / max(len(live), 1) for part in ([own.get(task) for task in live], live.values())
    ]
    if means[0] < means[1]:
        wrong.append(f"mean macro-F1 {means[0]:.3f}, and that of the one in use {means[1]:.3f}")
    told = "; ".join(wrong) or ", ".join(f"{task} macro-F1 {found.macro_f1:.3f}" for task, found in own.items() if found)
    few = f"{len(evidence.held_out)} corrections are too few to judge by (at least {least}), so the figures of its own training decide"
    return GateCheck(name="its own figures", passed=not wrong, detail=f"{few}: {told}")


def _accuracies(rows: list[Judged]) -> tuple[float, float]:
    """Of the incumbent and of the candidate."""
    n = max(len(rows), 1)
    return sum(row.incumbent == row.gold for row in rows) / n, sum(row.candidate == row.gold for row in rows) / n


def _report(checks: list[GateCheck], rows: list[Judged], incumbent: str) -> GateReport:
    before, after = _accuracies(rows)
    failed = [check for check in checks if not check.passed]
    return GateReport(
        passed=not failed,
        checks=checks,
        incumbent=incumbent,
        held_out=len(rows),
        accuracy_incumbent=round(before, 4),
        accuracy_candidate=round(after, 4),
        refused_because="; ".join(f"{check.name}: {check.detail}" for check in failed),
    )


def _enough(held_out: int, least: int, trained: str, passed: bool = True) -> GateCheck:
    return GateCheck(name="enough examples", passed=passed and held_out >= least, detail=f"{held_out} held out (at least {least}){trained}")


def _better(rows: list[Judged], before: float, after: float, seed: int) -> GateCheck:
    low, high = bootstrap(rows, seed) if rows else (0.0, 0.0)
    detail = f"{before:.0%} before, {after:.0%} after; difference {after - before:+.0%}, {CONFIDENCE:.0%} interval {low:+.0%} to {high:+.0%}"
    return GateCheck(name="better than what is live", passed=low > 0, detail=detail)


def bootstrap(rows: list[Judged], seed: int) -> tuple[float, float]:
    """Percentile interval of the mean paired difference (candidate minus incumbent, per item -1, 0 or 1)."""
    differences = [_difference(row) for row in rows]
    dice = random.Random(seed)
    means = sorted(sum(dice.choices(differences, k=len(differences))) / len(differences) for _ in range(RESAMPLES))
    tail = (1 - CONFIDENCE) / 2
    return means[int(tail * RESAMPLES)], means[min(RESAMPLES - 1, int((1 - tail) * RESAMPLES))]


def _difference(row: Judged) -> int:
    return (row.candidate == row.gold) - (row.incumbent == row.gold)


def _floors(rows: list[Judged]) -> GateCheck:
    """No label may pay for the others; of a multi task each by itself, whatever it was said with."""
    lost = []
    for question, label in sorted({(row.question, label) for row in rows for label in _labels(row.gold)}):
        of_label = [row for row in rows if row.question == question and label in _labels(row.gold)]
        if len(of_label) < FLOOR_ITEMS:
            continue
        before = sum(label in _labels(row.incumbent) for row in of_label) / len(of_label)
        after = sum(label in _labels(row.candidate) for row in of_label) / len(of_label)
        if before - after > (FEW_FLOOR if len(of_label) <= FEW_ITEMS else CLASS_FLOOR):
            lost.append(f"{label}{_of(question[0])} falls from {before:.0%} to {after:.0%} of {len(of_label)}")
    return GateCheck(name="no label pays for it", passed=not lost, detail="; ".join(lost) or "every label keeps its recall")


def _labels(answer: str) -> list[str]:
    """The labels that an answer names: no name of a label holds a comma."""
    return answer.split(",")


def _sets(rows: list[Judged], taught: Mapping[str, int]) -> GateCheck:
    """No label set may pay for the others: one that has few corrections moves the whole but little, and none of its labels may have enough for a floor.
    The figures of each are told, and of which nothing could be asked."""
    told, lost = [], []
    for collection in sorted({row.collection for row in rows} | set(taught)):
        of_set = [row for row in rows if row.collection == collection]
        if not of_set:
            told.append(f"{collection}: {taught[collection]} taught and none held out, so it was not judged")
            continue
        told.append(_fares(collection, of_set))
        if _falls(of_set):
            before, after = _accuracies(of_set)
            lost.append(f"{collection} falls from {before:.0%} to {after:.0%} of {len(of_set)}")
    return GateCheck(name="no label set pays for it", passed=not lost, detail="; ".join(lost or told) or "nothing to judge by")


def _fares(name: str, rows: list[Judged]) -> str:
    before, after = _accuracies(rows)
    return f"{name} {before:.0%} before, {after:.0%} after, of {len(rows)}"


def _falls(rows: list[Judged]) -> bool:
    fall = -sum(map(_difference, rows))
    return fall >= SET_ITEMS and fall > SET_FLOOR * len(rows)


def _diverse(rows: list[Judged]) -> GateCheck:
    """A constant answer is refused, however well it scores."""
    worst = ""
    for question in sorted({row.question for row in rows}):
        of_task = [row for row in rows if row.question == question]
        label, count = Counter(row.candidate for row in of_task).most_common(1)[0]
        gold = sum(row.gold == label for row in of_task) / len(of_task)
        share = count / len(of_task)
        constant = share == 1 and len(of_task) >= CONSTANT_ITEMS  # such a held-out part can't tell a model from a constant
        spare = max(SPARE, SPARE_ITEMS / len(of_task))
        if constant or (share > max(ONE_LABEL, gold + spare) and len(of_task) >= FLOOR_ITEMS):
            worst = f"{share:.0%} of its {question[1]}{_of(question[0])} answers are {label!r}"
    return GateCheck(name="answers differ", passed=not worst and bool(rows), detail=worst or "no one label takes over")


def _of(collection: str) -> str:
    return "" if collection == NEWS else f" ({collection})"


def _keeps(untouched: list[Kept]) -> GateCheck:
    """All together, and each label set of which enough was asked by itself: one that is asked little must not pay either."""
    if not untouched:
        return GateCheck(name="the rest stays", passed=True, detail="every task has corrections; nothing else to keep")
    parts = {collection: [one for one in untouched if one.collection == collection] for collection in sorted({one.collection for one in untouched})}
    shares = {collection: _same(part) for collection, part in parts.items() if len(part) >= KEPT_ITEMS}
    told = f"{_same(untouched):.0%} of {len(untouched)} answers on uncorrected tasks are as before"
    if lost := [f"{share:.0%} of {len(parts[collection])} of {collection}" for collection, share in shares.items() if share < KEEPS]:
        told += f"; {', '.join(lost)}" if len(parts) > 1 else ""
    return GateCheck(name="the rest stays", passed=_same(untouched) >= KEEPS and not lost, detail=told)


def _same(untouched: list[Kept]) -> float:
    return sum(one.before == one.after for one in untouched) / len(untouched)
