"""The local broker, really: it starts, keeps its data over a restart on other ports, comes back after kill -9, and ends with its holder."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.local.kafka import KafkaProcess
from deploy.local.stack import Stack
from deploy.local.state import State, cache_folder

pytestmark = pytest.mark.kafka


def gone(pid: int, seconds: float = 25.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def broker(folder: Path, say: Callable[[str], None] = print) -> KafkaProcess:
    return KafkaProcess(folder / "kafka", folder / "logs" / "kafka.log", cache_folder(), say)


async def send(bootstrap: str, *values: bytes) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    await producer.start()
    try:
        for value in values:
            await producer.send_and_wait("letters", value)
    finally:
        await producer.stop()


async def received(bootstrap: str, count: int) -> list[bytes]:
    consumer = AIOKafkaConsumer("letters", bootstrap_servers=bootstrap, auto_offset_reset="earliest", group_id="readers")
    await consumer.start()
    try:
        return [(await asyncio.wait_for(consumer.getone(), 20)).value for _ in range(count)]
    finally:
        await consumer.stop()


@pytest.mark.timeout(240)
async def test_data_outlive_a_restart_a_changed_port_and_kill_9(tmp_path: Path) -> None:
    first = broker(tmp_path)
    try:
        bootstrap = await first.start()
        assert bootstrap == f"127.0.0.1:{first.port}"
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        await admin.create_topics([NewTopic("letters", 1, 1)])
        await admin.close()
        await send(bootstrap, b"a", b"b")

        pid = first.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert await first.wait() == 128 + signal.SIGKILL
        assert await first.start() == bootstrap, "clients keep the address when the broker comes back"
        await send(bootstrap, b"c")
        pid = first.pid
    finally:
        await first.stop()
    assert pid is not None and gone(pid)

    second = broker(tmp_path)
    (tmp_path / "kafka" / "ports").unlink()  # as if both ports had been taken meanwhile
    try:
        bootstrap = await second.start()
        assert second.port != first.port
        assert await received(bootstrap, 3) == [b"a", b"b", b"c"]
    finally:
        await second.stop()


HOLDER = """
import asyncio, sys
from pathlib import Path
from deploy.local.kafka import KafkaProcess

async def main():
    folder, cache = map(Path, sys.argv[1:])
    kafka = KafkaProcess(folder / "kafka", folder / "kafka.log", cache, lambda line: None)
    await kafka.start()
    print(kafka.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.timeout(120)
def test_the_broker_ends_when_its_holder_is_killed(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path), str(cache_folder())], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        pid = int(holder.stdout.readline())
    finally:
        holder.kill()
        holder.wait()
    assert gone(pid)


@pytest.mark.timeout(120)
async def test_cancelling_the_start_leaves_no_broker(tmp_path: Path) -> None:
    kafka = broker(tmp_path)
    task = asyncio.create_task(kafka.start())
    while kafka.pid is None:
        await asyncio.sleep(0.05)
    pid = kafka.pid
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert gone(pid, seconds=1)


@pytest.mark.skipif(shutil.which("unshare") is None or os.geteuid() != 0, reason="needs root to mount a tiny file system")
@pytest.mark.timeout(120)
def test_a_full_disk_is_one_clear_line(tmp_path: Path) -> None:
    script = HOLDER.replace("asyncio.run(main())", "try:\n    asyncio.run(main())\nexcept Exception as e:\n    print(type(e).__name__, e)\n")
    command = f'mount -t tmpfs -o size=24k tmpfs {tmp_path} && exec "$@"'
    argv = ["unshare", "-m", "sh", "-c", command, "sh", sys.executable, "-c", script, str(tmp_path), str(cache_folder())]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=100)
    if "mount" in done.stderr and "denied" in done.stderr:
        pytest.skip("this machine does not let a test mount a file system")
    assert "LocalError" in done.stdout and "disk is full" in done.stdout, done.stdout + done.stderr
    assert done.stdout.count("\n") == 1


@pytest.mark.timeout(120)
async def test_a_stack_brings_its_broker_back(tmp_path: Path) -> None:
    said: list[str] = []
    env = {"KAFKA_BOOTSTRAP_SERVERS": "", "FEEDLOOP_ENGINE_URL": "http://127.0.0.1:1"}
    async with Stack(State("demo", tmp_path), [], say=said.append, env=env) as stack:
        assert stack.kafka is not None and stack.kafka.pid is not None
        bootstrap, pid = stack.bootstrap, stack.kafka.pid
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while (State("demo", tmp_path).running() or {}).get("pids", {}).get("kafka") in (None, pid):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
        assert stack.bootstrap == bootstrap
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        assert await admin.list_topics() == []
        await admin.close()
        pid = stack.kafka.pid
    assert said == ["Kafka ended (exit code 137): starting it again"]
    assert gone(pid, seconds=0.5)
