"""The whole of Feedloop on this machine: broker, engine and services, started together, watched, and ended together at any moment."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from types import TracebackType

from deploy import SERVICES
from deploy.local.engine import EngineProcess, EngineSettings
from deploy.local.environment import BUNDLED_MODEL, service_environment
from deploy.local.errors import LocalError
from deploy.local.http import status_of
from deploy.local.kafka import KafkaProcess
from deploy.local.ports import LOOPBACK, reserve
from deploy.local.state import State
from deploy.local.watch import keep_alive
from shared.runner import Child, Supervisor

NEEDS_ENGINE = "inference"

Prepare = Callable[[str], Awaitable[object]]


def service_argv(name: str) -> list[str]:
    return [sys.executable, "-m", "services", "run", name]


class Stack:
    """`async with Stack(...) as stack:` runs the whole line; inside, `urls`, `bootstrap` and `engine_url` are set.

    `prepare(bootstrap)` is awaited once Kafka answers and before the first service starts: it makes the topics. `env` is added to the
    environment (KAFKA_BOOTSTRAP_SERVERS, FEEDLOOP_ENGINE_URL and QDRANT_URL in it, or in ours, stand for parts that run elsewhere).
    `progress(seconds)` hears about once a second that the engine is still starting. The services' logs go to files in the state folder, or, without `log_files`, to standard
    output under their names. SIGTERM and SIGHUP cancel the task that is inside, as
    SIGINT does under asyncio.run; everything ends on the way out, in reverse order. Errors for people are LocalError."""

    def __init__(
        self,
        state: State,
        services: Sequence[str] = SERVICES,
        *,
        say: Callable[[str], None],
        env: Mapping[str, str] | None = None,
        prepare: Prepare | None = None,
        progress: Callable[[float], None] | None = None,
        log_files: bool = True,
        argv: Callable[[str], list[str]] = service_argv,
    ) -> None:
        self.state = state
        self.services = list(services)
        self.say = say
        self.urls: dict[str, str] = {}
        self.bootstrap = ""
        self.engine_url = ""
        self.supervisor = Supervisor([], say, on_change=self._record)
        self.kafka: KafkaProcess | None = None
        self.engine: EngineProcess | None = None
        self._env = {**os.environ, **(env or {})}
        self._prepare = prepare
        self._progress = progress
        self._log_files = log_files
        self._argv = argv
        self._ports: dict[str, int] = {}
        self._exit = AsyncExitStack()
        self._keepers: list[asyncio.Task[None]] = []
        self._kafka_up = asyncio.Event()

    async def __aenter__(self) -> "Stack":
        try:
            self._hear_signals()
            self.state.acquire()
            self._exit.callback(self.state.release)
            self._exit.callback(self._forget)
            await self._start()
        except BaseException:
            await self._exit.aclose()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._exit.aclose()

    async def kafka_ready(self) -> str:
        """Waits until the broker answers; its address."""
        await self._kafka_up.wait()
        return self.bootstrap

    async def services_ready(self, timeout: float = 120.0) -> None:
        """Waits until /ready of every service answers 200. Raises LocalError naming those that do not, and where their logs are."""
        deadline = asyncio.get_running_loop().time() + timeout
        missing = list(self.services)
        while missing := [name for name in missing if await status_of(f"{self.urls[name]}/ready") != 200]:
            if asyncio.get_running_loop().time() > deadline:
                raise LocalError(f"not ready within {timeout:.0f} s: {', '.join(missing)}; see their logs in {self.state.logs}")
            await asyncio.sleep(0.3)

    async def _start(self) -> None:
        self._ports = reserve([*self.services, "engine"], self.state.read_run().get("ports", {}))
        self.urls = {name: f"http://{LOOPBACK}:{self._ports[name]}" for name in self.services}
        # In this order, so that leaving ends the services first, then the engine, then the broker, whatever had been started by then.
        broker, engine = self._choose_kafka(), self._choose_engine()
        self._exit.push_async_callback(self.supervisor.stop)
        self._exit.push_async_callback(self._end_keepers)
        tasks = [asyncio.create_task(self._start_line(broker)), asyncio.create_task(self._start_engine(engine))]
        try:
            await asyncio.gather(*tasks)
        finally:  # one failed, or we are cancelled: the other must not go on starting
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if NEEDS_ENGINE in self.services:
            await self.supervisor.add(self._child(NEEDS_ENGINE))
        self._record()

    def _choose_kafka(self) -> KafkaProcess | None:
        self.bootstrap = self._env.get("KAFKA_BOOTSTRAP_SERVERS", "")
        if self.bootstrap:
            return None
        self.kafka = KafkaProcess(self.state.kafka, self.state.logs / "kafka.log", self.state.cache, self.say)
        self._exit.push_async_callback(self.kafka.stop)
        return self.kafka

    def _choose_engine(self) -> EngineProcess | None:
        self.engine_url = self._env.get("FEEDLOOP_ENGINE_URL", "").rstrip("/")
        if self.engine_url:
            return None
        settings = EngineSettings.from_environment(self._env, BUNDLED_MODEL)
        settings.check()  # before anything else is started
        self.engine = EngineProcess(settings, self.state.logs / "engine.log", self._ports["engine"], self._progress)
        self.engine_url = self.engine.url
        self._exit.push_async_callback(self.engine.stop)
        return self.engine

    async def _start_line(self, broker: KafkaProcess | None) -> None:
        """The broker, its topics, then the services that can begin without the engine."""
        if broker is not None:
            self.bootstrap = await broker.start()
            self._keepers.append(asyncio.create_task(keep_alive("Kafka", broker, self.say, self._record)))
        self._kafka_up.set()
        if self._prepare is not None:
            await self._prepare(self.bootstrap)
        for name in self.services:
            if name != NEEDS_ENGINE:
                await self.supervisor.add(self._child(name))

    async def _start_engine(self, engine: EngineProcess | None) -> None:
        if engine is not None:
            self.engine_url = await engine.start()
            self._keepers.append(asyncio.create_task(keep_alive("the engine", engine, self.say, self._record)))

    async def _end_keepers(self) -> None:
        for task in self._keepers:
            task.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)

    def environment(self, name: str) -> dict[str, str]:
        """The whole environment of one service."""
        addresses = {f"FEEDLOOP_{other.upper()}_URL": url for other, url in self.urls.items()}
        addresses |= {"KAFKA_BOOTSTRAP_SERVERS": self.bootstrap, "FEEDLOOP_ENGINE_URL": self.engine_url}
        return {**service_environment(name, self._env, self.state), **addresses, "FEEDLOOP_HTTP_PORT": str(self._ports[name])}

    def _child(self, name: str) -> Child:
        log = self.state.logs / f"{name}.log" if self._log_files else None
        if log is not None and log.exists():
            log.replace(log.with_name(f"{name}.log.1"))
        return Child(name, self._argv(name), self.environment(name), log)

    def _record(self) -> None:
        """run.json: what other commands need to find this stack."""
        pids = self.supervisor.pids()
        pids |= {name: part.pid for name, part in (("kafka", self.kafka), ("engine", self.engine)) if part is not None and part.pid}
        addresses = {"kafka": self.bootstrap, "engine": self.engine_url, "urls": self.urls}
        try:
            self.state.write_run({"profile": self.state.profile, "pid": os.getpid(), **addresses, "pids": pids, "ports": self._ports})
        except LocalError as error:  # a full disk: the stack itself goes on
            self.say(str(error))

    def _forget(self) -> None:
        """The stack is gone, its ports are remembered. A full disk must not stand in the way of leaving."""
        with suppress(LocalError):
            self.state.write_run({"profile": self.state.profile, "ports": self._ports or self.state.read_run().get("ports", {})})

    def _hear_signals(self) -> None:
        task = asyncio.current_task()
        if task is None or threading.current_thread() is not threading.main_thread():
            return
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, task.cancel)
            self._exit.callback(loop.remove_signal_handler, number)
