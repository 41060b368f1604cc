"""An mbox file (RFC 4155; mboxo, mboxrd, mboxcl, mboxcl2), read from where the last poll ended: never whole in memory, never while it is written to.

The cursor is a byte offset, with a digest by which the file is known again, of its beginning and of what stands before the offset. One that a mail program
has rewritten is read anew (what is known is recognised by its ids); one that was moved aside (in.mbox to in.mbox.1, or copied there and emptied) is read to
its end before the new one is begun.
"""

import asyncio
import hashlib
import os
import stat
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from services.ingest.items import Batch, SourceProblem
from services.ingest.readers.changes import tell_of_changes
from services.ingest.readers.mails import mail_batch
from services.ingest.readers.mboxlock import shared_lock
from services.ingest.readers.mboxparts import NotMbox, read_part
from services.ingest.threads import in_own_thread

SETTLED_S = 2.0  # unchanged for so long, what its end says is believed: the last mail has ended
UNFINISHED_S = 60.0  # where the end says that there is more to come, it is waited for so long
PATIENCE_S = 10.0  # of one poll with a file that is locked or written to
MARK = 4_096  # bytes at each end by which a file is known again
MAX_SIBLINGS = 100
LOCKED = "the mailbox is locked by another program: read later"


@dataclass(frozen=True)
class _State:
    size: int
    quiet: float  # seconds since it was last written to


class MboxReader:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._again_at = 0.0  # time.monotonic() from which on a last mail that was left waiting may be read

    async def read(self, cursor: Mapping[str, str]) -> AsyncIterator[Batch]:
        """Batches of mails after the cursor; from the start where the file is another. Raises SourceProblem or OSError."""
        told = False
        self._again_at = 0.0
        offset, mark = int(cursor.get("offset", "0")), cursor.get("mark", "")
        state = await self._settled()
        if not await in_own_thread(_is_same, self._path, offset, mark):
            rest = await in_own_thread(_moved_aside, self._path, offset, mark) if offset and mark else None
            if rest is not None:
                async for batch in self._mails(rest, cursor, _State(rest.stat().st_size, UNFINISHED_S)):
                    told = True
                    yield batch
            cursor = {}
        async for batch in self._mails(self._path, cursor, state):
            told = True
            yield batch
        if not told:
            yield Batch((), cursor, unchanged=True)

    async def watch(self, news: Callable[[], None]) -> None:
        """Call `news` when the file has changed, and when a mail that was left waiting may be read."""
        await tell_of_changes([self._path], news, lambda: 0 < self._again_at < time.monotonic())

    async def _mails(self, path: Path, cursor: Mapping[str, str], state: _State) -> AsyncIterator[Batch]:
        offset, last = int(cursor.get("offset", "0")), int(cursor.get("last", "0"))
        while offset < state.size:
            part = await in_own_thread(_locked_part, path, offset, last, state)
            if part is None:
                self._again_at = time.monotonic() + PATIENCE_S
                yield Batch((), cursor, LOCKED, unchanged=True)
                return
            if part.waits:
                self._again_at = time.monotonic() + (SETTLED_S if state.quiet < SETTLED_S else UNFINISHED_S - state.quiet)
            if part.end == offset:  # nothing but a mail that has not ended
                return
            offset, last = part.end, part.last
            mark = await in_own_thread(_mark, path, offset)
            cursor = {"offset": str(offset), "last": str(last), "mark": mark}
            yield await mail_batch(part.mails, cursor)
            if part.waits:
                return

    async def _settled(self) -> _State:
        """The file once nobody writes to it, or as it is when the patience is at its end."""
        give_up = time.monotonic() + PATIENCE_S
        while True:
            try:
                status = await in_own_thread(os.stat, self._path)
            except FileNotFoundError as error:
                raise SourceProblem(f"there is no mailbox at {self._path}") from error
            except PermissionError as error:
                raise SourceProblem(f"the mailbox {self._path} may not be read") from error
            if not stat.S_ISREG(status.st_mode):
                raise SourceProblem(f"{self._path} is not a file; a folder of mails is kind maildir (new/, cur/) or eml")
            state = _State(status.st_size, time.time() - status.st_mtime)
            if not 0 <= state.quiet < SETTLED_S:  # a time in the future tells nothing
                return state if state.quiet >= 0 else _State(state.size, UNFINISHED_S)
            if time.monotonic() > give_up:
                return state
            await asyncio.sleep(0.2)


def _locked_part(path: Path, offset: int, last: int, state: _State):  # type: ignore[no-untyped-def]
    """The next mails, or None where another program has the file locked."""
    give_up = time.monotonic() + PATIENCE_S
    with path.open("rb") as file:
        while not shared_lock(file, path):
            if time.monotonic() > give_up:
                return None
            time.sleep(0.2)
        try:  # the locks go with the file
            return read_part(file, offset, last, state.size, certain=state.quiet >= UNFINISHED_S, settled=state.quiet >= SETTLED_S)
        except NotMbox as error:
            raise SourceProblem(f"{path} is no mbox: it does not begin with a From line") from error


def _mark(path: Path, offset: int) -> str:
    """A digest of what has been read of the file: of its first bytes and its last."""
    with path.open("rb") as file:
        digest = hashlib.sha256(file.read(min(MARK, offset)))
        file.seek(max(offset - MARK, 0))
        digest.update(file.read(min(MARK, offset)))
        return digest.hexdigest()[:16]


def _is_same(path: Path, offset: int, mark: str) -> bool:
    return path.stat().st_size >= offset and (not mark or _mark(path, offset) == mark)


def _moved_aside(path: Path, offset: int, mark: str) -> Path | None:
    """The file that the cursor is about, under the name that rotation gave it, where there is something in it that was not read."""
    siblings = [entry for entry in path.parent.iterdir() if entry != path and entry.name.startswith(path.name) and entry.is_file()]
    siblings.sort(key=lambda entry: entry.stat().st_mtime, reverse=True)
    return next((entry for entry in siblings[:MAX_SIBLINGS] if entry.stat().st_size > offset and _mark(entry, offset) == mark), None)
