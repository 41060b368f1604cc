"""Turns: who may ask which server now. Few connections to one server and a pause between them, first come first served; a server that is slow or
that asks for peace holds up those who want it, and nobody else."""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from typing import Literal

from services.ingest.items import SourceProblem
from shared import metrics

Kind = Literal["feed", "mail", "file"]
PER_HOST, DELAY_S = 4, 0.5
AT_ONCE: dict[Kind, int] = {"feed": 100, "mail": 100, "file": 32}
MOST_PAUSE_S = 3600.0
_SWEEP_AT = 1000  # servers


class Limit:
    """At most `size` at once, of which at most a part may be doubted: sources that failed when last asked, and that may hang."""

    def __init__(self, size: int, doubted: int) -> None:
        self._free, self._doubted = asyncio.Semaphore(size), asyncio.Semaphore(max(doubted, 1))

    async def take(self, doubted: bool, held: ExitStack) -> None:
        """Waits for a place and leaves in `held` how it is given back."""
        for free in (self._doubted, self._free) if doubted else (self._free,):
            await free.acquire()
            held.callback(free.release)


class _Server:
    """One host and port."""

    def __init__(self, connections: int) -> None:
        self.limit, self.starting = Limit(connections, connections // 2), asyncio.Lock()
        self.next_at = self.paused_until = 0.0  # the loop's time
        self.users = 0

    def leave(self) -> None:
        self.users -= 1


class Turns:
    """The servers and the places for all sources of one process. `lag` is told the seconds that each poll waited from when it was due."""

    def __init__(
        self,
        *,
        per_host: int = PER_HOST,
        delay_s: float = DELAY_S,
        feeds_at_once: int = AT_ONCE["feed"],
        lag: Callable[[float], None] = metrics.POLL_LAG.observe,
    ) -> None:
        self._per_host, self._delay_s, self._lag = per_host, delay_s, lag
        sizes = {**AT_ONCE, "feed": feeds_at_once}
        self._places = {kind: Limit(size, size // 5) for kind, size in sizes.items()}
        self._servers: dict[str, _Server] = {}
        self._sweep_at = _SWEEP_AT

    async def take(self, kind: Kind, host: str, doubted: bool, held: ExitStack) -> None:
        """Waits until `host` (host:port, empty for none) may be asked and a place is free. First the server's turn, then the place: so nobody holds a
        place while waiting for a server. Raises SourceProblem where the server asked for peace."""
        if not host:
            await self._places[kind].take(doubted, held)
            return
        loop = asyncio.get_running_loop()
        server = self._server(host)
        server.users += 1
        held.callback(server.leave)
        _heed(host, server, loop.time())
        await server.limit.take(doubted, held)
        async with server.starting:
            await asyncio.sleep(max(server.next_at - loop.time(), 0.0))
            _heed(host, server, loop.time())
            await self._places[kind].take(doubted, held)
            server.next_at = loop.time() + self._delay_s

    def pause(self, host: str, seconds: float) -> None:
        """Ask `host` nothing for so long (an hour at most): it said that we ask too much."""
        server = self._server(host)
        server.paused_until = max(server.paused_until, asyncio.get_running_loop().time() + min(seconds, MOST_PAUSE_S))

    def began(self, lag: float) -> None:
        self._lag(lag)

    def _server(self, host: str) -> _Server:
        if host not in self._servers:
            if len(self._servers) >= self._sweep_at:
                now = asyncio.get_running_loop().time()
                self._servers = {name: one for name, one in self._servers.items() if one.users or max(one.next_at, one.paused_until) > now}
                self._sweep_at = max(_SWEEP_AT, 2 * len(self._servers))
            self._servers[host] = _Server(self._per_host)
        return self._servers[host]


class Turn:
    """The turn of one source: at most one server and one place at a time, for one poll after another."""

    def __init__(self, turns: Turns, kind: Kind) -> None:
        self._turns, self._kind = turns, kind
        self._held: ExitStack | None = None
        self._host, self._doubted = "", False
        self._due: float | None = None

    async def begin(self, host: str, *, doubted: bool, due: float | None) -> None:
        """For a new poll; `due` (the loop's time) is when it should have begun. Raises as `at` does."""
        self._doubted, self._due = doubted, due
        await self.at(host)

    async def at(self, host: str) -> None:
        """Returns once `host` may be asked. What was held for another server is given back first: two who want each other's never wait for ever."""
        if self._held is not None and self._host == host:
            return
        self.leave()
        with ExitStack() as held:
            await self._turns.take(self._kind, host, self._doubted, held)
            self._held, self._host = held.pop_all(), host
        if self._due is not None:
            self._turns.began(asyncio.get_running_loop().time() - self._due)
            self._due = None

    def pause(self, seconds: float) -> None:
        """The server asked to be left alone for so long."""
        if self._host:
            self._turns.pause(self._host, seconds)

    def leave(self) -> None:
        """The poll is over."""
        if self._held is not None:
            held, self._held = self._held, None
            held.close()


def _heed(host: str, server: _Server, now: float) -> None:
    if server.paused_until > now:
        rest = server.paused_until - now
        raise SourceProblem(f"{host} said that it is asked too often (429): nothing is asked there for {rest:.0f} seconds more", retry_after=rest)
