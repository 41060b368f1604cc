"""Finding the feeds of a page: those it announces (RFC 4287's alternates, the autodiscovery that browsers agreed on), else links that look like feeds,
else the usual places. Each is read before it is offered, through the same Fetcher and within its limits."""

import asyncio
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urljoin, urlsplit

from pydantic import BaseModel

from services.ingest.feeds import Parsed, parse_feed
from services.ingest.fetch import Fetched, Fetcher
from services.ingest.items import SourceProblem, Unusable
from services.ingest.kinds import kind_name
from services.ingest.text import decode, one_line
from services.ingest.urls import canonical, http_of

MOST = 10  # feeds of a page that are looked at, each way of finding them
AT_ONCE = 3
DEADLINE_S = 60.0  # over all of them
_PAGE = 2_000_000  # bytes of a page that are searched
_TYPES = frozenset(
    "application/rss+xml application/atom+xml application/rdf+xml application/feed+json application/x-cdf application/xml text/xml application/rss".split()
)
_LOOKS = re.compile(r"(^|[/._?&=-])(rss2?|atom|feeds?|rdf|syndication)([/._?&=-]|$)|\.(rss|rdf|atom|cdf)$|(^|/)index\.xml$", re.I)
_NO_FEED = re.compile(r"\.(html?|php|jpe?g|png|gif|svg|ico|css|js|pdf|zip|mp3|mp4)$", re.I)
_USUAL = ("feed", "rss", "feed.xml", "rss.xml", "atom.xml", "index.xml", "feed.json")


class Found(BaseModel):
    """A feed that could be read."""

    url: str
    title: str
    kind: str
    items: int


def announced(page: bytes, content_type: str, url: str) -> list[str]:
    """The addresses that the page itself calls its feeds, in its order. Never raises for odd HTML."""
    return _distinct(_announced(page, content_type, url))


def linked(page: bytes, content_type: str, url: str) -> list[str]:
    """Links of the page that look like feeds, those to its own host first."""
    host = urlsplit(url).hostname
    found = _distinct(_linked(page, content_type, url))
    return sorted(found, key=lambda address: urlsplit(address).hostname != host)


def usual(url: str) -> list[str]:
    """Where many sites have their feed: below the page's folder and at the top."""
    return _distinct(urljoin(base, name) for base in (url if url.endswith("/") else url + "/", urljoin(url, "/")) for name in _USUAL)


async def discover(page: Fetched, fetcher: Fetcher) -> tuple[list[Found], list[str]]:
    """The feeds of a page that was fetched, and why addresses that it announces are none. Never raises for what a server does."""
    body, kind, url = (page.body or b"")[:_PAGE], page.content_type, page.url
    problems: list[str] = []
    try:
        async with asyncio.timeout(DEADLINE_S):
            told = await asyncio.to_thread(announced, body, kind, url)
            found, problems = await _read(told[:MOST], fetcher)
            if not found:
                found, _ = await _read((await asyncio.to_thread(linked, body, kind, url))[:MOST], fetcher)
            if not found:
                found, _ = await _read(usual(url)[: 2 * MOST], fetcher)
            return found, problems
    except TimeoutError:
        return [], [*problems, f"the search for feeds was given up after {DEADLINE_S:g} seconds"]


async def _read(urls: list[str], fetcher: Fetcher) -> tuple[list[Found], list[str]]:
    """Those that are feeds, each once though several addresses lead to it; and what is wrong with the others."""
    places = asyncio.Semaphore(AT_ONCE)

    async def look(url: str) -> tuple[str, Found] | str:
        async with places:
            try:
                fetched = await fetcher.get(url)
                parsed: Parsed = await asyncio.to_thread(parse_feed, fetched.body or b"", fetched.content_type, fetched.url)
            except (SourceProblem, Unusable) as problem:
                return f"{url}: {problem}"
        title = one_line(parsed.title, 200)
        return canonical(fetched.url), Found(url=fetched.moved or url, title=title, kind=kind_name(parsed.version), items=len(parsed.items))

    feeds: dict[str, Found] = {}
    problems = []
    for answer in await asyncio.gather(*map(look, urls)):
        if isinstance(answer, str):
            problems.append(answer)
        else:
            feeds.setdefault(*answer)
    return list(feeds.values()), problems


def _announced(page: bytes, content_type: str, url: str) -> Iterator[str]:
    tree = _tree(page, content_type)
    base = _base(tree, url)
    for link in tree.iter("link", "a") if tree is not None else ():
        words = (link.get("rel") or "").lower().split()
        kind = (link.get("type") or "").split(";")[0].strip().lower()
        href = link.get("href") or ""
        json = kind in ("application/json", "application/feed+json") and ("feed" in href.lower() or kind == "application/feed+json")
        if ("alternate" in words and (kind in _TYPES or json)) or "feed" in words:
            yield _joined(base, href)


def _linked(page: bytes, content_type: str, url: str) -> Iterator[str]:
    tree = _tree(page, content_type)
    base = _base(tree, url)
    for link in tree.iter("a", "area") if tree is not None else ():
        address = _joined(base, link.get("href") or "")
        parts = urlsplit(address) if address else None
        if (
            parts
            and not _NO_FEED.search(parts.path)
            and (_LOOKS.search(f"{parts.path}?{parts.query}") or (parts.hostname or "").startswith("feeds."))
        ):
            yield address


def _tree(page: bytes, content_type: str) -> Any:
    """The page's elements; None where there are none."""
    from lxml import etree, html

    charset = re.search(r"charset=[\"']?([\w.:-]+)", content_type, re.I) or re.search(
        r"charset=[\"']?([\w.:-]+)", page[:2000].decode("ascii", "replace"), re.I
    )
    text = decode(page, charset[1] if charset else "").replace("\x00", "")
    try:
        return html.document_fromstring(text.encode("utf-8", "replace"), parser=html.HTMLParser(encoding="utf-8"))
    except (etree.LxmlError, ValueError, AssertionError):
        return None


def _base(tree: Any, url: str) -> str:
    """What relative addresses are relative to: the first <base href>, else the page."""
    bases = tree.iter("base") if tree is not None else ()
    return next((joined for base in bases if (joined := _joined(url, base.get("href") or ""))), url)


def _joined(base: str, href: str) -> str:
    try:
        address = urljoin(base, http_of(href.strip())) if href.strip() else ""
        return address if urlsplit(address).scheme in ("http", "https") else ""
    except ValueError:  # an unclosed bracket
        return ""


def _distinct(addresses: Iterable[str]) -> list[str]:
    found: dict[str, str] = {}
    for address in addresses:
        if name := canonical(address):
            found.setdefault(name, address)
    return list(found.values())
