"""Mailboxes and files of mails by an address, as people give it on the command line: which source that is, and what would be read from it.

Not for the service's HTTP: whoever may ask it must not read this machine's files, nor have it log in somewhere, through it.
"""

import asyncio
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import ValidationError

from services.ingest.checking import FIRST, Report
from services.ingest.documents import documents_of
from services.ingest.fetch import Fetcher
from services.ingest.items import Batch, Refused, SourceProblem, Unusable
from services.ingest.readers import reader_of
from services.ingest.sources import KINDS, Source
from shared.clock import utc_now
from shared.errors import FeedloopError, one_line
from shared.events import DocumentIngested
from shared.objects import ObjectStore

DEADLINE_S = 90.0
_FILES = ("mbox", "maildir", "eml")
_NAMES = {"mbox": "mbox", "maildir": "Maildir", "eml": "folder of .eml files", "imap": "mail server"}
_PORTS = {"imap": 143, "imaps": 993}  # RFC 3501; RFC 8314, 3.2


class NoMailbox(FeedloopError):
    """It is meant to be a mailbox and can't be one as it is."""


def mailbox_of(address: str, **said: Any) -> Source | None:
    """The source that is meant by imap://USER@HOST/FOLDER?password_env=NAME (imaps:// for TLS from the start, else STARTTLS), mbox:PATH, maildir:PATH,
    eml:PATH, or a path that begins with / ./ ../ or ~; None for what is none of these. `said` are further fields. Looks at the disk. Raises NoMailbox in words."""
    scheme, colon, rest = address.strip().partition(":")
    if colon and scheme.lower() in _PORTS:
        said = {**_server(address.strip()), **said}
        kind = "imap"
    elif colon and scheme.lower() in _FILES:
        kind, said = scheme.lower(), {**said, "path": _absolute(rest.removeprefix("//"))}
    elif address.strip().startswith(("/", "./", "../", "~")):
        path = _absolute(address.strip())
        kind = "mbox" if not path.is_dir() else "maildir" if (path / "new").is_dir() or (path / "cur").is_dir() else "eml"
        said = {**said, "path": path}
    else:
        return None
    try:
        return KINDS[kind].model_validate({"kind": kind, **said})  # type: ignore[return-value]
    except ValidationError as error:
        raise NoMailbox(f"this is no {_NAMES[kind]} that can be read: {one_line(error)}") from error


async def check_mailbox(source: Source, fetcher: Fetcher, secret: Callable[[str], str]) -> Report:
    """Read the first mails as the service would; nothing is published, marked or remembered. Never raises for what the mailbox does."""
    report = Report(url=source.place(), kind=_NAMES[source.kind])
    try:
        with tempfile.TemporaryDirectory() as folder:
            store = ObjectStore(folder)
            first = await _first(reader_of(source, fetcher, secret, store).read({}))
            await asyncio.to_thread(_describe, report, first, source, store)
    except TimeoutError:
        report.problems.append(f"no mail within {DEADLINE_S:g} seconds")
    except (SourceProblem, OSError, ValueError) as error:
        report.problems.append(one_line(error))
    return report


def _describe(report: Report, first: Batch, source: Source, store: ObjectStore) -> None:
    documents, refused = list[DocumentIngested](), Counter[str]()
    for item in first.items:
        try:
            if isinstance(item, Refused):
                raise Unusable(item.reason, item.detail)
            found, parts = documents_of(item, source.ref, source.collection, utc_now(), store)
            documents.append(found[0])
            refused.update(part.detail for part in parts)
        except Unusable as error:
            refused[str(error)] += 1
    report.readable, report.title, report.items = True, "its first mails", len(first.items)
    report.newest = max((document.published_at for document in documents), default=None)
    report.titles = [document.title[:120] for document in documents[:FIRST]]
    report.problems += [first.note] if first.note else []
    report.problems += [f"{count} of the first {len(first.items)} mails would be refused: {detail}" for detail, count in refused.items()]
    if not first.items:
        report.problems.append("there is no mail in it that can be read now")


async def _first(batches: Any) -> Batch:
    async with asyncio.timeout(DEADLINE_S), aclosing(batches) as opened:
        async for batch in opened:
            return batch  # type: ignore[no-any-return]
    return Batch(())


def _absolute(path: str) -> Path:
    return Path(path).expanduser().absolute()  # paths of the file with the sources are relative to its own folder


def _server(address: str) -> dict[str, Any]:
    """The fields of an address of RFC 5092, and those that stand behind its question mark."""
    try:
        parts = urlsplit(address)
        port = parts.port or _PORTS[parts.scheme]
    except ValueError as error:
        raise NoMailbox(f"{address[:200]!r} is no address of a mail server: {error}") from error
    if parts.password is not None:
        raise NoMailbox(
            "a password does not go into the file: put it into an environment variable, and its name behind the address: ?password_env=NAME"
        )
    if not parts.hostname or not parts.username:
        raise NoMailbox("write imaps://USER@HOST/FOLDER?password_env=NAME; an @ in the user's name as %40")
    given: dict[str, Any] = dict(parse_qsl(parts.query, keep_blank_values=True))
    if "tls" in given and given["tls"] != "starttls":
        given["tls"] = {"true": True, "false": False}.get(given["tls"].lower(), given["tls"])
    folder = unquote(parts.path.strip("/"))
    tls: bool | str = True if parts.scheme == "imaps" or port == _PORTS["imaps"] else "starttls"
    return {"host": parts.hostname, "port": port, "user": unquote(parts.username), "tls": tls, **({"folder": folder} if folder else {}), **given}
