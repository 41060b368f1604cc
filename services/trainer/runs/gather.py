"""Passages to learn from, out of the corpora and of what was written for Feedloop: windows of prose, headlines, comments, news items, lines."""

import json
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.trainer import examples as making
from services.trainer.runs.make_tokenizer import documents
from services.trainer.supervision import category_of, held_out, sentiment_of
from services.trainer.tasks import moods, topics
from shared import grounding

WINDOWS = {  # of a document; the others: 1
    "congress_press": 0.42, "beige_book": 0.6, "debian_security": 0.5, "changelog_transcripts": 3, "openstax": 7, "fed_speeches": 5, "medquad_nih": 2.5,
    "world_factbook": 6, "standardebooks": 8, "digitalgov": 1.3, "opensuse_news": 0.8, "haskell_weekly": 1.5, "18f": 2,
}  # fmt: skip
PROSE_SHARE = {"congress_press": 0.3, "beige_book": 0.25, "debian_security": 0.2, "changelog_transcripts": 0.4}  # the others: REST
REST = 0.8
LONG = ("openstax", "changelog_transcripts")  # read further into
COMMENTS, TIMES_TOPIC, TIMES_MOOD, TIMES_ITEM = 0.5, 3, 4, 5  # share of the comments; how often each written line and item is used
ITEMS = Path(__file__).parents[1] / "news"  # items with labels by hand


@dataclass(frozen=True)
class Document:
    """A row of the corpora that is learnt from (or `held` out), with its sentences."""

    row: dict[str, Any]
    pieces: list[str]
    held: bool


@dataclass(frozen=True)
class Passage:
    """What a label task is asked about. `category`, `tone` and `moods` are what the distant supervision or people say; `topic` what it was written for."""

    source: str
    title: str
    text: str
    heading: str = ""  # what the text stood under, where the title is not shown
    category: str | None = None
    tone: str | None = None
    urgency: str | None = None
    moods: tuple[str, ...] = ()
    topic: str | None = None
    quiet: bool = False  # learn from the answers only: text of strangers, whose words are not to be learnt
    names: list[str] = field(default_factory=list)

    @property
    def shown(self) -> str:
        """Title and text, as the encoder reads them."""
        return f"{self.title}. {self.text}" if self.title else self.text


def data_folder(named: str | None) -> Path:
    """The data folder: as named, else FEEDLOOP_DATA, else ../shared/data. Raises SystemExit where there is none."""
    folder = Path(named or os.environ.get("FEEDLOOP_DATA") or "../shared/data")
    if not folder.is_dir():
        raise SystemExit(f"no data folder {folder}: name it with --data or FEEDLOOP_DATA (see docs/model.md)")
    return folder


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a JSON lines file; none where the file is not there."""
    if path.exists():
        with path.open(encoding="utf-8") as rows:
            yield from map(json.loads, rows)


def read(folder: Path, size: float, chance: random.Random) -> Iterator[Document]:
    """The prose corpora's documents, a share `size` of them; the held-out ones all."""
    for row in documents(folder):
        held = held_out(row["id"])
        if not held and chance.random() > size:
            continue
        pieces = grounding.sentences(row["text"][: 24000 if row["source"] in LONG else 8000])
        if pieces:
            yield Document(row, pieces, held)


def windows(document: Document, chance: random.Random) -> list[Passage]:
    """Windows of a document: some with its title, some from its beginning, all with what the distant supervision says of them."""
    row, wish = document.row, WINDOWS.get(document.row["source"], 1)
    made = []
    for _ in range(int(wish) + (chance.random() < wish % 1)):
        text = making.window(document.pieces, chance)
        lead = chance.random() < 0.3
        if lead:
            text = making.window(document.pieces[: chance.randint(1, 8)], chance)
        title = row["title"] if row["title"] and chance.random() < 0.45 else ""
        both = f"{title} {text}"
        made.append(
            Passage(
                row["source"], title, text, row["title"] if not title and (lead or row["source"] == "medquad_nih") else "",
                category_of(row["source"], row.get("path", ""), both), sentiment_of(both, 2 if len(both) < 300 else 3), names=grounding.entities(text)[:4],
            )
        )  # fmt: skip
    return made


def headlines(folder: Path, chance: random.Random) -> Iterator[tuple[Passage, bool]]:
    """Headlines, alone or with others of the same category below, and whether each is held out."""
    mates: dict[str, list[str]] = {}
    for row in lines(folder / "clickbait32k" / "train.jsonl"):
        text, held = row["text"], held_out(row["text"])
        category = category_of("headline", "", text)
        body = ""
        if category and not held:
            others = mates.setdefault(category, [])
            body = ". ".join(chance.sample(others, min(len(others), chance.choice((0, 0, 0, 1, 2, 5)))))
            others.append(text)
        yield Passage("headline", text, body, "", category, None if body else sentiment_of(text, 1)), held  # each line below has a tone of its own
    for row in lines(folder / "newsletter" / "train.jsonl"):
        text = row["input"].split("**Summary:**")[-1].split("JSON only")[0].strip()
        title = row["input"].split("###")[-1].split("\n")[0].strip()
        yield Passage("newsletter", title, text, "", category_of("twir", "", f"{title} {text}")), False


def comments(folder: Path, part: str, chance: random.Random) -> Iterator[Passage]:
    """Comments with the moods that people found in them (GoEmotions), of which only the answers are learnt."""
    for row in lines(folder / "goemotions" / f"{part}.jsonl"):
        if row["label"] == ["neutral"] and chance.random() < 0.5:
            continue
        text = row["text"].replace("[NAME]", chance.choice(("Ana", "Ben", "Kim", "Sam", "Lee", "Max"))).replace("[RELIGION]", "church")
        found = {tone for tone, emotions in making.MOODS.items() if set(row["label"]) & emotions}
        known = all(any(label in emotions for emotions in making.MOODS.values()) for label in row["label"])
        yield Passage("comment", "", text, tone=found.pop() if known and len(found) == 1 else None, moods=tuple(row["label"]), quiet=True)


def items(chance: random.Random) -> Iterator[Passage]:
    """The news items written for Feedloop, with their labels: whole, without their title, or without the end of their text."""
    for path in sorted(ITEMS.glob("*.jsonl")):
        for row in lines(path):
            pieces = grounding.sentences(row["text"])
            for n in range(TIMES_ITEM):
                title = "" if n % 3 == 2 else row["title"]
                text = row["text"] if n != 1 else " ".join(pieces[: max(2, chance.randint(1, len(pieces)))])
                yield Passage("item", title, text, row["title"] if not title else "", row["category"], row["sentiment"], row["urgency"])


def written(chance: random.Random) -> Iterator[Passage]:
    """The lines written for Feedloop: by topic, alone or several of one topic together; and by mood."""
    for topic, body in topics().items():
        category = body["parent"] if body["parent"] not in ("life", "none") else None
        for line in body["lines"] * TIMES_TOPIC:
            others = chance.sample(body["lines"], chance.choice((0, 0, 1, 2, 3)))
            text = " ".join(other if other.endswith((".", "?", "!")) else f"{other}." for other in others if other != line)
            title, text = (line, text) if chance.random() < 0.6 else ("", f"{line} {text}".strip())
            yield Passage("written", title, text, "", category, topic=topic)
    for mood, body in moods().items():
        for line in body["lines"] * TIMES_MOOD:
            if mood in ("positive", "negative", "neutral"):
                title, text = (line, "") if chance.random() < 0.5 else ("", line)
                yield Passage("written", title, text, tone=mood)
            else:
                yield Passage("written", "", line, moods=(mood,))
