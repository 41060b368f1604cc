"""What is polled when: the heap, ten thousand sources, and servers that hang beside ones that don't."""

import asyncio
import random
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web

from services.ingest.addresses import Allowed
from services.ingest.config import IngestConfig
from services.ingest.feeds import parse_feed
from services.ingest.fetch import Fetcher
from services.ingest.hosts import Turn, Turns
from services.ingest.items import Batch, Reader, SourceProblem
from services.ingest.poller import Poller
from services.ingest.readers.feed import FeedReader
from services.ingest.schedule import Schedule
from services.ingest.source import SourceTask, kind_of
from services.ingest.sources import FeedSource, MboxSource, Source
from shared.events import SourceRef
from tests.unit.ingest.conftest import World, item, rss


def test_the_longest_due_comes_first_and_the_last_word_counts() -> None:
    schedule, chance = Schedule(), random.Random(1)
    for n in range(10_000):
        schedule.set(str(n % 1000), chance.random())
    expected = {}
    for n in range(1000):
        expected[str(n)] = n / 1000 if n % 3 else 5.0
        schedule.set(str(n), expected[str(n)])
    for n in range(0, 1000, 10):
        schedule.drop(str(n))
        expected.pop(str(n))
    schedule.drop("unknown")
    due = list(schedule.take_due(1.0))
    assert due == sorted(((name, at) for name, at in expected.items() if at <= 1.0), key=lambda entry: entry[1])
    assert (len(schedule), schedule.next_due()) == (len(expected) - len(due), 5.0)
    assert list(schedule.take_due(4.9)) == [] and len(list(schedule.take_due(5.0))) == len(expected) - len(due)
    assert schedule.next_due() is None
    for n in range(100_000):
        schedule.set("same", float(n))
    assert len(schedule._heap) < 1000, "memory does not grow with what was replaced"


@dataclass
class Quick:
    """A reader that has nothing new and counts; `problem` is raised instead while it is set."""

    polls: int = 0
    at_once: int = 0
    problem: Exception | None = None
    news: list[Callable[[], None]] = field(default_factory=list)

    async def read(self, cursor: Mapping[str, str]) -> AsyncIterator[Batch]:
        self.polls += 1
        if self.problem:
            raise self.problem
        await asyncio.sleep(0)
        yield Batch((), cursor, unchanged=True)


async def ready() -> None:
    return None


@asynccontextmanager
async def polling(world: World, sources: list[Source], reader: Callable[[Source, Turn], Reader], turns: Turns) -> AsyncIterator[Poller]:
    def make(source: Source) -> SourceTask:
        turn = Turn(turns, kind_of(source))
        return SourceTask(source, reader(source, turn), world.intake, world.bus.publish, world.known, lambda: datetime.now(UTC), turn)

    poller = Poller(IngestConfig(sources=tuple(sources)), make, lambda allowed: None)
    work = asyncio.create_task(poller.run(ready, world.folder / "feedloop.yaml", 60.0))
    try:
        yield poller
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not come true in time"
        await asyncio.sleep(0.02)


def boxes(count: int, interval: float) -> list[Source]:
    return [MboxSource(kind="mbox", id=f"m{n}", path=Path(str(n)), interval=interval) for n in range(count)]


async def test_every_source_is_polled_at_its_interval_and_again_when_woken(world: World) -> None:
    readers: dict[str, Quick] = {}
    lags: list[float] = []

    def reader(source: Source, _: Turn) -> Reader:
        return readers.setdefault(source.source_id, Quick())

    async with polling(world, [*boxes(3, 1.0), *boxes(4, 3600.0)[3:]], reader, Turns(lag=lags.append)) as poller:
        await until(lambda: len(readers) == 4)
        await until(lambda: all(readers[f"m{n}"].polls >= 4 for n in range(3)))
        assert readers["m3"].polls == 1
        poller.wake("m3")
        poller.wake("unknown")
        await until(lambda: readers["m3"].polls == 2)
        assert len(lags) == sum(one.polls for one in readers.values())
    names = {task.get_name() for task in asyncio.all_tasks()}
    assert not any(name.startswith("poll ") for name in names), "all ended with it"


async def test_a_mistake_of_ours_at_one_source_ends_neither_the_loop_nor_the_others(world: World) -> None:
    readers = {"m0": Quick(), "m1": Quick()}

    async def broken(due: float | None = None) -> None:
        raise ZeroDivisionError

    async with polling(world, boxes(2, 1.0), lambda source, _: readers[source.source_id], Turns()) as poller:
        await until(lambda: len(poller.tasks()) == 2)
        poller.tasks()[0].poll = broken  # type: ignore[method-assign,assignment]
        await until(lambda: readers["m1"].polls >= 5)


async def test_ten_thousand_sources_in_one_process(world: World) -> None:
    quick, lags = Quick(), []
    async with polling(world, boxes(10_000, 3600.0), lambda source, turn: quick, Turns(lag=lags.append)) as poller:
        began = time.monotonic()
        await until(lambda: quick.polls == 10_000, 240)
        took = time.monotonic() - began
        await until(lambda: not any(task.polling for task in poller.tasks()), 30)
        assert len(asyncio.all_tasks()) < 10, "those that sleep are no tasks"
        assert len(lags) == 10_000 and max(lags) <= took + 10


@dataclass
class Hostile:
    """Servers, as many as wanted: /good/N answers at once, /slow/N sends a byte each second and never ends."""

    runner: web.AppRunner
    at: dict[str, float] = field(default_factory=dict)
    slow: int = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.at.setdefault(request.path, time.monotonic())
        if not request.path.startswith("/slow"):
            return web.Response(body=rss(item(request.path, request.path, f"The news of {request.path}.")))
        response = web.StreamResponse()
        await response.prepare(request)
        self.slow += 1
        for _ in range(600):
            await response.write(b"<")
            await asyncio.sleep(1.0)
        return response

    async def start(self) -> str:
        """The address of one more."""
        listening = socket.create_server(("127.0.0.1", 0))
        await web.SockSite(self.runner, listening).start()
        return f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
async def hostile() -> AsyncIterator[Hostile]:
    app = web.Application()
    made = Hostile(web.AppRunner(app, shutdown_timeout=0.1))
    app.router.add_get("/{path:.*}", made.answer)
    await made.runner.setup()
    yield made
    await made.runner.cleanup()


async def test_one_byte_a_second_delays_nobody_else(world: World, hostile: Hostile) -> None:
    """Thirty servers that hang, more than the doubted may take, beside sixty that answer."""
    await world.intake.take(
        parse_feed(rss(item("0", "Warm", "What is imported at first use is no subject here."))).items, SourceRef(id="w", kind="feed"), "news"
    )
    slow = [f"{await hostile.start()}/slow/{n}" for n in range(1, 31)]
    good = [f"{await hostile.start()}/good/{n}" for n in range(1, 61)]
    sources: list[Source] = [FeedSource(kind="feed", id=url.split("/", 3)[3].replace("/", "-"), url=url, interval=2.0) for url in [*slow, *good]]
    fetcher, lags = Fetcher(Allowed(["127.0.0.1"]), deadline_s=12.0), []
    turns = Turns(feeds_at_once=50, lag=lags.append)
    async with polling(world, sources, lambda source, turn: FeedReader(source.url, fetcher, turn), turns):  # type: ignore[union-attr]
        await until(lambda: len({event.source.id for event in world.bus.polls}) >= 60)
        states = {event.source.id: event.state for event in world.bus.polls}
        assert not any(name.startswith("slow") for name in states) and hostile.slow == 30, "all thirty hang meanwhile"
        assert set(states.values()) == {"ok"}
        await until(lambda: sum(event.source.id.startswith("slow") for event in world.bus.polls) == 30)
        failed = [event for event in world.bus.polls if event.source.id.startswith("slow")]
        assert {(event.state, event.reason) for event in failed} == {("failing", "no whole answer within 12 seconds")}
        assert sum(event.source.id == "good-1" for event in world.bus.polls) >= 2, "and the good ones went on at their interval"
    assert max(lags) < 12.0
    await fetcher.close()


async def test_one_server_is_asked_politely(world: World, hostile: Hostile) -> None:
    url = await hostile.start()
    sources: list[Source] = [FeedSource(kind="feed", id=f"s{n}", url=f"{url}/good/{n}") for n in range(8)]
    fetcher = Fetcher(Allowed(["127.0.0.1"]))
    async with polling(world, sources, lambda source, turn: FeedReader(source.url, fetcher, turn), Turns(delay_s=0.2)):  # type: ignore[union-attr]
        await until(lambda: len(hostile.at) == 8)
    times = sorted(hostile.at.values())
    assert times[-1] - times[0] >= 7 * 0.2 * 0.9
    await fetcher.close()


async def test_what_was_learnt_survives_a_restart(world: World) -> None:
    source = FeedSource(kind="feed", id="desk", url="http://e.org/feed")
    problem = SourceProblem("no feed today")
    listing = Quick()
    task = SourceTask(source, listing, world.intake, world.bus.publish, world.known, lambda: datetime.now(UTC))
    await task.poll()
    listing.problem = problem
    for _ in range(5):
        await task.poll()
    after = await world.restarted()
    again = SourceTask(source, listing, after.intake, after.bus.publish, after.known, lambda: datetime.now(UTC))
    assert 470 < again.wait() <= 480 * 1.1, "the fifth failure in a row waits sixteen times the first"
