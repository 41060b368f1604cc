"""`feedloop sources backfill` and `replay` as a person gives them, against the service's own routes; Kafka is a list."""

import asyncio
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from typer.testing import CliRunner

from deploy.local.errors import LocalError
from deploy.local.sources import app
from services.ingest.addresses import Allowed
from services.ingest.api import Api
from services.ingest.config import load
from services.ingest.fetch import Fetcher
from services.ingest.mail_api import MailApi
from services.ingest.poller import Poller
from services.ingest.readers import reader_of
from services.ingest.source import SourceTask
from services.ingest.sources import Source
from shared.service import Json
from tests.unit.ingest.conftest import NOW, Recorder, World, make_world

MAIL = "From a@e.org Sat Nov 21 10:00:00 2026\nFrom: a@e.org\nSubject: {0}\nDate: {1} Nov 2026 10:00:00 +0000\nMessage-ID: <{0}@e.org>\n\nWords of {0}.\n\n"


@dataclass
class Service:
    """The routes of ingest over one mailbox, served in a thread of its own."""

    world: World
    loop: asyncio.AbstractEventLoop

    def wait_for_polls(self, count: int) -> None:
        async def reached() -> None:
            while len([event for event in self.world.bus.polls if event.next_poll and event.next_poll > NOW]) < count:
                await asyncio.sleep(0.02)

        asyncio.run_coroutine_threadsafe(asyncio.wait_for(reached(), 60), self.loop).result(90)


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    box, path = tmp_path / "in.mbox", tmp_path / "feedloop.yaml"
    box.write_text(MAIL.format("Old", "01") + MAIL.format("New", "20"))
    path.write_text(f"sources: [{{kind: mbox, id: box.1, path: {box}}}]")
    world = make_world(tmp_path, Recorder())
    fetcher = Fetcher(Allowed())
    listening = socket.create_server(("127.0.0.1", 0))
    found: list[Service] = []
    up = threading.Event()
    server: list[uvicorn.Server] = []

    def make(source: Source) -> SourceTask:
        return SourceTask(source, reader_of(source, fetcher, str, world.store), world.intake, world.bus.publish, world.known, lambda: NOW)

    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return Json({"error": error.detail}, status_code=error.status_code)

    async def caught_up() -> None:
        return None

    async def serve() -> None:
        poller = Poller(load(path), make, fetcher.allow)
        routes = [*Api(poller, world.intake, world.known, world.quarantine).routes(), *MailApi(poller, world.intake, lambda: NOW).routes()]
        starlette = Starlette(routes=routes, exception_handlers={HTTPException: refused})
        server.append(uvicorn.Server(uvicorn.Config(starlette, log_config=None, lifespan="off")))
        work = asyncio.create_task(poller.run(caught_up, path, 60.0))
        found.append(Service(world, asyncio.get_running_loop()))
        up.set()
        await server[0].serve(sockets=[listening])
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await fetcher.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert up.wait(60)
    monkeypatch.setenv("FEEDLOOP_INGEST_URL", f"http://127.0.0.1:{listening.getsockname()[1]}")
    found[0].wait_for_polls(1)
    yield found[0]
    server[0].should_exit = True
    thread.join(60)


def feedloop(*words: str) -> list[str]:
    done = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output.splitlines()


def test_backfill_reads_a_source_again_and_tells_nothing_twice(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sorted(document.title for document in service.world.bus.documents) == ["New", "Old"]
    assert feedloop("backfill", "box.1", "--since", "2026-11-15") == ["box.1 is read again, from 2026-11-15 on: see `feedloop sources list`"]
    service.wait_for_polls(2)
    asked = next(event for event in service.world.bus.polls if "read again" in event.reason)
    # durable before the command came back: a kill now loses nothing
    assert asked.cursor["since"] == "2026-11-15T00:00:00+00:00" and "offset" not in asked.cursor
    assert len(service.world.bus.documents) == 2
    last = service.world.bus.polls[-1]
    assert last.state == "unchanged" and "offset" in last.cursor and "since" not in last.cursor
    assert feedloop("backfill", "box.1") == ["box.1 is read again: see `feedloop sources list`"]
    monkeypatch.setenv("COLUMNS", "250")
    assert re.search(r"box\.1 .* 2 \([\d.]+ a day\) .* 2026-11-", "\n".join(feedloop("list")))


def test_a_source_that_is_none_and_a_date_that_is_none_are_named(service: Service) -> None:
    with pytest.raises(LocalError, match="there is no source 'a/b'"):
        feedloop("backfill", "a/b")
    with pytest.raises(LocalError, match=r"the ingest refuses: .*since"):
        feedloop("backfill", "box.1", "--since", "soon")
    assert len(service.world.bus.polls) == 1


def test_replay_publishes_documents_again_and_names_those_that_are_not_held(service: Service) -> None:
    one, two = service.world.bus.documents
    said = feedloop("replay", two.id, "nobody", two.id)
    assert said == ["1 documents published again", "not held any more: nobody; `feedloop sources backfill` reads its source again"]
    assert service.world.bus.documents == [one, two, two]


def test_without_a_service_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FEEDLOOP_INGEST_URL", raising=False)
    monkeypatch.setenv("FEEDLOOP_STATE", str(tmp_path))
    with pytest.raises(LocalError, match="no Feedloop is running here"):
        feedloop("replay", "x")
