"""JSON Feed 1.0 and 1.1 (jsonfeed.org), leniently: a field of the wrong type is passed over, an entry that is no object is refused alone."""

import json
import re
from typing import Any
from urllib.parse import urljoin

from services.ingest.dates import read_date
from services.ingest.enclosures import enclosed
from services.ingest.items import RawItem, Refused, Unusable
from services.ingest.text import decode, resolved

MAX_ITEMS = 50_000  # of one feed, of any format
_TAG, _WORD = re.compile(r"<[^<>]*>"), re.compile(r"\w")


def parse_json_feed(data: bytes, url: str = "") -> tuple[str, str, list[RawItem | Refused]]:
    """The feed's title, its version (json10 or json11) and its items; `url` is where it was read, for addresses that are relative.

    Raises Unusable where it is not JSON or no JSON Feed.
    """
    try:
        feed = json.loads(decode(data).lstrip("\ufeff"))
    except (ValueError, RecursionError) as error:
        raise Unusable("not-a-feed", f"broken JSON: {error}") from error
    if not isinstance(feed, dict) or not isinstance(feed.get("items"), list):
        raise Unusable("not-a-feed", "JSON, but no JSON Feed: it has no list `items`")
    if len(feed["items"]) > MAX_ITEMS:
        raise Unusable("too-large", f"the feed has more than {MAX_ITEMS} items; it is not read")
    version = _text(feed.get("version"))
    if "jsonfeed.org" not in version:
        raise Unusable("not-a-feed", "JSON, but no JSON Feed: `version` must name jsonfeed.org")
    author = _author(feed)
    items = [_item(entry, author, url) for entry in feed["items"]]
    return resolved(_text(feed.get("title"))), "json11" if version.rstrip("/").endswith("1.1") else "json10", items


def _item(entry: Any, feed_author: str, base: str) -> RawItem | Refused:
    try:
        raw = json.dumps(entry, ensure_ascii=False).encode("utf-8", "replace")
    except RecursionError:
        return Refused("unreadable", "an item of the JSON Feed nests too deep")
    if not isinstance(entry, dict):
        return Refused("unreadable", "an item of the JSON Feed is not an object", raw)
    markup = _text(entry.get("content_html"))
    markup = markup if _WORD.search(_TAG.sub("", markup)) else ""
    given = entry.get("attachments")
    named = [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []
    files, links = enclosed(((_text(one.get("url")), _text(one.get("mime_type")), _text(one.get("size_in_bytes"))) for one in named), base)
    return RawItem(
        key=_text(entry.get("id")),
        title=resolved(_text(entry.get("title"))),
        body=markup or _text(entry.get("content_text")).strip() or _text(entry.get("summary")),
        markup=bool(markup),
        plain=not markup,
        url=_joined(base, _text(entry.get("url")) or _text(entry.get("external_url"))),
        author=_author(entry) or feed_author,
        published=read_date(_text(entry.get("date_published"))) or read_date(_text(entry.get("date_modified"))),
        links=links,
        raw=raw,
        attachments=files,
    )


def _text(value: Any) -> str:
    # ids may be numbers in 1.0 feeds: they count as their text
    found = value if isinstance(value, str) else str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""
    return found.encode("utf-8", "replace").decode()  # half a character, which JSON can hold ("\ud800"), is none


def _joined(base: str, url: str) -> str:
    try:
        return urljoin(base, url) if url else ""
    except ValueError:  # an unclosed bracket
        return ""


def _author(thing: dict[str, Any]) -> str:
    authors = thing.get("authors")  # 1.1
    authors = authors if isinstance(authors, list) else [thing.get("author")]  # 1.0
    return ", ".join(name for author in authors if isinstance(author, dict) and (name := _text(author.get("name"))))
