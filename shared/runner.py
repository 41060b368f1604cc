"""The supervisor behind `feedloop run all`: one process a service, restarted when it dies, ended together. In a cluster Kubernetes does this."""

import asyncio
import signal
import sys
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from shared.child_process import Started, finish, reason, signal_group, start

COLOURS = (36, 33, 32, 35, 34, 31, 96, 93, 92, 95)


@dataclass(frozen=True)
class Child:
    """One process to keep alive. `env` is its whole environment (None: ours). Output goes to `log` if given, else to the supervisor's."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] | None = None
    log: Path | None = None


@dataclass(frozen=True)
class Backoff:
    """When to start a dead child again, in seconds: `first`, doubling to `most`, from the start after `calm` alive. After `many` deaths
    within a minute it waits `most` each time and says so."""

    first: float = 0.5
    most: float = 30.0
    calm: float = 60.0
    many: int = 5


class Supervisor:
    """Keeps children alive from `start` to `stop`. `restarts` counts, `pids()` tells who is alive now, `on_change` hears of every (re)start."""

    def __init__(
        self,
        children: Sequence[Child],
        say: Callable[[str], None],
        *,
        grace: float = 15.0,
        backoff: Backoff | None = None,
        out: IO[str] | None = None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.children = list(children)
        self.restarts: Counter[str] = Counter()
        self._say = say
        self._grace = grace
        self._backoff = backoff or Backoff()
        self._out = out or sys.stdout
        self._on_change = on_change
        self._stopping = False
        self._alive: dict[str, asyncio.subprocess.Process] = {}
        self._keepers: dict[str, asyncio.Task[None]] = {}

    def pids(self) -> dict[str, int]:
        """Name -> pid of the children that are alive now; each leads a process group of its own."""
        return {name: process.pid for name, process in self._alive.items() if process.returncode is None}

    async def start(self) -> None:
        """Starts every child. If one cannot be started at all (its program is missing) ends the others and raises OSError."""
        self._stopping = False
        try:
            for child in self.children:
                await self._keep(child)
        except BaseException:
            await self.stop()
            raise

    async def add(self, child: Child) -> None:
        """Starts one more child, kept alive like the others."""
        self.children.append(child)
        await self._keep(child)

    async def run(self) -> None:
        """Start, wait for SIGINT or SIGTERM, stop. Cancelling it stops too."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        us = asyncio.current_task()
        assert us is not None

        def on_signal() -> None:
            if ended.is_set():  # the second one: whoever sends it does not want to wait for the grace
                us.cancel()
            ended.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, on_signal)
        starting = asyncio.create_task(self.start())
        waiting = asyncio.create_task(ended.wait())
        try:
            await asyncio.wait({starting, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.is_set():
                await starting  # raises what it raised
                await waiting
        finally:
            for task in (starting, waiting):
                task.cancel()
            await asyncio.gather(starting, waiting, return_exceptions=True)
            await self.stop()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    async def stop(self) -> None:
        """Ends every child with its process group: SIGTERM, SIGKILL after the grace. Cancelling it kills at once. Safe to call twice."""
        self._stopping = True
        keepers = list(self._keepers.values())
        alive = self.pids()
        for name, keeper in self._keepers.items():
            if name not in alive:  # it waits to start its child again
                keeper.cancel()
        processes = list(self._alive.values())
        try:
            for process in processes:
                signal_group(process, signal.SIGTERM)
            if keepers:  # they copy what the children say until the end
                await asyncio.wait(keepers, timeout=self._grace)
        finally:
            for process in processes:
                signal_group(process, signal.SIGKILL)
        await asyncio.gather(*keepers, return_exceptions=True)
        self._keepers.clear()
        self._alive.clear()

    async def _keep(self, child: Child) -> None:
        if child.name in self._keepers:
            raise ValueError(f"two children are named {child.name!r}")
        process = await self._spawn(child)
        self._keepers[child.name] = asyncio.create_task(self._keep_alive(child, process), name=f"keep {child.name}")

    async def _spawn(self, child: Child) -> Started:
        started = await start(child.argv, child.env, child.log)
        self._alive[child.name] = started.process
        self._on_change()
        return started

    async def _keep_alive(self, child: Child, process: Started) -> None:
        write = partial(self._write, child.name)
        clock = asyncio.get_running_loop().time
        deaths: deque[float] = deque(maxlen=self._backoff.many)
        delay = self._backoff.first
        while True:
            began = clock()
            code = await finish(process, write)
            if self._stopping:
                return
            now = clock()
            if now - began >= self._backoff.calm:
                delay = self._backoff.first
            deaths.append(now)
            if len(deaths) == self._backoff.many and now - deaths[0] < 60:
                delay = self._backoff.most
                self._say(f"{child.name} ended ({reason(code)}), {len(deaths)} times in a minute: trying again only every {delay:.0f} s")
            else:
                self._say(f"{child.name} ended ({reason(code)}): starting it again in {delay:g} s")
            await asyncio.sleep(delay)
            delay = min(delay * 2, self._backoff.most)
            process = await self._spawn_again(child)
            self.restarts[child.name] += 1

    async def _spawn_again(self, child: Child) -> Started:
        while True:
            try:
                return await self._spawn(child)
            except OSError as error:  # out of memory or of processes, or its program is being replaced: neither is a reason to give up
                self._say(f"{child.name} could not be started ({error}): trying again in {self._backoff.most:.0f} s")
                await asyncio.sleep(self._backoff.most)

    def _write(self, name: str, lines: list[str]) -> None:
        names = [child.name for child in self.children]
        prefix = name.ljust(max(map(len, names))) + " | "
        if self._out.isatty():
            prefix = f"\033[{COLOURS[names.index(name) % len(COLOURS)]}m{prefix}\033[0m"
        self._out.write("".join(f"{prefix}{line}\n" for line in lines))
        self._out.flush()
