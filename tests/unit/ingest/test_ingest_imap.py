"""IMAP as it should be: the cursor, several folders, logins, IDLE. What a server can do wrong is in test_ingest_imap_hostile."""

import asyncio
import json
import sys
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from services.ingest.addresses import Allowed
from services.ingest.config import IngestConfig, load
from services.ingest.items import Batch, RawItem, Refused, SourceProblem
from services.ingest.poller import Poller
from services.ingest.readers import imap as imap_module
from services.ingest.readers import imapfetch, mails
from services.ingest.readers.imap import ImapReader
from services.ingest.readers.imapnames import chosen, decoded, encoded
from services.ingest.source import SourceTask
from services.ingest.sources import ImapSource
from shared.errors import ConfigError
from tests.unit.ingest.conftest import NOW, World
from tests.unit.ingest.imap_server import Folder, ImapServer, Talk, running


def mail(number: int, text: str = "Text of the mail.") -> bytes:
    return f"From: a@e.org\nSubject: Mail {number}\nMessage-ID: <{number}@e.org>\n\n{text}\n".encode()


@pytest.fixture
async def imap() -> AsyncIterator[ImapServer]:
    async with running(ImapServer()) as server:
        yield server


def source_of(server: ImapServer, **settings: object) -> ImapSource:
    given = {"kind": "imap", "host": "127.0.0.1", "port": server.port, "tls": False, "user": "me", "password_env": "PW", **settings}
    return ImapSource.model_validate(given)


def reader_of(server: ImapServer, password: str = "right", **settings: object) -> ImapReader:
    return ImapReader(source_of(server, **settings), lambda name: {"PW": password, "TOKEN": password}.get(name, ""))


async def read(reader: ImapReader, cursor: Mapping[str, str]) -> tuple[list[str], Mapping[str, str], list[Batch]]:
    batches = [batch async for batch in reader.read(cursor)]
    return [item.title for batch in batches for item in batch.items if isinstance(item, RawItem)], batches[-1].cursor, batches


async def test_cursor_and_validity(imap: ImapServer) -> None:
    imap.inbox.mails = {n: mail(n) for n in range(5, 65)}
    titles, cursor, batches = await read(reader_of(imap), {})
    assert (len(titles), [len(batch.items) for batch in batches]) == (60, [50, 10])
    assert dict(cursor) == {"folder INBOX": "64 1"}
    titles, cursor, batches = await read(reader_of(imap), cursor)
    assert (titles, batches[0].unchanged) == ([], True)
    imap.inbox.mails[70] = mail(70)
    titles, cursor, _ = await read(reader_of(imap), cursor)
    assert titles == ["Mail 70"]
    imap.inbox.validity = 2  # the server has numbered its mails anew
    titles, cursor, _ = await read(reader_of(imap), cursor)
    assert len(titles) == 61
    fetches = [command for command in imap.commands if "FETCH" in command and "RFC822.SIZE" not in command]
    assert fetches and all("BODY.PEEK" in command for command in fetches), "nothing is marked as read"
    assert not any(command.startswith(("SELECT", "UID STORE")) for command in imap.commands)


async def test_new_numbers_bring_nothing_twice(imap: ImapServer, world: World) -> None:
    imap.inbox.mails = {n: mail(n) for n in (1, 2)}
    source = source_of(imap, id="box")
    task = SourceTask(source, reader_of(imap), world.intake, world.bus.publish, world.known, lambda: NOW)
    await task.poll()
    imap.inbox.validity, imap.inbox.mails = 9, {n + 100: data for n, data in imap.inbox.mails.items()}
    imap.inbox.mails[103] = mail(3)
    await task.poll()
    assert [document.title for document in world.bus.documents] == ["Mail 1", "Mail 2", "Mail 3"]
    assert world.bus.polls[-1].cursor["folder INBOX"] == "103 9"


async def test_a_cursor_of_the_version_before_is_understood(imap: ImapServer) -> None:
    imap.inbox.mails = {n: mail(n) for n in range(1, 5)}
    titles, _, _ = await read(reader_of(imap), {"validity": "1", "uid": "3"})
    assert titles == ["Mail 4"]


async def test_several_folders_each_with_its_place(imap: ImapServer) -> None:
    imap.folders |= {"Letters/One": Folder({1: mail(1)}), "Letters/Two": Folder({7: mail(7)}, validity=5), "Spam": Folder({9: mail(9)})}
    reader = reader_of(imap, folders=["inbox", "Letters/*"])
    titles, cursor, _ = await read(reader, {})
    assert titles == ["Mail 1", "Mail 7"]
    assert dict(cursor) == {"folder INBOX": "0 1", "folder Letters/One": "1 1", "folder Letters/Two": "7 5"}
    imap.folders["Letters/Three"] = Folder({1: mail(33)})
    imap.folders["Letters/Two"].mails[8] = mail(8)
    del imap.folders["Letters/One"]
    titles, cursor, _ = await read(reader, cursor)
    assert (titles, "folder Letters/One" in cursor) == (["Mail 8", "Mail 33"], False)
    with pytest.raises(SourceProblem, match="no folder like Nowhere/\\*; it has INBOX"):
        await read(reader_of(imap, folders=["Nowhere/*"]), {})


async def test_a_folder_that_is_not_there_holds_up_no_other(imap: ImapServer, world: World) -> None:
    imap.inbox.mails = {1: mail(1)}
    source = source_of(imap, id="box", folders=["Gone", "INBOX"])
    task = SourceTask(source, reader_of(imap, folders=["Gone", "INBOX"]), world.intake, world.bus.publish, world.known, lambda: NOW)
    await task.poll()
    assert [document.title for document in world.bus.documents] == ["Mail 1"]
    polled = world.bus.polls[-1]
    assert polled.state == "failing" and "no folder 'Gone'" in polled.reason and polled.cursor["folder INBOX"] == "1 1"


async def test_a_mail_over_the_limit_is_not_fetched_whole(imap: ImapServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (mails, imapfetch):
        monkeypatch.setattr(module, "MAX_MAIL", 5_000)
        monkeypatch.setattr(module, "EVIDENCE", 1_000)
    imap.inbox.mails = {1: mail(1), 2: mail(2, "long line of a mail\n" * 5_000), 3: mail(3)}
    titles, cursor, batches = await read(reader_of(imap), {})
    assert (titles, cursor["folder INBOX"]) == (["Mail 1", "Mail 3"], "3 1")
    (refused,) = [item for batch in batches for item in batch.items if isinstance(item, Refused)]
    assert refused.reason == "too-large" and len(refused.raw) == 1_000
    assert [command for command in imap.commands if command.startswith("UID FETCH 2 ")] == ["UID FETCH 2 (UID BODY.PEEK[]<0.1000>)"]


async def test_a_large_folder_is_asked_for_in_windows(imap: ImapServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("MANY", 10), ("WINDOW", 20), ("MOST_WINDOW", 1_000)):
        monkeypatch.setattr(imapfetch, name, value)
    imap.inbox.mails = {n: mail(n) for n in [*range(1, 30), 5_000, 5_001]}
    titles, _, batches = await read(reader_of(imap), {})
    assert len(titles) == 31 and all(len(batch.items) <= 20 for batch in batches)
    searches = [command for command in imap.commands if "SEARCH" in command]
    assert searches[0] == "UID SEARCH UID 1:20" and len(searches) < 20, "windows grow where nothing is"


@pytest.mark.parametrize("at_once", ["SASL-IR", ""])
@pytest.mark.parametrize("auth", ["oauthbearer", "xoauth2"])
async def test_tokens(imap: ImapServer, auth: str, at_once: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imap.capabilities = f"IMAP4rev1 AUTH=OAUTHBEARER AUTH=XOAUTH2 {at_once}"
    imap.inbox.mails = {1: mail(1)}
    given = {"password_env": "", "auth": auth, "tls": True}
    monkeypatch.setattr(imap_module, "_context", lambda source: None)  # the test's server has no TLS; a real one is in tests/e2e
    assert (await read(reader_of(imap, token_env="TOKEN", **given), {}))[0] == ["Mail 1"]
    words = {
        "oauthbearer": b"n,a=me,\1host=127.0.0.1\1port=%d\1auth=Bearer right\1\1" % imap.port,
        "xoauth2": b"user=me\1auth=Bearer right\1\1",
    }
    assert imap.logins == [words[auth]]
    (tmp_path / "token").write_text("right from a file\n")
    assert (await read(reader_of(imap, token_file=tmp_path / "token", **given), {}))[0] == ["Mail 1"]
    command = [sys.executable, "-c", "print('right from a command')"]
    assert (await read(reader_of(imap, token_command=command, **given), {}))[0] == ["Mail 1"]
    assert b"right from a command" in imap.logins[-1]
    with pytest.raises(SourceProblem, match=r"refuses the token \(status 401\): renew it") as caught:
        await read(reader_of(imap, password="stale-secret", token_env="TOKEN", **given), {})
    assert "stale-secret" not in str(caught.value), "no secret in what is told"
    assert imap.logins[-1].strip() == (b64encode(b"\1") if auth == "oauthbearer" else b"")


async def test_what_is_wrong_with_a_token_is_said(imap: ImapServer, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    for settings, words in (
        ({"token_env": "NONE"}, r"NONE \(token_env\) is not set"),
        ({"token_file": tmp_path / "none"}, r"token_file\): No such file"),
        ({"token_file": tmp_path / "empty"}, "is empty"),
        ({"token_command": ["/no/such/command"]}, r"token_command\) can't be started"),
        ({"token_command": [sys.executable, "-c", "import sys; sys.exit('no refresh token')"]}, "no token: exit status 1: no refresh token"),
        ({"token_env": "TOKEN"}, "does not take OAUTHBEARER; it offers PLAIN"),
    ):
        source = source_of(imap, password_env="", auth="oauthbearer", tls=True, **settings)
        reader = ImapReader(source.model_copy(update={"tls": False}), lambda name: "right" if name == "TOKEN" else "")
        with pytest.raises(SourceProblem, match=words):
            await read(reader, {})


async def test_login_without_plain(imap: ImapServer) -> None:
    imap.capabilities, imap.inbox.mails = "IMAP4rev1", {1: mail(1)}
    assert (await read(reader_of(imap, password='right "quoted\\'), {}))[0] == ["Mail 1"]
    assert imap.logins == [b'LOGIN "me" "right \\"quoted\\\\"']
    with pytest.raises(SourceProblem, match="beyond ASCII"):
        await read(reader_of(imap, password="right-ö"), {})
    imap.capabilities = "IMAP4rev1 LOGINDISABLED"
    with pytest.raises(SourceProblem, match="tls: true"):
        await read(reader_of(imap), {})


async def test_troubles_are_said(imap: ImapServer) -> None:
    for reader, words in (
        (reader_of(imap, password="bad"), "wrong password"),
        (reader_of(imap, folder="None"), "no folder 'None'"),
        (reader_of(imap, password=""), "PW"),
    ):
        with pytest.raises(SourceProblem, match=words):
            await read(reader, {})
    port, imap.port = imap.port, 1
    with pytest.raises(SourceProblem, match="can't be reached"):
        await read(reader_of(imap), {})
    imap.port = port
    with pytest.raises(SourceProblem, match="no STARTTLS"):
        await read(reader_of(imap, tls="starttls", folder="x"), {})


@pytest.mark.parametrize(
    ("name", "wire"), [("Entwürfe", '"Entw&APw-rfe"'), ("A&B", '"A&-B"'), ("日本/語", '"&ZeVnLA-/&ip4-"'), ('say "x"', '"say \\"x\\""')]
)
def test_names_of_folders(name: str, wire: str) -> None:
    assert encoded(name) == wire
    assert decoded(wire[1:-1].replace("\\", "").encode()) == name


def test_names_that_are_broken_stay_as_they_are() -> None:
    assert decoded(b"&@@@-") == "&@@@-" and decoded(b"a&AGFh-") == "a&AGFh-" and decoded(b"\xff") == "\ufffd"
    assert chosen(["a", "b/c", "Inbox"], ["b/*", "INBOX", "a", "a"]) == ["b/c", "INBOX", "a"]


async def started(imap: ImapServer, idles: int = 1) -> None:
    async with asyncio.timeout(20):
        while imap.commands.count("IDLE") < idles:
            await asyncio.sleep(0.01)


async def test_idle_tells_of_new_mail_and_is_given_anew(imap: ImapServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imap_module, "IDLE_S", 0.3)
    monkeypatch.setattr(imap_module, "AFTER_NEWS_S", 0.01)
    imap.inbox.mails = {1: mail(1)}
    reader, news = reader_of(imap), asyncio.Event()
    await read(reader, {})
    watch = asyncio.create_task(reader.watch(news.set))
    await started(imap, 3)  # twice nothing came, and it was asked again on the same connection
    assert not news.is_set() and sum(command.startswith("AUTHENTICATE") for command in imap.commands) == 3
    imap.deliver(2, mail(2))
    await asyncio.wait_for(news.wait(), 20)
    news.clear()
    imap.deliver(3, mail(3))
    await asyncio.wait_for(news.wait(), 20)
    imap.talks[-1].writer.transport.abort()
    with pytest.raises(SourceProblem, match="closed the connection"):
        await asyncio.wait_for(watch, 20)


async def test_mail_that_came_before_the_watch_is_told(imap: ImapServer) -> None:
    imap.inbox.mails = {1: mail(1)}
    reader, news = reader_of(imap), asyncio.Event()
    await read(reader, {})
    imap.inbox.mails[2] = mail(2)
    watch = asyncio.create_task(reader.watch(news.set))
    await asyncio.wait_for(news.wait(), 20)
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)


async def test_without_idle_it_is_polled(imap: ImapServer) -> None:
    imap.capabilities = "IMAP4rev1 AUTH=PLAIN"
    await asyncio.wait_for(reader_of(imap).watch(lambda: None), 20)
    await asyncio.wait_for(reader_of(imap, idle=False).watch(lambda: None), 20)
    assert "IDLE" not in imap.commands


async def test_a_new_mail_is_a_document_within_seconds(imap: ImapServer, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.ingest.watch.FIRST_WAIT_S", 0.2)
    imap.inbox.mails = {1: mail(1)}
    source = source_of(imap, id="box")

    def task_of(_: object) -> SourceTask:
        return SourceTask(source, reader_of(imap), world.intake, world.bus.publish, world.known, lambda: NOW)

    async def ready() -> None:
        return None

    def allow(_: Allowed) -> None:
        return None

    async def until(count: int) -> float:
        began = time.monotonic()
        async with asyncio.timeout(30):
            while len(world.bus.documents) < count:
                await asyncio.sleep(0.02)
        return time.monotonic() - began

    work = asyncio.create_task(Poller(IngestConfig(sources=(source,)), task_of, allow).run(ready, tmp_path / "none", 60))
    try:
        await until(1)
        await started(imap)
        imap.deliver(2, mail(2))
        assert await until(2) < 10, "the interval is 15 minutes"
        before = imap.commands.count("IDLE")
        for talk in list(imap.talks):  # the connection dies: it is polled, and waited on again
            talk.writer.transport.abort()
        await started(imap, before + 1)
        imap.deliver(3, mail(3))
        assert await until(3) < 10
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
    assert len({document.id for document in world.bus.documents}) == 3


def hostile_fetch(refused: set[int], text: bytes):  # type: ignore[no-untyped-def]
    async def answer(talk: Talk, tag: bytes) -> bool:
        command = talk.server.commands[-1]
        if "BODY.PEEK" in command and refused & {int(uid) for uid in command.split()[2].split(",")}:
            talk.say(tag + b" " + text)
            return True
        return False

    return answer


@pytest.mark.parametrize("text", [b"NO can't read that mail", b"OK but nothing comes"])
async def test_a_mail_that_is_not_handed_out_is_tried_again_and_then_quarantined(imap: ImapServer, text: bytes) -> None:
    imap.inbox.mails = {n: mail(n) for n in range(1, 5)}
    imap.folders["Other"] = Folder({1: mail(9)})
    imap.hostile = {"UID FETCH": hostile_fetch({3}, text)}
    reader = reader_of(imap, folders=["INBOX", "Other"])
    cursor: Mapping[str, str] = {}
    found: list[RawItem | Refused] = []
    for turn in range(1, imap_module.STUCK_TRIES + 1):
        problem = None
        try:
            async for batch in reader.read(cursor):
                found += batch.items
                cursor = batch.cursor
        except SourceProblem as error:
            problem = str(error)
        if turn < imap_module.STUCK_TRIES:
            assert problem is not None and "UID 3" in problem and cursor["stuck INBOX"] == f"{turn} 3 1"
        else:
            assert problem is None and "stuck INBOX" not in cursor
    assert [item.title if isinstance(item, RawItem) else item.reason for item in found] == ["Mail 1", "Mail 2", "Mail 9", "unreadable", "Mail 4"]


async def test_a_mail_deleted_meanwhile_and_a_refusal_that_passes(imap: ImapServer) -> None:
    imap.inbox.mails = {n: mail(n) for n in range(1, 4)}

    async def delete(talk: Talk, tag: bytes) -> bool:
        if "BODY.PEEK" in talk.server.commands[-1]:
            talk.folder.mails.pop(2, None)
        return False

    imap.hostile = {"UID FETCH": delete}
    titles, cursor, _ = await read(reader_of(imap), {})
    assert (titles, cursor["folder INBOX"]) == (["Mail 1", "Mail 3"], "3 1")
    imap.hostile = {"UID FETCH": hostile_fetch({1}, b"NO [UNAVAILABLE] come back later")}
    with pytest.raises(SourceProblem, match="come back later"):
        await read(reader_of(imap), {})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"password_env": ""}, "password_env is missing"),
        ({"token_env": "T"}, "no token"),
        ({"auth": "xoauth2"}, "needs one of token_env"),
        ({"auth": "xoauth2", "password_env": ""}, "needs one of token_env"),
        ({"auth": "oauthbearer", "password_env": "", "token_env": "T", "token_file": "f"}, "needs one of token_env"),
        ({"auth": "oauthbearer", "password_env": "", "token_env": "T", "tls": False}, "needs tls"),
        ({"folder": "A", "folders": ["B"]}, "exclude each other"),
        ({"folders": [""]}, "needs a name"),
        ({"tls": "maybe"}, "starttls"),
    ],
)
def test_settings_that_do_not_go_together(tmp_path: Path, settings: dict[str, object], words: str) -> None:
    row = {"kind": "imap", "host": "h", "user": "u", "password_env": "PW", **settings}
    (tmp_path / "feedloop.yaml").write_text(json.dumps({"sources": [row]}))
    with pytest.raises(ConfigError, match=words):
        load(tmp_path / "feedloop.yaml")


def test_files_are_beside_the_file_that_names_them(tmp_path: Path) -> None:
    row = {"kind": "imap", "host": "h", "user": "u", "auth": "xoauth2", "tls": "starttls", "token_file": "token", "ca_file": "ca.pem"}
    (tmp_path / "feedloop.yaml").write_text(json.dumps({"sources": [row]}))
    (source,) = load(tmp_path / "feedloop.yaml").sources
    assert isinstance(source, ImapSource) and (source.token_file, source.ca_file) == (tmp_path / "token", tmp_path / "ca.pem")
