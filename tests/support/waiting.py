"""Waiting for something to become true, with a limit and a name for what did not."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def until(what: str, seconds: float, ask: Callable[[], Awaitable[T]], every: float = 0.1) -> T:
    """The first true answer of `ask`. Fails, naming `what`, where none came within `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        answer = await ask()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what} (the last answer was {answer!r})"
        await asyncio.sleep(every)
