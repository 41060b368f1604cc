"""The supervisor with real processes."""

import asyncio
import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.runner import Backoff, Child, Supervisor

SLEEP = "import time; time.sleep(600)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""
FAST = Backoff(first=0.05, most=0.4)

Command = Callable[[str], list[str]]
Gone = Callable[..., bool]


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.02)


async def test_a_killed_child_is_restarted_and_stop_ends_all(python: Command, gone: Gone) -> None:
    said: list[str] = []
    supervisor = Supervisor([Child("a", python(SLEEP)), Child("b", python(SLEEP))], said.append, backoff=FAST)
    await supervisor.start()
    first = supervisor.pids()
    assert set(first) == {"a", "b"}
    os.kill(first["a"], signal.SIGKILL)
    await until(lambda: supervisor.restarts["a"] == 1)
    second = supervisor.pids()
    assert second["b"] == first["b"] and second["a"] != first["a"]
    assert said == ["a ended (SIGKILL): starting it again in 0.05 s"]
    await supervisor.stop()
    assert supervisor.pids() == {}
    assert gone(*first.values(), *second.values(), seconds=0.5)
    await supervisor.stop()


async def test_one_that_keeps_dying_is_retried_slowly_and_it_is_said(python: Command) -> None:
    said: list[str] = []
    supervisor = Supervisor([Child("a", python("raise SystemExit(3)"))], said.append, backoff=FAST)
    await supervisor.start()
    await until(lambda: supervisor.restarts["a"] >= 5)
    await supervisor.stop()
    assert said[0] == "a ended (exit code 3): starting it again in 0.05 s"
    assert said[1].endswith("in 0.1 s")
    assert said[4] == "a ended (exit code 3), 5 times in a minute: trying again only every 0 s"


async def test_a_calm_life_resets_the_delay(python: Command) -> None:
    said: list[str] = []
    quick = Backoff(first=0.05, most=60, calm=0.0, many=100)
    supervisor = Supervisor([Child("a", python(""))], said.append, backoff=quick)
    await supervisor.start()
    await until(lambda: len(said) >= 4)
    await supervisor.stop()
    assert {line.rsplit(" in ", 1)[1] for line in said} == {"0.05 s"}


async def test_output_is_interleaved_under_names_with_lines_whole(python: Command) -> None:
    out = io.StringIO()
    code = "import sys; sys.stdout.write('one\\ntw'); sys.stdout.flush(); sys.stderr.write('o\\n'); sys.stdout.write('x' * 300_000 + '\\nend')"
    supervisor = Supervisor([Child("a", python(code)), Child("longer", python("print('hello')"))], lambda line: None, out=out)
    await supervisor.start()
    await until(lambda: "a      | end" in out.getvalue() and "longer | hello" in out.getvalue())
    await supervisor.stop()
    text = out.getvalue()
    assert "a      | one\na      | two\n" in re.sub(r"longer \| .*\n", "", text)
    assert text.count("x") == 300_000
    assert all(re.match(r"(a     |longer) \| ", line) for line in text.splitlines())
    assert "\033" not in text, "no colours where no terminal is"


async def test_names_are_coloured_on_a_terminal(python: Command) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    supervisor = Supervisor([Child("a", python("print('hello')"))], lambda line: None, out=out)
    await supervisor.start()
    await until(lambda: "hello" in out.getvalue())
    await supervisor.stop()
    assert out.getvalue().startswith("\033[36ma | \033[0mhello\n")


async def test_output_goes_to_a_log_when_asked_and_the_last_words_are_kept(python: Command, tmp_path: Path) -> None:
    code = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(print('bye'))); print('hi'); time.sleep(600)"
    out = io.StringIO()
    log = tmp_path / "logs" / "a.log"
    supervisor = Supervisor([Child("a", python(code), log=log), Child("b", python(code))], lambda line: None, out=out)
    await supervisor.start()
    await until(lambda: log.exists() and log.read_text() == "hi\n" and out.getvalue() == "b | hi\n")
    await supervisor.stop()
    assert log.read_text() == "hi\nbye\n"
    assert out.getvalue() == "b | hi\nb | bye\n"


async def test_one_that_ignores_sigterm_is_killed_after_the_grace(python: Command, gone: Gone) -> None:
    out = io.StringIO()
    supervisor = Supervisor([Child("a", python(STUBBORN))], lambda line: None, grace=0.3, out=out)
    await supervisor.start()
    await until(lambda: "deaf" in out.getvalue())
    (pid,) = supervisor.pids().values()
    began = time.monotonic()
    await supervisor.stop()
    assert 0.25 < time.monotonic() - began < 5
    assert gone(pid, seconds=0.5)


async def test_cancelling_stop_kills_at_once(python: Command, gone: Gone) -> None:
    out = io.StringIO()
    supervisor = Supervisor([Child("a", python(STUBBORN))], lambda line: None, grace=60, out=out)
    await supervisor.start()
    await until(lambda: "deaf" in out.getvalue())
    (pid,) = supervisor.pids().values()
    task = asyncio.create_task(supervisor.stop())
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await supervisor.stop()
    assert gone(pid, seconds=0.5)


async def test_grandchildren_end_with_their_parent(python: Command, gone: Gone) -> None:
    out = io.StringIO()
    supervisor = Supervisor([Child("a", python(PARENT))], lambda line: None, backoff=FAST, out=out)
    await supervisor.start()
    await until(lambda: "\n" in out.getvalue())
    os.kill(supervisor.pids()["a"], signal.SIGKILL)
    await until(lambda: out.getvalue().count("\n") == 2)
    before, after = (int(line.split("| ")[1]) for line in out.getvalue().splitlines())
    assert gone(before)
    await supervisor.stop()
    assert gone(after)


async def test_a_missing_program_ends_the_others(python: Command, gone: Gone) -> None:
    started: list[int] = []
    supervisor = Supervisor([Child("a", python(SLEEP)), Child("b", ["/nonexistent/program"])], lambda line: None)
    supervisor._on_change = lambda: started.extend(supervisor.pids().values())
    with pytest.raises(OSError):
        await supervisor.start()
    assert started and gone(*started, seconds=0.5)


RUN = """
import asyncio, json, sys
from shared.runner import Child, Supervisor
child = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]
supervisor = Supervisor([Child("a", child), Child("b", child)], print)
async def main():
    running = asyncio.create_task(supervisor.run())
    while len(supervisor.pids()) < 2:
        await asyncio.sleep(0.02)
    print(*supervisor.pids().values(), flush=True)
    await running
asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_the_children_and_then_the_supervisor(number: signal.Signals, gone: Gone) -> None:
    process = subprocess.Popen([sys.executable, "-c", RUN], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    pids = [int(word) for word in process.stdout.readline().split()]
    process.send_signal(number)
    assert process.wait(10) == 0
    process.stdout.close()
    assert gone(*pids, seconds=0.5)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent has died")
def test_children_die_with_a_supervisor_that_is_killed(gone: Gone) -> None:
    process = subprocess.Popen([sys.executable, "-c", RUN], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    pids = [int(word) for word in process.stdout.readline().split()]
    process.kill()
    process.wait()
    process.stdout.close()
    assert len(pids) == 2 and gone(*pids)
