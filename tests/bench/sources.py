"""Ten thousand feeds in one process: how late each poll begins, and what it costs. `python -m tests.bench.sources` prints the table.

The real poller, scheduler, turns, fetcher and feed reader, over HTTP, against a server in a process of its own; only Kafka is replaced, by a list.
Every fifty feeds have a server (a port) of their own, so that the limits for one server apply as they do outside. Some servers hang: they send one byte
a second.
Polls are spread over the interval, as they are after a restart; the first look at a source and the 304s after it are what a quiet day is made of.
How late the loop itself is tells whether the machine had time for it: on a busy one the lag says more of the others than of Feedloop.
"""

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import resource
import socket
import statistics
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path

from rich.console import Console
from rich.table import Table

from services.ingest.addresses import Allowed
from services.ingest.config import IngestConfig
from services.ingest.feeds import parse_feed
from services.ingest.fetch import Fetcher
from services.ingest.hosts import PER_HOST, Turn, Turns
from services.ingest.intake import Intake
from services.ingest.known import Known
from services.ingest.poller import Poller
from services.ingest.quarantine import Quarantine
from services.ingest.readers.feed import FeedReader
from services.ingest.source import SourceTask, kind_of
from services.ingest.sources import FeedSource, Source
from services.ingest.stories import Stories
from shared import logs
from shared.clock import utc_now
from shared.events import DocumentIngested, Event, SourcePolled, SourceRef
from shared.objects import ObjectStore

PER_SERVER = 50  # feeds
DEADLINE_S = 10.0


def serve(servers: int, tell: Connection) -> None:
    """The servers' process: tells on which ports it listens. /feed/N lists three items and then says 304, /slow/N never ends."""
    from aiohttp import web

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path.startswith("/slow"):
            response = web.StreamResponse()
            await response.prepare(request)
            with contextlib.suppress(ConnectionResetError):  # the reader has had enough of it
                for _ in range(600):
                    await response.write(b"<")
                    await asyncio.sleep(1.0)
            return response
        if request.headers.get("If-None-Match"):
            return web.Response(status=304)
        name = request.path.rpartition("/")[2]
        items = "".join(
            f"<item><guid>{name}/{n}</guid><title>News {n} of {name}</title><description>What happened at {name}: part {n}.</description></item>"
            for n in range(3)
        )
        body = f"<rss version='2.0'><channel><title>{name}</title>{items}</channel></rss>"
        return web.Response(text=body, content_type="application/rss+xml", headers={"ETag": '"1"'})

    async def start() -> None:
        app = web.Application()
        app.router.add_get("/{path:.*}", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        listening = [socket.create_server(("127.0.0.1", 0), backlog=1024) for _ in range(servers)]
        for one in listening:
            await web.SockSite(runner, one).start()
        tell.send([one.getsockname()[1] for one in listening])
        await asyncio.Event().wait()

    asyncio.run(start())


def sources(count: int, hanging: int, ports: Sequence[int], interval: float) -> list[Source]:
    healthy, slow = ports[hanging:], ports[:hanging]
    urls = [f"http://127.0.0.1:{healthy[n % len(healthy)]}/feed/{n}" for n in range(count)]
    urls += [f"http://127.0.0.1:{port}/slow/{n}" for n, port in enumerate(slow)]
    return [FeedSource(kind="feed", id=f"f{n}", url=url, interval=interval) for n, url in enumerate(urls)]


class Bench:
    """One process of ingest, without Kafka."""

    def __init__(self, folder: Path) -> None:
        self.lags: list[float] = []
        self.documents = self.polls = self.failing = 0
        objects = str(folder / "objects")
        self.known = Known(Stories())
        self.intake = Intake(self.publish, ObjectStore(objects), self.known, Quarantine(objects, utc_now), utc_now)
        self.turns = Turns(lag=self.lags.append)
        self.fetcher = Fetcher(Allowed(["127.0.0.1"]), deadline_s=DEADLINE_S)

    async def publish(self, *events: Event) -> None:
        for event in events:
            if isinstance(event, DocumentIngested):
                self.documents += 1
            elif isinstance(event, SourcePolled):
                self.polls += 1
                self.failing += event.state == "failing"

    def task_of(self, source: Source) -> SourceTask:
        turn = Turn(self.turns, kind_of(source))
        reader = FeedReader(source.url, self.fetcher, turn) if isinstance(source, FeedSource) else None
        assert reader is not None
        return SourceTask(source, reader, self.intake, self.publish, self.known, utc_now, turn)

    async def warm_up(self) -> None:
        """What is imported at the first document is no subject here."""
        parsed = parse_feed(b"<rss version='2.0'><channel><item><title>Warm</title><description>Some words.</description></item></channel></rss>")
        await self.intake.take(parsed.items, SourceRef(id="warm", kind="feed"), "news")

    def spread(self, listed: Sequence[Source], over_s: float) -> None:
        """As after a restart: each source has a time of its next poll."""
        now = datetime.now(UTC)
        for n, source in enumerate(listed):
            at = now + timedelta(seconds=over_s * n / len(listed))
            self.known.on_poll(SourcePolled(source=source.ref, state="unchanged", next_poll=at, at=now))


async def run(count: int, hanging: int, seconds: float, ports: Sequence[int]) -> dict[str, float]:
    """The figures of a run: each source is polled once within the first half of `seconds`, and again in the second. (An interval of less than five
    minutes stays as it is: nothing is learnt that would change it.)"""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        listed = sources(count, hanging, ports, seconds / 2)
        await bench.warm_up()
        before = _memory_mb()
        bench.spread(listed, seconds / 2)
        poller = Poller(IngestConfig(sources=tuple(listed)), bench.task_of, lambda allowed: None)
        cpu, began = time.process_time(), time.monotonic()
        work = asyncio.create_task(poller.run(_ready, Path(folder) / "feedloop.yaml", 60.0))
        late: list[float] = []
        while (left := began + seconds - time.monotonic()) > 0:
            wanted = time.monotonic() + min(left, 0.25)
            await asyncio.sleep(wanted - time.monotonic())
            late.append(time.monotonic() - wanted)
        took, used = time.monotonic() - began, time.process_time() - cpu
        memory = _memory_mb()
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await bench.fetcher.close()
    cuts = statistics.quantiles(bench.lags, n=100)
    return {
        "sources": len(listed),
        "hanging": hanging,
        "seconds": round(took, 1),
        "polls begun": len(bench.lags),
        "polls ended": bench.polls,
        "polls failed": bench.failing,
        "documents": bench.documents,
        "lag p50 (ms)": round(cuts[49] * 1000, 1),
        "lag p99 (ms)": round(cuts[98] * 1000, 1),
        "lag most (ms)": round(max(bench.lags) * 1000, 1),
        "the loop itself late p50 (ms)": round(statistics.median(late) * 1000, 1),
        "the loop itself late p99 (ms)": round(sorted(late)[len(late) * 99 // 100] * 1000, 1),
        "CPU (% of a core)": round(100 * used / took, 1),
        "memory (MB)": round(memory, 1),
        "memory for a source (kB)": round(1000 * (memory - before) / len(listed), 1),
    }


async def _ready() -> None:
    return None


def _memory_mb() -> float:
    """What is in memory now, where the system tells (Linux), else the most that ever was."""
    status = Path("/proc/self/status")
    if status.exists():
        return float(next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmRSS:"))) / 1000
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def main() -> None:
    from tests.bench.__main__ import machine

    parser = argparse.ArgumentParser(prog="python -m tests.bench.sources", description=__doc__)
    parser.add_argument("--sources", type=int, default=10_000, help="feeds that answer")
    parser.add_argument("--hanging", type=int, default=100, help="feeds that send one byte a second, each on a server of its own")
    parser.add_argument("--seconds", type=float, default=500.0, help="how long; half of it is the interval")
    given = parser.parse_args()
    if given.seconds < 4 or given.sources < 10:
        parser.error("at least 4 seconds and 10 sources")
    logs.configure("ingest", "error")
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    server = context.Process(target=serve, args=(given.hanging + -(-given.sources // PER_SERVER), there), daemon=True)
    server.start()
    try:
        if not here.poll(120):
            raise SystemExit("the server did not start within two minutes")
        figures = asyncio.run(run(given.sources, given.hanging, given.seconds, here.recv()))
    finally:
        server.terminate()
        server.join(10)
    table = Table("what", "figure", title=f"{given.sources:,} feeds, {PER_HOST} connections a server, on {machine()}")
    for what, value in figures.items():
        table.add_row(what, f"{value:,}")
    Console().print(table)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
