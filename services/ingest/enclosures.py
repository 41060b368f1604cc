"""Files that come with an item of a feed (RSS enclosures, Atom's links of that name, JSON Feed's attachments): listed and linked, never fetched."""

from collections.abc import Iterable
from itertools import islice
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from services.ingest.attachments import MAX_ATTACHMENTS
from services.ingest.text import one_line
from services.ingest.urls import canonical
from shared.events import Attachment, Link

_TYPE = "application/octet-stream"  # what has no type of its own, RFC 2046, 4.5.1
_DIGITS = 15  # of a size in bytes


def enclosed(files: Iterable[tuple[str, str, Any]], base: str) -> tuple[tuple[Attachment, ...], tuple[Link, ...]]:
    """The files of an item, each given by address (relative to `base`), media type and size as the feed says them. A picture is listed and is no link:
    it is mostly the item's own."""
    found: dict[str, Attachment] = {}
    for given, kind, size in islice(files, MAX_ATTACHMENTS):
        if url := _address(base, given):
            name = one_line(unquote(urlsplit(url).path.rpartition("/")[2]), 200)
            digits = str(size).strip()
            count = int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= _DIGITS else 0
            found.setdefault(url, Attachment(name=name, type=one_line(kind, 100).lower() or _TYPE, size=count))
    links = tuple(Link(url=url, text=file.name[:150]) for url, file in found.items() if not file.type.startswith("image/"))
    return tuple(found.values()), links


def _address(base: str, given: str) -> str:
    try:
        return canonical(urljoin(base, given)) if given else ""
    except ValueError:  # an unclosed bracket
        return ""
