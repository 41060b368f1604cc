"""RSS, Atom, RDF (by feedparser) and JSON Feed: bytes to items. Entity declarations are refused, broken XML is salvaged and said to be so."""

import calendar
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from services.ingest.items import RawItem, Refused, Unusable
from services.ingest.jsonfeed import parse_json_feed

_NOISE = re.compile(rb"<!--.*?-->|<\?.*?\?>", re.S)
_ROOT = re.compile(rb"<[A-Za-z_]")
_DOCTYPE = re.compile(rb"<!DOCTYPE(?:[^<>\[\"']|\"[^\"]*\"|'[^']*')*(.)", re.S | re.I)


@dataclass(frozen=True)
class Parsed:
    """A feed's title, its items, and what was wrong with it in words (empty: nothing)."""

    title: str
    items: tuple[RawItem | Refused, ...]
    note: str = ""


def refuse_declarations(data: bytes) -> None:
    """Raises Unusable for an entity declaration or a DOCTYPE with an internal subset; a plain `<!DOCTYPE rss PUBLIC …>` may pass."""
    prolog = _NOISE.sub(b" ", data.replace(b"\x00", b"")[:1_000_000])  # UTF-16 and -32 read as ASCII that way
    if root := _ROOT.search(prolog):
        prolog = prolog[: root.start()]
    found = _DOCTYPE.search(prolog)
    if b"<!ENTITY" in prolog.upper() or (found and found[1] != b">"):
        raise Unusable("entities", "the XML declares entities (a DTD with an internal subset), which can be an attack; they are not read")


def parse_feed(data: bytes, content_type: str = "", url: str = "") -> Parsed:
    """All items of a feed. CPU-bound: call it in a thread. Raises Unusable for what is no feed at all or declares entities."""
    start = data[:200].lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(b"{") or (start.startswith(b"[") and "json" in content_type):
        title, found = parse_json_feed(data)
        return Parsed(title, tuple(_unique(found)))
    refuse_declarations(data)
    import feedparser

    headers = {"content-location": url, **({"content-type": content_type} if content_type else {})}
    try:
        # not sanitised here: that would drop the styles by which hidden text is told; services.ingest.markup takes characters only
        feed = feedparser.parse(data, response_headers=headers, sanitize_html=False)
        entries = [_entry(entry, feed.feed.get("author", "")) for entry in feed.entries]
    except Exception as error:
        raise Unusable("not-a-feed", f"the feed can't be read: {type(error).__name__}: {error}") from error
    if not entries and not feed.get("version"):
        kind = "an HTML page: give the address of its feed" if b"<html" in data[:5000].lower() else "neither RSS, Atom, RDF nor JSON Feed"
        raise Unusable("not-a-feed", f"what was read is {kind}")
    note = ""
    if feed.bozo and not isinstance(feed.get("bozo_exception"), feedparser.NonXMLContentType):
        note = f"the feed is broken ({_brief(feed.get('bozo_exception'))}); {len(entries)} items could be read"
    return Parsed(str(feed.feed.get("title", "")), tuple(_unique(entries)), note)


def _entry(entry: Mapping[str, Any], feed_author: str) -> RawItem | Refused:
    bodies = [*(entry.get("content") or []), *([entry["summary_detail"]] if entry.get("summary_detail") else [])]
    body: Mapping[str, Any] = max(bodies, key=lambda part: len(part.get("value") or ""), default={})
    return RawItem(
        key=str(entry.get("id") or ""),
        title=str(entry.get("title") or ""),
        body=str(body.get("value") or ""),
        markup=body.get("type", "") != "text/plain",
        url=str(entry.get("link") or ""),
        author=str(entry.get("author") or feed_author or ""),
        published=_date(entry.get("published_parsed")) or _date(entry.get("updated_parsed")),
        raw=json.dumps(entry, default=str, ensure_ascii=False).encode("utf-8", "replace"),
    )


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
