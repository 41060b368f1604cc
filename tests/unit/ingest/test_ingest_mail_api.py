"""Mail handed in over HTTP, and sources read again."""

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from services.ingest.config import IngestConfig
from services.ingest.mail_api import MailApi
from services.ingest.poller import Poller
from services.ingest.readers import mails
from services.ingest.readers.mbox import MboxReader
from services.ingest.source import SourceTask
from services.ingest.sources import MboxSource
from tests.unit.ingest.conftest import NOW, World

TYPE = {"content-type": "message/rfc822"}


def mail(number: int, text: str = "Text of the mail.") -> bytes:
    date = f"Date: Sat, {number:02} Nov 2026 10:00:00 +0000\n"
    return f"From: a@e.org\nSubject: Mail {number}\nMessage-ID: <{number}@e.org>\n{date}\n{text}\n".encode()


def append(path: Path, *numbers: int) -> None:
    with path.open("ab") as file:
        file.write(b"".join(b"From a@e.org Sat Nov 21 10:00:00 2026\n" + mail(number) + b"\n" for number in numbers))
    os.utime(path, (1_000_000, 1_000_000))


@dataclass
class Desk:
    world: World
    task: SourceTask
    path: Path
    woken: list[str]
    api: httpx.AsyncClient


@pytest.fixture
async def desk(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    path = tmp_path / "in.mbox"
    append(path, *range(1, 6))
    source = MboxSource(kind="mbox", id="box", path=path)
    task = SourceTask(source, MboxReader(path), world.intake, world.bus.publish, world.known, lambda: NOW)
    poller = Poller(IngestConfig(sources=(source,)), lambda _: task, lambda _: None)
    woken: list[str] = []
    monkeypatch.setattr(poller, "tasks", lambda: [task])
    monkeypatch.setattr(poller, "wake", woken.append)
    app = Starlette(routes=MailApi(poller, world.intake, lambda: NOW).routes())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://ingest") as client:
        yield Desk(world, task, path, woken, client)


async def test_a_mail_is_pushed(desk: Desk) -> None:
    first = await desk.api.post("/api/mail?collection=letters", content=mail(7), headers={"content-type": "message/rfc822; charset=utf-8"})
    assert first.status_code == 201 and first.json()["new"]
    (document,) = desk.world.bus.documents
    assert (document.id, document.title, document.source.kind, document.collection) == (first.json()["id"], "Mail 7", "mail", "letters")
    again = await desk.api.post("/api/mail", content=mail(7), headers=TYPE)
    assert (again.status_code, again.json()["id"], again.json()["new"]) == (200, document.id, False)
    append(desk.path, 7)
    await desk.task.poll()
    assert {d.id for d in desk.world.bus.documents if d.title == "Mail 7"} == {document.id}, "one mail, however it came"


async def test_what_is_no_mail_is_refused_in_words(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.ingest.mail_api.MAX_MAIL", 10_000)
    monkeypatch.setattr(mails, "MAX_MAIL", 10_000)

    async def chunks() -> AsyncIterator[bytes]:  # no Content-Length
        for _ in range(100):
            yield b"x" * 1_000

    for status, words, kwargs in (
        (415, "message/rfc822", {"content": mail(1), "headers": {"content-type": "application/json"}}),
        (415, "missing", {"content": mail(1)}),
        (413, "at most", {"content": b"x" * 10_001, "headers": TYPE}),
        (413, "at most", {"content": chunks(), "headers": TYPE}),
        (422, "must be the mail", {"content": b" \n", "headers": TYPE}),
        (422, "neither a title nor a text", {"content": b"From: a@e.org\nContent-Type: image/png\n\nxx", "headers": TYPE}),
    ):
        answer = await desk.api.post("/api/mail", **kwargs)  # type: ignore[arg-type]
        assert answer.status_code == status and words in answer.text, answer.text
    assert [entry.source for entry in desk.world.quarantine.last()] == ["api-mail"] and not desk.world.bus.documents


async def test_backfill_reads_again_and_tells_nothing_twice(desk: Desk) -> None:
    await desk.task.poll()
    assert len(desk.world.bus.documents) == 5
    answer = await desk.api.post("/api/sources/box/backfill")
    assert (answer.status_code, desk.woken) == (202, ["box"])
    assert desk.world.bus.polls[-1].cursor == {} or "offset" not in desk.world.bus.polls[-1].cursor
    count = await desk.task.poll()
    assert (count.documents, count.unchanged) == (0, 5), "ids make it idempotent"


async def test_backfill_brings_back_what_the_topics_have_forgotten_since_a_date(desk: Desk) -> None:
    await desk.task.poll()
    desk.world.bus.events = [desk.world.bus.polls[-1]]  # retention has taken the documents
    after = await desk.world.restarted()
    task = SourceTask(desk.task.source, MboxReader(desk.path), after.intake, after.bus.publish, after.known, lambda: NOW)
    await task.backfill(datetime(2026, 11, 4, tzinfo=UTC))
    assert after.bus.polls[-1].cursor["since"].startswith("2026-11-04")
    killed = await after.restarted()  # before it was read: the next process goes on with it
    task = SourceTask(desk.task.source, MboxReader(desk.path), killed.intake, killed.bus.publish, killed.known, lambda: NOW)
    assert task.wait() == 0.0
    await task.poll()
    assert [document.title for document in killed.bus.documents] == ["Mail 4", "Mail 5"]
    assert "since" not in killed.bus.polls[-1].cursor, "it was for this one pass"
    append(desk.path, 3)
    assert (await task.poll()).documents == 1


async def test_backfill_of_what_is_not_there_or_badly_asked(desk: Desk) -> None:
    assert (await desk.api.post("/api/sources/none/backfill")).status_code == 404
    for wrong in ({"since": "soon"}, {"since": 5}, {"since": "2099-01-01"}, {"since": "0001-01-01T00:00+14:00"}, {"until": "2026-01-01"}):
        assert (await desk.api.post("/api/sources/box/backfill", json=wrong)).status_code == 422, wrong
    for right in ({}, {"since": None}, {"since": "2026-01-01"}, {"since": "2026-01-01T10:00:00+02:00"}):
        assert (await desk.api.post("/api/sources/box/backfill", json=right)).status_code == 202
    answer = await desk.api.post("/api/sources/box/backfill", json={"since": "20260131"})
    assert answer.json()["since"].startswith("2026-01-31T00:00:00"), "a date without hyphens is no second of 1970"
    desk.world.bus.broken = True
    with pytest.raises(ConnectionError):
        await desk.api.post("/api/sources/box/backfill")
