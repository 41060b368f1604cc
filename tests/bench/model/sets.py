"""The labelled sets: which texts, which task they are asked, and what counts as right."""

import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from services.ingest.text import clean, first_sentence
from services.trainer.examples import window
from services.trainer.supervision import NEVER, category_of, cues, held_out, sentiment_of, urgency_of
from services.trainer.tasks import all_names, moods, phrases
from shared import grounding
from shared.prompts import NO, YES
from shared.taxonomy import Task, label_set
from tests.bench.model.texts import Text, evenly, lines, newsgroup_post, of_sample, place

NEWSGROUPS = {
    "alt.atheism": "atheism", "comp.graphics": "computer graphics", "comp.os.ms-windows.misc": "Windows", "comp.sys.ibm.pc.hardware": "PC hardware",
    "comp.sys.mac.hardware": "Macintosh", "comp.windows.x": "X Window System", "misc.forsale": "for sale", "rec.autos": "cars",
    "rec.motorcycles": "motorcycles", "rec.sport.baseball": "baseball", "rec.sport.hockey": "hockey", "sci.crypt": "cryptography",
    "sci.electronics": "electronics", "sci.med": "medicine", "sci.space": "space", "soc.religion.christian": "christianity",
    "talk.politics.guns": "guns", "talk.politics.mideast": "Middle East", "talk.politics.misc": "US politics", "talk.religion.misc": "religion",
}  # fmt: skip
APART = ("rec.motorcycles", "rec.sport.baseball", "sci.crypt", "sci.med", "sci.space", "soc.religion.christian", "talk.politics.mideast")
REUTERS = {"earn": "earnings", "acq": "acquisitions", "crude": "crude oil", "trade": "trade", "money-fx": "money markets", "interest": "interest rates",
           "ship": "shipping", "grain": "grain"}  # fmt: skip
AG = {"World": ("world", "politics"), "Sports": ("sport",), "Business": ("business", "economy"), "Sci/Tech": ("technology", "science", "security")}
# names that no list of the training holds (a test sees to it), for what the sets call by names that it may hold
AG_ANEW = {
    "World": "dispatches from abroad",
    "Sports": "athletes and their results",
    "Business": "firms and markets",
    "Sci/Tech": "gadgets and discoveries",
}
NEWSGROUPS_ANEW = {
    "rec.motorcycles": "riding on two wheels", "rec.sport.baseball": "pitchers and innings", "sci.crypt": "secret codes", "sci.med": "doctors and drugs",
    "sci.space": "rockets and orbits", "soc.religion.christian": "gospel and church", "talk.politics.mideast": "Israelis and Arabs",
}  # fmt: skip
# what a desk would write beside such labels, before it has seen a text
MEANT = {
    "World": "international news, politics, wars", "Sports": "games, athletes, teams", "Business": "companies, markets, money",
    "Sci/Tech": "science and technology, gadgets, research", "earnings": "quarterly profits and losses", "acquisitions": "one company buys another",
    "crude oil": "oil prices and production", "trade": "exports, imports, tariffs", "money markets": "currency exchange and liquidity",
    "interest rates": "central banks, rates", "shipping": "ships and ports", "grain": "wheat, corn, harvests", "anger": "rage, annoyance",
    "joy": "happiness, delight", "optimism": "hope, confidence in the future", "sadness": "grief, disappointment",
    "clickbait": "a headline that teases and does not tell", "news": "a headline that reports what happened",
}  # fmt: skip
STRESSED = ("no", "calm", "some", "mild", "strong", "severe")  # what runs/maker.py calls the levels of stress by, beside their names in phrases.yaml
EMOTIONS = ("admiration", "anger", "confusion", "fear", "gratitude", "joy", "sadness", "surprise")


@dataclass(frozen=True)
class Item:
    """One text; `right` are the labels that count as right, `gold` is its class in the set's own words. Ask of it by `head` and `text`."""

    title: str
    text: str
    gold: str
    right: tuple[str, ...]

    @property
    def head(self) -> str:
        """The title, or what ingest makes one of where there is none."""
        return self.title or first_sentence(self.text) or "(untitled)"


@dataclass(frozen=True)
class Quiz:
    """A set of items that are asked one task. `classes` maps a label of the task to a class of the set, where the two differ; `told` says a label at
    more length for the encoder, where its name alone means nothing (yes, no)."""

    name: str
    task: Task
    items: list[Item]
    classes: dict[str, str] = field(default_factory=dict)
    told: dict[str, str] = field(default_factory=dict)


def task_of(name: str, labels: Iterable[str]) -> Task:
    """A task that no label set declares."""
    return Task(name=name, meaning="", labels=dict.fromkeys(labels, ""))


def bounded(items: Sequence[Item], most: int) -> list[Item]:
    """At most `most` items, and of one class at most twice its even share, in the order given."""
    classes = sorted({item.gold for item in items})
    each = max(1, 2 * most // max(1, len(classes)))
    return evenly([(gold, [item for item in items if item.gold == gold][:each]) for gold in classes], most)


def automatic(texts: Sequence[Text], most: int) -> list[Quiz]:
    """Windows of held-out documents with the labels that the training's supervision gives them: how well it was learnt, not how well it agrees with
    people. No sentence is made up here."""
    found: dict[str, list[Item]] = {"category": [], "sentiment": [], "urgency": []}
    for text in texts:
        chance = random.Random(place(text.name))
        pieces = grounding.sentences(text.text)
        for _ in range(2):
            if not pieces:
                break
            part = window(pieces, chance)
            title = text.title if chance.random() < 0.5 else ""
            both = f"{title} {part}"
            golds = {
                "category": category_of(text.origin, text.row.get("path", ""), both),
                "sentiment": sentiment_of(both, 2 if len(both) < 300 else 3),
                "urgency": urgency_of(both),
            }
            for task, gold in golds.items():
                if gold and gold != "neutral":  # no word of tone: people find one in most of such items (58 % of 1,640), so it is no gold
                    found[task].append(Item(title, part, gold, (gold,)))
    return [
        Quiz(f"{name}: held-out documents, automatic labels", label_set().tasks[name], bounded(items, most)) for name, items in found.items() if items
    ]


def authored(most: int) -> list[Quiz]:
    """The project's own sample, labelled by its writers; once more without the desk's own labels, which no shipped model was taught."""
    quizzes = []
    for name, task in label_set().tasks.items():
        items = [Item(t.title, t.text, t.row.labels[name], (t.row.labels[name],)) for t in of_sample() if name in t.row.labels]
        if name != "risk":
            quizzes.append(Quiz(f"{name}: own sample, hand-labelled", task, items[:most]))
        if name == "category":
            known = [item for item in items if item.gold not in NEVER]
            quizzes.append(Quiz(f"{name}: the same without {' and '.join(sorted(NEVER))}", task, known[:most]))
    return quizzes


def foreign(folder: Path, most: int) -> list[Quiz]:
    """Sets that people labelled, on the tasks that Feedloop knows."""
    tasks = label_set().tasks
    sides = Task(name="sentiment", meaning="", labels={side: tasks["sentiment"].labels[side] for side in ("positive", "negative")})
    ag = [Item("", text, gold, AG[gold]) for text, gold in _rows(folder / "ag_news" / "train.jsonl", most * 12)]
    classes = {label: gold for gold, labels in AG.items() for label in labels}
    found = [Quiz("category: AG news, its four classes mapped", tasks["category"], bounded(ag, most), classes)]
    for name, path, task in (
        ("tweets (TweetEval)", "tweeteval_sentiment/val.jsonl", tasks["sentiment"]),
        ("film reviews (MR)", "mr_sentiment/train.jsonl", sides),
    ):
        found.append(Quiz(f"sentiment: {name}", task, bounded(_plain(_rows(folder / path, most * 12)), most)))
    return [quiz for quiz in found if quiz.items]


def unseen(folder: Path, most: int) -> list[Quiz]:
    """Sets whose labels are asked by names of their own."""
    news = _rows(folder / "20newsgroups" / "train.jsonl", most * 12)
    groups = [Item("", newsgroup_post(text), NEWSGROUPS[gold], (NEWSGROUPS[gold],)) for text, gold in news]
    groups = [item for item in groups if len(item.text) >= 60]
    some = [NEWSGROUPS[name] for name in APART]
    apart = [item for item in groups if item.gold in some]
    anew = {NEWSGROUPS[name]: label for name, label in NEWSGROUPS_ANEW.items()}
    renamed = [Item("", item.text, anew[item.gold], (anew[item.gold],)) for item in apart]
    reuters = [(text, REUTERS[gold]) for text, gold in _rows(folder / "reuters_r8" / "train.jsonl", most * 40)]
    go = [
        (row["text"], row["label"][0]) for row in lines(folder / "goemotions" / "dev.jsonl") if len(row["label"]) == 1 and row["label"][0] in EMOTIONS
    ]
    stress = [(text, "yes" if gold == "stress" else "no") for text, gold in _rows(folder / "dreaddit" / "train.jsonl", most * 6)]
    bait = [(text, gold) for text, gold in _rows(folder / "clickbait32k" / "train.jsonl", 0) if held_out(text)]
    quizzes = [
        Quiz("AG news, own four names", task_of("topic", AG), _plain(_rows(folder / "ag_news" / "train.jsonl", most * 12, "b"))),
        Quiz("AG news, names of ours", task_of("topic", AG_ANEW.values()),
             _plain((text, AG_ANEW[gold]) for text, gold in _rows(folder / "ag_news" / "train.jsonl", most * 12, "c"))),
        Quiz("20 newsgroups, all", task_of("group", NEWSGROUPS.values()), groups),
        Quiz("20 newsgroups, seven far apart", task_of("subject", some), apart),
        Quiz("the same seven, names of ours", task_of("subject", anew.values()), renamed),
        Quiz("Reuters R8", task_of("topic", REUTERS.values()), _plain(reuters)),
        Quiz("GoEmotions, eight", task_of("emotion", EMOTIONS), _plain(sorted(go, key=lambda row: place(row[0])))),
        Quiz("tweets, four emotions (TweetEval)", task_of("emotion", ("anger", "joy", "optimism", "sadness")),
             _plain(_rows(folder / "tweeteval_emotion" / "val.jsonl", 0))),
        Quiz("posts, stress (Dreaddit)", task_of("stress", ("yes", "no")), _plain(stress),
             told={"yes": "the writer suffers from stress", "no": "the writer is calm"}),
        Quiz("headlines, clickbait or news", task_of("kind", ("clickbait", "news")), _plain(bait)),
    ]  # fmt: skip
    return [Quiz(quiz.name, quiz.task, bounded(quiz.items, most), quiz.classes, quiz.told) for quiz in quizzes if quiz.items]


@cache
def taught() -> frozenset[str]:
    """Every label name that the training's lists can hold, in small letters and with spaces."""
    names = {label for task in label_set().tasks.values() for label in task.labels}
    names |= {label for group in cues()["renamed"].values() for label in group} | set(cues()["kinds"].values())
    names |= set(all_names()) | {label for body in moods().values() for label in body["names"]} | set(moods())
    names |= {YES, NO} | set(phrases()["stress"]) | set(STRESSED) | set(phrases()["messages"])
    return frozenset(re.sub(r"[\W_]+", " ", name.casefold()).strip() for name in names)


def known_names(labels: Iterable[str]) -> int:
    """How many of the labels the training may have called by that very name."""
    return sum(re.sub(r"[\W_]+", " ", label.casefold()).strip() in taught() for label in labels)


def _rows(path: Path, most: int, salt: str = "") -> list[tuple[str, str]]:
    """(text, label) of a set in the fixed order, at most `most` (0: all); a text that stands there twice once."""
    rows = sorted(lines(path), key=lambda row: place(f"{salt}{row['id']}"))
    unique = {clean(row["text"]) if "20newsgroups" not in path.parts else row["text"]: str(row["label"]) for row in rows}
    return list(unique.items())[: most or None]


def _plain(rows: Iterable[tuple[str, str]]) -> list[Item]:
    return [Item("", text, gold, (gold,)) for text, gold in rows]
