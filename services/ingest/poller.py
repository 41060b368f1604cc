"""All sources, a task each, as the file lists them: follows the file when it changes, and keeps what runs when a change is wrong."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from services.ingest.addresses import Allowed
from services.ingest.config import IngestConfig, Source, load
from services.ingest.source import PollCount, SourceTask
from shared import metrics
from shared.errors import ConfigError
from shared.logs import logger

log = logger(__name__)
STATES = ("ok", "unchanged", "failing", "gone", "waiting")


class Poller:
    """Runs the sources of a config; `task_of` makes the task object for a source, `allow` takes the hosts that may be fetched."""

    def __init__(self, config: IngestConfig, task_of: Callable[[Source], SourceTask], allow: Callable[[Allowed], None]) -> None:
        self._config, self._task_of, self._allow = config, task_of, allow
        self._running: dict[str, tuple[SourceTask, asyncio.Task[None]]] = {}
        self._started = asyncio.Event()
        for state in STATES:
            metrics.SOURCES.labels(state).set_function(partial(self._in_state, state))

    async def run(self, caught_up: Callable[[], Awaitable[None]], path: Path, check_s: float) -> None:
        """Wait for the views, poll, and look at the file every `check_s` seconds. Ends when cancelled, and all sources with it."""
        await caught_up()
        try:
            self._follow(self._config)
            self._started.set()
            seen = _stamp(path)
            while True:
                await asyncio.sleep(check_s)
                if (now := _stamp(path)) != seen:
                    seen = now
                    await self._reload(path)
        finally:
            for _, running in self._running.values():
                running.cancel()
            await asyncio.gather(*(running for _, running in self._running.values()), return_exceptions=True)
            self._running.clear()

    async def poll_all(self) -> dict[str, PollCount]:
        """Poll every source now, side by side, and return when all are done."""
        await self._started.wait()
        tasks = {identity: task for identity, (task, _) in self._running.items()}
        counts = await asyncio.gather(*(task.poll() for task in tasks.values()))
        return dict(zip(tasks, counts, strict=True))

    def tasks(self) -> list[SourceTask]:
        return [task for task, _ in self._running.values()]

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
        for identity, (task, running) in list(self._running.items()):
            if wanted.get(identity) != task.source:
                running.cancel()
                del self._running[identity]
        for identity, source in wanted.items():
            if identity not in self._running:
                task = self._task_of(source)
                self._running[identity] = (task, asyncio.create_task(task.run(), name=f"source {identity}"))
        log.info("config.followed", sources=len(wanted))

    def _in_state(self, state: str) -> int:
        return sum((task.polled.state if task.polled else "waiting") == state for task in self.tasks())


def _stamp(path: Path) -> tuple[int, int, int]:
    with contextlib.suppress(OSError):
        status = path.stat()
        return status.st_mtime_ns, status.st_size, status.st_ino
    return 0, 0, 0  # it is being replaced, or gone: loading it says so
