"""Label conventions that the bundled model was not taught: the desk's own in deploy/sample, and hand-labelled sets under names made up here.

The hand-labelled sets lie in the data folder, which is not part of the project; they serve this benchmark alone, and none of them teaches the bundled
model. Where the folder is missing, only the sample's convention is measured.
"""

import json
import random
import re
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from services.ingest.text import first_sentence
from services.trainer.dataset import NEAR, jaccard
from shared.events import FeedbackGiven
from shared.taxonomy import LabelSet, label_set, read

ROOT = Path(__file__).resolve().parents[2]
HELD_OUT = 100  # items that accuracy is measured on, per seed: one of them is one percentage point
TRAINING = 200  # the largest number of corrections of the curve
LEAST_ROWS = 260  # a set with fewer rows is left out
_HEADER = re.compile(r"^[A-Z][A-Za-z-]+: .*$")
_REPLY = re.compile(r"^(re|fwd?):\s*")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Item:
    """One text with the label that the convention gives it."""

    title: str
    text: str
    label: str


@dataclass(frozen=True)
class Convention:
    """A label set as a user would declare it, the task of it that is corrected, and the items: `fixed` ones come already split."""

    name: str
    task: str
    declared: dict[str, Any]
    items: list[Item]
    held_out: list[Item]
    note: str

    def write(self, folder: Path) -> Path:
        """The label set in a file of a user's own, where it stands in for that of the news, which its corrections are of; checked by reading it back.
        Raises ConfigError where it is no label set."""
        path = folder / f"{self.name}.yaml"
        path.write_text(yaml.safe_dump({"label_sets": {"news": {**self.declared, "collection": "news"}}}, sort_keys=False, allow_unicode=True))
        read(path)
        return path

    def labels(self) -> LabelSet:
        return LabelSet.model_validate(self.declared)

    def counts(self) -> list[int]:
        """How many corrections the curve is measured at."""
        most = min(TRAINING, len(self.items) - (0 if self.held_out else HELD_OUT))
        return [n for n in (20, 60, TRAINING) if n < most] + [most]

    def drawn(self, seed: int) -> tuple[list[Item], list[Item]]:
        """(corrections in the order in which they are given, held-out items): the same for a seed everywhere. Each label comes in turn, so that the
        first 20 hold all labels and a blind guess scores one in as many as there are labels."""
        dice = random.Random(f"{self.name} {seed}")
        if self.held_out:
            return dice.sample(self.items, len(self.items)), list(self.held_out)
        turns = _apart(_in_turn(self.items, dice), HELD_OUT + TRAINING)
        return turns[HELD_OUT:], turns[:HELD_OUT]


def feedback(convention: Convention, items: list[Item], seed: int, kind: str = "given") -> list[FeedbackGiven]:
    """The corrections as the page gives them: one event an item. `kind` tells their ids from those of another part."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return [
        FeedbackGiven(
            id=f"{convention.name}-{seed}-{kind}-{n:03}", document_id=f"{convention.name}-{kind}-{n:03}", title=item.title, text=item.text,
            task=convention.task, kind="correction", correct=item.label, given_at=at,
        )
        for n, item in enumerate(items)
    ]  # fmt: skip


def _in_turn(items: list[Item], dice: random.Random) -> list[Item]:
    """Shuffled, one of each label in turn for as long as each has some left."""
    of_label: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        of_label[item.label].append(item)
    for label in sorted(of_label):
        dice.shuffle(of_label[label])
    rounds = min(len(found) for found in of_label.values())
    order: list[Item] = []
    for n in range(rounds):
        turn = [of_label[label][n] for label in sorted(of_label)]
        dice.shuffle(turn)
        order += turn
    return order


def _apart(items: list[Item], most: int) -> list[Item]:
    """The first `most` items of which no two tell the same story, by the trainer's own measure: a copy on both sides would be learnt by heart."""
    taken: list[Item] = []
    words: list[frozenset[str]] = []
    titles: set[str] = set()
    for item in items:
        mine = frozenset(_WORD.findall(f"{item.title} {item.text}".lower()))
        title = _REPLY.sub("", item.title.lower()).strip()
        if title not in titles and all(jaccard(mine, theirs) < NEAR for theirs in words):
            taken.append(item)
            words.append(mine)
            titles |= {title} - {""}
        if len(taken) == most:
            break
    return taken


def conventions(data: Path | None) -> list[Convention]:
    """The sample's own convention, then those of the data folder that are there and large enough."""
    found = [sample()]
    if data is not None:
        found += [made for made in (_labelled(data, **spec) for spec in LABELLED) if made is not None]
    return found


def sample() -> Convention:
    """The desk's own: `economy` and `security`, which the bundled model was never taught, among the labels that it was."""
    folder = ROOT / "deploy" / "sample"
    from deploy.sample.authored import items

    texts = {item.key: item.plain for item in items()}
    given = [row for row in _rows(folder / "feedback.jsonl") if row["task"] == "category"]
    held = [row for row in _rows(folder / "heldout.jsonl") if row["task"] == "category"]
    return Convention(
        name="sample", task="category", declared=_declared("sample", "category", label_set().tasks["category"].labels),
        items=[Item(row["title"], row["text"], row["correct"]) for row in given],
        held_out=[Item(row["title"], texts[row["key"]], row["label"]) for row in held],
        note="the sample's corrections; 24 of the 36 held-out items carry economy or security",
    )  # fmt: skip


# set -> labels of the set that are used, each with the name that the desk gives it; the names were chosen before any figure was seen
LABELLED: list[dict[str, Any]] = [
    {
        "name": "reuters_r8", "task": "desk", "note": "business wires of 1987, lower case, under desk names",
        "names": {"earn": "results", "acq": "takeovers", "crude": "oil", "trade": "trade-policy", "money-fx": "currencies", "interest": "rates"},
    },
    {
        "name": "20newsgroups", "task": "section", "note": "posts under names that say nothing",
        "names": {"rec.sport.hockey": "desk-a", "rec.autos": "desk-b", "sci.space": "desk-c", "sci.med": "desk-d", "talk.politics.mideast": "desk-e"},
    },
    {
        "name": "ag_news", "task": "page", "note": "headlines with a line of text, under renamed sections",
        "names": {"Sci/Tech": "lab", "Business": "money", "Sports": "games", "World": "abroad"},
    },
    {
        "name": "tweeteval_emotion", "task": "mood", "note": "tweets; people agree on them less than on topics",
        "names": {"anger": "anger", "sadness": "sadness", "joy": "joy", "optimism": "optimism"},
    },
]  # fmt: skip


def _labelled(data: Path, *, name: str, task: str, names: dict[str, str], note: str) -> Convention | None:
    path = data / name / "train.jsonl"
    if not path.exists():
        return None
    rows = [row for row in _rows(path) if row["label"] in names]
    items = {item.text: item for item in (_item(row, names) for row in rows) if len(item.text) > 20}  # the same text once
    if len(items) < LEAST_ROWS:
        return None
    declared = _declared(f"set-{name.replace('_', '-')}", task, dict.fromkeys(names.values(), ""))
    return Convention(name=name, task=task, declared=declared, items=list(items.values()), held_out=[], note=note)


def _item(row: dict[str, Any], names: dict[str, str]) -> Item:
    """A row as ingest would show it: the headers of a post are not its text."""
    body = str(row["text"])
    if "\n" in body:
        body = "\n".join(line for line in body.split("\n") if not _HEADER.match(line))
    text = " ".join(body.split())[:4000]
    return Item(str(row.get("title", "")) or first_sentence(text), text, names[row["label"]])


def _declared(collection: str, task: str, labels: dict[str, str]) -> dict[str, Any]:
    """A label set of the corrected task, and of the news' other tasks that the LLM answers: those that an adapter must not forget."""
    tasks = {task: {"meaning": "which part of the desk reads it", "labels": dict(labels)}}
    for other in label_set().asked_of("llm"):
        if other.name not in ("category", task):
            tasks[other.name] = {"meaning": other.meaning, "labels": dict(other.labels)}
    return {"collection": collection, "tasks": tasks}


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
