"""Mails that are a file each, which nobody writes to any more: those that have not been read, found in a folder of any size, and read in batches."""

import heapq
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.ingest.items import Batch, SourceProblem
from services.ingest.readers import mails
from services.ingest.readers.mails import mail_batch
from services.ingest.readers.seen import Seen
from services.ingest.threads import in_own_thread

PASS = 10_000  # files that are held of one listing; the next ones are those of another
_NAMED = 3  # files that are named in a message

# where a file stands in the order of reading, the hash of its name, and its path
File = tuple[tuple[Any, ...], bytes, str]


@dataclass
class _Failed:
    count: int = 0
    named: list[str] = field(default_factory=list)

    def add(self, path: Path, why: str) -> None:
        self.count += 1
        if len(self.named) < _NAMED:
            self.named.append(f"{path.name}: {why}")


async def batches(
    listed: Callable[[], Iterable[File]], cursor: Mapping[str, str], seen: Seen, moved: Callable[[Path], Path | None] = lambda path: None
) -> AsyncIterator[Batch]:
    """Batches of the files of a folder that have not been read, in their order. `listed` lists all of them (it blocks); `moved` finds one that is not there
    any more. A file that can't be read holds up none of the others, stays to be read, and is told of in SourceProblem."""
    note, told, failed = await in_own_thread(seen.begin, cursor), False, _Failed()
    new, present = await in_own_thread(_next, listed, seen, None)
    await in_own_thread(seen.keep, present)
    while new:
        last, whole = new[-1][0], len(new) == PASS
        files = list({name: (name, Path(path)) for _, name, path in new}.values())  # one that was moved meanwhile is listed twice
        while files:
            if seen.full:
                await in_own_thread(seen.fold)
            found, count = await in_own_thread(_read, files[: mails.MAX_BATCH], moved, failed)
            files = files[count:]
            if found:
                seen.add(found)
                yield await mail_batch(found.values(), seen.cursor(), note)
                told = True
        new = (await in_own_thread(_next, listed, seen, last))[0] if whole else []
    if not told:
        yield Batch((), seen.cursor(), note, unchanged=True)
    if failed.count:
        raise SourceProblem(f"{failed.count} mails can't be read and wait: {'; '.join(failed.named)}")


def _next(listed: Callable[[], Iterable[File]], seen: Seen, after: tuple[Any, ...] | None) -> tuple[list[File], bytearray]:
    """The first PASS files after a place that have not been read, and the hashes of all that have been."""
    present = bytearray()

    def new() -> Iterator[File]:
        for file in listed():
            if file[1] in seen:
                present.extend(file[1])
            elif after is None or file[0] > after:
                yield file

    return heapq.nsmallest(PASS, new()), present


def _read(files: Sequence[tuple[bytes, Path]], moved: Callable[[Path], Path | None], failed: _Failed) -> tuple[dict[bytes, bytes], int]:
    """The mails by the hashes of their names, and how many files that took."""
    found: dict[bytes, bytes] = {}
    total = count = 0
    for name, path in files:
        count += 1
        try:
            try:
                data = _beginning(path)
            except FileNotFoundError:
                if (other := moved(path)) is None:
                    continue  # deleted, or on its way: the next listing tells
                data = _beginning(other)
        except FileNotFoundError:
            continue
        except OSError as error:
            failed.add(path, error.strerror or type(error).__name__)
            continue
        found[name] = data
        total += len(data)
        if total >= mails.MAX_BATCH_BYTES:
            break
    return found, count


def _beginning(path: Path) -> bytes:
    with path.open("rb") as opened:
        return opened.read(mails.MAX_MAIL + 1)
