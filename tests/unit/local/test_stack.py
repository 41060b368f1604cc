"""The stack with stand-in services: what it gives them, what it records, and that it leaves nothing behind whenever it is interrupted."""

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.local.errors import LocalError
from deploy.local.jars import POM
from deploy.local.stack import Stack
from deploy.local.state import State

Gone = Callable[..., bool]
# Writes its environment where the test looks, then answers every request on its port.
SERVICE = """
import http.server, json, os, sys
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def log_message(self, *_): pass
server = http.server.HTTPServer(("127.0.0.1", int(os.environ["FEEDLOOP_HTTP_PORT"])), Ready)
open(os.path.join(os.environ["SEEN"], sys.argv[1] + ".json"), "w").write(json.dumps(dict(os.environ)))
server.serve_forever()
"""
# The real broker's process is replaced by a stand-in `java` that never answers; the stack's own code is all real.
JAVA = """#!/bin/sh
if [ "$1" = -version ]; then echo 'openjdk version "17.0.1"' >&2; exit 0; fi
case "$*" in *StorageTool*) exit 0;; esac
echo $$ > {folder}/java.tmp && mv {folder}/java.tmp {folder}/java.pid
exec sleep 600
"""


def stand_in(name: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", SERVICE, name]


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Broker and engine run elsewhere; nobody asks them anything here."""
    monkeypatch.setenv("FEEDLOOP_CACHE", str(tmp_path / "cache"))
    for name in ("QDRANT_URL", "FEEDLOOP_OBJECTS", "FEEDLOOP_LOG_LEVEL", "FEEDLOOP_MODELS_CACHE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "seen").mkdir()
    return {"KAFKA_BOOTSTRAP_SERVERS": "broker:9092", "FEEDLOOP_ENGINE_URL": "http://engine:8000/", "SEEN": str(tmp_path / "seen")}


async def test_services_get_their_environment_and_are_found_by_others(tmp_path: Path, elsewhere: dict[str, str], gone: Gone) -> None:
    prepared: list[str] = []

    async def prepare(bootstrap: str) -> None:
        assert not any((tmp_path / "seen").iterdir()), "topics come before services"
        prepared.append(bootstrap)

    state = State("demo", tmp_path / "state")
    async with Stack(state, ["ingest", "inference", "trainer"], say=print, env=elsewhere, prepare=prepare, argv=stand_in) as stack:
        await stack.services_ready(20)
        assert prepared == ["broker:9092"] and await stack.kafka_ready() == "broker:9092"
        seen = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "seen").iterdir()}
        assert set(seen) == {"ingest", "inference", "trainer"}
        ingest = seen["ingest"]
        assert ingest["KAFKA_BOOTSTRAP_SERVERS"] == "broker:9092"
        assert ingest["FEEDLOOP_ENGINE_URL"] == "http://engine:8000"
        assert ingest["FEEDLOOP_INGEST_URL"] == f"http://127.0.0.1:{ingest['FEEDLOOP_HTTP_PORT']}"
        assert ingest["FEEDLOOP_TRAINER_URL"] == seen["trainer"]["FEEDLOOP_TRAINER_URL"] == stack.urls["trainer"]
        assert ingest["FEEDLOOP_OBJECTS"] == str(state.objects) and ingest["QDRANT_PATH"] == str(state.qdrant)
        assert (ingest["FEEDLOOP_REPLICA"], ingest["FEEDLOOP_LOG_LEVEL"], ingest["OMP_NUM_THREADS"]) == ("0", "info", "1")
        assert ingest["FEEDLOOP_MODELS_CACHE"] == str(state.folder / "models")
        assert seen["trainer"]["OMP_NUM_THREADS"] == "2"

        running = State("demo", tmp_path / "state").running()
        assert running is not None
        assert running["urls"] == stack.urls and running["pid"] == os.getpid() and running["kafka"] == "broker:9092"
        assert set(running["pids"]) == {"ingest", "inference", "trainer"}
        with pytest.raises(LocalError, match="already in use"):
            async with Stack(State("demo", tmp_path / "state"), ["ingest"], say=print, env=elsewhere, argv=stand_in):
                pass
        first = dict(stack.urls)
    assert gone(*running["pids"].values(), seconds=0.5)
    assert State("demo", tmp_path / "state").running() is None
    async with Stack(State("demo", tmp_path / "state"), ["ingest"], say=print, env=elsewhere, argv=stand_in) as again:
        assert again.urls["ingest"] == first["ingest"], "a bookmarked page keeps its address"


async def test_a_qdrant_that_runs_elsewhere_is_used(tmp_path: Path, elsewhere: dict[str, str]) -> None:
    stack = Stack(State("demo", tmp_path), ["ingest"], say=print, env=elsewhere | {"QDRANT_URL": "http://q:6333"}, argv=stand_in)
    async with stack:
        env = stack.environment("ingest")
    assert env["QDRANT_URL"] == "http://q:6333" and "QDRANT_PATH" not in env


async def test_logs_go_under_names_to_standard_output_when_asked(
    tmp_path: Path, elsewhere: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    def talk(name: str) -> list[str]:
        return [sys.executable, "-I", "-S", "-c", "import time; print('hello', flush=True); time.sleep(600)"]

    said = ""
    async with Stack(State("demo", tmp_path), ["ingest"], say=print, env=elsewhere, log_files=False, argv=talk):
        deadline = time.monotonic() + 10
        while "ingest | hello\n" not in said:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
            said += capfd.readouterr().out
    assert not (tmp_path / "demo" / "logs" / "ingest.log").exists()


async def test_a_failing_preparation_leaves_nothing(tmp_path: Path, elsewhere: dict[str, str]) -> None:
    async def prepare(bootstrap: str) -> None:
        raise LocalError("topics cannot be made")

    state = State("demo", tmp_path)
    with pytest.raises(LocalError, match="topics cannot be made"):
        async with Stack(state, ["ingest"], say=print, env=elsewhere, prepare=prepare, argv=stand_in):
            pass
    with State("demo", tmp_path):  # the lock is free again
        pass


async def test_a_missing_model_is_said_before_anything_starts(tmp_path: Path, elsewhere: dict[str, str]) -> None:
    env = elsewhere | {"FEEDLOOP_ENGINE_URL": "", "FEEDLOOP_MODEL": str(tmp_path / "nowhere")}
    with pytest.raises(LocalError, match=r"^there is no model in .*nowhere \(no config.json\): set FEEDLOOP_MODEL[^\n]*$"):
        async with Stack(State("demo", tmp_path), ["ingest"], say=print, env=env, argv=stand_in):
            pass


START = """
import asyncio, sys
from pathlib import Path
from deploy.local.stack import Stack
from deploy.local.state import State
sys.path.insert(0, "tests/unit/local")
from test_stack import stand_in

async def prepare(bootstrap):
    if sys.argv[2] == "prepare":
        print("in prepare", flush=True)
        await asyncio.sleep(600)

async def main():
    state = State("demo", Path(sys.argv[1]))
    async with Stack(state, ["ingest", "trainer"], say=lambda line: None, prepare=prepare, argv=stand_in) as stack:
        await stack.services_ready()
        print("up", *stack.supervisor.pids().values(), flush=True)
        await asyncio.sleep(600)

try:
    asyncio.run(main())
except (KeyboardInterrupt, asyncio.CancelledError):
    print("ended")
"""


def started(tmp_path: Path, phase: str, env: dict[str, str]) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", START, str(tmp_path / "state"), phase]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env={**os.environ, **env}, preexec_fn=hears_interrupts)


def hears_interrupts() -> None:
    """A shell starts what runs in the background with SIGINT ignored, and its children inherit that: a terminal would not."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def fake_java(tmp_path: Path) -> dict[str, str]:
    """An environment whose Java starts and never answers, with jars already in the cache."""
    (tmp_path / "bin").mkdir()
    java = tmp_path / "bin" / "java"
    java.write_text(JAVA.format(folder=tmp_path))
    java.chmod(0o755)
    (tmp_path / "cache" / f"kafka-{hashlib.sha256(POM.read_bytes()).hexdigest()[:12]}").mkdir(parents=True)
    return {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "FEEDLOOP_CACHE": str(tmp_path / "cache"), "JAVA_HOME": ""}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupted_while_the_broker_starts(number: signal.Signals, tmp_path: Path, elsewhere: dict[str, str], gone: Gone) -> None:
    process = started(tmp_path, "", elsewhere | fake_java(tmp_path) | {"KAFKA_BOOTSTRAP_SERVERS": ""})
    deadline = time.monotonic() + 20
    while not (tmp_path / "java.pid").exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    java = int((tmp_path / "java.pid").read_text())
    process.send_signal(number)
    said, _ = process.communicate(timeout=20)
    assert said == ("" if number == signal.SIGKILL else "ended\n")
    assert gone(java)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_while_it_prepares(number: signal.Signals, tmp_path: Path, elsewhere: dict[str, str]) -> None:
    process = started(tmp_path, "prepare", elsewhere)
    assert process.stdout is not None and process.stdout.readline() == "in prepare\n"
    process.send_signal(number)
    assert process.communicate(timeout=20)[0] == "ended\n"
    assert not any((tmp_path / "seen").iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupted_when_it_is_up(number: signal.Signals, tmp_path: Path, elsewhere: dict[str, str], gone: Gone) -> None:
    process = started(tmp_path, "", elsewhere)
    assert process.stdout is not None
    up, *words = process.stdout.readline().split()
    assert up == "up" and len(words) == 2
    process.send_signal(number)
    process.communicate(timeout=20)
    assert gone(*map(int, words))
