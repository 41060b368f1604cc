"""An mbox file, read from where the last poll ended: never whole in memory. The cursor is a byte offset with the file's inode and size."""

import asyncio
import os
import re
import stat
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from services.ingest.items import Batch, SourceProblem
from services.ingest.readers.mails import MAX_BATCH, MAX_BATCH_BYTES, MAX_MAIL, mail_batch
from services.ingest.threads import in_own_thread

_FROM_LINE = re.compile(rb"From (\S.*\d\d:\d\d|\S+@\S+\s*$)")
_QUOTED_FROM = re.compile(rb"^>(>*From )", re.M)
_SETTLED_S, _SETTLE_AT_MOST_S = 0.5, 5.0  # a file written to this moment may end in half a mail
_LINE = 1_000_000  # bytes; a longer line is read in pieces


class MboxReader:
    def __init__(self, path: Path) -> None:
        self._path = path

    async def read(self, cursor: Mapping[str, str]) -> AsyncIterator[Batch]:
        """Batches of mails after the cursor; from the start where the file is another or shorter. Raises SourceProblem or OSError."""
        status = await self._settled()
        offset = int(cursor.get("offset", "0"))
        if cursor.get("inode") != str(status.st_ino) or status.st_size < int(cursor.get("size", "0")):
            offset = 0  # rewritten by a mail program: what is known is recognised by its ids
        if offset == status.st_size:
            yield Batch((), cursor, unchanged=True)
            return
        while offset < status.st_size:
            mails, offset = await in_own_thread(read_mails, self._path, offset, status.st_size)
            place = {"offset": str(offset), "inode": str(status.st_ino), "size": str(status.st_size)}
            yield await mail_batch(mails, place)

    async def _settled(self) -> os.stat_result:
        give_up = time.monotonic() + _SETTLE_AT_MOST_S
        while True:
            try:
                status = await in_own_thread(os.stat, self._path)
            except FileNotFoundError as error:
                raise SourceProblem(f"there is no mailbox at {self._path}") from error
            except PermissionError as error:
                raise SourceProblem(f"the mailbox {self._path} may not be read") from error
            if not stat.S_ISREG(status.st_mode):
                raise SourceProblem(f"{self._path} is not a file; a folder of mails is kind maildir")
            if time.time() - status.st_mtime > _SETTLED_S or time.monotonic() > give_up:
                return status
            await asyncio.sleep(0.2)


def read_mails(path: Path, offset: int, end: int) -> tuple[list[bytes], int]:
    """Mails from `offset` (bytes) on, up to a batch or `end`, and the offset after them. Starts over at 0 where no mail begins at `offset`.
    Raises SourceProblem where the file is no mbox."""
    mails: list[bytes] = []
    current: list[bytes] = []
    size = total = 0
    started = False
    with path.open("rb") as file:
        file.seek(offset)
        position, blank, whole_line = offset, True, True
        while position < end:
            line = file.readline(min(_LINE, end - position))
            if not line:
                break
            begins = whole_line and blank and line.startswith(b"From ") and (not started or _FROM_LINE.match(line))
            if not started and not begins and line.strip():
                if offset:
                    return read_mails(path, 0, end)
                raise SourceProblem(f"{path} is no mbox: it does not begin with a From line")
            if begins and started:
                mails.append(_joined(current))
                total += size
                current, size = [], 0
                if len(mails) >= MAX_BATCH or total >= MAX_BATCH_BYTES:
                    return mails, position
            elif started and size <= MAX_MAIL:  # of a mail that is too large only the beginning is held
                current.append(line)
                size += len(line)
            started = started or bool(begins)
            blank, whole_line = whole_line and not line.strip(b"\r\n"), line.endswith(b"\n")
            position += len(line)
    if started:
        mails.append(_joined(current))
    return mails, position


def _joined(lines: list[bytes]) -> bytes:
    return _QUOTED_FROM.sub(rb"\1", b"".join(lines))
