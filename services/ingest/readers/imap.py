"""Folders of a mail server over IMAP, read-only: opened by EXAMINE and fetched by BODY.PEEK, nothing is marked as seen.

The cursor holds the highest UID read of each folder, for one UIDVALIDITY: where the server has numbered its mails anew (RFC 3501, 2.3.1.1) the folder is
read again from its start, and what is known is recognised by its ids.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping

from services.ingest.items import Batch, Refused, SourceProblem
from services.ingest.readers import imapfetch
from services.ingest.readers.imapcursor import Places
from services.ingest.readers.imapfetch import Box, Stuck
from services.ingest.readers.imaplogin import log_in
from services.ingest.readers.imapnames import chosen, is_pattern, listed
from services.ingest.readers.imapresponses import Refused as RefusedByServer
from services.ingest.readers.imapwire import Wire
from services.ingest.readers.mails import mail_batch
from services.ingest.sources import ImapSource
from services.ingest.threads import in_own_thread
from shared.logs import logger

log = logger(__name__)
IDLE_S = 600.0  # RFC 2177 wants IDLE given anew before 29 minutes; a connection that died unheard is found out no later either
AFTER_NEWS_S = 1.0  # between two tellings: mails often come several at a time
MAX_IDLE = 5  # folders that are waited on, a connection each: servers allow few. The others are read at each interval
MAX_FOLDERS = 1_000
LISTING = 4_000_000  # bytes of the server's list of folders
STUCK_TRIES = 5  # polls in which a mail is not handed out before it is passed over, and quarantined


class ImapReader:
    """The mails of an ImapSource. `secret` looks up the environment variable that holds a password or token."""

    def __init__(self, source: ImapSource, secret: Callable[[str], str]) -> None:
        self._source, self._secret = source, secret
        self._next: dict[str, int] = {}  # UIDNEXT of each folder when it was read last, for `watch`

    async def read(self, cursor: Mapping[str, str]) -> AsyncIterator[Batch]:
        """Batches of mails above the UIDs of the cursor. Raises SourceProblem in words for a refused login, folder or certificate; a folder that can't be
        read, or a mail that the server does not hand out, holds up no other folder."""
        places, troubles, read = Places(cursor, self._source.names[0]), [], False
        wire = await self._open()
        try:
            names = await self._folders(wire)
            places.keep(names)
            for name in names:
                try:
                    box = await imapfetch.examine(wire, name)
                except RefusedByServer as error:
                    troubles.append(f"{wire.host} has no folder {name!r} that may be read: {error.text}")
                    continue
                try:
                    async for batch in self._folder(wire, name, box, places):
                        read = True
                        yield batch
                except Stuck as stuck:
                    troubles.append(f"{name}: {stuck}")
            if not read:
                yield Batch((), places.cursor(), unchanged=True)
        finally:
            await wire.close()
        if troubles:
            raise SourceProblem("; ".join(troubles))

    async def watch(self, news: Callable[[], None]) -> None:
        """Call `news` whenever mail may have come, as the server tells (IDLE). Ends where it has no IDLE; raises SourceProblem when a connection breaks."""
        if not self._source.idle:
            return
        wire = await self._open()
        try:
            names = await self._folders(wire) if "IDLE" in wire.capabilities else []
        finally:
            await wire.close()
        if not names:
            log.info(
                "imap.polled", source=self._source.source_id, reason=f"{self._source.host} has no IDLE: read every {self._source.interval:.0f} s"
            )
            return
        watches = [asyncio.create_task(self._watch_folder(name, news)) for name in names[:MAX_IDLE]]
        try:
            await asyncio.gather(*watches)
        finally:
            for task in watches:
                task.cancel()
            await asyncio.gather(*watches, return_exceptions=True)

    async def _watch_folder(self, name: str, news: Callable[[], None]) -> None:
        wire = await self._open()
        try:
            box = await imapfetch.examine(wire, name)
            if box.next == 0 or box.next != self._next.get(name):  # it came between the last poll and now
                news()
            while True:
                if await wire.idle(IDLE_S):
                    news()
                    await asyncio.sleep(AFTER_NEWS_S)
        finally:
            wire.abort()

    async def _open(self) -> Wire:
        source = self._source
        context = await in_own_thread(_context, source) if source.tls else None
        wire = await Wire.connect(source.host, source.port, context, source.tls == "starttls")
        try:
            await log_in(wire, source, self._secret)
        except BaseException:
            wire.abort()
            raise
        return wire

    async def _folders(self, wire: Wire) -> list[str]:
        patterns = self._source.names
        existing = listed(await wire.command('LIST "" "*"', LISTING)) if any(map(is_pattern, patterns)) else []
        names = chosen(existing, patterns)
        if not names:
            raise SourceProblem(f"{wire.host} has no folder like {', '.join(patterns)}; it has {', '.join(existing[:20]) or 'none'}")
        if len(names) > MAX_FOLDERS:
            raise SourceProblem(f"{', '.join(patterns)} names {len(names)} folders; a source may have {MAX_FOLDERS}")
        return names

    async def _folder(self, wire: Wire, name: str, box: Box, places: Places) -> AsyncIterator[Batch]:
        """The new mails of one folder; its place moves on in `places`. Raises Stuck."""
        place, new = places.of(name, box.validity)
        async for uids in imapfetch.uids_after(wire, box, place.uid):
            while uids:
                try:
                    mails, taken = await imapfetch.fetch(wire, uids)
                except Stuck as stuck:
                    place.tries = place.tries + 1 if place.stuck == stuck.uid else 1
                    place.stuck = stuck.uid
                    if place.tries < STUCK_TRIES:
                        yield Batch((), places.cursor())
                        raise
                    mails, taken = [Refused("unreadable", f"{name}: {stuck}, {place.tries} times", f"{name} UID {stuck.uid}".encode())], 1
                place.uid, uids = uids[taken - 1], uids[taken:]
                yield await mail_batch(mails, places.cursor())
        self._next[name] = box.next
        if new and not place.uid:  # remembered even where it is empty
            yield Batch((), places.cursor(), unchanged=True)


def _context(source: ImapSource) -> ssl.SSLContext:
    """Certificate and name are checked, by the system's authorities or by those of `ca_file`."""
    try:
        return ssl.create_default_context(cafile=str(source.ca_file) if source.ca_file else None)
    except (OSError, ssl.SSLError) as error:
        raise SourceProblem(f"{source.ca_file} (ca_file) holds no certificates that can be read: {error.strerror or error}") from error
