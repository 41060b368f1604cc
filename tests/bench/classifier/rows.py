"""One set, all its rows: baselines, each part alone, and the parts together, with what each took."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.classifier import baselines, parts
from tests.bench.classifier.costs import BATCH, Spent, both, took
from tests.bench.classifier.parts import POOLED, Reader, Voice
from tests.bench.classifier.scores import Answers, accuracy, alarms_at, calibration_error, f1_difference, macro_f1
from tests.bench.classifier.screen import Screen
from tests.bench.classifier.sets import Split
from tests.bench.model.figures import Figure
from tests.bench.model.tables import Cell

TIMED = 60  # texts that speed is measured on
RECALL = 0.9  # of risk, at which false alarms are counted
COLUMNS = ("set", "row", "n", "accuracy", "macro-F1", f"false alarms at {RECALL:.0%} recall of risk", "ECE", "texts/s, one by one",
           f"texts/s, {BATCH} at once", "CPU s per 1,000")  # fmt: skip
BASELINE, PART, WHOLE = "baseline", "part", "hybrid"
ONE_HEAD, HEADS, RULES = "hybrid, one head", "heads pooled", "rules only"
HINT = 0.9  # of the label that means danger, before its temperature is learned


@dataclass(frozen=True)
class Row:
    """One contender on one set."""

    name: str
    kind: str
    answers: Answers
    spent: Spent


@dataclass(frozen=True)
class Heard:
    """What a part said of the held-out and of the test texts, and what asking it takes."""

    held: Sequence[Voice]
    test: Sequence[Voice]
    spent: Spent


@dataclass(frozen=True)
class Found:
    """The rows of one set. `best`: the best of the hybrid's parts in macro-F1, chosen by hindsight on the test texts; `lead`: the hybrid's over it."""

    split: Split
    rows: list[Row]
    best: str
    lead: Figure

    def row(self, name: str) -> Row | None:
        return next((row for row in self.rows if row.name == name), None)


@dataclass(frozen=True)
class Means:
    """What the rows are made with. `kinds`: of heads; `out`: where these are written; `tuned`: the sets for which those that bring layers of an encoder of
    their own are trained too, and `start` the head whose layers a further one of these begins with; `screen`: the rules, which have a say where a label means
    risk."""

    reader: Reader
    kinds: Sequence[str]
    out: Path
    screen: Screen | None
    say: Callable[[str], None]
    tuned: Sequence[str] = ()
    start: parts.Start | None = None

    def kinds_for(self, split: Split) -> list[str]:
        """Those whose training ends in minutes: on long texts no network over the tokens, and a fine-tuned one only where it was asked for."""
        kinds = [*self.kinds, *([parts.begun_with(self.start)] if self.start and parts.TUNED in self.kinds else [])]
        slow = {"embedded": split.name not in self.tuned, POOLED: False}
        return [kind for kind in kinds if not slow.get(parts.reads_of(kind), split.source.long)]


def measured(split: Split, means: Means, llm: Mapping[str, Heard]) -> Found:
    """Train, calibrate and test everything on one set. `llm`: what the language model said of it, by the name of its row; the hybrid takes the last."""
    kinds = means.kinds_for(split)
    means.say(f"{split.name}: reading {len(split.train)} + {len(split.held)} + {len(split.test)} texts …")
    stores = [means.reader.stores(items, kinds) for items in (split.train, split.held, split.test)]
    train, held, test = (store[POOLED].pooled for store in stores)
    sample = [item.text for item in split.test[:TIMED]]
    made = _Rows(split)
    means.say(f"{split.name}: baselines …")
    taught, texts = split.gold(split.train), [item.text for item in split.train]
    for name, of_texts in {"majority": baselines.majority(taught), "TF-IDF + linear SVM": baselines.svm(texts, taught, split.multi)}.items():
        on_held, on_test = (made.voiced(of_texts([item.text for item in items])) for items in (split.held, split.test))
        made.alone(name, BASELINE, Heard(on_held, on_test, took(partial(of_texts, sample), len(sample))))
    near = baselines.neighbours(train, taught, split.multi)
    spent = both(lambda batch: near(means.reader.read(sample, batch)), len(sample))
    made.alone("encoder + kNN", BASELINE, Heard(made.voiced(near(held)), made.voiced(near(test)), spent))
    means.say(f"{split.name}: training {', '.join(kinds)} …")
    heads = parts.heads(split, kinds, stores, means.reader, means.out, means.start)
    for head in heads:
        made.alone(f"head: {head.kind}", PART, Heard(made.voiced(head.held), made.voiced(head.test), asking([head], means.reader, sample)))
    for name, voice in llm.items():
        made.alone(name, PART, voice)
    rules = [made.rules(means.screen)] if means.screen and split.source.risk else []
    neural, all_heads = [f"head: {head.kind}" for head in heads], asking(heads, means.reader, sample)
    if len(neural) > 1:
        made.together(HEADS, PART, neural, [all_heads])
    spoken = [*list(llm)[-1:], *rules]
    asked = [made.heard[name].spent for name in spoken]
    best = made.chosen(neural)
    made.together(ONE_HEAD, WHOLE, [best, *spoken], [made.heard[best].spent, *asked])
    made.together(WHOLE, WHOLE, [*neural, *spoken], [all_heads, *asked])
    return made.found()


def asking(heads: Sequence[parts.Made], reader: Reader, texts: Sequence[str]) -> Spent:
    """What it takes to have these heads answer."""
    return both(lambda batch: parts.ask(heads, reader, texts, batch), len(texts))


class _Rows:
    """The rows of one set while they are made."""

    def __init__(self, split: Split) -> None:
        self.split, self.rows, self.heard = split, list[Row](), dict[str, Heard]()
        self._held, self._test = split.gold(split.held), split.gold(split.test)
        self._held_f1: dict[str, float] = {}

    def voiced(self, chances: Any) -> list[dict[str, float]]:
        return parts.voiced(self.split.labels, chances)

    def alone(self, name: str, kind: str, voice: Heard) -> None:
        """A row of its own, at its best: temperature, weights, bias and thresholds are learned for it alone."""
        self.heard[name] = voice
        fusion = parts.learned(self.split.task, {name: voice.held}, self._held)
        self._held_f1[name] = macro_f1(self._held, parts.pooled(self.split.task, {name: voice.held}, fusion).said).value
        self.rows.append(Row(name, kind, parts.pooled(self.split.task, {name: voice.test}, fusion), voice.spent))

    def chosen(self, names: Sequence[str]) -> str:
        """The one that does best on the held-out texts: no test text has a say in it."""
        return max(names, key=lambda name: self._held_f1[name])

    def rules(self, screen: Screen) -> str:
        """The row of the rules alone, and their voice: they speak of danger, which is not what the set's label means, so what it says of that is learned."""
        held, texts = ([item.text for item in items] for items in (self.split.held, self.split.test))
        on_held, at_risk = screen.at_risk(held), screen.at_risk(texts)
        spent = took(lambda: screen.at_risk(texts[:TIMED]), min(TIMED, len(texts)))
        self.rows.append(Row(RULES, PART, ruled(self.split, at_risk), spent))
        self.heard[RULES] = Heard(hinting(self.split, on_held), hinting(self.split, at_risk), spent)
        return RULES

    def together(self, name: str, kind: str, names: Sequence[str], costs: list[Spent]) -> None:
        """Parts pooled by weights that were learned on the held-out texts. `costs`: what asking the parts takes."""
        task, voices = self.split.task, {one: self.heard[one].test for one in names}
        fusion = parts.learned(task, {one: self.heard[one].held for one in names}, self._held)
        answers = parts.pooled(task, voices, fusion)
        few = {one: said[:TIMED] for one, said in voices.items()}
        costs = [*costs, took(lambda: parts.pooled(task, few, fusion), min(TIMED, len(self.split.test)))]
        self.rows.append(Row(name, kind, answers, Spent.sum(costs)))

    def found(self) -> Found:
        own = {row.name: macro_f1(self._test, row.answers.said).value for row in self.rows if row.kind == PART and row.name != HEADS}
        best = max(own, key=lambda name: own[name])
        said = {row.name: row.answers.said for row in self.rows}
        return Found(self.split, self.rows, best, f1_difference(self._test, said[WHOLE], said[best]))


def ruled(split: Split, at_risk: Sequence[bool]) -> Answers:
    """What the rules alone say: where they see danger, the label that means it, elsewhere the commonest other label."""
    flags, risk = np.array(at_risk, dtype=np.bool_), split.labels.index(split.source.risk)
    others = [n for n in range(len(split.labels)) if n != risk]
    rest = others[int(split.gold(split.train)[:, others].sum(axis=0).argmax())]
    said = np.zeros((len(flags), len(split.labels)), dtype=np.bool_)
    said[~flags, rest] = said[flags, risk] = True
    return Answers(said, said.astype(np.float64))


def hinting(split: Split, at_risk: Sequence[bool]) -> list[dict[str, float]]:
    """The rules as a voice: HINT for the label that means danger where they see it, and nothing of any label elsewhere."""
    even = 1 / len(split.labels)
    other = (1 - HINT) / (len(split.labels) - 1)
    return [{label: (HINT if label == split.source.risk else other) if flag else even for label in split.labels} for flag in at_risk]


def cells(found: Found) -> list[tuple[Cell, ...]]:
    """The rows of the table."""
    gold, split = found.split.gold(found.split.test), found.split
    risk = split.labels.index(split.source.risk) if split.source.risk else None
    told: list[tuple[Cell, ...]] = []
    for row in found.rows:
        alarms: Cell = "" if risk is None else alarms_at(row.answers.chances[:, risk], gold[:, risk], RECALL)
        rates = ["–" if rate is None else f"{rate:,.0f}" for rate in (row.spent.texts_per_s, row.spent.batched_per_s)]
        cost = "–" if row.spent.cpu_s is None else f"{row.spent.cpu_s:,.1f}"
        told.append((split.name, row.name, len(gold), accuracy(gold, row.answers.said), macro_f1(gold, row.answers.said), alarms,
                     calibration_error(gold, row.answers, split.multi), *rates, cost))  # fmt: skip
    return told
