"""One child process: it dies with us, it is ended with its group, and its lines are read whatever it writes."""

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

PR_SET_PDEATHSIG = 1
LONGEST_LINE = 64 * 1024


def die_with_parent() -> Callable[[], None]:
    """A preexec_fn that has the kernel kill the new process when the thread that started it ends, even if that was by kill -9.

    Linux only (prctl). Elsewhere it does nothing: a child then outlives a supervisor that was killed with -9, until it is ended by hand.
    A child that starts processes of its own should start them with this too: the signal goes to the direct child alone."""
    if sys.platform != "linux":
        return lambda: None
    libc = ctypes.CDLL(None)  # before the fork: loading a library after it may deadlock
    parent = os.getpid()

    def in_child() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died between the fork and the line above
            os._exit(1)

    return in_child


@dataclass(frozen=True)
class Started:
    """A process that leads a group of its own, and the pipe with its output (None: it writes to a file)."""

    process: asyncio.subprocess.Process
    output: asyncio.StreamReader | None


async def start(argv: Sequence[str], env: Mapping[str, str] | None, log: Path | None) -> Started:
    """Starts the process with no input; both its output streams go to the end of `log`, or else into `output`. Raises OSError if it cannot."""
    output = None
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        sink = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    else:
        # A pipe of our own: with asyncio's, wait() would go on until every grandchild that inherited the pipe has closed it too.
        source, sink = os.pipe()
        output = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(partial(asyncio.StreamReaderProtocol, output), os.fdopen(source, "rb", 0))
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            env=None if env is None else dict(env),
            start_new_session=True,  # Ctrl-C in the terminal reaches the supervisor alone, and its own children can be ended with it
            preexec_fn=die_with_parent(),
        )
    finally:
        os.close(sink)
    return Started(process, output)


async def finish(child: Started, write: Callable[[list[str]], None]) -> int:
    """Hands on what the process writes, in whole lines, until it ends, then ends what is left of its group. The return code."""
    reader = asyncio.create_task(_copy_lines(child.output, write)) if child.output is not None else None
    try:
        code = await child.process.wait()
        signal_group(child.process, signal.SIGKILL)  # what it started must not go on beside its successor
        if reader is not None:  # the rest is in the pipe; one that left the group may hold it open for ever
            await asyncio.wait({reader}, timeout=1)
        return code
    finally:
        if reader is not None:
            reader.cancel()


async def _copy_lines(stream: asyncio.StreamReader, write: Callable[[list[str]], None]) -> None:
    """Hands on whole lines, as they come, to the end of the stream. A line that never ends is cut at 64 KiB, where StreamReader.readline
    would raise and leave the child blocked on a full pipe."""
    rest = b""
    while chunk := await stream.read(LONGEST_LINE):
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > LONGEST_LINE:
            lines, rest = [*lines, rest], b""
        write([line.decode("utf-8", "replace").rstrip("\r") for line in lines])
    if rest:
        write([rest.decode("utf-8", "replace")])


def signal_group(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """Signals the process (which leads its group) and all that it started; does nothing if none is left."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def reason(code: int) -> str:
    """A return code for people: "exit code 3" or "SIGKILL"."""
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
