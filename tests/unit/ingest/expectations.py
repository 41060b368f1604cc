"""feedparser's own expectations, held against what Feedloop keeps: `python -m tests.unit.ingest.expectations FOLDER` prints the share that holds.

Each of feedparser's test files says in a comment what a reader should find in it ("Expect: not bozo and entries[0]['title'] == 'x'"). What it says of
fields that Feedloop keeps is asked of Feedloop's own output, the document that would be published; an expected text is cleaned in the same way first,
because Feedloop keeps words and links and no markup. What is said of other fields (a rights statement, a cloud element) is counted and left out.
"""

import ast
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from services.ingest.documents import document_of
from services.ingest.feeds import Parsed, parse_feed, person_name
from services.ingest.items import RawItem, Unusable
from services.ingest.text import one_line, plain_title, resolved
from services.ingest.urls import canonical
from shared.events import SourceRef
from shared.objects import ObjectStore

BASE = "http://127.0.0.1:8097/"  # where feedparser's own test server stands; nothing is fetched from it
SOURCE = SourceRef(id="expectations", kind="feed", title="")
RECEIVED = datetime(2100, 1, 1, tzinfo=UTC)
_HEADER = re.compile(rb"^Header:\s*([^:]+):(.+)$", re.M)
_EXPECT = re.compile(r"Expect:\s*(.*?)\s*-->", re.S)
_DATES = ("published_parsed", "updated_parsed", "created_parsed", "modified_parsed", "date_parsed")


@dataclass
class Outcome:
    """Files whose expectations hold, those that do not with the reason, those that Feedloop refuses by its own rule (entity declarations), and what is
    said of fields that are not kept."""

    held: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    other: Counter[str] = field(default_factory=Counter)

    @property
    def share(self) -> float:
        return len(self.held) / max(1, len(self.held) + len(self.failed))


class NotKept(Exception):
    """The expectation is about a field that Feedloop does not keep."""


def measure(folder: Path, store: ObjectStore) -> Outcome:
    """All files under `folder` that hold an expectation, one parse each."""
    outcome = Outcome()
    for path in sorted(folder.rglob("*")):
        if path.suffix not in (".xml", ".json"):
            continue
        data = path.read_bytes()
        name = str(path.relative_to(folder))
        if (expected := expectation(data)) is None:
            outcome.other["no expectation"] += 1
            continue
        try:
            wrong = _hold(expected, data, name, store, outcome)
        except Unusable as error:
            if error.reason == "entities":
                outcome.refused.append(name)
                continue
            wrong = "" if any(_is_bozo(part) for part in _parts(expected)) else f"refused: {error}"
        if wrong is None:
            continue
        if wrong:
            outcome.failed[name] = wrong
        else:
            outcome.held.append(name)
    return outcome


def expectation(data: bytes) -> ast.expr | None:
    """The expression that the file's comment holds."""
    text = data.replace(b"\x00", b"").decode("utf-8", "replace")
    if data.lstrip().startswith(b"{"):
        text = str(json.loads(data).get("__TEST__", ""))
    found = _EXPECT.search(text)
    return ast.parse(found[1].strip(), mode="eval").body if found else None


def _hold(expected: ast.expr, data: bytes, name: str, store: ObjectStore, outcome: Outcome) -> str | None:
    """Empty where all that is said of kept fields is so, else what is not; None where nothing is said of them."""
    headers = {key.decode().strip().lower(): value.decode().strip() for key, value in _HEADER.findall(data[:2000])}
    url = urljoin(f"{BASE}{name}", headers.get("content-location", ""))
    parsed: Parsed | None = None
    asked, wrong = 0, []
    for part in _parts(expected):
        try:
            if _is_bozo(part) is None:
                _field(part)  # NotKept first: a file that speaks of nothing else needs no parse
            parsed = parsed or parse_feed(data, headers.get("content-type", ""), url)
            if not _holds(part, parsed, store):
                wrong.append(ast.unparse(part))
            asked += _is_bozo(part) is None
        except NotKept as error:
            outcome.other[str(error)] += 1
    return None if not asked else "; ".join(wrong)


def _parts(expected: ast.expr) -> Iterator[ast.expr]:
    if isinstance(expected, ast.BoolOp) and isinstance(expected.op, ast.And):
        for value in expected.values:
            yield from _parts(value)
    else:
        yield expected


def _is_bozo(part: ast.expr) -> bool | None:
    """What is expected of well-formedness, None where the part is about something else."""
    if isinstance(part, ast.Name) and part.id == "bozo":
        return True
    if isinstance(part, ast.UnaryOp) and isinstance(part.operand, ast.Name) and part.operand.id == "bozo":
        return False
    return None


def _path(node: ast.expr) -> list[str | int]:
    """entries[0]['title'] and entries[0].title as ["entries", 0, "title"]."""
    match node:
        case ast.Name(id=name):
            return [name]
        case ast.Attribute(value=inner, attr=name):
            return [*_path(inner), name]
        case ast.Subscript(value=inner, slice=ast.Constant(value=str() | int() as key)):
            return [*_path(inner), key]
        case ast.Call(func=ast.Name(id="len"), args=[ast.Name(id="entries")]):
            return ["len(entries)"]
    raise NotKept(type(node).__name__)


def _field(part: ast.expr) -> tuple[list[str | int], Any]:
    """The field that is compared and the value that is expected of it. Raises NotKept."""
    match part:
        case ast.Compare(left=left, ops=[ast.Eq()], comparators=[right]):
            path = _path(left)
        case _:
            raise NotKept(type(part).__name__)
    try:
        value = ast.literal_eval(right)
    except ValueError:
        raise NotKept("computed value") from None
    match path:
        case ["version" | "len(entries)"] | ["feed", "title"] | ["feed", "title_detail", "value"]:
            return path, value
        case ["entries", int(), "id" | "guid" | "link" | "title" | "author" | "description" | "summary"]:
            return path, value
        case ["entries", int(), "title_detail" | "summary_detail", "value"] | ["entries", int(), "content", int(), "value"]:
            return path, value
        case ["entries", int(), str(name)] if name in _DATES:
            return path, value
    raise NotKept(".".join(str(step) for step in path if not isinstance(step, int)))


def _holds(part: ast.expr, parsed: Parsed, store: ObjectStore) -> bool:
    if (bozo := _is_bozo(part)) is not None:
        return bool(parsed.broken) is bozo
    path, value = _field(part)
    match path:
        case ["version"]:
            return parsed.version == value
        case ["len(entries)"]:
            return len(parsed.items) == value
        case ["feed", *_]:
            return _same_title(parsed.title, value)
    assert isinstance(path[1], int)
    item = parsed.items[path[1]]
    assert isinstance(item, RawItem)
    match path[2]:
        case "id" | "guid":
            return item.key == value
        case "link":
            return canonical(item.url) == canonical(value)
        case "author":
            return one_line(item.author, 200) == one_line(person_name(value), 200)
        case "title" | "title_detail":
            return _same_title(item.title, value)
        case str(name) if name in _DATES:
            return item.published == datetime(*value[:6], tzinfo=UTC)
    if (ours := _body(item, item.body, store)) == (theirs := _body(item, value, store)):
        return True
    if len(theirs[0]) < len(ours[0]) and value in _bodies(item):
        raise NotKept("the shorter of two bodies")
    return False


def _same_title(title: str, value: str) -> bool:
    """Whether a title, which is plain text, has the words of the expected value, of which only the feed knows whether it is HTML."""
    return one_line(title, 300) in (plain_title(value), one_line(resolved(value), 300))


def _bodies(item: RawItem) -> list[str]:
    """All bodies that the entry has; the one with the most words is kept."""
    entry = json.loads(item.raw)
    return [part.get("value", "") for part in [*entry.get("content", []), entry.get("summary_detail", {})]]


def _body(item: RawItem, body: str, store: ObjectStore) -> tuple[str, list[str]]:
    """What is kept of a body: its words and its links."""
    try:
        document = document_of(replace(item, title="", body=body), SOURCE, "news", RECEIVED, store)
    except Unusable:
        return "", []
    return document.text, [link.url for link in document.links]


def main() -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        outcome = measure(Path(sys.argv[1]), ObjectStore(folder))
    for name, why in sorted(outcome.failed.items()):
        print(f"FAILED {name}: {why}")
    print(f"said of other fields: {', '.join(f'{name} {count}' for name, count in outcome.other.most_common())}")
    print(f"refused for their entity declarations: {', '.join(outcome.refused)}")
    print(f"{len(outcome.held)} of {len(outcome.held) + len(outcome.failed)} files' expectations of kept fields hold: {outcome.share:.2%}")


if __name__ == "__main__":
    main()
