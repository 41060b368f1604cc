"""Six services with nothing to do: what they cost the machine."""

import asyncio

import psutil
import pytest
import yaml

from deploy.local.kafka import KafkaProcess
from deploy.local.state import State
from tests.conftest import Service

pytestmark = [pytest.mark.engine, pytest.mark.kafka, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(480)]
SECONDS = 10
MOST = 7.0  # % of a core: 4 to 5.5 were measured, by how fast the machine is


async def test_six_idle_services_cost_next_to_nothing(broker: KafkaProcess, engine: str, service: Service, state: State) -> None:
    state.folder.mkdir(parents=True)
    config = state.folder / "feedloop.yaml"
    mailbox = state.folder / "empty.mbox"
    mailbox.touch()
    config.write_text(yaml.safe_dump({"sources": [{"id": "empty", "kind": "mbox", "path": str(mailbox)}]}))
    env = {"FEEDLOOP_ENGINE_URL": engine, "FEEDLOOP_CONFIG": str(config)}
    names = ("ingest", "inference", "classifier", "retriever", "feedback", "trainer")
    services = [service(name, broker, **env) for name in names]
    for one in services:
        await one.ready(120)
    await asyncio.sleep(5)  # what a start leaves to do
    processes = {one.name: psutil.Process(one.pid) for one in services}
    windows = []
    for _ in range(3):  # the other worker's test takes caches and turns, which shows as processor time: the quietest counts
        before = {name: process.cpu_times() for name, process in processes.items()}
        await asyncio.sleep(SECONDS)
        now = {name: process.cpu_times() for name, process in processes.items()}
        windows.append({name: 100 * (now[name].user + now[name].system - before[name].user - before[name].system) / SECONDS for name in processes})
    shares = min(windows, key=lambda one: sum(one.values()))
    memory = {name: round(process.memory_full_info().uss / 2**20) for name, process in processes.items()}
    print(
        f"\nidle: {sum(shares.values()):.1f}% of a core { ({n: round(s, 2) for n, s in shares.items()}) }; memory of their own {sum(memory.values())} MiB {memory}"
    )
    assert sum(shares.values()) < MOST
    assert sum(memory.values()) < 1500
