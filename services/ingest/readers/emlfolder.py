"""A folder into which .eml files are dropped, a file a mail.

The files stay where they are, and which were read is remembered, as with a Maildir (seen.py). They are not moved to done/ or failed/: the folder may be an archive,
on a read-only mount or another program's; a move is a second memory beside the cursor, and between the two a kill would leave them at odds; and why a mail was
refused stands in the quarantine, with its bytes, as for every other source. A file that changes after it was read is read again.
"""

import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

from services.ingest.items import Batch, SourceProblem
from services.ingest.readers.changes import tell_of_changes
from services.ingest.readers.mailfiles import File, batches
from services.ingest.readers.seen import Seen, hash_of

SETTLED_S = 2.0  # a file that was written to more lately may not be whole


class EmlReader:
    def __init__(self, path: Path, seen: Seen) -> None:
        self._path, self._seen = path, seen
        self._waiting = False  # files that are still being written

    async def read(self, cursor: Mapping[str, str]) -> AsyncIterator[Batch]:
        """Batches of the files *.eml that are new or have changed, and that nobody writes to, the oldest first. Raises SourceProblem, OSError or
        TransientError (the object store)."""
        self._waiting = False
        async for batch in batches(self._files, cursor, self._seen):
            yield batch

    async def watch(self, news: Callable[[], None]) -> None:
        """Call `news` when files have come or gone, and again while one of them is being written."""
        await tell_of_changes([self._path], news, lambda: self._waiting)

    def _files(self) -> Iterator[File]:
        """The whole files, in no order, known by a hash of name, size and time."""
        path, now = self._path, time.time()
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    if not entry.name.lower().endswith(".eml") or entry.name.startswith(".") or not entry.is_file():
                        continue
                    try:
                        status = entry.stat()
                    except FileNotFoundError:  # gone meanwhile
                        continue
                    if 0 <= now - status.st_mtime < SETTLED_S:
                        self._waiting = True
                        continue
                    order = (status.st_mtime_ns, entry.name, status.st_size)
                    yield order, hash_of(f"{entry.name}\n{status.st_size}\n{status.st_mtime_ns}"), entry.path
        except FileNotFoundError as error:
            raise SourceProblem(f"there is no folder {path}") from error
        except NotADirectoryError as error:
            raise SourceProblem(f"{path} is not a folder; a file of mails is kind mbox") from error
        except PermissionError as error:
            raise SourceProblem(f"the folder {path} may not be read") from error
