"""A folder into which .eml files are dropped, a file a mail.

The files stay where they are, and the cursor holds which were read, as with a Maildir. They are not moved to done/ or failed/: the folder may be an archive,
on a read-only mount or another program's; a move is a second memory beside the cursor, and between the two a kill would leave them at odds; and why a mail was
refused stands in the quarantine, with its bytes, as for every other source. A file that changes after it was read is read again.
"""

import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

from services.ingest.items import Batch, SourceProblem
from services.ingest.readers.changes import tell_of_changes
from services.ingest.readers.mailfiles import batches, hash_of
from services.ingest.threads import in_own_thread

SETTLED_S = 2.0  # a file that was written to more lately may not be whole


class EmlReader:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting = False  # files that are still being written

    async def read(self, cursor: Mapping[str, str]) -> AsyncIterator[Batch]:
        """Batches of the files *.eml that are new or have changed, and that nobody writes to. Raises SourceProblem or OSError."""
        files, self._waiting = await in_own_thread(_files, self._path)
        async for batch in batches(files, cursor):
            yield batch

    async def watch(self, news: Callable[[], None]) -> None:
        """Call `news` when files have come or gone, and again while one of them is being written."""
        await tell_of_changes([self._path], news, lambda: self._waiting)


def _files(path: Path) -> tuple[dict[bytes, Path], bool]:
    """The whole files, the oldest first, by a hash of name, size and time; and whether there are others."""
    try:
        entries = [entry for entry in path.iterdir() if entry.suffix.lower() == ".eml" and not entry.name.startswith(".")]
    except FileNotFoundError as error:
        raise SourceProblem(f"there is no folder {path}") from error
    except NotADirectoryError as error:
        raise SourceProblem(f"{path} is not a folder; a file of mails is kind mbox") from error
    except PermissionError as error:
        raise SourceProblem(f"the folder {path} may not be read") from error
    found, waiting, now = [], False, time.time()
    for entry in entries:
        try:
            status = entry.stat()
        except FileNotFoundError:  # gone meanwhile, or a link that leads nowhere
            continue
        if not entry.is_file():
            continue
        if 0 <= now - status.st_mtime < SETTLED_S:
            waiting = True
        else:
            found.append((status.st_mtime_ns, entry.name, status.st_size, entry))
    return {hash_of(f"{name}\n{size}\n{written}"): entry for written, name, size, entry in sorted(found)}, waiting
