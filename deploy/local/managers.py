"""Who carries out `feedloop sources …`: the running service, asked over HTTP, or this process, which edits the file. Both through the same code."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from deploy.local.client import Client, addresses
from deploy.local.errors import LocalError
from services.ingest.addresses import Allowed
from services.ingest.checking import Report
from services.ingest.config import load
from services.ingest.fetch import Fetcher
from services.ingest.mailboxes import check_mailbox, mailbox_of
from services.ingest.managing import Added, Exported, Imported, Sources, Wanted
from services.ingest.sources import Source
from shared.clock import utc_now


class Manager(Protocol):
    """What the commands need. Errors are LocalError or FeedloopError, one line each."""

    where: str

    async def rows(self) -> list[dict[str, Any]]:
        """The sources, each as the service's /api/sources shows it, or what of that is in the file."""
        ...

    async def check(self, url: str) -> Report: ...

    async def add(self, wanted: Wanted) -> Added: ...

    async def remove(self, name: str) -> str:
        """The id of what was taken out."""
        ...

    async def import_opml(self, data: bytes) -> Imported: ...

    async def export(self) -> Exported: ...


@asynccontextmanager
async def manager(config: Path | None, profile: str) -> AsyncIterator[Manager]:
    """The file that was named; else the service that runs; else FEEDLOOP_CONFIG, or feedloop.yaml here."""
    urls = None if config else _running(profile)
    if urls:
        async with Client(urls) as client:
            yield _Service(client)
        return
    path = config or Path(os.environ.get("FEEDLOOP_CONFIG") or "feedloop.yaml")
    fetcher = Fetcher(Allowed(load(path).allow_hosts if path.exists() else ()))
    try:
        yield _File(path, fetcher)
    finally:
        await fetcher.close()


def _running(profile: str) -> dict[str, str] | None:
    try:
        urls = addresses(profile)
    except LocalError:  # nothing runs: the file is edited
        return None
    if "ingest" not in urls:
        raise LocalError("where the ingest service is is not known: set FEEDLOOP_INGEST_URL, or name the file with --config")
    return urls


class _Service:
    def __init__(self, client: Client) -> None:
        self._client, self.where = client, f"the service at {client.urls['ingest']}"

    async def rows(self) -> list[dict[str, Any]]:
        return list((await self._client.get("ingest", "/api/sources"))["sources"])

    async def check(self, url: str) -> Report:
        _only_feeds(url)
        return Report.model_validate(await self._client.get("ingest", "/api/sources/check", url=url))

    async def add(self, wanted: Wanted) -> Added:
        _only_feeds(wanted.url)
        return Added.model_validate(await self._client.post("ingest", "/api/sources", wanted.model_dump()))

    async def remove(self, name: str) -> str:
        return str((await self._client.delete("ingest", f"/api/sources/{quote(name, safe='')}"))["removed"])

    async def import_opml(self, data: bytes) -> Imported:
        return Imported.model_validate(await self._client.send("ingest", "/api/sources/import", data))

    async def export(self) -> Exported:
        return Exported.model_validate(await self._client.get("ingest", "/api/sources/export", format="json"))


def _only_feeds(url: str) -> None:
    """The service is not asked for mailboxes: whoever reaches its HTTP could read files and log in through it."""
    if mailbox_of(url) is not None:
        raise LocalError(
            "mailboxes and files of mails are checked and added in the file with the sources: name it with --config FILE; the service follows it"
        )


class _File:
    def __init__(self, path: Path, fetcher: Fetcher) -> None:
        self._sources, self._fetcher, self.where = Sources(path, fetcher, utc_now), fetcher, str(path)
        self.import_opml, self.export = self._sources.import_opml, self._sources.export

    async def check(self, url: str) -> Report:
        mailbox = mailbox_of(url)
        return await self._sources.check(url) if mailbox is None else await self._look(mailbox)

    async def add(self, wanted: Wanted) -> Added:
        said = {name: value for name in ("id", "title", "collection", "interval") if (value := getattr(wanted, name))}
        mailbox = mailbox_of(wanted.url, **said)
        if mailbox is None:
            return await self._sources.add(wanted)
        report = await self._look(mailbox) if wanted.check else Report(url=wanted.url, readable=True)
        if not report.readable:
            raise LocalError(f"{report.url} can't be read: {'; '.join(report.problems)}; with --unchecked it is added all the same")
        return await self._sources.add_mailbox(mailbox, report.problems)

    async def _look(self, mailbox: Source) -> Report:
        return await check_mailbox(mailbox, self._fetcher, lambda name: os.environ.get(name, ""))

    async def rows(self) -> list[dict[str, Any]]:
        names = {"state": "not running", "reason": "", "last_success": None, "next_poll": None, "documents": None}
        return [
            {"id": source.source_id, "kind": source.kind, "title": source.ref.title, "place": source.place(), **names}
            for source in await self._sources.listed()
        ]

    async def remove(self, name: str) -> str:
        return (await self._sources.remove(name)).source_id
