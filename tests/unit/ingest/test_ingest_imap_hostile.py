"""A mail server that hangs, drips, floods, lies or talks nonsense: a problem in words, in bounded time and memory, and nothing lost."""

import asyncio
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from services.ingest.items import Refused, SourceProblem
from services.ingest.readers import imap as imap_module
from services.ingest.readers import imapfetch, imapwire, mails
from services.ingest.source import SourceTask
from tests.unit.ingest.conftest import NOW, World
from tests.unit.ingest.imap_server import ImapServer, Talk, running
from tests.unit.ingest.test_ingest_imap import mail, read, reader_of, source_of

Does = Callable[[Talk, bytes], Awaitable[bool]]
PATIENCE_S = 1.5


@pytest.fixture
async def imap(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ImapServer]:
    monkeypatch.setattr(imapwire, "TIMEOUT_S", PATIENCE_S)
    monkeypatch.setattr(imapwire.Wire.command, "__defaults__", (imapwire.ANSWER, PATIENCE_S, None))
    monkeypatch.setattr(imapwire, "_LOGOUT_S", 0.2)
    async with running(ImapServer()) as server:
        server.inbox.mails = {1: mail(1)}
        yield server


def says(*lines: bytes) -> Does:
    async def answer(talk: Talk, tag: bytes) -> bool:
        talk.say(*(line.replace(b"TAG", tag) for line in lines))
        return True

    return answer


async def hangs(talk: Talk, tag: bytes) -> bool:
    await talk.reader.read()
    return True


async def drips(talk: Talk, tag: bytes) -> bool:
    while True:
        talk.writer.write(b"*")
        await talk.writer.drain()
        await asyncio.sleep(0.1)


async def floods(talk: Talk, tag: bytes) -> bool:
    while True:
        talk.writer.write(b"* 1 EXISTS\r\n" * 1_000)
        await talk.writer.drain()


async def never_ends_the_line(talk: Talk, tag: bytes) -> bool:
    while True:
        talk.writer.write(b"x" * 100_000)
        await talk.writer.drain()


async def closes(talk: Talk, tag: bytes) -> bool:
    talk.writer.write(b"* 1 FETCH (UID 1 BODY[]<0> {500}\r\nhalf a mail")
    await talk.writer.drain()
    talk.writer.close()
    return True


@pytest.mark.parametrize("command", ["CAPABILITY", "EXAMINE", "UID FETCH"])
@pytest.mark.parametrize(
    ("does", "words"),
    [
        (hangs, "no whole answer in time"),
        (drips, "no whole answer in time"),
        (floods, "more than the .* bytes|in time"),
        (never_ends_the_line, "more than the .* bytes|in time"),
        (closes, "closed the connection"),
        (says(b"* 1 FETCH (UID 1 BODY[]<0> {99999999999}"), "more than the"),
        (says(b"* BYE the server is going down", b"TAG NO bye"), "refuses: NO bye|no folder"),
        (says(b"TAG BAD what?"), "BAD what"),
        (says(b"TAG"), "in time"),
        (says(b"\xff\xfe\x00 nonsense", b"{}", b"* ", b"", b"TAG\xff"), "in time"),
        (says(b"+ go on"), "not promised"),
    ],
    ids=["hangs", "drips", "floods", "endless line", "closes", "huge literal", "bye", "bad", "half a tag", "nonsense", "continuation"],
)
async def test_it_ends_in_words(imap: ImapServer, command: str, does: Does, words: str) -> None:
    imap.hostile = {command: does}
    began = time.monotonic()
    with pytest.raises(SourceProblem, match=words):
        async with asyncio.timeout(20):
            await read(reader_of(imap), {})
    assert time.monotonic() - began < 15


@pytest.mark.parametrize(
    ("greeting", "words"),
    [
        (b"HTTP/1.1 400 Bad Request", "no IMAP server: it greets with 'HTTP/1.1"),
        (b"* BYE too many connections", "too many connections"),
        (b"", "greets"),
    ],
)
async def test_greetings(imap: ImapServer, greeting: bytes, words: str) -> None:
    imap.greeting = greeting
    with pytest.raises(SourceProblem, match=words):
        await read(reader_of(imap), {})


async def test_nothing_is_said_in_clear_where_tls_was_asked_for(imap: ImapServer, monkeypatch: pytest.MonkeyPatch) -> None:
    imap.greeting = b"* PREAUTH welcome"
    with pytest.raises(SourceProblem, match="PREAUTH"):
        await read(reader_of(imap, tls="starttls"), {})
    imap.greeting = b"* OK"
    imap.hostile = {"STARTTLS": says(b"TAG OK go ahead\r\n* CAPABILITY AUTH=PLAIN")}
    with pytest.raises(SourceProblem, match="in clear after STARTTLS"):
        await read(reader_of(imap, tls="starttls"), {})
    assert imap.logins == []


async def test_a_size_that_is_a_lie_costs_no_memory(imap: ImapServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says 300 bytes and sends without end, whatever part was asked for."""

    async def lie(talk: Talk, tag: bytes) -> bool:
        if "RFC822.SIZE" in talk.server.commands[-1]:
            return False
        talk.say(b"* 1 FETCH (UID 1 BODY[]<0> {300000000}")
        while True:
            talk.writer.write(b"x" * 1_000_000)
            await talk.writer.drain()

    imap.hostile = {"UID FETCH": lie}
    tracemalloc.start()
    with pytest.raises(SourceProblem, match="more than the"):
        await read(reader_of(imap), {})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


async def test_a_body_larger_than_was_said_is_cut_and_refused(imap: ImapServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (mails, imapfetch):
        monkeypatch.setattr(module, "MAX_MAIL", 2_000)
    imap.inbox.mails = {1: mail(1, "x " * 4_000), 2: mail(2)}
    imap.hostile = {"UID FETCH 1,2 (UID RFC822.SIZE)": says(b"* 1 FETCH (UID 1 RFC822.SIZE 10)", b"* 2 FETCH (RFC822.SIZE 100 UID 2)", b"TAG OK")}
    titles, _, batches = await read(reader_of(imap), {})
    first = batches[0].items[0]
    assert titles == ["Mail 2"] and isinstance(first, Refused) and first.reason == "too-large"


async def test_odd_but_right_answers_are_understood(imap: ImapServer) -> None:
    """Flags told in between, a body as a quoted string, the UID behind the literal, what nobody asked for."""
    body = mail(2).replace(b"\n", b"\r\n")
    imap.inbox.mails = {1: mail(1), 2: mail(2)}

    async def odd(talk: Talk, tag: bytes) -> bool:
        if "RFC822.SIZE" in talk.server.commands[-1]:
            return False
        talk.say(b"* 2 FETCH (FLAGS (\\Seen) UID 2)", b"* 3 EXISTS", b'* OK [ALERT] (unbalanced {3 and "quotes')
        talk.say(b'* 1 FETCH (BODY[]<0> "Subject: Mail \\"1\\"  said here" UID 1)')
        talk.say(b"* 2 FETCH (BODY[]<0> {%d}\r\n%s UID 2 FLAGS ())" % (len(body), body), b"* 77 FETCH (UID 77 BODY[]<0> NIL)", tag + b" OK")
        return True

    imap.hostile = {"UID FETCH": odd}
    titles, cursor, _ = await read(reader_of(imap), {})
    assert titles == ['Mail "1" said here', "Mail 2"] and cursor["folder INBOX"] == "2 1"


async def test_what_was_read_before_it_broke_is_kept(imap: ImapServer, world: World) -> None:
    imap.inbox.mails = {n: mail(n) for n in range(1, 81)}

    async def breaks(talk: Talk, tag: bytes) -> bool:
        if talk.server.commands[-1].startswith("UID FETCH 51,"):
            talk.writer.transport.abort()
            return True
        return False

    imap.hostile = {"UID FETCH": breaks}
    task = SourceTask(source_of(imap, id="box"), reader_of(imap), world.intake, world.bus.publish, world.known, lambda: NOW)
    await task.poll()
    polled = world.bus.polls[-1]
    assert (len(world.bus.documents), polled.state, polled.cursor["folder INBOX"]) == (50, "failing", "50 1")
    imap.hostile = {}
    await task.poll()
    assert len({document.id for document in world.bus.documents}) == len(world.bus.documents) == 80


async def test_a_watch_that_is_flooded_or_refused_ends_in_words(imap: ImapServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imap_module, "AFTER_NEWS_S", 0.01)

    async def noise(talk: Talk, tag: bytes) -> bool:
        talk.say(b"+ idling")
        while True:
            talk.writer.write(b"* OK still here\r\n" * 100)
            await talk.writer.drain()

    for does, words in (
        (says(b"TAG NO not now"), "not now"),
        (noise, "more than the"),
        (hangs, "in time"),
        (says(b"+", b"* BYE idle too long"), "idle too long"),
    ):
        imap.hostile = {"IDLE": does}
        with pytest.raises(SourceProblem, match=words):
            async with asyncio.timeout(20):
                await reader_of(imap).watch(lambda: None)
