"""The texts that are measured on: held-out documents, the project's own sample, and text from elsewhere. The choice is fixed: by hash of the name."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from deploy.sample.authored import LINK, Item, items
from services.ingest.quotes import cut
from services.ingest.text import clean, first_sentence
from services.trainer.runs.make_tokenizer import documents
from services.trainer.supervision import held_out
from shared.events import DocumentIngested, Link, SourceRef, digest_of
from tests.bench.model.unique import distinct, told_again

READ = 2000  # characters of a held-out document that may be measured on
SCANNED = 8000  # characters of a training document in which a held-out one is looked for
AT = datetime(2026, 1, 1, tzinfo=UTC)
_HEADER = re.compile(r"^[A-Za-z][\w-]*: .*$")
_QUOTING = re.compile(r"^(?:In article\b.*|.{0,200}\b(?:writes|wrote|says)\s*:)\s*$", re.MULTILINE)
_TORN = re.compile(r"(?<=[.!?])[^.!?]*$")  # after the last end of a sentence
T = TypeVar("T")


@dataclass(frozen=True)
class Text:
    """One document to read; `origin` is the corpus, and `row` is the corpus's own row of it."""

    name: str
    title: str
    text: str
    origin: str
    links: tuple[Link, ...] = ()
    row: Any = None

    def document(self) -> DocumentIngested:
        """As ingest would hand it on; without a title of its own it gets its first sentence, as there."""
        title = self.title or first_sentence(self.text) or "(untitled)"
        source = SourceRef(id=self.origin, kind="feed", title=self.origin)
        return DocumentIngested(
            id=digest_of(self.origin, self.name)[:24], version="1", source=source, title=title, text=self.text, links=list(self.links),
            published_at=AT, received_at=AT, story=self.name,
        )  # fmt: skip


def place(name: str) -> str:
    """What a fixed choice goes by: the same on every machine, and without any order of the source's."""
    return sha256(f"bench {name}".encode()).hexdigest()


def evenly(groups: Iterable[tuple[str, list[T]]], most: int) -> list[T]:
    """At most `most` things, one of each group in turn until all are taken."""
    lists = [list(things) for _, things in sorted(groups, key=lambda group: group[0])]
    taken: list[T] = []
    while any(lists) and len(taken) < most:
        for things in lists:
            if things and len(taken) < most:
                taken.append(things.pop(0))
    return taken


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a JSON lines file; none where the file is not there."""
    if path.exists():
        with path.open(encoding="utf-8") as rows:
            yield from map(json.loads, rows)


def beginning(text: str) -> str:
    """At most READ characters, without a sentence that this tears."""
    return text if len(text) <= READ else _TORN.sub("", text[:READ])


def held(folder: Path) -> tuple[list[Text], str]:
    """The documents that training never sees, source by source in turn, near-duplicates of training documents and of one another removed; and one line
    on how many those were. Reads all corpora: half a minute."""
    rows: dict[str, dict[str, Any]] = {}

    def trained_on() -> Iterator[str]:
        for row in documents(folder):
            if not held_out(row["id"]):
                yield row["text"][:SCANNED]

    for row in documents(folder):
        if held_out(row["id"]) and len(row["text"]) >= 200:
            rows[row["id"]] = row
    starts = {name: beginning(row["text"]) for name, row in sorted(rows.items(), key=lambda item: place(item[0]))}
    again = told_again(starts, trained_on())
    names = distinct({name: text for name, text in starts.items() if name not in again})
    groups: dict[str, list[Text]] = {}
    for name in names:
        row = rows[name]
        groups.setdefault(row["source"], []).append(Text(name, row["title"], starts[name], row["source"], row=row))
    told = f"{len(rows)} held-out documents, {len(rows) - len(names)} of them left out as near-duplicates ({len(again)} of training documents)"
    return evenly(groups.items(), len(names)), told


def of_sample() -> list[Text]:
    """The project's own items, written for it, in the fixed order."""

    def made(item: Item) -> Text:
        links = tuple(Link(url=url, text=text) for text, url in LINK.findall(item.text))
        return Text(item.key, item.title, clean(item.plain), "sample", links, item)

    return [made(item) for item in sorted(items(), key=lambda item: place(item.key)) if item.text]


def newsgroup_post(raw: str) -> str:
    """A newsgroup post's own words: header lines, quotes and signature cut off."""
    rest = raw.split("\n")
    while rest and (_HEADER.match(rest[0]) or not rest[0].strip() or rest[0].startswith((" ", "\t"))):
        rest.pop(0)
    return clean(_QUOTING.sub("", cut("\n".join(rest))))


def elsewhere(folder: Path, most: int) -> list[Text]:
    """Text of other times and manners: news agencies without capitals or stops (Reuters, 1987), news teasers (AG), newsgroup posts (1993)."""
    groups = []
    for name in ("reuters_r8", "ag_news", "20newsgroups"):
        rows = sorted(lines(folder / name / "train.jsonl"), key=lambda row: place(row["id"]))[: most * 3]
        texts = {row["id"]: newsgroup_post(row["text"]) if name == "20newsgroups" else clean(row["text"]) for row in rows}
        kept = distinct({key: text for key, text in texts.items() if len(text) >= 60})
        titles = {row["id"]: row.get("title", "") for row in rows}
        groups.append((name, [Text(key, titles[key], texts[key], name) for key in kept]))
    return evenly(groups, most)
