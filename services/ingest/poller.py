"""All sources, as the file lists them, polled when they are due: follows the file when it changes, and keeps what runs when a change is wrong.

One loop over one heap (services.ingest.schedule) starts the polls; each is a task of its own while it runs, and which of them may go on is for
services.ingest.hosts to say. So a source that hangs holds up neither the loop nor anybody who wants another server.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from services.ingest.addresses import Allowed
from services.ingest.config import IngestConfig, load
from services.ingest.schedule import Schedule
from services.ingest.source import SourceTask
from services.ingest.sources import Source
from services.ingest.telling import PollCount
from services.ingest.watch import Watches
from shared import metrics
from shared.errors import ConfigError
from shared.logs import logger

log = logger(__name__)
STATES = ("ok", "unchanged", "failing", "gone", "waiting")
LOOK_AGAIN_S = 60.0  # at the latest; a machine that slept, or whose clock was set, is noticed then
CLOCK_JUMP_S = 10.0
STUMBLED_S = 3600.0


class Poller:
    """Runs the sources of a config; `task_of` makes the task object for a source, `allow` takes the hosts that may be fetched."""

    def __init__(self, config: IngestConfig, task_of: Callable[[Source], SourceTask], allow: Callable[[Allowed], None]) -> None:
        self._config, self._task_of, self._allow = config, task_of, allow
        self._tasks: dict[str, SourceTask] = {}
        self._polls: dict[str, asyncio.Task[None]] = {}  # those that run because they were due
        self._again: set[str] = set()  # of those: to be polled once more
        self._schedule = Schedule()
        self._watches = Watches(self.wake)
        self._changed, self._started = asyncio.Event(), asyncio.Event()
        for state in STATES:
            metrics.SOURCES.labels(state).set_function(partial(self._in_state, state))
        metrics.POLLING.set_function(lambda: sum(task.polling for task in self._tasks.values()))

    async def run(self, caught_up: Callable[[], Awaitable[None]], path: Path, check_s: float) -> None:
        """Wait for the views, poll, and look at the file every `check_s` seconds. Ends when cancelled, and all polls with it."""
        await caught_up()
        work: list[asyncio.Task[None]] = []
        try:
            self._follow(self._config)
            self._started.set()
            work = [asyncio.create_task(self._poll_due()), asyncio.create_task(self._watch(path, check_s))]
            done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
            for ended in done:  # neither ends but by failing
                ended.result()
        finally:
            work += self._polls.values()
            for running in work:
                running.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            await self._watches.close()
            self._tasks.clear()

    async def poll_all(self) -> dict[str, PollCount]:
        """Poll every source now, side by side, and return when all are done."""
        await self._started.wait()
        tasks = dict(self._tasks)
        counts = await asyncio.gather(*(task.poll() for task in tasks.values()))
        for identity in tasks:
            self._plan(identity)
        return dict(zip(tasks, counts, strict=True))

    def tasks(self) -> list[SourceTask]:
        return list(self._tasks.values())

    def wake(self, identity: str) -> None:
        """Poll a source now, whatever was planned: it has something new. One that is being polled is polled once more, since it may have read on
        before that came."""
        if identity in self._tasks:
            self._schedule.set(identity, asyncio.get_running_loop().time())
            self._changed.set()

    async def _poll_due(self) -> None:
        loop, offset = asyncio.get_running_loop(), _offset()
        while True:
            self._changed.clear()
            if abs(_offset() - offset) > CLOCK_JUMP_S:
                offset = _offset()
                for identity in self._tasks:
                    self._plan(identity)
            for identity, due in self._schedule.take_due(loop.time()):
                if identity in self._polls:
                    self._again.add(identity)
                else:
                    self._polls[identity] = loop.create_task(self._poll(identity, due), name=f"poll {identity}")
            wait = LOOK_AGAIN_S if (due_next := self._schedule.next_due()) is None else min(due_next - loop.time(), LOOK_AGAIN_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(wait, 0.0)):  # not wait_for, which up to Python 3.11 may take a cancellation for an answer
                    await self._changed.wait()

    async def _poll(self, identity: str, due: float) -> None:
        least = 0.0
        try:
            await self._tasks[identity].poll(due)
        except asyncio.CancelledError:  # the source was taken away, or all ends: nothing is planned
            raise
        except Exception as error:  # a mistake of ours, met at one source: told, and the others go on
            log.exception("poll.stumbled", source=identity, error=f"{type(error).__name__}: {error}")
            least = STUMBLED_S
        if self._polls.get(identity) is asyncio.current_task():  # else another source has its name now
            del self._polls[identity]
            self._plan(identity, least)

    def _plan(self, identity: str, least: float = 0.0) -> None:
        """Put the next poll of a source into the schedule; one that is running does so at its end."""
        if identity not in self._tasks or identity in self._polls:
            return
        task = self._tasks[identity]
        self._watches.follow(identity, task.reader, task.polled is not None and task.polled.state in ("ok", "unchanged"))
        wait = 0.0 if identity in self._again else max(task.wait(), least)
        self._again.discard(identity)
        self._schedule.set(identity, asyncio.get_running_loop().time() + wait)
        self._changed.set()

    async def _watch(self, path: Path, check_s: float) -> None:
        seen = _stamp(path)
        while True:
            await asyncio.sleep(check_s)
            if (now := _stamp(path)) != seen:
                seen = now
                await self._reload(path)

    async def _reload(self, path: Path) -> None:
        try:
            config = await asyncio.to_thread(load, path)
        except ConfigError as error:
            log.error("config.refused", reason=str(error), kept="the sources that were there before")
            return
        self._follow(config)

    def _follow(self, config: IngestConfig) -> None:
        self._config = config
        self._allow(Allowed(config.allow_hosts))
        wanted = {source.source_id: source for source in config.sources}
        for identity, task in list(self._tasks.items()):
            if wanted.get(identity) != task.source:
                del self._tasks[identity]
                self._schedule.drop(identity)
                self._watches.drop(identity)
                self._again.discard(identity)
                if running := self._polls.pop(identity, None):
                    running.cancel()
        for identity, source in wanted.items():
            if identity not in self._tasks:
                self._tasks[identity] = self._task_of(source)
                self._plan(identity)
        log.info("config.followed", sources=len(wanted))

    def _in_state(self, state: str) -> int:
        return sum((task.polled.state if task.polled else "waiting") == state for task in self.tasks())


def _offset() -> float:
    """Between the clock on the wall and the one that the loop waits by."""
    return time.time() - time.monotonic()


def _stamp(path: Path) -> tuple[int, int, int]:
    with contextlib.suppress(OSError):
        status = path.stat()
        return status.st_mtime_ns, status.st_size, status.st_ino
    return 0, 0, 0  # it is being replaced, or gone: loading it says so
