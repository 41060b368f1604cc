"""A source that tells of news itself (IMAP IDLE, a folder that changes): it is read then, and not only at its interval."""

import asyncio
import random
from collections.abc import Callable
from functools import partial
from typing import Protocol, runtime_checkable

from services.ingest.items import SourceProblem
from shared.guard import one_line
from shared.logs import logger

log = logger(__name__)
FIRST_WAIT_S, MOST_WAIT_S = 2.0, 900.0  # before a watch that broke is taken up again
LASTED_S = 120.0  # a watch that lasted so long was a good one: the next wait is the first again


@runtime_checkable
class Watcher(Protocol):
    """A reader that can wait for news."""

    async def watch(self, news: Callable[[], None]) -> None:
        """Call `news` whenever there may be something new, until cancelled. Returns where the source can't tell; raises SourceProblem or OSError."""
        ...


class Watches:
    """The watches of all sources that can be watched; `wake` has a source polled now. A source is watched while it is well: one that fails is left to its
    polls and their waits, so that no login is tried again and again."""

    def __init__(self, wake: Callable[[str], None]) -> None:
        self._wake = wake
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._waits: dict[str, float] = {}  # of those whose last watch broke

    def follow(self, source: str, reader: object, well: bool) -> None:
        """After a poll, and at the start: begin to watch, go on, or stop."""
        if not isinstance(reader, Watcher):
            return
        if not well:
            self._stop(source)
        elif source not in self._tasks:
            self._tasks[source] = asyncio.create_task(self._run(source, reader), name=f"watch {source}")

    def drop(self, source: str) -> None:
        """Forget a source."""
        self._stop(source)
        self._waits.pop(source, None)

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        for source in list(self._tasks):
            self.drop(source)
        await asyncio.gather(*tasks, return_exceptions=True)

    def _stop(self, source: str) -> None:
        if (task := self._tasks.pop(source, None)) is not None:
            task.cancel()

    async def _run(self, source: str, watcher: Watcher) -> None:
        """When a watch breaks the source is polled: the poll says what is wrong, and after a good one the watch is taken up again."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            await watcher.watch(partial(self._wake, source))
            return  # it can't tell: the interval is all there is
        except (SourceProblem, OSError) as error:
            log.warning("watch.broke", source=source, reason=one_line(error))
        except Exception as error:
            log.exception("watch.stumbled", source=source, error=f"{type(error).__name__}: {error}")
        wait = FIRST_WAIT_S if loop.time() - began > LASTED_S else self._waits.get(source, FIRST_WAIT_S)
        self._waits[source] = min(wait * 2, MOST_WAIT_S)
        await asyncio.sleep(wait * random.uniform(1.0, 1.5))
        if self._tasks.get(source) is asyncio.current_task():
            del self._tasks[source]
            self._wake(source)
