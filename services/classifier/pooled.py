"""The verdict of the language model and the neural head together, where no rule and no person has spoken: label, probabilities, and whether it is unsure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from services.classifier.said import Said, bounded
from shared import conformal
from shared.events import ModelStamp
from shared.pooling import BESIDE_OWN_HEAD, HAND_SET, LEAST, NEW_NAMES, TAUGHT_NAMES, TaskFusion, chosen, hand_set, likeliest, median, pool
from shared.taxonomy import Task, is_own

SURE = 0.6  # uncalibrated, a label with less than this is unsure
SMALL = 100_000_000  # weights: a language model with fewer knows few names that it was not taught
VOICES: dict[str, str] = {"llm": "the language model", "neural": "the neural head"}


@dataclass(frozen=True)
class Calibration:
    """What was learned for a task, and for which error rate it is used. `stale`: the parts whose weights have been swapped since. `unlearned`: the weights
    where nothing was learned, in place of those of the task. `named`: the head's voice is the encoder's, by the labels' names. `base`: the language
    model that spoke in what was learned from, empty where that is not known. `until_taught`: see FusionFile."""

    fusion: TaskFusion | None = None
    error_rate: float = 0.1
    stale: Sequence[str] = ()
    unlearned: TaskFusion | None = None
    named: bool = False
    base: str = ""
    until_taught: bool = False

    def spoken(self, task: Task, model: ModelStamp | None, collection: str, named: bool) -> "Calibration":
        """The same for a verdict in which this language model spoke, and the encoder by the labels' names where `named`: what was learned of a trained
        head's voice does not hold of that, and what was learned of one language model not of a large one that took its place: a weight of nothing,
        deserved by the bundled model, would silence it. A small one in its place is most likely the bundled model's next version. Nor, `until_taught`, what
        was learned before the corrections of this collection were."""
        another = bool(model and self.base and model.base != self.base)
        larger = another and model is not None and not _is_small(model)
        taught = self.until_taught and model is not None and collection in model.taught
        known = None if (named and "neural" in self.stale) or larger or taught else self.fusion
        stale = [*self.stale, *(["llm"] if another and "llm" not in self.stale else [])]
        weights = unlearned(task, model, collection, named)
        return replace(self, fusion=known, stale=stale if known else (), unlearned=weights, named=named)


@dataclass(frozen=True)
class Pooled:
    """`label` is empty where no label of a multi task holds; `labels` are those that hold. `doubtful`: what is unsure about it, empty where nothing is."""

    label: str
    labels: list[str]
    chances: dict[str, float]
    possible: list[str]
    doubtful: list[str]
    by: Literal["llm", "neural", "fusion"]
    reasons: list[str]

    def probabilities(self) -> dict[str, float]:
        return {label: bounded(p) for label, p in self.chances.items()}


def pooled(task: Task, said: Said, calibration: Calibration) -> Pooled:
    """`said` holds one voice at least."""
    multi = task.kind == "multi"
    parts = list(said.voices)
    learned = calibration.fusion if calibration.fusion and set(parts) <= set(calibration.fusion.parts) else None
    alone = pool(list(task.labels), said.voices, learned or calibration.unlearned or hand_set(task.name), multi=multi)
    least = learned.thresholds if learned and learned.whole(parts) else {}
    chances, hinted = _with_hints(task, said, alone, least)
    weighed = chances != alone
    if multi:
        labels = [label for label, p in chances.items() if p >= least.get(label, task.threshold)]
        label = likeliest({name: chances[name] for name in labels}) if labels else ""
    else:
        label = _one(task, said, chances, least)
        labels = [label]
    scores = learned.scores.get("+".join(sorted(parts)), []) if learned else []
    most = conformal.limit(scores, calibration.error_rate) if scores else None
    found, doubtful = _doubt(task, chances, label, calibration.error_rate, most)
    if weighed:  # the doubt was learned without rules, so they take none away
        before, _ = _doubt(task, alone, label, calibration.error_rate, most)
        doubtful = [*doubtful, *(name for name in before if name not in (*labels, *found, *doubtful))]
        found = [*found, *before]
    possible = [name for name in task.labels if name in found or name in labels]
    by: Literal["llm", "neural", "fusion"] = "fusion" if len(parts) > 1 or weighed else "llm" if said.llm else "neural"
    reasons = [*hinted, *_voices(task, said, labels, chances, calibration.named, weighed), *_calibrated(learned, calibration, bool(scores))]
    return Pooled(label, labels, chances, possible, doubtful, by, reasons)


def _with_hints(task: Task, said: Said, chances: dict[str, float], least: Mapping[str, float]) -> tuple[dict[str, float], list[str]]:
    """The probabilities after the rules that are weighed with them, each of which makes its label `odds` times as likely, and a reason for each. The
    gravest first: as other rules they make no safety label milder, so one that would is left out."""
    after, reasons = chances, []
    for label, hit in sorted(said.hints().items(), key=lambda one: -task.severity(one[0])):
        odds = hit.rule.odds or 1.0
        if task.kind == "multi":
            tried = {**after, label: odds * after[label] / (1 - after[label] + odds * after[label])}
        else:
            grown = {**after, label: max(after[label], LEAST) * odds}
            total = sum(grown.values())
            tried = {name: p / total for name, p in grown.items()}
            if task.severity(_one(task, said, tried, least)) < task.severity(_one(task, said, after, least)):
                reasons.append(f"{hit.reason()}: {label} does not lower a safety label")
                continue
        after = tried
        reasons.append(f"{hit.reason()}: makes {label} {odds:g} times as likely")
    return after, reasons


def unlearned(task: Task, model: ModelStamp | None, collection: str, named: bool) -> TaskFusion:
    """The weights where none were learned. A small model counts less where it is the weaker before any correction (docs/model.md): of sentiment and urgency,
    and least on a user's own labels and those that no head was trained for, where it was not taught them ("Label sets of others" in docs/model.md)."""
    if model is None or not _is_small(model):
        return HAND_SET
    if not named and not is_own(collection):
        return hand_set(task.name)
    if collection not in model.taught:
        return NEW_NAMES
    return TAUGHT_NAMES if named else BESIDE_OWN_HEAD


def _is_small(model: ModelStamp) -> bool:
    """Known to be small: of a hub's name the size is not known."""
    return 0 < model.weights < SMALL


def _one(task: Task, said: Said, chances: dict[str, float], thresholds: Mapping[str, float]) -> str:
    """The likeliest label, measured by its threshold where one was learned; of an ordinal task the median, which errs by the fewest places. A model that
    named one label and no others has no order in what is left over, so alone it is taken at its word."""
    if task.kind != "ordinal" or (list(said.voices) == ["llm"] and said.llm and not said.llm.probabilities):
        return chosen(chances, thresholds)
    return median(chances)


def expected_rank(task: Task, chances: dict[str, float]) -> float | None:
    """The mean place in the order of labels, from 0; None where there is no order."""
    return round(sum(place * chances.get(label, 0.0) for place, label in enumerate(task.labels)), 6) if task.kind == "ordinal" else None


def _doubt(task: Task, chances: dict[str, float], label: str, error_rate: float, most: float | None) -> tuple[list[str], list[str]]:
    """The labels that are possible, and those in doubt: by `most`, which was learned, or by the probability alone."""
    return _by_threshold(task, chances, label, error_rate) if most is None else _conformal(task, chances, label, most)


def _conformal(task: Task, chances: dict[str, float], label: str, most: float) -> tuple[list[str], list[str]]:
    """The labels that are possible, and those of them that are in doubt."""
    found = conformal.possible(list(task.labels), chances, most, task.kind)
    if task.kind == "multi":
        return found, conformal.doubtful(chances, most)
    return found, [] if found == [label] else [name for name in found if name != label] or [label]


def _by_threshold(task: Task, chances: dict[str, float], label: str, error_rate: float) -> tuple[list[str], list[str]]:
    """The same where nothing was learned: by the probability alone."""
    if task.kind == "multi":
        doubtful = [name for name, p in chances.items() if 1 - SURE < p < SURE]
        return doubtful, doubtful
    if chances[label] >= SURE:
        return [label], []
    found, mass = [], 0.0
    for name in sorted(chances, key=lambda name: -chances[name]):
        found.append(name)
        mass += chances[name]
        if mass >= 1 - error_rate:
            break
    return found, [name for name in found if name != label] or [label]


def doubts(task: Task, label: str, doubtful: Sequence[str]) -> list[str]:
    """What is unsure, in words."""
    if not doubtful:
        return []
    if task.kind == "multi":
        return [f"unsure: {', '.join(doubtful)} may hold or not"]
    others = [name for name in doubtful if name != label]
    return [f"unsure: {', '.join(others)} {'is' if len(others) == 1 else 'are'} possible too" if others else "unsure: no label stands out"]


def _voices(task: Task, said: Said, labels: list[str], chances: dict[str, float], by_name: bool, weighed: bool) -> list[str]:
    lines = []
    for part, voice in said.voices.items():
        named = [label for label, p in voice.items() if p >= task.threshold] if task.kind == "multi" else []
        if said.llm and part == "llm" and not named:
            named = [said.llm.label]
        shown = ", ".join(f"{label} ({voice[label]:.0%})" for label in named or [likeliest(voice)])
        lines.append(f"nearest by the labels' names: {shown}" if by_name and part == "neural" else f"{VOICES[part]} says {shown}")
    lines += [f"the head was never taught {label}" for label in labels if said.neural and label not in said.neural]
    if (len(said.voices) > 1 or weighed) and (labels or task.kind == "multi"):
        lines.append("together " + (", ".join(f"{label} ({chances[label]:.0%})" for label in labels) or "no label"))
    if labels and task.kind == "single" and chances[likeliest(chances)] > chances[labels[0]]:
        best = likeliest(chances)
        lines.append(f"{best} is likelier ({chances[best]:.0%}) and is said too easily; {labels[0]} reaches more of its threshold")
    return lines


def _calibrated(learned: TaskFusion | None, calibration: Calibration, conformal_scores: bool) -> list[str]:
    if learned is None:
        return ["uncalibrated: the weights of the parts were set by hand"]
    stale = [f"calibrated on other weights of {VOICES.get(part, part)} than those that spoke" for part in calibration.stale]
    return stale + ([] if conformal_scores else ["uncalibrated doubt: these parts were never seen together"])
