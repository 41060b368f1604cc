"""The real parts, started for the tests and ended with them: brokers, the engine, services."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from deploy.local.engine import EngineProcess, EngineSettings
from deploy.local.environment import BUNDLED_MODEL
from deploy.local.errors import LocalError
from deploy.local.kafka import KafkaProcess, ensure_jars, find_java
from deploy.local.state import State, cache_folder
from shared.topics import create
from tests.support.services import ServiceProcess

# One thread for numerics in each worker: threads that share busy cores wait for one another, spinning (a test of half a minute took over five).
os.environ.setdefault("OMP_NUM_THREADS", "1")

Service = Callable[..., ServiceProcess]
TOGETHER = ("tests/e2e/", "tests/kafka/")


class Scheduling(LoadScopeScheduling):
    """How `pytest -n 2` shares out the tests. All that starts real parts stays together by folder and begins first: one worker has the only engine
    (e2e), the other starts brokers, and while they wait for their processes the two cores are not idle. What is left is shared out test by test.

    (pytest-xdist's own groups don't work with pytest 9.2: it writes them into an attribute that pytest no longer reads.)"""

    def _split_scope(self, nodeid: str) -> str:
        return next((folder for folder in TOGETHER if nodeid.startswith(folder)), nodeid)  # the scopes with the most tests begin first


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    return Scheduling(config, log)


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def kafka_installed() -> None:
    """Java and the jars; skips, with the line that says what to install, where there are none."""
    try:
        await find_java()
        await ensure_jars(cache_folder(), print)
    except LocalError as error:
        pytest.skip(str(error))


@asynccontextmanager
async def running_broker(folder: Path) -> AsyncIterator[KafkaProcess]:
    """An empty broker with all topics."""
    kafka = KafkaProcess(folder / "kafka", folder / "logs" / "kafka.log", cache_folder(), print)
    try:
        await create(await kafka.start())
        yield kafka
    finally:
        await kafka.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def broker(kafka_installed: None, tmp_path: Path) -> AsyncIterator[KafkaProcess]:
    """A broker of the test's own: groups are named after services, so two tests of one service can't share."""
    async with running_broker(tmp_path) as kafka:
        yield kafka


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def module_broker(kafka_installed: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[KafkaProcess]:
    """One broker for the tests of a module, which keep out of one another's way."""
    async with running_broker(tmp_path_factory.mktemp("broker")) as kafka:
        yield kafka


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The address of vLLM on the bundled model, started once: it takes a minute or two. FEEDLOOP_ENGINE_URL names one that runs already."""
    if running := os.environ.get("FEEDLOOP_ENGINE_URL"):
        yield running
        return
    settings = EngineSettings(str(BUNDLED_MODEL))
    try:
        settings.check()
    except LocalError as error:
        pytest.skip(str(error))
    process = EngineProcess(settings, tmp_path_factory.mktemp("engine") / "engine.log")
    try:
        yield await process.start()
    finally:
        await process.stop()


@pytest.fixture
def state(tmp_path: Path) -> State:
    """A state folder of the test's own."""
    return State("test", tmp_path / "state")


@pytest.fixture
def service(state: State) -> Iterator[Service]:
    """Makes services: `service("classifier", broker, FEEDLOOP_X="y")` is started, and ended with the test."""
    started: list[ServiceProcess] = []

    def make(name: str, kafka: KafkaProcess, argv: list[str] | None = None, **env: str) -> ServiceProcess:
        process = ServiceProcess(name, state, {"KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap, **env}, argv)
        process.start()
        started.append(process)
        return process

    yield make
    for process in reversed(started):
        process.stop()
