"""Feeds that move, go, come back, and say when they want to be asked: the reader and the source's memory over a real server on loopback."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from services.ingest.addresses import Allowed
from services.ingest.fetch import Fetcher
from services.ingest.health import row
from services.ingest.readers.feed import FeedReader
from services.ingest.source import SourceTask
from services.ingest.sources import FeedSource
from shared.events import SourcePolled
from tests.unit.ingest.conftest import NOW, World, item, rss

FEED = rss(item("1", "One", "The first news."))


@dataclass
class Desk:
    """A server whose answers the test sets: path -> (status, headers, body); and one source that reads /old from it."""

    world: World
    url: str = ""
    answers: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    now: datetime = NOW
    login: str = ""
    fetcher: Fetcher = field(default_factory=lambda: Fetcher(Allowed(["127.0.0.1"])))

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        status, headers, body = self.answers.get(request.path, (404, {}, b""))
        if status == 200 and request.headers.get("If-None-Match") == '"same"' and headers.get("ETag") == '"same"':
            return web.Response(status=304)
        return web.Response(status=status, headers=headers, body=body)

    async def poll(self, path: str = "/old") -> SourcePolled:
        """As a new process would: nothing but the cursor is remembered."""
        self.asked.clear()
        address = f"{self.url.replace('://', f'://{self.login}')}{path}"
        source = FeedSource(kind="feed", id="desk", url=address)
        task = SourceTask(source, FeedReader(address, self.fetcher), self.world.intake, self.world.bus.publish, self.world.known, lambda: self.now)
        await task.poll()
        assert task.polled is not None
        self.row = row(task, 0, lambda: self.now)
        return task.polled


@pytest.fixture
async def desk(world: World) -> AsyncIterator[Desk]:
    made = Desk(world)
    app = web.Application()
    app.router.add_get("/{path:.*}", made.answer)
    server = TestServer(app)
    await server.start_server()
    made.url = f"http://127.0.0.1:{server.port}"
    yield made
    await made.fetcher.close()
    await server.close()


def to(path: str, status: int = 301) -> tuple[int, dict[str, str], bytes]:
    return status, {"Location": path}, b""


async def test_a_feed_that_moved_for_good_is_asked_at_its_new_address(desk: Desk) -> None:
    desk.answers = {"/old": to("/hop", 308), "/hop": to("/new"), "/new": (200, {"ETag": '"same"'}, FEED)}
    first = await desk.poll()
    assert (first.state, desk.asked) == ("ok", ["/old", "/hop", "/new"])
    assert f"moved for good to {desk.url}/new" in first.reason and desk.row["moved_to"] == f"{desk.url}/new"
    second = await desk.poll()
    assert (second.state, desk.asked) == ("unchanged", ["/new"]), "with its ETag, which holds there"
    assert "moved for good" in second.reason
    desk.answers["/new"] = to("/newer")
    desk.answers["/newer"] = (200, {}, FEED)
    assert "/newer" in (await desk.poll()).reason
    await desk.poll()
    assert desk.asked == ["/newer"]
    desk.answers["/newer"] = (410, {}, b"")
    desk.answers["/old"] = (200, {}, FEED)
    back = await desk.poll()
    assert (back.state, back.reason, desk.asked) == ("unchanged", "", ["/newer", "/old"]), "the new one is gone: the user's own is asked"
    await desk.poll()
    assert desk.asked == ["/old"]
    assert len(desk.world.bus.documents) == 1


async def test_a_feed_that_moved_and_has_nothing_new_is_known_to_have_moved(desk: Desk) -> None:
    desk.answers = {"/old": (200, {"ETag": '"same"'}, FEED)}
    await desk.poll()
    desk.answers = {"/old": to("/new"), "/new": (200, {"ETag": '"same"'}, FEED)}
    polled = await desk.poll()
    assert (polled.state, desk.row["moved_to"]) == ("unchanged", f"{desk.url}/new") and "moved for good" in polled.reason
    await desk.poll()
    assert desk.asked == ["/new"]


async def test_behind_a_redirect_for_now_to_another_server_its_etag_holds(desk: Desk) -> None:
    elsewhere = desk.url.replace("127.0.0.1", "localhost")
    desk.fetcher.allow(Allowed(["127.0.0.1", "localhost"]))
    desk.answers = {"/old": to(f"{elsewhere}/new", 302), "/new": (200, {"ETag": '"same"'}, FEED)}
    first = await desk.poll()
    assert first.state == "ok" and first.cursor["of"] == f"{elsewhere}/new"
    second = await desk.poll()
    assert second.state == "unchanged" and second.cursor["of"] == f"{elsewhere}/new" and "fetched" not in second.reason


async def test_another_address_in_the_file_ends_what_was_remembered(desk: Desk) -> None:
    desk.answers = {"/old": to("/new"), "/new": (200, {"ETag": '"same"'}, FEED), "/mine": (200, {"ETag": '"same"'}, FEED)}
    await desk.poll()
    other = await desk.poll("/mine")
    assert desk.asked == ["/mine"] and other.reason == "" and other.cursor["url"].endswith("/mine")


@pytest.mark.parametrize(
    "answers",
    [
        {"/old": to("/new", 302), "/new": (200, {}, FEED)},
        {"/old": to("/hop"), "/hop": to("/new", 307), "/new": (200, {}, FEED)},
        {"/old": to("/new"), "/new": (200, {}, b"<html><body>This domain is for sale")},
        {"/old": to("/new"), "/new": (500, {}, b"")},
    ],
)
async def test_what_is_no_move(desk: Desk, answers: dict[str, tuple[int, dict[str, str], bytes]]) -> None:
    desk.answers = answers
    polled = await desk.poll()
    assert "moved" not in polled.cursor and "moved" not in polled.reason
    await desk.poll()
    assert desk.asked[0] == "/old"


async def test_no_password_goes_to_kafka_or_into_a_document(desk: Desk) -> None:
    relative = "<item><title>T</title><link>/story</link><description>Words with a &lt;a href='/x'&gt;link&lt;/a&gt;.</description></item>"
    desk.login = "me:s3cret@"
    desk.answers = {"/old": to("/new"), "/new": (200, {}, rss(relative))}
    polled = await desk.poll()
    assert polled.state == "ok" and desk.world.bus.documents[0].url == f"{desk.url}/story"
    assert "s3cret" not in "".join(event.model_dump_json() for event in desk.world.bus.events) and "s3cret" not in str(desk.row)


async def test_what_server_and_feed_say_of_the_next_poll(desk: Desk) -> None:
    desk.answers = {"/old": (200, {"Cache-Control": "max-age=7200", "ETag": '"same"'}, FEED)}
    for _ in range(2):  # the second is a 304 that says nothing of it: what was said holds
        polled = await desk.poll()
        assert polled.next_poll is not None and 7200 <= (polled.next_poll - NOW).total_seconds() <= 7920
        assert "asked every 2 hours, as the server wants it" in desk.row["reason"]
    ttl = FEED.replace(b"<title>Desk</title>", b"<title>Desk</title><ttl>60</ttl>")
    desk.answers = {"/old": (200, {}, ttl)}
    polled = await desk.poll()
    assert polled.next_poll is not None and 3600 <= (polled.next_poll - NOW).total_seconds() <= 3960


async def test_a_busy_feed_is_asked_more_often_from_its_first_poll_on(desk: Desk) -> None:
    stamps = [f"{NOW - timedelta(minutes=12 * n):%a, %d %b %Y %H:%M:%S GMT}" for n in range(12)]
    desk.answers = {"/old": (200, {}, rss(*(item(str(n), f"T{n}", f"Text {n}.", f"<pubDate>{at}</pubDate>") for n, at in enumerate(stamps))))}
    polled = await desk.poll()
    assert polled.next_poll is not None and 360 <= (polled.next_poll - NOW).total_seconds() <= 396
    assert "6 minutes" in desk.row["reason"] and desk.row["items_per_day"] == pytest.approx(12 / 7, rel=0.02)
    desk.now = NOW + timedelta(hours=10)
    later = await desk.poll()
    assert later.state == "unchanged" and later.next_poll is not None and (later.next_poll - desk.now).total_seconds() >= 7200


async def test_gone_and_back(desk: Desk) -> None:
    desk.answers = {"/old": (410, {}, b"")}
    waits = []
    for _ in range(3):
        polled = await desk.poll()
        assert polled.next_poll is not None and polled.state == "gone" and "410" in polled.reason
        waits.append((polled.next_poll - NOW).total_seconds() // 86_400)
    assert waits == [1, 7, 30] or all(least <= wait <= least * 1.1 for wait, least in zip(waits, (1, 7, 30), strict=True))
    desk.answers = {"/old": (200, {}, FEED)}
    back = await desk.poll()
    assert (back.state, desk.row["failures"]) == ("ok", 0) and "gone" not in back.cursor


async def test_not_found_for_two_weeks_is_gone(desk: Desk) -> None:
    polls = 0
    while (polled := await desk.poll()).state == "failing":
        assert polled.next_poll is not None
        desk.now, polls = polled.next_poll, polls + 1
    assert polled.state == "gone" and "404" in polled.reason and timedelta(days=14) <= desk.now - NOW < timedelta(days=15) and polls < 80
