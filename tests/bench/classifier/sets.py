"""The labelled sets: which texts are learnt from, which the pooling is fitted on, which are tested on. The choice is fixed: by hash of the row's name.

Where a set has a test part it is that, else its validation part, else a fifth of its training part. Of what is learnt from, everything that is nearly a
test text is removed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from services.ingest.text import clean
from shared.taxonomy import Task
from tests.bench.classifier.duplicates import Known, distinct
from tests.bench.classifier.scores import Flags
from tests.bench.model.texts import lines, newsgroup_post, place

TRAIN, HELD, TEST = 3000, 750, 1000  # texts of a set at size 1
LONG = 0.6  # of these, where texts are long: the encoder reads 70 such a second, and 200 tweets
HELD_SHARE = 0.25  # of what there is to learn from, at most
LEAST_CHARS = 3
TEST_SHARE = 0.2  # of a set that has one part only
OVERSAMPLED = 1.6  # rows that are looked at for each that is wanted: near-duplicates go


@dataclass(frozen=True)
class Source:
    """A set in the data folder. `task`: what its labels say, in a word. `risk`: the label that means danger to somebody, where it has one."""

    folder: str
    task: str
    multi: bool = False
    long: bool = False
    risk: str = ""


SOURCES = (
    Source("ag_news", "topic"),
    Source("20newsgroups", "group", long=True),
    Source("reuters_r8", "topic", long=True),
    Source("tweeteval_emotion", "emotion"),
    Source("tweeteval_sentiment", "sentiment"),
    Source("tweeteval_irony", "irony"),
    Source("tweeteval_offensive", "offence"),
    Source("goemotions", "emotion", multi=True),
    Source("dreaddit", "stress", long=True),
    Source("sdcnl", "forum", long=True, risk="suicidewatch"),
    Source("mr_sentiment", "sentiment"),
)


@dataclass(frozen=True)
class Item:
    """One text and its true labels: one, or of a set with several any number."""

    name: str
    text: str
    gold: frozenset[str]


@dataclass(frozen=True)
class Split:
    """A set, dealt out. `train` teaches the heads and baselines, `held` (a part of the set's training rows) the pooling, `test` measures."""

    source: Source
    task: Task
    train: list[Item]
    held: list[Item]
    test: list[Item]
    removed: int = field(default=0, compare=False)  # rows left out as near-duplicates of test texts, or of one another

    @property
    def name(self) -> str:
        return self.source.folder

    @property
    def labels(self) -> list[str]:
        return list(self.task.labels)

    @property
    def multi(self) -> bool:
        return self.source.multi

    def gold(self, items: Sequence[Item]) -> Flags:
        """[texts, labels]: which labels are true."""
        return np.array([[label in item.gold for label in self.labels] for item in items], dtype=np.bool_).reshape(len(items), len(self.labels))


def there(folder: Path) -> list[Source]:
    """The sets that the data folder holds."""
    return [source for source in SOURCES if any((folder / source.folder / f"{part}.jsonl").is_file() for part in ("train", "test", "val", "dev"))]


def split(folder: Path, source: Source, size: float) -> Split:
    """Read and deal out one set. Raises ValueError where too little is left of it to learn and to test."""
    scale = size * (LONG if source.long else 1.0)
    wanted = {"train": TRAIN, "held": HELD, "test": TEST}
    wanted = {part: max(40, round(many * scale)) for part, many in wanted.items()}
    learn, test = _parts(folder / source.folder, source)
    test = _picked(test, wanted["test"])
    known = Known()
    kept_test = [test[n] for n in distinct([item.text for item in test], known)]
    removed = len(test) - len(kept_test)
    kept_test = kept_test[: wanted["test"]]
    learn = _picked(learn, wanted["train"] + wanted["held"])
    kept = [learn[n] for n in distinct([item.text for item in learn], known)]
    begin = min(wanted["held"], round(HELD_SHARE * len(kept)))
    held, train = kept[:begin], kept[begin : begin + wanted["train"]]
    labels = sorted({label for item in train for label in item.gold})
    unknown = {label for item in (*held, *kept_test) for label in item.gold} - set(labels)
    if len(labels) < 2 or len(train) < 40 or len(held) < 20 or len(kept_test) < 20:
        raise ValueError(f"{source.folder}: {len(train)}, {len(held)} and {len(kept_test)} texts of {len(labels)} labels are too few")
    task = Task.model_validate({
        "name": source.task, "meaning": f"the {source.task} of the text", "labels": dict.fromkeys([*labels, *sorted(unknown)], ""),
        "kind": "multi" if source.multi else "single",
    })  # fmt: skip
    return Split(source, task, train, held, kept_test, removed + len(learn) - len(kept))


def _parts(folder: Path, source: Source) -> tuple[list[Item], list[Item]]:
    """(rows to learn from, rows to test on): all of them, in the fixed order."""
    own = {part: _ordered(_items(folder / f"{part}.jsonl", source)) for part in ("train", "test", "val", "dev")}
    rest = [part for part in ("test", "val", "dev") if own[part]]
    if own["train"] and rest:
        return own["train"], own[rest[0]]
    rows = own["train"] or (own[rest[0]] if rest else [])
    return (
        [item for item in rows if _share(item.name) >= TEST_SHARE],
        [item for item in rows if _share(item.name) < TEST_SHARE],
    )


def _items(path: Path, source: Source) -> Iterator[Item]:
    for row in lines(path):
        text = newsgroup_post(row["text"]) if source.folder == "20newsgroups" else clean(str(row["text"]))
        gold = frozenset(row["label"] if isinstance(row["label"], list) else [str(row["label"])])
        if len(text) >= LEAST_CHARS and gold:
            yield Item(str(row["id"]), text, gold)


def _ordered(items: Iterator[Item]) -> list[Item]:
    return sorted(items, key=lambda item: place(item.name))


def _picked(items: list[Item], wanted: int) -> list[Item]:
    """The first in the fixed order, a few more than are wanted."""
    return items[: round(wanted * OVERSAMPLED) + 50]


def _share(name: str) -> float:
    """Where a row stands between 0 and 1, by its name alone; apart from the order, which is by `place`."""
    return int(place(f"split {name}")[:8], 16) / 16**8
