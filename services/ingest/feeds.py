"""RSS, Atom, RDF (by feedparser) and JSON Feed: bytes to items. Entity declarations are refused, broken XML is salvaged and said to be so."""

import calendar
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from itertools import islice
from types import ModuleType
from typing import Any
from urllib.parse import urljoin, urlsplit
from xml.sax import SAXException

from services.ingest.cadence import suggested
from services.ingest.items import RawItem, Refused, Unusable
from services.ingest.jsonfeed import MAX_ITEMS, parse_json_feed

MAX_TAGS = 600_000
_ROOT = re.compile(rb"<(?:[A-Za-z_][\w.-]*:)?([A-Za-z_][\w.-]*)")
_ITEM = re.compile(rb"<(?:\w+:)?(?:item|entry)\b", re.I)
_ACTIVE = re.compile(r"<(script|style|!--)", re.I)
_TITLE_COMMENT = re.compile(r"<!--(?:.*?-->|[^>]*>|.*$)", re.S)  # to its end, else to the next bracket, else to the end of all
_MAX_TITLE = 5_000  # characters of a title that are looked at
_GAP = re.compile(rb"\s{1000}")
_DATES = ("published_parsed", "updated_parsed", "created_parsed")  # the first that is there and can be read
_DOCTYPE = re.compile(rb"<!DOCTYPE(?:[^<>\[\"']|\"[^\"]*\"|'[^']*')*(.)", re.S | re.I)


@dataclass(frozen=True)
class Parsed:
    """A feed's title and items. `broken` says what of it is not well-formed (empty: nothing); `version` is feedparser's short name: rss20, atom10, cdf,
    or json10 and json11. `hint` is the seconds between two looks that the feed itself suggests."""

    title: str
    items: tuple[RawItem | Refused, ...]
    broken: str = ""
    version: str = ""
    hint: float | None = None

    @property
    def note(self) -> str:
        """What there is to say of it in the source's state; empty: nothing."""
        return self.broken or ("" if self.items else "the feed lists no items")


def refuse_declarations(data: bytes) -> None:
    """Raises Unusable for an entity declaration or a DOCTYPE with an internal subset; a plain `<!DOCTYPE rss PUBLIC …>` may pass."""
    prolog, _, end = _prolog(data)
    if _GAP.search(data.replace(b"\x00", b""), 0, end):  # feedparser takes square time for it
        raise Unusable("not-a-feed", "the feed has a thousand spaces and empty lines before its first element; it is not read")
    found = _DOCTYPE.search(prolog)
    if b"<!ENTITY" in prolog.upper() or (found and found[1] != b">"):
        raise Unusable("entities", "the XML declares entities (a DTD with an internal subset), which can be an attack; they are not read")


def _refuse_too_many(data: bytes) -> None:
    """Ten megabytes of nothing but tags would be minutes of work and gigabytes of memory: real feeds have words between them."""
    items = sum(1 for _ in islice(_ITEM.finditer(data), MAX_ITEMS + 1))
    if items > MAX_ITEMS or data.count(b"<") > MAX_TAGS:
        raise Unusable("too-large", f"the feed has more than {MAX_ITEMS} items or {MAX_TAGS} tags; it is not read")


def _prolog(data: bytes) -> tuple[bytes, bytes, int]:
    """What stands before the root element, without comments and processing instructions; the root element's local name; and where it begins, null
    characters not counted. In linear time."""
    data = data.replace(b"\x00", b"")[:1_000_000]  # UTF-16 and -32 read as ASCII that way
    kept, place = [], 0
    while (start := data.find(b"<", place)) >= 0:
        kept.append(data[place:start])
        if root := _ROOT.match(data, start):
            return b"".join(kept), root[1], start
        closing = b"-->" if data.startswith(b"<!--", start) else b"?>" if data.startswith(b"<?", start) else b""
        end = data.find(closing, start + 2) if closing else -1
        if closing and end < 0:
            break
        place = end + len(closing) if closing else start + 1
        kept.append(b" " if closing else b"<")
    return b"".join(kept) + data[max(place, start) :], b"", len(data)


def parse_feed(data: bytes, content_type: str = "", url: str = "") -> Parsed:
    """All items of a feed. CPU-bound: call it in a thread. Raises Unusable for what is no feed at all or declares entities."""
    start = data[:200].lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(b"{") or (start.startswith(b"[") and "json" in content_type):
        title, version, found = parse_json_feed(data, url)
        return Parsed(title, tuple(_unique(found)), version=version)
    refuse_declarations(data)
    _refuse_too_many(data)
    feedparser = _feedparser()
    headers = {"content-location": url, **({"content-type": content_type} if content_type else {})}
    try:
        # A stream, because feedparser takes bytes for the name of a file to open. Not sanitised here: that would drop the styles by which hidden text
        # is told; services.ingest.markup takes characters only.
        feed = feedparser.parse(io.BytesIO(data), response_headers=headers, sanitize_html=False)
        entries = [_entry(entry, feed.feed.get("author", ""), url) for entry in feed.entries]
    except Exception as error:
        raise Unusable("not-a-feed", f"the feed can't be read: {type(error).__name__}: {error}") from error
    version = str(feed.get("version") or "")
    if not version and not (version := _channel(data)) and not entries:
        raise Unusable("not-a-feed", f"what was read is {_what(data)}")
    broken = ""
    if feed.bozo and not isinstance(feed.get("bozo_exception"), feedparser.NonXMLContentType):
        reason = _brief(feed.get("bozo_exception"))
        if not entries and isinstance(feed.get("bozo_exception"), SAXException) and (_ITEM.search(data) or not version):
            raise Unusable("not-a-feed", f"the feed is broken ({reason}), and no item of it can be read")
        broken = f"the feed is broken ({reason}); {len(entries)} items could be read"
    return Parsed(_title(feed.feed), tuple(_unique(entries)), broken, version, suggested(feed.feed))


@cache
def _feedparser() -> ModuleType:
    """The library, imported at first use. It resolves ids against the address of the feed: they would change when the feed moves (a redirect from
    http to https is enough) and every item would be a new document, so it is told not to. RFC 4287, 4.2.6.1: an id must not change."""
    import feedparser
    from feedparser.api import LooseFeedParser, StrictFeedParser

    for parser in (LooseFeedParser, StrictFeedParser):
        parser.can_be_relative_uri = parser.can_be_relative_uri - {"id"}
    return feedparser


def _channel(data: bytes) -> str:
    """CDF (the Channel Definition Format of 1997) has no version that feedparser knows: its root element tells."""
    return "cdf" if _prolog(data)[1].lower() == b"channel" else ""


def _what(data: bytes) -> str:
    """What it is instead of a feed, and what to do."""
    if not data.strip():
        return "empty: neither RSS, Atom, RDF nor JSON Feed"
    if _prolog(data)[1].lower() == b"opml":
        return "an OPML list of feeds: take them over with `feedloop sources import`"
    if is_page(data):
        return "an HTML page: give the address of its feed"
    return "neither RSS, Atom, RDF nor JSON Feed"


def is_page(data: bytes) -> bool:
    """Whether this looks like HTML, of which a feed may be found."""
    start = data.replace(b"\x00", b"")[:5000].lower()
    return b"<html" in start or b"<!doctype html" in start or b"<head" in start or b"<body" in start


def _entry(entry: Mapping[str, Any], feed_author: str, url: str) -> RawItem | Refused:
    bodies = [*(entry.get("content") or []), *([entry["summary_detail"]] if entry.get("summary_detail") else [])]
    body: Mapping[str, Any] = max(bodies, key=lambda part: len(part.get("value") or ""), default={})
    return RawItem(
        key=str(entry.get("id") or ""),
        title=_title(entry),
        body=str(body.get("value") or ""),
        markup=body.get("type", "") != "text/plain",
        url=_link(entry, url),
        author=str(entry.get("author") or feed_author or ""),
        published=next((date for field in _DATES if (date := _date(entry.get(field)))), None),
        raw=json.dumps(entry, default=str, ensure_ascii=False).encode("utf-8", "replace"),
    )


def _title(thing: Mapping[str, Any]) -> str:
    """A title without scripts, styles and comments; its other markup is services.ingest.text's to take off."""
    title = str(thing.get("title") or "")[:_MAX_TITLE]
    if not _ACTIVE.search(title):
        return title
    import nh3

    return str(nh3.clean(_TITLE_COMMENT.sub("", title), tags=set(), clean_content_tags={"script", "style"}))


def _link(entry: Mapping[str, Any], url: str) -> str:
    """The item's page. A guid that is called a permalink (RSS 2.0 does so unless it is told otherwise) and is no address at all is not taken for one."""
    link = str(entry.get("link") or "")
    if link != entry.get("id"):
        return link
    try:
        if urlsplit(link).scheme:
            return link
        return urljoin(url, link) if "/" in link else ""
    except ValueError:  # an unclosed bracket
        return ""


def _date(parsed: Any) -> datetime | None:
    try:
        return datetime.fromtimestamp(calendar.timegm(parsed), UTC) if parsed else None
    except (ValueError, OverflowError, TypeError, OSError):
        return None


def _unique(items: Iterable[RawItem | Refused]) -> list[RawItem | Refused]:
    """Some feeds give several items one id: there it names nothing, and the address or title is added to it."""
    items = list(items)
    times = Counter(item.key for item in items if isinstance(item, RawItem) and item.key)
    return [
        replace(item, key=f"{item.key}\n{item.url or item.title or item.body[:500]}") if isinstance(item, RawItem) and times[item.key] > 1 else item
        for item in items
    ]


def _brief(error: object) -> str:
    return " ".join(str(error).removeprefix("<unknown>:").split())[:200] or type(error).__name__
