"""Real processes on this machine, small ones."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest


def is_alive(pid: int) -> bool:
    """A zombie that nobody reaps (an orphan in a container without an init) is as dead as one that is gone."""
    try:
        os.kill(pid, 0)
        return sys.platform != "linux" or Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


@pytest.fixture
def gone() -> Callable[..., bool]:
    def wait(*pids: int, seconds: float = 5.0) -> bool:
        deadline = time.monotonic() + seconds
        while any(map(is_alive, pids)) and time.monotonic() < deadline:
            time.sleep(0.05)
        return not any(map(is_alive, pids))

    return wait


@pytest.fixture
def python() -> Callable[[str], list[str]]:
    """The command that runs a small Python program with the standard library alone."""
    return lambda code: [sys.executable, "-I", "-S", "-u", "-c", code]
