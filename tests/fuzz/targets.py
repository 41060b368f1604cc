"""Each kind of input, read as ingest reads it. What comes back are documents and refusals by name; whatever else is raised is a finding."""

import asyncio
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from services.ingest import discovery, freshness
from services.ingest.cadence import suggested
from services.ingest.digest_text import mails_of, sections_of
from services.ingest.documents import documents_of
from services.ingest.feeds import parse_feed
from services.ingest.inflate import Inflater
from services.ingest.items import RawItem, Refused, SourceProblem, Unusable
from services.ingest.logins import without_login
from services.ingest.markup import read_html
from services.ingest.opml import NotOpml, read_opml, write_opml
from services.ingest.readers import imapfetch, imapnames
from services.ingest.readers.imapwire import Wire
from services.ingest.readers.mails import item_of
from services.ingest.readers.mboxparts import NotMbox, read_part
from services.ingest.text import decode, plain_title
from services.ingest.urls import canonical
from shared.events import DocumentIngested, SourceRef
from shared.objects import ObjectStore

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
FEED, MAIL = SourceRef(id="fuzz", kind="feed", title="fuzz"), SourceRef(id="fuzz", kind="mail", title="fuzz")
URL = "https://fuzz.example/dir/feed"
OWN = str(Path(__file__).resolve().parents[2] / "services")
_TYPES = ("", "application/rss+xml; charset=iso-8859-1", "text/html", "application/json", "text/xml; charset=utf-16")


class Wrong(AssertionError):
    """A property that does not hold of what came out."""


@dataclass
class Ends:
    """What became of an input."""

    documents: int = 0
    refused: Counter[str] = field(default_factory=Counter)


class Targets:
    """`store` takes long texts; a temporary folder will do."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._store = folder, ObjectStore(str(folder / "objects"))
        self._by_kind: dict[str, Callable[[bytes, Ends], None]] = {
            "feed": self._feed,
            "json": self._feed,
            "mail": self._mail,
            "mbox": self._mbox,
            "html": self._html,
            "digest": self._digest,
            "opml": _opml,
            "links": _links,
            "headers": _headers,
            "imap": _imap,
        }

    def read(self, kind: str, data: bytes) -> Ends:
        """Raises whatever the code under test raises, and Wrong."""
        ends = Ends()
        self._by_kind[kind](data, ends)
        return ends

    def _feed(self, data: bytes, ends: Ends) -> None:
        try:
            parsed = parse_feed(data, _TYPES[len(data) % len(_TYPES)], URL)
        except Unusable as error:
            return _refused(error, ends)
        _check(bool(parsed.items or parsed.note), "a feed without items says so")
        _whole(plain_title(parsed.title))
        self._documents(parsed.items, FEED, ends)

    def _mail(self, data: bytes, ends: Ends) -> None:
        self._documents([item_of(data)], MAIL, ends)

    def _mbox(self, data: bytes, ends: Ends) -> None:
        path = self._folder / "box"
        path.write_bytes(data)
        offset = last = 0
        mails: list[bytes] = []
        with path.open("rb") as file:
            while offset < len(data):
                try:
                    part = read_part(file, offset, last, len(data))
                except NotMbox:
                    ends.refused["not-mbox"] += 1
                    return
                _check(part.end > offset, "reading an mbox goes on")
                offset, last = part.end, part.last
                mails += part.mails
        _check(sum(map(len, mails)) <= len(data), "an mbox gives no more than is in it")
        for mail in mails:
            self._documents([item_of(mail)], MAIL, ends)

    def _html(self, data: bytes, ends: Ends) -> None:
        text = decode(data)
        for mail in (False, True):
            page = read_html(text, URL, mail=mail)
            _whole(page.text, page.outline, *(link.url + link.text for link in page.links))
            _check(all(link.url.startswith(("http://", "https://")) for link in page.links), "links are http or https")
        for found in (discovery.announced(data, "text/html", URL), discovery.linked(data, "text/html", URL)):
            _check(all(address.startswith(("http://", "https://")) for address in found), "addresses of feeds are http or https")
        self._documents([RawItem(key="1", body=text, markup=True, raw=data)], FEED, ends)

    def _digest(self, data: bytes, ends: Ends) -> None:
        text = decode(data)
        page = read_html(text, URL, mail=True)
        sections = [*page.items, *sections_of(page.text)[1], *sections_of(text)[1]]
        _whole(*(part for section in sections for part in (section.title, section.text, section.url)))
        before, mails = mails_of(text.replace("\r\n", "\n"))
        _whole(before)
        self._documents([item_of(bytes(mail)) for mail in mails], MAIL, ends)
        self._documents([item_of(b"Subject: s\nContent-Type: text/html\n\n" + data)], MAIL, ends)

    def _documents(self, items: Iterable[RawItem | Refused], source: SourceRef, ends: Ends) -> None:
        for item in items:
            if isinstance(item, Refused):
                ends.refused[item.reason] += 1
                _honest(item.detail)
                continue
            try:
                documents, refused = documents_of(item, source, "news", NOW, self._store)
            except Unusable as error:
                _refused(error, ends)
                continue
            ends.documents += len(documents)
            for document in documents:
                _sound(document)
            for part in refused:
                ends.refused[part.reason] += 1


def _sound(document: DocumentIngested) -> None:
    """What holds of every document, whatever it was made of."""
    again = DocumentIngested.model_validate_json(document.model_dump_json())
    _check(again == document, "a document survives its JSON")
    _whole(document.title, document.text, document.author, document.channel, document.source.title)
    _check(bool(document.title) and len(document.id) == 24, "a document has a title and an id")
    _check(document.published_at <= document.received_at, "no date lies in the future")
    _check(canonical(document.url) == document.url, f"the address is canonical: {document.url!r}")
    _check(document.parent != document.id and document.id not in document.children, "a digest is not its own item")


def _whole(*texts: str) -> None:
    for text in texts:
        _check(not any("\ud800" <= character <= "\udfff" for character in text), "no lone surrogates")
        _check("\x00" not in text and "\x1b" not in text, "no control characters")


def _check(holds: bool, what: str) -> None:
    if not holds:
        raise Wrong(what)


def _refused(error: Unusable, ends: Ends) -> None:
    """Refused by name. Where our own code stumbled and that was caught for a third party's mistake, it is a finding all the same."""
    cause = error.__cause__
    while cause is not None:
        frames = traceback.extract_tb(cause.__traceback__)
        if frames and frames[-1].filename.startswith(OWN) and not isinstance(cause, ValueError):
            raise cause
        cause = cause.__cause__
    ends.refused[error.reason] += 1


def _honest(detail: str) -> None:
    """A mail that was refused because a parser stumbled names the error's type: none should."""
    _check("can't be parsed" not in detail, detail)


def _opml(data: bytes, ends: Ends) -> None:
    try:
        found = read_opml(data)
    except NotOpml:
        ends.refused["not-opml"] += 1
        return
    ends.documents += len(found.feeds)
    ends.refused["outline"] += len(found.refused)
    again = read_opml(write_opml(found.feeds))
    passed_on = tuple(feed.model_copy(update={"url": without_login(feed.url)[0]}) for feed in found.feeds)
    _check(again.feeds == passed_on, "an exported list is read as it was, but for the logins")


def _links(data: bytes, ends: Ends) -> None:
    for line in decode(data).splitlines():
        found = canonical(line)
        _check(not found or found.startswith(("http://", "https://")), f"no http address: {found!r}")
        _check(canonical(found) == found, f"not canonical: {line!r} gives {found!r}, and that {canonical(found)!r}")
        ends.documents += bool(found)
        ends.refused["no-address"] += not found


def _headers(data: bytes, ends: Ends) -> None:
    headers = dict(line.split(":", 1) for line in data.decode("utf-8", "surrogateescape").splitlines() if ":" in line)
    for seconds in (freshness.fresh_seconds(headers, NOW), freshness.retry_seconds(headers.get("Retry-After", ""), NOW)):
        _check(seconds is None or 0 <= seconds <= freshness.MOST_S, f"{seconds} seconds")
    suggested({"ttl": headers.get("Age"), "sy_updateperiod": "hourly", "sy_updatefrequency": headers.get("Retry-After")})
    for encoding in ("gzip", "deflate"):
        try:
            inflater = Inflater(encoding, 100_000)
            inflater.feed(data)
            inflater.finish()
        except SourceProblem:
            ends.refused["not-packed"] += 1


class _Deaf:
    """A writer that writes nowhere."""

    def write(self, data: bytes) -> None:
        pass


def _imap(data: bytes, ends: Ends) -> None:
    async def work() -> None:
        reader = asyncio.StreamReader(limit=128_000)
        reader.feed_data(data)
        reader.feed_eof()
        wire = Wire("imap.example", reader, _Deaf())  # type: ignore[arg-type]
        try:
            responses = await wire.command("NOOP")
        except SourceProblem:
            ends.refused["imap"] += 1
            return
        names = imapnames.listed(responses)
        _whole(*(name.replace("\x00", "").replace("\x1b", "") for name in names))
        for name in names:
            imapnames.encoded(name)
        ends.documents += len(imapfetch._bodies(responses))

    asyncio.run(work())


def in_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="feedloop-fuzz-")
