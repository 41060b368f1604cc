"""Telling that a file or folder has changed, by looking at it every two seconds: works on every file system, also on those of a network."""

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from services.ingest.threads import in_own_thread

CHECK_S = 2.0


async def tell_of_changes(paths: Sequence[Path], news: Callable[[], None], waiting: Callable[[], bool]) -> None:
    """Call `news` at each change of a path (time, size or inode; of a folder: an entry that came or went) and when something that the last poll left
    `waiting` may be read. Until cancelled."""
    seen = await in_own_thread(_stamps, paths)
    while True:
        await asyncio.sleep(CHECK_S)
        if (now := await in_own_thread(_stamps, paths)) != seen or waiting():
            seen = now
            news()


def _stamps(paths: Sequence[Path]) -> list[tuple[int, int, int]]:
    return [_stamp(path) for path in paths]


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        status = os.stat(path)
    except OSError:  # gone, or not to be seen: the poll says it
        return 0, 0, 0
    return status.st_mtime_ns, status.st_size, status.st_ino
