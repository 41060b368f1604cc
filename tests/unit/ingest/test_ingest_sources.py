"""Sources at work: nothing lost, nothing twice, one that fails alone, the file that changes, and the HTTP over it all."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import ANY

import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from starlette.applications import Starlette

from services.ingest.addresses import Allowed
from services.ingest.api import Api
from services.ingest.config import load
from services.ingest.fetch import Fetcher
from services.ingest.items import Batch, RawItem, Reader, SourceProblem
from services.ingest.poller import Poller
from services.ingest.readers import reader_of
from services.ingest.readers.mbox import MboxReader
from services.ingest.source import SourceTask
from services.ingest.sources import FeedSource, MboxSource, Source
from shared.objects import ObjectStore
from tests.unit.ingest.conftest import NOW, World, item, rss

SOURCE = FeedSource(kind="feed", id="desk", url="http://e.org/feed")


@dataclass
class Listing:
    """A reader over batches that the test sets."""

    batches: list[Batch] = field(default_factory=list)
    problem: Exception | None = None
    cursors: list[Mapping[str, str]] = field(default_factory=list)

    async def read(self, cursor: Mapping[str, str]) -> AsyncIterator[Batch]:
        self.cursors.append(dict(cursor))
        for batch in self.batches:
            yield batch
        if self.problem:
            raise self.problem


def task_of(world: World, reader: Reader, source: Source = SOURCE) -> SourceTask:
    return SourceTask(source, reader, world.intake, world.bus.publish, world.known, lambda: NOW)


def raw(key: str, text: str = "Some words of text.") -> RawItem:
    return RawItem(key=key, title=f"Title {key}", body=text, raw=b"raw")


async def test_documents_come_before_their_cursor(world: World) -> None:
    listing = Listing([Batch((raw("1"), raw("2")), {"etag": "x"})])
    await task_of(world, listing).poll()
    assert [type(event).__name__ for event in world.bus.events] == ["DocumentIngested", "DocumentIngested", "SourcePolled"]
    polled = world.bus.polls[0]
    assert (polled.state, polled.items, polled.cursor["etag"]) == ("ok", 2, "x")
    assert polled.next_poll is not None and 900 <= (polled.next_poll - NOW).total_seconds() <= 990


async def test_the_same_again_is_not_published_and_an_edit_is(world: World) -> None:
    listing = Listing([Batch((raw("1"), raw("2")))])
    task = task_of(world, listing)
    await task.poll()
    await task.poll()
    assert len(world.bus.documents) == 2 and world.bus.polls[-1].state == "unchanged"
    listing.batches = [Batch((raw("1", "Edited words."), raw("2")))]
    await task.poll()
    assert len(world.bus.documents) == 3
    assert world.bus.documents[2].id == world.bus.documents[0].id


async def test_killed_between_documents_and_cursor_nothing_comes_twice(world: World) -> None:
    listing = Listing([Batch((raw("1"), raw("2")), {"etag": "x"})])
    await task_of(world, listing).poll()
    world.bus.events = world.bus.events[:1]  # killed after the first document was durable
    after = await world.restarted()
    await task_of(after, listing).poll()
    assert sorted(event.title for event in after.bus.documents) == ["Title 1", "Title 2"]
    assert listing.cursors[-1] == {}


async def test_old_items_of_a_feed_stay_known_when_the_topic_has_forgotten_them(world: World) -> None:
    listing = Listing([Batch((raw("1"),))])
    await task_of(world, listing).poll()
    world.bus.events = list(world.bus.polls)  # retention: only the compacted cursor is left
    after = await world.restarted()
    await task_of(after, listing).poll()
    assert after.bus.documents == []


async def test_kafka_away_loses_nothing(world: World) -> None:
    listing = Listing([Batch((raw("1"),), {"etag": "x"})])
    task = task_of(world, listing)
    world.bus.broken = True
    await task.poll()
    assert world.bus.events == [] and task.polled is not None and task.polled.state == "failing"
    world.bus.broken = False
    await task.poll()
    assert len(world.bus.documents) == 1 and listing.cursors[-1] == {}
    assert task.polled.state == "ok" and "failures" not in task.polled.cursor


async def test_backoff_retry_after_and_gone(world: World) -> None:
    listing = Listing(problem=SourceProblem("the server answers 500"))
    task = task_of(world, listing)
    waits = []
    for _ in range(10):
        await task.poll()
        assert task.polled is not None and task.polled.next_poll is not None
        waits.append((task.polled.next_poll - NOW).total_seconds())
    assert 30 <= waits[0] <= 33 and 60 <= waits[1] <= 66 and 3600 <= waits[9] <= 3960
    assert (task.polled.state, task.polled.reason, task.polled.last_success) == ("failing", "the server answers 500", None)
    listing.problem = SourceProblem("429", retry_after=7200)
    await task.poll()
    assert (task.polled.next_poll - NOW).total_seconds() >= 7200
    listing.problem = SourceProblem("gone", gone=True)
    await task.poll()
    assert task.polled.state == "gone"
    listing.problem = None
    listing.batches = [Batch((), unchanged=True)]
    await task.poll()
    assert task.polled.state == "unchanged" and task.polled.last_success == NOW


async def test_a_failure_midway_keeps_what_was_durable(world: World) -> None:
    listing = Listing([Batch((raw("1"),), {"uid": "1"}), Batch((raw("2"),), {"uid": "2"})], SourceProblem("connection lost"))
    task = task_of(world, listing, MboxSource(kind="mbox", id="m", path=Path("m")))
    await task.poll()
    assert len(world.bus.documents) == 2
    assert world.bus.polls[0].cursor == {"uid": "1", "daily": ANY}, "the cursor is saved on the way"
    assert world.bus.polls[0].next_poll == NOW, "killed there, the next process goes on at once"
    assert world.bus.polls[-1].cursor == {"uid": "2", "failures": "1", "daily": ANY}
    await task.poll()
    assert listing.cursors[-1] == {"uid": "2"}, "what is remembered beside it is no business of the reader's"


async def test_a_bad_item_is_quarantined_alone(world: World) -> None:
    empty = RawItem(key="0", raw=b"the bytes as they came")
    task = task_of(world, Listing([Batch((empty, raw("1")))]))
    await task.poll()
    await task.poll()
    polled = world.bus.polls[0]
    assert (polled.items, polled.quarantined) == (1, 1) and "neither a title nor a text" in polled.reason
    (kept,) = world.quarantine.last()
    assert (kept.source, kept.reason) == ("desk", "no-text"), "once, though the feed lists it at every poll"
    assert kept.object.uri.startswith("quarantine/")
    assert ObjectStore(world.store.root).get(kept.object) == b"the bytes as they came"


async def test_a_six_megabyte_mail_goes_by_reference(world: World, tmp_path: Path) -> None:
    path = tmp_path / "in.mbox"
    body = "One sentence of a very long newsletter, repeated and repeated.\n" * 100_000
    path.write_text(f"From a@e.org Sat Nov 21 10:00:00 2026\nFrom: a@e.org\nSubject: Long\nMessage-ID: <1@e.org>\n\n{body}")
    os.utime(path, (1, 1))
    await task_of(world, MboxReader(path), MboxSource(kind="mbox", id="m", path=path)).poll()
    (document,) = world.bus.documents
    assert document.text_ref is not None and document.text_ref.size > 6_000_000 and len(document.text) == 20_000
    assert len(document.model_dump_json()) < 1_000_000


@pytest.fixture
async def desk() -> AsyncIterator[tuple[str, dict[str, bytes]]]:
    """A server of feeds: path -> body; /slow never ends."""
    pages: dict[str, bytes] = {"/good": rss(item("1", "Good", "Good news for all."))}

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path == "/slow":
            response = web.StreamResponse()
            await response.prepare(request)
            while True:  # until the reader has had enough of it
                await response.write(b" ")
                await asyncio.sleep(0.05)
        return web.Response(body=pages[request.path]) if request.path in pages else web.Response(status=404)

    app = web.Application()
    app.router.add_get("/{path:.*}", handler)
    server = TestServer(app)
    await server.start_server()
    yield f"http://127.0.0.1:{server.port}", pages
    await server.close()


def config_text(url: str, *paths: str) -> str:
    rows = "".join(f"  - {{kind: feed, id: {path.strip('/')}, url: '{url}{path}'}}\n" for path in paths)
    return f"allow_hosts: [127.0.0.1]\nsources:\n{rows}"


async def ready() -> None:
    return None


@dataclass
class Running:
    poller: Poller
    world: World
    path: Path
    work: asyncio.Task[None]
    api: httpx.AsyncClient


@pytest.fixture
async def running(world: World, desk, tmp_path: Path) -> AsyncIterator[Running]:  # type: ignore[no-untyped-def]
    async with run(world, desk[0], tmp_path, deadline_s=1.5) as found:
        yield found


@asynccontextmanager
async def run(world: World, url: str, folder: Path, deadline_s: float) -> AsyncIterator[Running]:
    """Three sources: one good, one that sends a byte now and then and never ends, one that is not there."""
    path = folder / "feedloop.yaml"
    path.write_text(config_text(url, "/good", "/slow", "/none"))
    config = load(path)
    fetcher = Fetcher(Allowed(), deadline_s=deadline_s)

    def make(source: Source) -> SourceTask:
        return SourceTask(source, reader_of(source, fetcher, str, world.store), world.intake, world.bus.publish, world.known, lambda: NOW)

    poller = Poller(config, make, fetcher.allow)
    work = asyncio.create_task(poller.run(ready, path, 0.05))
    app = Starlette(routes=Api(poller, world.intake, world.known, world.quarantine).routes())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://ingest") as client:
        yield Running(poller, world, path, work, client)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    await fetcher.close()


async def until(condition, seconds: float = 30.0) -> None:  # type: ignore[no-untyped-def]
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not come true in time"
        await asyncio.sleep(0.02)


async def test_a_slow_source_holds_nobody_up(world: World, desk, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """No clock tells here, a busy machine's would lie: the slow one is being read, for minutes if need be, when the others are through."""
    async with run(world, desk[0], tmp_path, deadline_s=600.0) as running:
        await until(lambda: world.bus.documents and {event.source.id for event in world.bus.polls} == {"good", "none"})
        assert [task.source.source_id for task in running.poller.tasks() if task.polling] == ["slow"]
        states = {event.source.id: (event.state, event.reason) for event in world.bus.polls}
        assert states["good"][0] == "ok" and "404" in states["none"][1]


async def test_a_slow_source_is_given_up_after_its_deadline(running: Running) -> None:
    await until(lambda: "slow" in running.world.known.polls)
    slow = running.world.known.polls["slow"]
    assert (slow.state, slow.reason) == ("failing", "no whole answer within 1.5 seconds")


async def test_the_file_is_followed_and_a_bad_edit_refused(running: Running, desk) -> None:  # type: ignore[no-untyped-def]
    url, pages = desk
    pages["/new"] = rss(item("9", "New", "New words in a new feed."))
    await until(lambda: len(running.poller.tasks()) == 3)
    running.path.write_text("sources: [{kind: nothing}]")
    await asyncio.sleep(0.3)
    assert len(running.poller.tasks()) == 3
    running.path.write_text(config_text(url, "/good", "/new"))
    await until(lambda: any(document.title == "New" for document in running.world.bus.documents))
    assert sorted(task.source.source_id for task in running.poller.tasks()) == ["good", "new"]


async def test_http(running: Running, desk) -> None:  # type: ignore[no-untyped-def]
    url, pages = desk
    pages["/good"] = rss(item("1", "Good", "Good news for all."), item("2", "Two", "More."), item("3", "", "<script>x</script>"))
    counts = (await running.api.post("/api/sources/poll", timeout=20)).json()
    assert (counts["sources"], counts["failing"]) == (3, 2)
    assert len(running.world.bus.documents) == 2
    rows = {row["id"]: row for row in (await running.api.get("/api/sources")).json()["sources"]}
    good, slow = rows["good"], rows["slow"]
    assert (good["state"], good["documents"], good["failures"]) in {("ok", 2, 0), ("unchanged", 2, 0)} and good["items_per_day"] > 0
    assert good["next_poll"] > good["last_success"] == NOW.isoformat() and 900 <= good["every_s"] <= 990
    assert (slow["state"], slow["last_success"], slow["items_per_day"]) == ("failing", None, 0.0) and slow["failures"] >= 1
    answer = (await running.api.get("/api/quarantine")).json()
    listed = answer["quarantine"]
    assert answer["next"] == "" and (await running.api.get("/api/quarantine?before=2000-01-01")).json()["quarantine"] == []
    assert [(row["source"], row["reason"]) for row in listed] == [("good", "no-text")]
    assert url not in str(listed)


async def test_push_and_replay(running: Running) -> None:
    pushed = {
        "title": "Pushed",
        "text": "<p>Words that were <b>pushed</b> in.</p>",
        "url": "https://e.org/p?utm_source=x",
        "published_at": "2026-11-01T10:00:00",
    }
    first = await running.api.post("/api/documents", json=pushed)
    assert first.status_code == 201 and first.json()["new"]
    again = await running.api.post("/api/documents", json=pushed)
    assert (again.status_code, again.json()) == (200, {"id": first.json()["id"], "new": False})
    document = next(event for event in running.world.bus.documents if event.title == "Pushed")
    assert (document.text, document.url, document.source.kind) == ("Words that were pushed in.", "https://e.org/p", "api")
    replayed = await running.api.post("/api/replay", json={"ids": [document.id, "unknown"]})
    assert replayed.json() == {"replayed": 1, "unknown": ["unknown"]}
    assert [event.event_id() for event in running.world.bus.documents if event.id == document.id] == [document.event_id()] * 2
    for wrong in (
        {"title": "x"},
        {"text": "x", "url": "ftp://e.org"},
        {"text": ""},
        {"text": "x", "colour": 1},
        {"text": "x", "published_at": "soon"},
        {"text": "x", "published_at": "0001-01-01T00:00:00+14:00"},
    ):
        assert (await running.api.post("/api/documents", json=wrong)).status_code == 422


async def test_an_entity_bomb_is_a_failing_source_with_its_evidence(running: Running, desk) -> None:  # type: ignore[no-untyped-def]
    _, pages = desk
    pages["/good"] = rss(item("1", "&a;", "x"), head='<?xml version="1.0"?><!DOCTYPE r [<!ENTITY a "b">]>')
    await running.api.post("/api/sources/poll", timeout=20)
    polled = running.world.known.polls["good"]
    assert polled.state == "failing" and "entities" in polled.reason and polled.quarantined == 1
    assert running.world.quarantine.last()[0].reason == "entities"


async def test_an_idle_service_uses_no_cpu(running: Running) -> None:
    await until(lambda: len(running.world.known.polls) == 3)
    before = time.process_time()
    await asyncio.sleep(1.0)
    assert time.process_time() - before < 0.1


async def test_a_body_without_a_length_is_read_no_further_than_its_limit(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 10_000
            yield b" " * 10_000

    monkeypatch.setattr("services.ingest.api.MAX_PUSH", 1_000_000)
    for path in ("/api/documents", "/api/replay"):
        sent = 0
        answer = await running.api.post(path, content=endless())
        assert answer.status_code == 413 and sent < 2_000_000


async def test_a_reason_with_half_a_character_is_told_all_the_same(world: World) -> None:
    """Names of files are bytes, and come as such where they are no text; JSON has no place for them."""
    task = task_of(world, Listing(problem=SourceProblem("1 mails can't be read and wait: caf\udce9: Permission denied")))
    await task.poll()
    assert world.bus.polls[-1].reason == "1 mails can't be read and wait: caf?: Permission denied"
    assert world.bus.polls[-1].model_dump_json()
