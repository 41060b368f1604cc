"""IMAP against a real dovecot: TLS of both kinds, passwords and tokens, folders, IDLE, numbers made anew, large and many mails."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import pytest
import pytest_asyncio

from services.ingest.config import IngestConfig
from services.ingest.items import Batch, RawItem, Refused, SourceProblem
from services.ingest.poller import Poller
from services.ingest.readers import imapfetch, mails
from services.ingest.readers.imap import ImapReader
from services.ingest.source import SourceTask
from services.ingest.sources import ImapSource
from tests.support.dovecot import PASSWORD, PROGRAM, USER, Dovecot, make_certificate
from tests.unit.ingest.conftest import NOW, Recorder, World, make_world

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(PROGRAM is None, reason="no dovecot here: install one (Debian: apt-get install dovecot-imapd)"),
]


def mail(number: int, text: str = "Text of the mail.") -> bytes:
    return f"From: a@e.org\nSubject: Mail {number}\nMessage-ID: <{number}@e.org>\n\n{text}\n".encode()


@pytest.fixture
def dovecot() -> Iterator[Dovecot]:
    server = Dovecot()
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    yield make_world(tmp_path, Recorder())


def source_of(server: Dovecot, **settings: object) -> ImapSource:
    given = {"kind": "imap", "id": "box", "host": "127.0.0.1", "port": server.tls_port, "user": USER, "ca_file": server.certificate, **settings}
    return ImapSource.model_validate(given if "auth" in given else {"password_env": "PW", **given})


def secrets(server: Dovecot) -> Callable[[str], str]:
    held = {"PW": PASSWORD, "BAD": "no", "TOKEN": server.token(), "STALE": server.token(-10)}
    return lambda name: held.get(name, "")


def reader_of(server: Dovecot, **settings: object) -> ImapReader:
    return ImapReader(source_of(server, **settings), secrets(server))


async def read(reader: ImapReader, cursor: Mapping[str, str]) -> tuple[list[str], Mapping[str, str], list[Batch]]:
    batches = [batch async for batch in reader.read(cursor)]
    return [item.title for batch in batches for item in batch.items if isinstance(item, RawItem)], batches[-1].cursor, batches


async def test_logins_and_tls(dovecot: Dovecot, tmp_path: Path) -> None:
    dovecot.deliver(mail(1))
    starttls = {"port": dovecot.port, "tls": "starttls"}
    for settings in (
        {},
        starttls,
        {"auth": "oauthbearer", "token_env": "TOKEN"},
        {"auth": "xoauth2", "token_env": "TOKEN"},
        {"auth": "xoauth2", "token_env": "TOKEN", **starttls},
    ):
        assert (await read(reader_of(dovecot, **settings), {}))[0] == ["Mail 1"], settings
    make_certificate(tmp_path)
    for settings, words in (
        ({"password_env": "BAD"}, "AUTHENTICATIONFAILED"),
        ({"auth": "oauthbearer", "token_env": "STALE"}, "refuses the token"),
        ({"auth": "xoauth2", "token_env": "STALE"}, "refuses the token"),
        ({"ca_file": None}, "certificate is not good .*ca_file"),
        ({"ca_file": tmp_path / "cert.pem"}, "certificate is not good"),
        ({"ca_file": tmp_path / "none.pem"}, "holds no certificates"),
        ({"host": "localhost"}, "certificate is not good .*(not valid for|doesn't match)"),
        ({"port": dovecot.port}, "no safe connection|can't be reached"),  # TLS from the start where it is not spoken
    ):
        with pytest.raises(SourceProblem, match=words):
            pytest.fail(f"{settings}: {await read(reader_of(dovecot, **settings), {})}")


async def test_cursor_folders_and_nothing_marked_as_read(dovecot: Dovecot) -> None:
    dovecot.deliver(mail(1))
    for folder in ("Letters/One", "Letters/Two", "Entw&APw-rfe", "Spam"):
        dovecot.mailbox(folder)
    dovecot.deliver(mail(2), "Letters/One")
    dovecot.deliver(mail(3), "Entw&APw-rfe")
    reader = reader_of(dovecot, folders=["INBOX", "Letters/*", "Entwürfe"])
    titles, cursor, _ = await read(reader, {})
    assert titles == ["Mail 1", "Mail 2", "Mail 3"]
    assert sorted(cursor) == ["folder Entwürfe", "folder INBOX", "folder Letters/One", "folder Letters/Two"]
    assert (await read(reader, cursor))[0] == []
    dovecot.deliver(mail(4), "Letters/Two")
    assert (await read(reader, cursor))[0] == ["Mail 4"]
    names = [path.name for path in dovecot.folder.glob("mail/**/*.test*")]
    assert len(names) == 4 and not any("S" in name.partition(":2,")[2] for name in names), "none is seen"
    with pytest.raises(SourceProblem, match="no folder 'None'"):
        await read(reader_of(dovecot, folder="None"), {})


async def test_numbers_made_anew_bring_nothing_twice(dovecot: Dovecot, world: World) -> None:
    for number in range(1, 4):
        dovecot.deliver(mail(number))
    task = SourceTask(source_of(dovecot), reader_of(dovecot), world.intake, world.bus.publish, world.known, lambda: NOW)
    await task.poll()
    before = world.bus.polls[-1].cursor["folder INBOX"]
    await asyncio.sleep(1.1)  # dovecot makes the number of the time in seconds
    dovecot.renumber()
    dovecot.deliver(mail(4))
    await task.poll()
    after = world.bus.polls[-1].cursor["folder INBOX"]
    assert before.split()[1] != after.split()[1]
    assert [document.title for document in world.bus.documents] == ["Mail 1", "Mail 2", "Mail 3", "Mail 4"]


async def test_large_and_many(dovecot: Dovecot, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (mails, imapfetch):
        monkeypatch.setattr(module, "MAX_MAIL", 3_000_000)
    dovecot.deliver(mail(1, "A sentence of a long newsletter.\n" * 60_000))  # 2 MB, in one piece
    dovecot.deliver(mail(2, "A sentence that is too much.\n" * 150_000))
    for number in range(3, 150):
        dovecot.deliver(mail(number))
    for settings in ({}, {"port": dovecot.port, "tls": "starttls"}):
        titles, _, batches = await read(reader_of(dovecot, **settings), {})
        refused = [item for batch in batches for item in batch.items if isinstance(item, Refused)]
        assert titles == ["Mail 1", *(f"Mail {number}" for number in range(3, 150))]
        assert [(item.reason, len(item.raw)) for item in refused] == [("too-large", 1_000_000)]


async def test_idle_a_new_mail_is_a_document_within_seconds(dovecot: Dovecot, world: World, tmp_path: Path) -> None:
    dovecot.mailbox("Letters")
    dovecot.deliver(mail(1))
    source = source_of(dovecot, folders=["INBOX", "Letters"])

    def task_of(_: object) -> SourceTask:
        return SourceTask(source, ImapReader(source, secrets(dovecot)), world.intake, world.bus.publish, world.known, lambda: NOW)

    async def ready() -> None:
        return None

    async def until(count: int) -> float:
        began = time.monotonic()
        async with asyncio.timeout(60):
            while len(world.bus.documents) < count:
                await asyncio.sleep(0.05)
        return time.monotonic() - began

    work = asyncio.create_task(Poller(IngestConfig(sources=(source,)), task_of, lambda allowed: None).run(ready, tmp_path / "none", 60))
    try:
        await until(1)
        await asyncio.sleep(3)  # both folders are waited on
        for number, folder in ((2, ""), (3, "Letters"), (4, "")):
            dovecot.deliver(mail(number), folder)
            assert await until(number) < 20, "the interval is 15 minutes"
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
    assert sorted(document.title for document in world.bus.documents) == ["Mail 1", "Mail 2", "Mail 3", "Mail 4"]
