"""Keeps the broker or the engine alive: restarted on the same port when it dies, so that its clients reconnect by themselves."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from deploy.local.errors import LocalError

LONGEST_DELAY = 30.0


class Part(Protocol):
    async def start(self) -> str: ...

    async def wait(self) -> int: ...


async def keep_alive(name: str, part: Part, say: Callable[[str], None], on_start: Callable[[], None]) -> None:
    """Runs until cancelled. `part` is started already; `on_start` is called after each new start."""
    delay = 0.5
    while True:
        code = await part.wait()
        say(f"{name} ended (exit code {code}): starting it again")
        while True:
            try:
                await part.start()
                break
            except (LocalError, OSError) as error:
                say(f"{error}; trying again in {delay:g} s")
                await asyncio.sleep(delay)
                delay = min(delay * 2, LONGEST_DELAY)
        delay = 0.5
        on_start()
