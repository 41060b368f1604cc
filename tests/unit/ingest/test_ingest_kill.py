"""Nothing lost, nothing twice: killed at every step between read, publish and cursor, the next process brings what is missing and only that."""

import json
import mailbox
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from services.ingest.readers import mailfiles, reader_of, seen
from services.ingest.readers import mails as limits
from services.ingest.source import SourceTask
from services.ingest.sources import EmlSource, ImapSource, MaildirSource, MboxSource, Source
from shared.objects import ObjectStore
from tests.unit.ingest.conftest import NOW, Recorder, World, make_world
from tests.unit.ingest.imap_server import ImapServer, running
from tests.unit.ingest.steps import Killed, SteppedReader, Steps, stepped

ROOT = Path(__file__).resolve().parents[3]
COUNT, BATCH = 7, 3
BAD = b"From: a@e.org\nContent-Type: image/png\n\nno words"


def mail(number: int) -> bytes:
    if number == 4:
        return BAD
    return f"From: a@e.org\nSubject: Mail {number}\nMessage-ID: <{number}@e.org>\n\nText of mail {number}.\n".encode()


WANTED = {f"Mail {number}" for number in range(COUNT) if number != 4}


def make_mbox(folder: Path, numbers: Iterable[int] = range(COUNT)) -> Source:
    path = folder / "in.mbox"
    path.write_bytes(b"".join(b"From a@e.org Sat Nov 21 10:00:00 2026\n" + mail(number) + b"\n" for number in numbers))
    os.utime(path, (1_000_000, 1_000_000))
    return MboxSource(kind="mbox", id="box", path=path)


def make_maildir(folder: Path) -> Source:
    box = mailbox.Maildir(str(folder / "md"))
    for number in range(COUNT):
        box.add(mail(number))
    return MaildirSource(kind="maildir", id="box", path=folder / "md")


def make_eml(folder: Path) -> Source:
    (folder / "eml").mkdir()
    for number in range(COUNT):
        path = folder / "eml" / f"{number}.eml"
        path.write_bytes(mail(number))
        os.utime(path, (1_000_000 + number, 1_000_000 + number))
    return EmlSource(kind="eml", id="box", path=folder / "eml")


def die() -> None:
    raise Killed


async def poll(world: World, source: Source, kill_at: int) -> int:
    """One process: polls the source until it is done, or killed at that step. Returns the steps it took."""
    steps = Steps(kill_at, die)
    stepped(world, steps)
    reader = SteppedReader(reader_of(source, None, lambda _: "right", world.store), steps)  # type: ignore[arg-type]
    await SourceTask(source, reader, world.intake, world.bus.publish, world.known, lambda: NOW).poll()
    return steps.count


def check(world: World, evidence: bool = True) -> None:
    told = Counter((document.id, document.version) for document in world.bus.documents)
    assert {document.title for document in world.bus.documents} == WANTED, "nothing is lost"
    assert set(told.values()) == {1}, "nothing comes twice"
    assert world.bus.polls[-1].state in ("ok", "unchanged")
    kept = ObjectStore(str(world.folder / "objects" / "quarantine"))
    assert not evidence or [data for data in _objects(kept) if b"no words" in data], "what was refused is kept"


def _objects(store: ObjectStore) -> list[bytes]:
    return [path.read_bytes() for path in Path(store.root).rglob("*") if path.is_file()]


async def every_step(folder: Path, make: Callable[[Path], Source]) -> int:
    for kill_at in range(1, 1_000):
        place = folder / str(kill_at)
        place.mkdir()
        source, world = make(place), make_world(place, Recorder())
        try:
            await poll(world, source, kill_at)
            check(world)
            return kill_at
        except Killed:
            before = list(world.bus.events)
        after = await world.restarted()
        await poll(after, source, 0)
        check(after)
        assert after.bus.events[: len(before)] == before
    raise AssertionError("it never came to its end")


@pytest.mark.parametrize("make", [make_maildir, make_eml])
async def test_killed_around_the_list_of_what_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], Source]) -> None:
    """A folder of more files than fit into a cursor and a listing: the names go into the object store, and a kill before or after that loses none."""
    monkeypatch.setattr(limits, "MAX_BATCH", 2)
    monkeypatch.setattr(seen, "MAX_TAIL", 3)
    monkeypatch.setattr(mailfiles, "PASS", 3)
    steps, fold, folded = [Steps(0, die)], seen.Seen.fold, []

    def stepped_fold(self: seen.Seen) -> None:
        steps[0].step()
        fold(self)
        folded.append(1)
        steps[0].step()

    monkeypatch.setattr(seen.Seen, "fold", stepped_fold)
    for kill_at in (1, 2, 3, 4, 9):
        place = tmp_path / str(kill_at)
        place.mkdir()
        source, world = make(place), make_world(place, Recorder())
        steps[0] = Steps(kill_at, die)
        try:
            await poll(world, source, 0)
        except Killed:
            world = await world.restarted()
            await poll(world, source, 0)
        check(world)
        assert all(len(polled.cursor.get("read", "")) <= 4 * 11 for polled in world.bus.polls), "the cursor stays small"
        world.bus.events = list(world.bus.polls)  # retention: the documents are forgotten
        after = await world.restarted()
        await poll(after, source, 0)
        assert after.bus.documents == [] and after.bus.polls[-1].state == "unchanged", "and the folder has come to rest"
    assert len(folded) >= 5


@pytest.mark.parametrize("make", [make_mbox, make_maildir, make_eml])
async def test_killed_at_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], Source]) -> None:
    monkeypatch.setattr(limits, "MAX_BATCH", BATCH)
    assert await every_step(tmp_path, make) > 20, "steps there were"


async def test_killed_at_every_step_over_imap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.ingest.readers.imapfetch.MAX_BATCH", BATCH)
    server = ImapServer()
    server.inbox.mails = {number + 1: mail(number) for number in range(COUNT)}
    async with running(server):

        def make(_: Path) -> Source:
            return ImapSource(kind="imap", id="box", host="127.0.0.1", port=server.port, tls=False, user="me", password_env="PW", idle=False)

        assert await every_step(tmp_path, make) > 20


async def test_killed_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every process lives for a few steps only, just enough to save a cursor: it gets there all the same."""
    monkeypatch.setattr(limits, "MAX_BATCH", BATCH)
    source, world = make_mbox(tmp_path), make_world(tmp_path, Recorder())
    for _ in range(50):
        try:
            await poll(world, source, 9)
            break
        except Killed:
            world = await world.restarted()
    check(world)


def test_kill_9(tmp_path: Path) -> None:
    """The same with processes and SIGKILL, and a log on disk in the place of the topics."""
    command = [sys.executable, "-m", "tests.unit.ingest.killed", str(tmp_path)]
    began = time.monotonic()
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert ran.returncode == 0, ran.stderr[-3_000:]
    rounds = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    assert len(rounds) > 6 and time.monotonic() - began < 280
    for one in rounds[:-1]:
        assert one["first"] == -signal.SIGKILL and one["second"] == 0, one
    assert rounds[-1]["first"] == 0, "the last was not killed any more"
    for one in rounds:
        assert one["titles"] == ["Mail 2", "Mail 3", "Mail 5"], one
