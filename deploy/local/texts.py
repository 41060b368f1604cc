"""Texts to be classified, out of what a person hands the command: words on the line, a file or standard input as text, lines, JSON Lines or CSV. Read as
they are needed, so that a file may be larger than the memory."""

import csv
import io
import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, get_args

from deploy.local.errors import LocalError

Form = Literal["auto", "text", "lines", "jsonl", "csv"]
LONGEST = 100_000  # characters of a text that the classifier takes
LONGEST_TITLE = 1_000
STDIN = Path("-")
_HALF = re.compile("[\ud800-\udfff]")
_BY_ENDING: dict[str, Form] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "csv"}


def form_of(name: str) -> Form:
    """Raises LocalError for a name that is none."""
    found: Form | None = next((form for form in get_args(Form) if form == name), None)
    if found is None:
        raise LocalError(f"--format {name!r} is none of {', '.join(get_args(Form))}")
    return found


@dataclass(frozen=True)
class Given:
    """One text, with its title if it has one, and where it came from, for errors."""

    text: str
    title: str = ""
    where: str = ""


def texts_of(words: Sequence[str], file: Path | None, form: Form, column: str) -> Iterator[Given]:
    """Raises LocalError, in one line with the place, for what is no text, and where nothing is given."""
    if words and file:
        raise LocalError("texts on the line and --input exclude each other")
    if words:
        if column or form != "auto":
            raise LocalError("--column and --format are for --input and for standard input; these texts stand on the line")
        for number, text in enumerate(words, 1):
            yield _checked(text, "", f"text {number}")
        return
    if file is None and sys.stdin.isatty():
        raise LocalError('nothing to classify: feedloop classify "a text", or --input FILE, or a text on standard input')
    place = file or STDIN
    if form == "auto":
        form = _BY_ENDING.get(place.suffix.lower(), "csv" if column else "text")
    if column and form not in ("csv", "jsonl"):
        raise LocalError(f"--column is for CSV and JSON Lines, and {_name(place)} is read as {form}")
    with _opened(place) as stream:
        try:
            yield from {"text": _whole, "lines": _lines, "jsonl": _jsonl, "csv": _csv}[form](stream, place, column)
        except UnicodeDecodeError as error:
            raise LocalError(f"{_name(place)} is not text in UTF-8: {error.reason} at byte {error.start}") from error


@contextmanager
def _opened(place: Path) -> Iterator[IO[str]]:
    if place == STDIN:
        yield io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8-sig", newline="")
        return
    try:
        with place.open(encoding="utf-8-sig", newline="") as stream:
            yield stream
    except OSError as error:
        raise LocalError(f"{place} can't be read: {error.strerror or error}") from error


def _whole(stream: IO[str], place: Path, _: str) -> Iterator[Given]:
    text = stream.read(LONGEST + 1).strip()
    if not text:
        raise LocalError(f"{_name(place)} holds no text")
    yield _checked(text, "", _name(place))


def _lines(stream: IO[str], place: Path, _: str) -> Iterator[Given]:
    for number, line in _numbered(stream, place):
        yield _checked(line, "", f"{_name(place)} line {number}")


def _jsonl(stream: IO[str], place: Path, column: str) -> Iterator[Given]:
    for number, line in _numbered(stream, place):
        where = f"{_name(place)} line {number}"
        try:
            row: Any = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise LocalError(f"{where} is no JSON: {error}") from error
        row = {"text": row} if isinstance(row, str) else row
        name = column or "text"
        if not isinstance(row, dict) or not isinstance(row.get(name), str):
            has = f"; it has {', '.join(map(str, row))[:200]}" if isinstance(row, dict) else ""
            raise LocalError(f"{where}: a line is a JSON string, or an object with a text in {name!r}{has}")
        title = row.get("title") if name != "title" else ""
        yield _checked(row[name], title if isinstance(title, str) else "", where)


def _csv(stream: IO[str], place: Path, column: str) -> Iterator[Given]:
    csv.field_size_limit(LONGEST * 8)
    tab = place.suffix.lower() == ".tsv"
    rows = csv.DictReader(stream, delimiter="\t" if tab else ",", strict=True)
    name = column or "text"
    try:
        if name not in (rows.fieldnames or []):
            raise LocalError(f"{_name(place)} has no column {name!r}; --column names one of {', '.join(rows.fieldnames or ['(it is empty)'])}")
        for row in rows:
            where = f"{_name(place)} line {rows.line_num}"
            if row[name] is None:
                raise LocalError(f"{where} has fewer fields than the first line")
            if row[name].strip():
                yield _checked(row[name], (row.get("title") or "") if name != "title" else "", where)
    except csv.Error as error:
        raise LocalError(f"{_name(place)} line {rows.line_num} is no CSV: {error}") from error


def _numbered(stream: IO[str], place: Path) -> Iterator[tuple[int, str]]:
    """The lines that are not empty, from 1; none is held in memory that is far too long."""
    number = 0
    while line := stream.readline(LONGEST * 8):
        number += 1
        if not line.endswith("\n") and len(line) >= LONGEST * 8:
            raise LocalError(f"{_name(place)} line {number} is longer than {LONGEST * 8:,} characters")
        if line.strip():
            yield number, line.strip()


def _checked(text: str, title: str, where: str) -> Given:
    if len(text) > LONGEST:
        raise LocalError(f"{where} has more than {LONGEST:,} characters, which is what the classifier takes at once")
    if not text.strip():
        raise LocalError(f"{where} is empty")
    if _HALF.search(text) or _HALF.search(title):
        raise LocalError(f"{where} is not sound text: it holds half of a character (a lone surrogate, or bytes that are not UTF-8)")
    return Given(text, title[:LONGEST_TITLE], where)


def _name(place: Path) -> str:
    return "standard input" if place == STDIN else str(place)
