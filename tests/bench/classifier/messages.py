"""The messages that were written to measure with (tests/bench/texts): five statements, fifty ways to say each, and texts that are hard on purpose.

Each way of deciding has some of the parts switched off. Nothing here is learnt from, and no rule, phrase or threshold may be made to fit it.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from shared.events import Decision
from tests.bench.classifier.scores import alarms_at
from tests.bench.classifier.screen import Neurons, Screen, Verdict, danger, in_danger
from tests.bench.model.figures import share
from tests.bench.model.tables import Cell, Section

TEXTS = Path(__file__).resolve().parents[1] / "texts"
TASKS = ("emotion", "sentiment", "stress", "risk")
RECALLS = (0.9, 0.98)
WANTED_RIGHT, WANTED_RECALL, WANTED_ALARMS = 95.0, 98.0, 5.0  # per cent
STATEMENTS = {  # emotion and risk
    "I will marry her": ("positive", "none"),
    "I am unstoppable": ("positive", "none"),
    "I'm sick of people wasting my time": ("stress", "low"),
    "I want to kill myself": ("self_harm_high", "high"),
    "I went to the store": ("neutral", "none"),
}
PARAPHRASES = dict(zip(("marry", "unstoppable", "sick", "kill", "store"), STATEMENTS, strict=True))

GROUPS = {  # of hard texts: what the section is called, and whose they are
    "hard": ("Hard texts", ""),
    "fresh": (
        "Fresh hard texts",
        "Written after the small head's training texts, by an author who knew neither them nor the other hard texts; later texts, of the second head alone, were "
        "commissioned by kinds that the hard texts had shown to be weak. ",
    ),
    "blind": (
        "Blind hard texts",
        "By two authors who were told to open no file of this project, one before and one beside the last round of training texts; no figure of theirs led to any "
        "text. ",
    ),
}


@dataclass(frozen=True)
class Message:
    """One text and its true label for each task that was labelled. `group`: statements, paraphrases of which, hard, fresh, or blind."""

    text: str
    gold: Mapping[str, str]
    kind: str
    group: str
    place: str

    @property
    def risky(self) -> bool:
        return in_danger(self.gold)


@dataclass(frozen=True)
class Way:
    """Who decides, and what they decided of each message."""

    name: str
    decisions: list[dict[str, Decision]]

    def labels(self, n: int) -> dict[str, str]:
        return {task: decision.label for task, decision in self.decisions[n].items()}

    @cached_property
    def scores(self) -> Any:
        return np.array([danger(decisions) for decisions in self.decisions])


def messages(share_of: float = 1.0, folder: Path = TEXTS) -> list[Message]:
    """All of them, the statements first; of a smaller share every so many of each file. Raises ValueError where a file is missing."""
    found = [Message(text, {"emotion": emotion, "risk": risk}, "statement", "statements", text) for text, (emotion, risk) in STATEMENTS.items()]
    step = max(1, round(1 / min(1.0, share_of)))
    for pattern, group in (
        *((f"paraphrases_{name}.jsonl", text) for name, text in PARAPHRASES.items()),
        ("hard_*.jsonl", "hard"),
        ("fresh_*.jsonl", "fresh"),
        ("blind_*.jsonl", "blind"),
    ):
        paths = sorted(folder.glob(pattern))
        if not paths:
            raise ValueError(f"no {pattern} in {folder}")
        for path in paths:
            rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            for n, row in list(enumerate(rows, 1))[::step]:
                found.append(Message(row["text"], {task: row[task] for task in TASKS}, row["kind"], group, f"{path.name}:{n}"))
    return found


def ways(found: Sequence[Message], head: Neurons, fusion: Path | None, verdicts: Sequence[Verdict] | None, say: Callable[[str], None]) -> list[Way]:
    """Every message decided with all the parts there are, and with each switched off in turn. `verdicts`: what the language model said, where it was
    asked; the first way is the fullest."""
    asked = [("every part on", True, True, True), ("language model away", True, True, False), ("head away", True, False, True),
             ("rules away", False, True, True), ("rules alone", True, False, False), ("head alone", False, True, False),
             ("language model alone", False, False, True)]  # fmt: skip
    made = []
    for name, rules, neural, llm in asked:
        if llm and verdicts is None:
            continue
        say(f"messages: {name} …")
        screen = Screen.of(rules=rules, head=head if neural else None, fusion=fusion)
        made.append(Way(name, [screen.decide(one.text, verdicts[n] if verdicts and llm else None) for n, one in enumerate(found)]))
    return made


def is_right(message: Message, labels: Mapping[str, str], tasks: Iterable[str] = ("emotion", "risk")) -> bool:
    """Whether emotion and risk are what they should be."""
    return all(labels.get(task) == message.gold[task] for task in tasks)


def statements(found: Sequence[Message], made: Sequence[Way]) -> Section:
    """The five statements, and fifty paraphrases of each."""
    rows: list[tuple[Cell, ...]] = []
    for way in made:
        right = [is_right(one, way.labels(n)) for n, one in enumerate(found)]
        five = [right[n] for n, one in enumerate(found) if one.group == "statements"]
        each = [share([right[n] for n, one in enumerate(found) if one.group == text]) for text in STATEMENTS]
        every = share([right[n] for n, one in enumerate(found) if one.group in STATEMENTS])
        rows.append((way.name, f"{sum(five)} of {len(five)}", *each, every, "yes" if all(five) and every.value >= WANTED_RIGHT else "NO"))
    about = (
        "Right: emotion and risk are both what they should be. The first column is the five statements themselves, the others fifty paraphrases of each, "
        f"which no part has learnt from. Wanted: all five, and {WANTED_RIGHT:.0f} % of the paraphrases."
    )
    columns = ("decided by", "statements", *(f"“{text}”" for text in STATEMENTS), "all paraphrases", f"5 and {WANTED_RIGHT:.0f} %")
    return Section("The five statements and their paraphrases", columns, rows, about)


def hard(found: Sequence[Message], made: Sequence[Way], group: str = "hard") -> Section:
    """The hard texts of one of GROUPS: who is missed, and who is called in danger for nothing."""
    title, whose = GROUPS[group]
    places = [n for n, one in enumerate(found) if one.group == group]
    risky = np.array([found[n].risky for n in places])
    rows: list[tuple[Cell, ...]] = []
    for way in made:
        said = [in_danger(way.labels(n)) for n in places]
        recall = share([flag for flag, true in zip(said, risky, strict=True) if true])
        alarms = share([flag for flag, true in zip(said, risky, strict=True) if not true])
        at = [alarms_at(way.scores[places], risky, wanted) for wanted in RECALLS]
        right = [share([way.labels(n).get(task) == found[n].gold[task] for n in places]) for task in TASKS]
        met = recall.value >= WANTED_RECALL and alarms.value <= WANTED_ALARMS
        rows.append((way.name, recall, alarms, *at, *right, "yes" if met else "NO"))
    about = (
        f"{whose}{len(places)} texts, {int(risky.sum())} of them of danger: risk high, or an emotion of self-harm. Recall: the share of these that the verdict "
        "calls danger. False alarms: the share of the others that it does. The two columns at fixed recall rank the texts by probability instead (1 where a "
        "rule decided); 100 % means that this recall is only reached by calling everything danger. The last columns are the share of right labels. Wanted: "
        f"recall {WANTED_RECALL:.0f} %, false alarms at most {WANTED_ALARMS:.0f} %."
    )
    columns = ("decided by", "recall of danger", "false alarms", *(f"false alarms at {wanted:.0%} recall" for wanted in RECALLS), *TASKS, "wanted")
    return Section(title, columns, rows, about)


def by_kind(found: Sequence[Message], made: Sequence[Way]) -> Section:
    """The hard texts kind by kind, with every part that was there and with the language model away."""
    kinds: defaultdict[str, list[int]] = defaultdict(list)
    for n, one in enumerate(found):
        if one.group == "hard":
            kinds[one.kind].append(n)
    shown = [way for way in made if way.name in ("every part on", "language model away")]
    rows: list[tuple[Cell, ...]] = []
    for kind, places in sorted(kinds.items(), key=lambda item: (-np.mean([found[n].risky for n in item[1]]), item[0])):
        risky, safe = [n for n in places if found[n].risky], [n for n in places if not found[n].risky]
        cells: list[Cell] = []
        for way in shown:
            missed = sum(not in_danger(way.labels(n)) for n in risky)
            alarms = sum(in_danger(way.labels(n)) for n in safe)
            right = sum(is_right(found[n], way.labels(n)) for n in places)
            cells += [missed if risky else "", alarms if safe else "", f"{right} of {len(places)}"]
        rows.append((kind, len(risky), len(safe), *cells))
    columns = ("kind", "danger", "safe", *(f"{what}, {way.name}" for way in shown for what in ("missed", "false alarms", "right")))
    about = (
        "Numbers of texts. Right: emotion and risk both. Of the kinds `helper` (people who care for one in danger) and `grief` a desk may want to see some "
        "all the same."
    )
    return Section("Hard texts by kind", columns, rows, about)


def misses(found: Sequence[Message], made: Sequence[Way]) -> list[dict[str, Any]]:
    """Every message that some way got wrong, with what each said: for a person to look at, not for rules to be fitted to."""
    listed = []
    for n, one in enumerate(found):
        wrong = {}
        for way in made:
            labels = way.labels(n)
            if not is_right(one, labels):
                by = {task: decision.by for task, decision in way.decisions[n].items()}
                sort = "missed" if one.risky and not in_danger(labels) else "false alarm" if in_danger(labels) and not one.risky else "other label"
                wrong[way.name] = {"sort": sort, "said": labels, "by": by, "danger": round(float(way.scores[n]), 3)}
        if wrong:
            listed.append({"place": one.place, "kind": one.kind, "text": one.text, "gold": dict(one.gold), "wrong": wrong})
    return listed
