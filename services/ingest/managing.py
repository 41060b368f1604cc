"""Adding, checking, removing, importing and exporting sources: one implementation, under the HTTP of the service and under the command line."""

import asyncio
import re
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, ValidationError

from services.ingest.checking import Report, check
from services.ingest.config import IngestConfig
from services.ingest.discovery import Found
from services.ingest.editing import Edit, edit
from services.ingest.fetch import Fetcher
from services.ingest.logins import without_login
from services.ingest.opml import Outlines, read_opml, write_opml, written
from services.ingest.sources import FeedSource, Source
from services.ingest.text import one_line as shortened
from services.ingest.urls import canonical, http_of
from shared.clock import Clock
from shared.errors import FeedloopError, one_line

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:(?!\d)", re.I)  # before a number it is a host, and that its port


class Unwanted(FeedloopError):
    """The source can't be added as it is. `feeds` are those of a page among which the user has to choose."""

    def __init__(self, message: str, feeds: list[Found] | None = None) -> None:
        super().__init__(message)
        self.feeds = feeds or []


class Known(Unwanted):
    """It is a source already."""


class Unknown(FeedloopError):
    """There is no such source."""


class Wanted(BaseModel):
    """A feed to add. `url` may be that of a page that has one feed. `check` false: it is not looked at first (a server that is away now)."""

    model_config = ConfigDict(extra="forbid")

    url: str
    id: str = ""
    title: str = ""
    collection: str = "news"
    interval: str = ""
    check: bool = True


class Added(BaseModel):
    """The new source; `notes` are what is not in order with it."""

    id: str
    url: str
    title: str
    notes: list[str] = []


class Imported(BaseModel):
    """What became of each outline of a list: added, skipped because it is there already, or refused with the reason."""

    added: list[Added] = []
    skipped: list[str] = []
    refused: list[str] = []
    note: str = ""


class Exported(BaseModel):
    """The list as OPML; `left_out` names what it can't hold."""

    opml: str
    feeds: int
    left_out: list[str] = []


class Sources:
    """The sources of a file. The file is the truth: the service follows it, running or not when it is edited."""

    def __init__(self, path: Path, fetcher: Fetcher, clock: Clock) -> None:
        self._path, self._fetcher, self._clock = path, fetcher, clock

    async def listed(self) -> list[Source]:
        """As they stand in the file; none where there is no file. Raises ConfigError."""
        return list((await asyncio.to_thread(edit, self._path, lambda _: Edit())).sources)

    async def check(self, url: str) -> Report:
        """Look at an address. Raises Unwanted for what is none."""
        return await check(_address(url), self._fetcher, self._clock)

    async def add(self, wanted: Wanted) -> Added:
        """Add a feed, or the only feed of a page. Raises Unwanted (Known where it is there already), ConfigError where the file can't be edited."""
        url, title, notes = _address(wanted.url), wanted.title, []
        if wanted.check:
            _refuse_known(await self.listed(), url, wanted.id)  # before asking the server, who may be slow
            report = await check(url, self._fetcher, self._clock)
            url, found_title = _chosen(url, report)
            title = title or found_title
            notes = report.problems if report.readable else []
        said = {"id": wanted.id, "title": shortened(title, 200), "collection": wanted.collection, "interval": wanted.interval}
        try:
            source = FeedSource.model_validate({"kind": "feed", "url": url, **{name: value for name, value in said.items() if value}})
        except ValidationError as error:
            raise Unwanted(one_line(error)) from error

        def decide(config: IngestConfig) -> Edit:
            _refuse_known(config.sources, url, source.source_id)
            return Edit(add=[written(source)])

        await asyncio.to_thread(edit, self._path, decide)
        return Added(id=source.source_id, url=source.place(), title=source.title, notes=notes)

    async def add_mailbox(self, source: Source, notes: list[str]) -> Added:
        """Add a mailbox or a file of mails that was looked at (services.ingest.mailboxes). Raises Known, ConfigError."""

        def decide(config: IngestConfig) -> Edit:
            for there in config.sources:
                if (there.kind, there.place()) == (source.kind, source.place()):
                    raise Known(f"{there.place()} is read already, as {there.source_id}")
                _refuse_id(there, source.source_id)
            return Edit(add=[written(source)])

        await asyncio.to_thread(edit, self._path, decide)
        return Added(id=source.source_id, url=source.place(), title=source.title, notes=notes)

    async def remove(self, name: str) -> Source:
        """Take out the source of that id, or of that address. What was read of it stays, and so does its place: added again it goes on from there."""
        removed: list[Source] = []

        def decide(config: IngestConfig) -> Edit:
            by_address = canonical(name)
            removed.extend(
                source
                for source in config.sources
                if source.source_id == name or (by_address and isinstance(source, FeedSource) and canonical(source.url) == by_address)
            )
            if not removed:
                raise Unknown(f"there is no source {name[:200]!r}: `feedloop sources list` shows the ids")
            return Edit(remove=frozenset(source.source_id for source in removed))

        await asyncio.to_thread(edit, self._path, decide)
        return removed[0]

    async def import_opml(self, data: bytes) -> Imported:
        """Add all feeds of a list that are not there yet, in one edit. They are not asked first: their states tell. Raises NotOpml, ConfigError."""
        found: Outlines = await asyncio.to_thread(read_opml, data)
        result = Imported(refused=list(found.refused), note=found.note)

        def decide(config: IngestConfig) -> Edit:
            places = {canonical(source.url) for source in config.sources if isinstance(source, FeedSource)}
            ids = {source.source_id for source in config.sources}
            new = []
            for feed in found.feeds:
                place = canonical(feed.url)
                if place in places:
                    result.skipped.append(f"{feed.title or feed.place()}: {feed.place()} is there already")
                elif feed.source_id in ids:
                    result.refused.append(f"{feed.title or feed.place()}: another source has the id {feed.source_id!r}")
                else:
                    places.add(place)
                    ids.add(feed.source_id)
                    new.append(feed)
            result.added = [Added(id=feed.source_id, url=feed.place(), title=feed.title) for feed in new]
            return Edit(add=[written(feed) for feed in new])

        await asyncio.to_thread(edit, self._path, decide)
        return result

    async def export(self) -> Exported:
        """All feeds as OPML 2.0. Mailboxes and files can't be in such a list."""
        sources = await self.listed()
        feeds = [source for source in sources if isinstance(source, FeedSource)]
        left_out = [f"{source.source_id}: a source of kind {source.kind} is no feed" for source in sources if not isinstance(source, FeedSource)]
        left_out += [f"{feed.source_id}: the login of its address is not passed on" for feed in feeds if without_login(feed.url)[1]]
        opml = (await asyncio.to_thread(write_opml, feeds)).decode()
        return Exported(opml=opml, feeds=len(feeds), left_out=left_out)


def _address(given: str) -> str:
    """An address as people give it: without a scheme it is https, and feed:… is what it stands for. Raises Unwanted for what is none."""
    url = http_of(given.strip())
    url = url if _SCHEME.match(url) else f"https://{url}"
    if not canonical(url) or urlsplit(url).scheme not in ("http", "https"):
        raise Unwanted(f"{given[:200]!r} is no http or https address")
    return url


def _chosen(url: str, report: Report) -> tuple[str, str]:
    """Address and title of the feed that is meant: the address itself, or the only feed of the page that it is."""
    if report.readable:
        return url if without_login(url)[1] else report.moved or url, report.title  # where it moved to is told without the login
    if len(report.feeds) == 1:
        return report.feeds[0].url, report.feeds[0].title
    if report.feeds:
        names = "; ".join(f"{feed.url} ({feed.title or 'no title'}, {feed.kind}, {feed.items} items)" for feed in report.feeds)
        raise Unwanted(f"the page has {len(report.feeds)} feeds, add the one you want: {names}", report.feeds)
    raise Unwanted("; ".join([f"{report.url} can't be read: {report.problems[0]}", *report.problems[1:3], *report.advice[:2]]))


def _refuse_known(sources: list[Source] | tuple[Source, ...], url: str, identity: str) -> None:
    place = canonical(url)
    for source in sources:
        if isinstance(source, FeedSource) and canonical(source.url) == place:
            raise Known(f"{source.place()} is read already, as {source.source_id}")
        _refuse_id(source, identity)


def _refuse_id(source: Source, identity: str) -> None:
    if identity and source.source_id == identity:
        raise Known(f"{source.place()} has the id {identity!r}: give this source another")
