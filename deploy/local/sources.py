"""`feedloop sources …`: the feeds and mailboxes that are read. With the service running it is asked; without it the file is edited, to the same effect."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.local.errors import LocalError

if TYPE_CHECKING:
    from services.ingest.checking import Report

app = typer.Typer(no_args_is_help=True, help="The feeds and mailboxes: add, list, check, remove, import, export.")
Profile = Annotated[str, typer.Option(help="which state folder: `default` for `up`, `demo` for `demo`")]
Config = Annotated[
    Path | None, typer.Option(help="the file to work on; if not given, the running service's, else FEEDLOOP_CONFIG, else feedloop.yaml")
]


@app.command("list")
def list_sources(profile: Profile = "default", config: Config = None) -> None:
    """Each source with its id, its state, the reason, what came of it, and when it is read next."""

    async def work() -> None:
        from rich.markup import escape
        from rich.table import Table

        from deploy.local.commands import out
        from deploy.local.managers import manager

        async with manager(config, profile) as sources:
            rows = await sources.rows()
            table = Table("id", "source", "state", "documents", "last success", "next poll", "reason")
            for row in rows:
                times = [str(row[key] or "")[:16] for key in ("last_success", "next_poll")]
                documents = "" if row["documents"] is None else f"{row['documents']} ({row['items_per_day']:g} a day)"
                table.add_row(row["id"], escape(_shown(row["title"] or row["place"])), row["state"], documents, *times, escape(_shown(row["reason"])))
            out.print(table if rows else "no sources yet: `feedloop sources add URL`")

    asyncio.run(work())


@app.command()
def check(url: str, profile: Profile = "default", config: Config = None) -> None:
    """Say what would be read from an address, what is wrong, and what to do. Exit status 1 where it can't be read. With --config also from a mailbox:
    imaps://USER@HOST/FOLDER?password_env=NAME, mbox:PATH, maildir:PATH, eml:PATH, or a
    path that begins with / ./ ../ or ~."""

    async def work() -> bool:
        from deploy.local.managers import manager

        async with manager(config, profile) as sources:
            report = await sources.check(url)
            _show(report)
            return report.readable

    if not asyncio.run(work()):
        raise typer.Exit(1)


@app.command()
def add(
    url: Annotated[str, typer.Argument(help="a feed, or a page that has one; or a mailbox, as for `check`")],
    title: Annotated[str, typer.Option(help="for people; the feed's own if not given")] = "",
    id: Annotated[str, typer.Option(help="stable name; made of the address if not given")] = "",
    collection: Annotated[str, typer.Option(help="the label set its documents are judged by")] = "news",
    interval: Annotated[str, typer.Option(help="seconds, or 30s, 15m, 2h, 1d")] = "",
    unchecked: Annotated[bool, typer.Option("--unchecked", help="add it though it can't be read now")] = False,
    profile: Profile = "default",
    config: Config = None,
) -> None:
    """Add a feed, or with --config a mailbox. What else a mailbox may have stands in feedloop.example.yaml."""

    async def work() -> None:
        from deploy.local.managers import manager
        from services.ingest.managing import Wanted

        wanted = Wanted(url=url, title=title, id=id, collection=collection, interval=interval, check=not unchecked)
        async with manager(config, profile) as sources:
            added = await sources.add(wanted)
            _say(f"{added.id}: {added.title or added.url} is added ({sources.where})")
            for note in added.notes:
                _say(f"  but: {note}")

    asyncio.run(work())


@app.command()
def remove(
    id: Annotated[str, typer.Argument(help="the id that `list` shows, or the address")], profile: Profile = "default", config: Config = None
) -> None:
    """Take a source out. What was read of it stays."""

    async def work() -> None:
        from deploy.local.managers import manager

        async with manager(config, profile) as sources:
            _say(f"{await sources.remove(id)} is removed ({sources.where})")

    asyncio.run(work())


@app.command()
def backfill(
    id: Annotated[str, typer.Argument(help="the id that `list` shows")],
    since: Annotated[str, typer.Option(help="2026-01-31, or a time (ISO 8601): what is older is passed over")] = "",
    profile: Profile = "default",
) -> None:
    """Read a source again from its beginning. What is known already is not told twice."""

    async def work() -> None:
        from urllib.parse import quote

        from deploy.local.client import Client, addresses

        async with Client(addresses(profile)) as client:
            await client.post("ingest", f"/api/sources/{quote(id, safe='')}/backfill", {"since": since or None})
        _say(f"{id} is read again{f', from {since} on' if since else ''}: see `feedloop sources list`")

    asyncio.run(work())


@app.command()
def replay(ids: Annotated[list[str], typer.Argument(help="ids of documents")], profile: Profile = "default") -> None:
    """Publish documents again as they were read: whatever comes after ingest handles them anew."""

    async def work() -> None:
        from deploy.local.client import Client, addresses

        async with Client(addresses(profile)) as client:
            done = await client.post("ingest", "/api/replay", {"ids": ids})
        _say(f"{done['replayed']} documents published again")
        for unknown in done["unknown"]:
            _say(f"not held any more: {unknown}; `feedloop sources backfill` reads its source again")

    asyncio.run(work())


@app.command("import")
def import_opml(
    file: Annotated[Path, typer.Argument(help="OPML; - is the standard input")], profile: Profile = "default", config: Config = None
) -> None:
    """Add the feeds of another reader's list. Those that are there already are skipped."""

    async def work() -> None:
        from deploy.local.managers import manager

        try:
            data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        except OSError as error:
            raise LocalError(f"{file} can't be read: {error.strerror}") from error
        async with manager(config, profile) as sources:
            done = await sources.import_opml(data)
            for line in (
                ([done.note] if done.note else []) + [f"not added: {line}" for line in done.refused] + [f"skipped: {line}" for line in done.skipped]
            ):
                _say(line)
            _say(f"{len(done.added)} added, {len(done.skipped)} skipped, {len(done.refused)} not added ({sources.where})")

    asyncio.run(work())


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="where the list goes; - is the standard output")] = Path("-"),
    profile: Profile = "default",
    config: Config = None,
) -> None:
    """Write the feeds as OPML 2.0, for another reader."""

    async def work() -> None:
        from deploy.local.managers import manager
        from services.ingest.replacing import content_of, replace_file

        async with manager(config, profile) as sources:
            done = await sources.export()
        if str(file) == "-":
            sys.stdout.write(done.opml)
        else:
            await asyncio.to_thread(lambda: replace_file(file.resolve(), content_of(file.resolve()), done.opml.encode()))
        for line in [*(f"left out: {line}" for line in done.left_out), f"{done.feeds} feeds exported"]:
            typer.echo(_shown(line), err=True)

    asyncio.run(work())


def _show(report: "Report") -> None:
    _say(report.url + (f" (read at {report.final_url})" if report.final_url not in ("", report.url) else ""))
    if report.readable:
        newest = f", the newest of {report.newest:%Y-%m-%d %H:%M} UTC" if report.newest else ""
        _say(f"  {report.kind}: {report.title or 'without a title'}, {report.items} items{newest}")
        for title in report.titles:
            _say(f"    {title}")
    else:
        _say("  can't be read" if report.kind else "  can't be read as a feed")
    for feed in report.feeds:
        _say(f"  its feed: {feed.url} ({feed.kind}: {feed.title or 'without a title'}, {feed.items} items)")
    for problem in report.problems:
        _say(f"  wrong: {problem}")
    for advice in report.advice:
        _say(f"  do: {advice}")


def _say(line: str) -> None:
    typer.echo(_shown(line))


def _shown(line: str) -> str:
    """What comes from a server without what a terminal would obey."""
    return "".join(character for character in line if character.isprintable())
