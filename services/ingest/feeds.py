"""RSS, Atom, RDF (by feedparser) and JSON Feed: bytes to items. Entity declarations are refused, broken XML is salvaged and said to be so."""

import calendar
import html
import io
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from itertools import islice
from types import ModuleType
from typing import Any
from urllib.parse import urljoin, urlsplit
from xml.sax import SAXException

from services.ingest.cadence import suggested
from services.ingest.dates import read_date
from services.ingest.enclosures import enclosed
from services.ingest.items import RawItem, Refused, Unusable
from services.ingest.jsonfeed import MAX_ITEMS, parse_json_feed
from services.ingest.text import plain_title, resolved, without
from services.ingest.urls import canonical
from services.ingest.xmltext import as_utf8

MAX_TAGS = 600_000
_ROOT = re.compile(rb"<(?:[A-Za-z_][\w.-]*:)?([A-Za-z_][\w.-]*)")
_ITEM = re.compile(rb"<(?:\w+:)?(?:item|entry)\b", re.I)
_ITEM_END = re.compile(rb"</(?:\w+:)?(?:item|entry)\s*>", re.I)
_FEED_END = re.compile(rb"</(?:\w+:)?(?:rss|rdf|feed|channel)\b", re.I)
_ACTIVE = re.compile(r"<(script|style|!--)", re.I)
# Of an RSS title nobody knows whether it is HTML: it is where an element of HTML ends in it, or is one that has no end, or a comment begins.
_HTMLISH = re.compile(
    r"</(?:a|abbr|b|big|cite|code|div|em|font|h[1-6]|i|p|q|s|script|small|span|strike|strong|style|sub|sup|tt|u)\s*>|<(?:br|wbr)\s*/?>|<img\s|<!--",
    re.I,
)
_HTML_TYPES = ("text/html", "application/xhtml+xml")
_TAGS = re.compile(r"<[^<>]*>")
_WORD = re.compile(r"\w+")
_ESCAPED = re.compile(r"\s*&lt;(?:p|div|br|a|img|table|ul|ol|h[1-6]|span|strong|em|figure|blockquote|section|article)(?:\s|/?&gt;)", re.I)
_MAIL_OF = re.compile(r"\s*[(<][^\s()<>]+@[^\s()<>]+[)>]$")
_TITLE_COMMENT = re.compile(r"<!--(?:.*?-->|[^>]*>|.*$)", re.S)  # to its end, else to the next bracket, else to the end of all
_MAX_TITLE = 5_000  # characters of a title that are looked at
_NEVER = datetime.min.replace(tzinfo=UTC)
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
        return Parsed(title, tuple(_unique(found, [None] * len(found), atom=False)), version=version)
    data, wrong_charset = as_utf8(data, content_type)
    refuse_declarations(data)
    _refuse_too_many(data)
    feedparser = _feedparser()
    headers = {"content-location": url, "content-type": "application/xml; charset=utf-8"}
    try:
        # A stream, because feedparser takes bytes for the name of a file to open. Not sanitised here: that would drop the styles by which hidden text
        # is told; services.ingest.markup takes characters only.
        feed = feedparser.parse(io.BytesIO(data), response_headers=headers, sanitize_html=False)
        version = str(feed.get("version") or "")
        atom = version.startswith("atom")
        writer = _author(feed.feed)
        entries = [_entry(entry, writer, url, atom) for entry in feed.entries]
        updated = [_date(entry.get("updated_parsed")) or _date(entry.get("published_parsed")) for entry in feed.entries]
    except Exception as error:
        raise Unusable("not-a-feed", f"the feed can't be read: {type(error).__name__}: {error}") from error
    if not version and not (version := _channel(data)) and not entries:
        raise Unusable("not-a-feed", f"what was read is {_what(data)}")
    broken = f"the feed is broken ({wrong_charset}); {len(entries)} items could be read" if wrong_charset else ""
    if feed.bozo:
        reason = _brief(feed.get("bozo_exception"))
        if not entries and isinstance(feed.get("bozo_exception"), SAXException) and (_ITEM.search(data) or not version):
            raise Unusable("not-a-feed", f"the feed is broken ({reason}), and no item of it can be read")
        cut = _ends_in_an_item(data)
        entries, updated = (entries[:-1], updated[:-1]) if cut else (entries, updated)
        broken = f"the feed is broken ({reason}); {len(entries)} items could be read{', and one that is cut off is not' if cut else ''}"
    title = _title(feed.feed, atom)
    return Parsed(title, tuple(_unique(entries, updated, atom)), broken, version, suggested(feed.feed))


def _ends_in_an_item(data: bytes) -> bool:
    """Whether a feed breaks off within an item that is not its only one: half of it would be told, and the whole again at the next poll."""
    last = end = 0
    for found in _ITEM.finditer(data):
        last = found.start()
    for found in _ITEM_END.finditer(data):
        end = found.start()
    return last > end > 0 and not _FEED_END.search(data, last)


@cache
def _feedparser() -> ModuleType:
    """The library, imported at first use. It resolves ids against the address of the feed: they would change when the feed moves (a redirect from
    http to https is enough) and every item would be a new document, so it is told not to. RFC 4287, 4.2.6.1: an id must not change. Dates are read by
    services.ingest.dates first; feedparser's reader of ISO 8601 is left out: it takes what it can read of a date, and this month for the rest."""
    import feedparser
    from feedparser import datetimes
    from feedparser.api import LooseFeedParser, StrictFeedParser

    for parser in (LooseFeedParser, StrictFeedParser):
        parser.can_be_relative_uri = parser.can_be_relative_uri - {"id"}
    datetimes._date_handlers.remove(datetimes._parse_date_iso8601)
    feedparser.registerDateHandler(lambda text: found.utctimetuple() if (found := read_date(text)) else None)
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


def _entry(entry: Mapping[str, Any], feed_author: str, url: str, atom: bool) -> RawItem:
    body, kind = _body(entry)
    enclosures = entry.get("enclosures") or ()
    files, links = enclosed(((str(one.get("href") or ""), str(one.get("type") or ""), one.get("length")) for one in enclosures), url)
    return RawItem(
        key=str(entry.get("id") or ""),
        title=_title(entry, atom),
        body=body,
        markup=kind != "text/plain",
        url=_link(entry, url),
        author=_author(entry) or feed_author,
        published=next((date for field in _DATES if (date := _date(entry.get(field)))), None),
        links=links,
        raw=json.dumps(entry, default=str, ensure_ascii=False).encode("utf-8", "replace"),
        attachments=files,
    )


def _body(entry: Mapping[str, Any]) -> tuple[str, str]:
    """The text of an entry and its media type: of its contents and its summary the one that says most, in words and not in markup. Pictures and other
    contents that are no text (RFC 4287, 4.1.3.3) are passed over."""
    given = [*(entry.get("content") or []), *([entry["summary_detail"]] if entry.get("summary_detail") else [])]
    bodies = [(_unescaped(part), str(part.get("type") or "")) for part in given if _is_text(part)]
    if len(bodies) < 2:
        return bodies[0] if bodies else ("", "")
    return max(bodies, key=lambda body: (_words(body[0]), len(body[0])))


def _is_text(part: Mapping[str, Any]) -> bool:
    """Atom encodes what is no text as base64 (RFC 4287, 4.1.3.3); feedparser has decoded it where it could."""
    kind = str(part.get("type") or "text/")
    if kind == "application/octet-stream":
        return " " in str(part.get("value") or "").strip()
    return kind.startswith("text/") or (kind.endswith("xml") and not kind.startswith("image/"))


def _unescaped(part: Mapping[str, Any]) -> str:
    """HTML that was escaped twice begins with a tag that is written out and has none that is real."""
    value = str(part.get("value") or "")
    return html.unescape(value) if part.get("type") in _HTML_TYPES and "<" not in value and _ESCAPED.match(value) else value


def _words(markup: str) -> int:
    """About how many words a reader sees."""
    return len(_WORD.findall(html.unescape(_TAGS.sub(" ", without(without(markup, "<style", "</style>"), "<script", "</script>")))))


def _author(thing: Mapping[str, Any]) -> str:
    """The names of those who wrote it; an address of mail only where there is no name."""
    people = [str(person.get("name") or person.get("email") or "") for person in thing.get("authors") or []]
    names = [person_name(name) for name in people if name] or [person_name(str(thing.get("author") or ""))]
    return ", ".join(dict.fromkeys(name for name in names if name))


def person_name(author: str) -> str:
    """A name without markup and without the address of mail behind it."""
    return _MAIL_OF.sub("", plain_title(author) if "<" in author or "&" in author else author)


def _title(thing: Mapping[str, Any], atom: bool) -> str:
    """A title as plain text. Atom says which title is HTML (RFC 4287, 3.1.1); of an RSS one it is guessed."""
    title = str(thing.get("title") or thing.get("itunes_title") or "")[:_MAX_TITLE]
    if (thing.get("title_detail") or {}).get("type") not in _HTML_TYPES and (atom or not _HTMLISH.search(title)):
        return resolved(title)
    if _ACTIVE.search(title):
        import nh3

        return html.unescape(nh3.clean(_TITLE_COMMENT.sub("", title), tags=set(), clean_content_tags={"script", "style"}))
    return plain_title(title, _MAX_TITLE)


def _link(entry: Mapping[str, Any], url: str) -> str:
    """The item's page. A guid that is called a permalink (RSS 2.0 does so unless it is told otherwise) and is no address at all is not taken for one."""
    if canonical(counted := str(entry.get("feedburner_origlink") or "")):
        return counted
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


def _unique(items: Sequence[RawItem | Refused], updated: Sequence[datetime | None], atom: bool) -> list[RawItem | Refused]:
    """Each item once, under a name of its own. An Atom entry that is there several times is one, of which the newest counts (RFC 4287, 4.1.1). An id that
    several items bear names none of them, nor does the address of several that have no id: there what tells them apart is added."""
    newest: dict[tuple[str, ...], tuple[datetime, int]] = {}
    for number, (item, date) in enumerate(zip(items, updated, strict=True)):
        same = (item.key, canonical(item.url)) if atom and isinstance(item, RawItem) and item.key else (str(number),)
        if same not in newest or (date or _NEVER) > newest[same][0]:
            newest[same] = (date or _NEVER, number)
    kept = [items[number] for number in sorted(number for _, number in newest.values())]
    times = Counter(name for item in kept if isinstance(item, RawItem) for name in _names(item))
    return [_apart(item, times) if isinstance(item, RawItem) else item for item in kept]


def _names(item: RawItem) -> tuple[str, ...]:
    """What may name it, the shortest first."""
    address = canonical(item.url)
    return (item.key,) if item.key else (address, f"{address}#{item.url.partition('#')[2]}") if address else ()


def _apart(item: RawItem, times: Counter[str]) -> RawItem:
    names = _names(item)
    if not names or times[names[0]] < 2:
        return item
    words = item.title or item.body[:500]
    if item.key:
        return replace(item, key=f"{item.key}\n{item.url or words}")
    return replace(item, key=names[1] if times[names[1]] < 2 else f"{names[1]}\n{words}")


def _brief(error: object) -> str:
    return " ".join(str(error).removeprefix("<unknown>:").split())[:200] or type(error).__name__
