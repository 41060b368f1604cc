"""Small truths about a child process: it dies with us, it is ended with its group, and its lines are read whatever it writes."""

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress

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


async def follow(process: asyncio.subprocess.Process, write: Callable[[list[str]], None]) -> None:
    """Hands on what the process writes to its standard output, in whole lines, until it ends (without a pipe there: at once)."""
    if process.stdout is None:
        return
    reader = asyncio.create_task(_copy_lines(process.stdout, write))
    try:
        await process.wait()
        # A grandchild may hold the pipe open for ever: what the child itself wrote is read in a moment.
        await asyncio.wait({reader}, timeout=1)
    finally:
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
