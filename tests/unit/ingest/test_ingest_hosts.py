"""Turns: few at a time at one server, with a pause, first come first served; other servers go on meanwhile."""

import asyncio
import time
from itertools import pairwise

import pytest

from services.ingest.hosts import Turn, Turns
from services.ingest.items import SourceProblem


async def visit(turns: Turns, host: str, seconds: float, log: list[tuple[str, float, int]], inside: dict[str, int], doubted: bool = False) -> None:
    turn = Turn(turns, "feed")
    await turn.begin(host, doubted=doubted, due=None)
    inside[host] = inside.get(host, 0) + 1
    log.append((host, time.monotonic(), inside[host]))
    await asyncio.sleep(seconds)
    inside[host] -= 1
    turn.leave()


async def test_connections_and_pauses_of_one_server_and_no_delay_elsewhere() -> None:
    turns, log, inside = Turns(per_host=2, delay_s=0.1), [], {}
    began = time.monotonic()
    await asyncio.gather(
        *(visit(turns, "busy:80", 0.15, log, inside) for _ in range(6)), *(visit(turns, f"h{n}:80", 0, log, inside) for n in range(50))
    )
    busy = [at for host, at, _ in log if host == "busy:80"]
    assert max(count for host, _, count in log if host == "busy:80") == 2
    assert all(after - before >= 0.095 for before, after in pairwise(busy))
    assert max(at for host, at, _ in log if host != "busy:80") < busy[2], "fifty others were done before the third of the busy one began"
    assert busy[-1] - began >= 0.4


async def test_first_come_first_served() -> None:
    turns, order = Turns(per_host=1, delay_s=0.0), []

    async def one(number: int) -> None:
        turn = Turn(turns, "feed")
        await turn.begin("h:80", doubted=False, due=None)
        order.append(number)
        await asyncio.sleep(0)
        turn.leave()

    await asyncio.gather(*map(one, range(50)))
    assert order == list(range(50))


async def test_doubted_sources_leave_room_for_healthy_ones() -> None:
    turns, log, inside = Turns(per_host=4, delay_s=0.0, feeds_at_once=10), [], {}
    hanging = [asyncio.create_task(visit(turns, f"slow{n}:80", 60, log, inside, doubted=True)) for n in range(30)]
    await asyncio.sleep(0.05)
    assert sum(inside.values()) == 2, "a fifth of the places"
    async with asyncio.timeout(5):
        await asyncio.gather(*(visit(turns, f"good{n}:80", 0.01, log, inside) for n in range(40)))
    for task in hanging:
        task.cancel()
    await asyncio.gather(*hanging, return_exceptions=True)


async def test_one_that_gives_up_waiting_leaves_nothing_behind() -> None:
    turns, log, inside = Turns(per_host=1, delay_s=0.0, feeds_at_once=1), [], {}
    holder = asyncio.create_task(visit(turns, "a:80", 0.3, log, inside))
    await asyncio.sleep(0.05)
    waiting = [asyncio.create_task(visit(turns, host, 0, log, inside)) for host in ("a:80", "a:80", "b:80", "b:80")]
    await asyncio.sleep(0.05)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await holder
    async with asyncio.timeout(5):
        for host in ("a:80", "b:80"):
            await visit(turns, host, 0, log, inside)


async def test_two_that_redirect_to_each_other_do_not_wait_for_ever() -> None:
    turns = Turns(per_host=1, delay_s=0.0, feeds_at_once=2)

    async def cross(first: str, second: str) -> None:
        turn = Turn(turns, "feed")
        await turn.begin(first, doubted=False, due=None)
        await asyncio.sleep(0.05)
        await turn.at(second)
        turn.leave()

    async with asyncio.timeout(5):
        await asyncio.gather(*(cross(*pair) for pair in (("a:80", "b:80"), ("b:80", "a:80")) * 5))


async def test_a_server_that_asks_for_peace_gets_it() -> None:
    turns, log, inside = Turns(delay_s=0.0), [], {}
    turn = Turn(turns, "feed")
    await turn.begin("h:80", doubted=False, due=None)
    turn.pause(1_000_000.0)
    turn.leave()
    with pytest.raises(SourceProblem, match="too often") as problem:
        await visit(turns, "h:80", 0, log, inside)
    assert problem.value.retry_after == pytest.approx(3600, abs=5), "an hour at most"
    await visit(turns, "other:80", 0, log, inside)


async def test_servers_that_nobody_uses_are_forgotten() -> None:
    turns, log, inside = Turns(delay_s=0.0), [], {}
    for n in range(5_000):
        await visit(turns, f"h{n}:80", 0, log, inside)
    assert len(turns._servers) <= 2_000


async def test_lag_is_measured_to_the_turn_and_once_a_poll() -> None:
    lags: list[float] = []
    turns = Turns(per_host=1, delay_s=0.2, lag=lags.append)
    loop = asyncio.get_running_loop()
    for _ in range(2):
        turn = Turn(turns, "feed")
        await turn.begin("h:80", doubted=False, due=loop.time())
        await turn.at("other:80")
        turn.leave()
    assert len(lags) == 2 and lags[0] < 0.15 and lags[1] > 0.15
