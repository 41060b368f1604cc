"""Mailboxes on disk: mbox, Maildir, and a folder of .eml files."""

import asyncio
import fcntl
import mailbox
import os
import time
import tracemalloc
from collections.abc import Mapping
from pathlib import Path

import pytest

from services.ingest.items import Batch, RawItem, Reader, Refused, SourceProblem
from services.ingest.readers import changes, mailfiles, mails, mbox, seen
from services.ingest.readers.emlfolder import EmlReader
from services.ingest.readers.maildir import MaildirReader
from services.ingest.readers.mbox import MboxReader
from services.ingest.readers.seen import Seen
from shared.objects import ObjectStore


def mail(number: int, text: str = "Text of the mail.") -> bytes:
    return f"From: a@e.org\nSubject: Mail {number}\nMessage-ID: <{number}@e.org>\n\n{text}\n".encode()


def append(path: Path, *numbers: int, text: str = "Text of the mail.") -> None:
    with path.open("ab") as file:
        for number in numbers:
            file.write(b"From a@e.org Sat Nov 21 10:00:00 2026\n" + mail(number, text) + b"\n")
    os.utime(path, (time.time() - 60, time.time() - 60))  # settled


def seen_in(folder: Path) -> Seen:
    return Seen(ObjectStore(str(folder / ".objects")), "box")


async def read(reader: Reader, cursor: Mapping[str, str]) -> tuple[list[str], Mapping[str, str], list[Batch]]:
    batches = [batch async for batch in reader.read(cursor)]
    titles = [item.title for batch in batches for item in batch.items if isinstance(item, RawItem)]
    return titles, batches[-1].cursor, batches


async def test_mbox_goes_on_where_it_ended(tmp_path: Path) -> None:
    path = tmp_path / "in.mbox"
    append(path, 1, 2)
    titles, cursor, _ = await read(MboxReader(path), {})
    assert titles == ["Mail 1", "Mail 2"]
    titles, cursor, batches = await read(MboxReader(path), cursor)
    assert (titles, batches[0].unchanged) == ([], True)
    append(path, 3)
    titles, cursor, _ = await read(MboxReader(path), cursor)
    assert titles == ["Mail 3"]
    path.unlink()
    append(path, 9)  # shorter, and another file: read from its start
    assert (await read(MboxReader(path), cursor))[0] == ["Mail 9"]


async def test_mbox_rewritten_in_place_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "in.mbox"
    append(path, 1, 2)
    _, cursor, _ = await read(MboxReader(path), {})
    with path.open("r+b") as file:
        file.truncate()
    append(path, 3, 4, 5, text="A longer text, so that the old end is in the midst of a mail.")
    assert (await read(MboxReader(path), cursor))[0] == ["Mail 3", "Mail 4", "Mail 5"]


async def test_mbox_in_batches_that_each_have_a_cursor(tmp_path: Path) -> None:
    path = tmp_path / "in.mbox"
    append(path, *range(120))
    titles, _, batches = await read(MboxReader(path), {})
    assert [len(batch.items) for batch in batches] == [50, 50, 20]
    assert titles == [f"Mail {n}" for n in range(120)]
    rest, _, _ = await read(MboxReader(path), batches[0].cursor)
    assert rest == titles[50:]


async def test_mbox_from_lines(tmp_path: Path) -> None:
    path = tmp_path / "in.mbox"
    append(path, 1, text="Hello.\n\nFrom the mayor we heard nothing.\n\n>From here on it is quoted.")
    append(path, 2)
    titles, _, batches = await read(MboxReader(path), {})
    assert titles == ["Mail 1", "Mail 2"]
    first = batches[0].items[0]
    assert (
        isinstance(first, RawItem) and "From the mayor" in first.body and "From here on" in first.raw.decode() and ">From" not in first.raw.decode()
    )


async def test_what_python_writes_is_read(tmp_path: Path) -> None:
    box = mailbox.mbox(str(tmp_path / "py.mbox"))
    for number in range(3):
        box.add(mail(number))
    box.flush()
    box.close()
    assert (await read(MboxReader(tmp_path / "py.mbox"), {}))[0] == ["Mail 0", "Mail 1", "Mail 2"]


async def test_a_mail_that_is_too_large_is_refused_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mails, "MAX_MAIL", 100_000)
    path = tmp_path / "in.mbox"
    append(path, 1, text="long line of a mail\n" * 50_000)
    append(path, 2)
    titles, _, batches = await read(MboxReader(path), {})
    assert titles == ["Mail 2"]
    refused = batches[0].items[0]
    assert isinstance(refused, Refused) and refused.reason == "too-large" and len(refused.raw) < 200_000


async def test_what_is_no_mbox(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("just text\n")
    os.utime(tmp_path / "x", (1, 1))
    for path, words in ((tmp_path / "x", "no mbox"), (tmp_path / "none", "no mailbox"), (tmp_path, "maildir")):
        with pytest.raises(SourceProblem, match=words):
            await read(MboxReader(path), {})


async def test_maildir_reads_each_name_once(tmp_path: Path) -> None:
    box = mailbox.Maildir(str(tmp_path / "md"))
    keys = [box.add(mail(number)) for number in range(3)]
    reader = MaildirReader(tmp_path / "md", seen_in(tmp_path))
    titles, cursor, _ = await read(reader, {})
    assert sorted(titles) == ["Mail 0", "Mail 1", "Mail 2"]
    message = box[keys[0]]
    message.set_subdir("cur")
    message.add_flag("S")
    box[keys[0]] = message  # read by its owner: moved and renamed
    titles, cursor, batches = await read(reader, cursor)
    assert (titles, batches[0].unchanged) == ([], True)
    box.add(mail(7))
    assert (await read(reader, cursor))[0] == ["Mail 7"]
    with pytest.raises(SourceProblem, match="no Maildir"):
        await read(MaildirReader(tmp_path, seen_in(tmp_path)), {})


async def test_a_maildir_file_that_can_not_be_read_holds_up_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = mailbox.Maildir(str(tmp_path / "md"))
    bad = box.add(mail(1))
    box.add(mail(2))
    opened = Path.open

    def refusing(path: Path, *args: object, **kwargs: object):  # type: ignore[no-untyped-def]
        if path.name == bad:
            raise PermissionError(13, "Permission denied")
        return opened(path, *args, **kwargs)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", refusing)
    reader, titles, cursor = MaildirReader(tmp_path / "md", seen_in(tmp_path)), [], {}
    with pytest.raises(SourceProblem, match=r"1 mails can't be read and wait: .*Permission denied"):
        async for batch in reader.read({}):
            titles += [item.title for item in batch.items if isinstance(item, RawItem)]
            cursor = dict(batch.cursor)
    assert titles == ["Mail 2"]
    monkeypatch.undo()
    assert (await read(reader, cursor))[0] == ["Mail 1"], "it was not taken for read"


async def test_a_folder_beyond_all_limits_comes_to_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mails, "MAX_BATCH", 10)
    monkeypatch.setattr(seen, "MAX_TAIL", 20)
    monkeypatch.setattr(seen, "SPARE", 5)
    monkeypatch.setattr(mailfiles, "PASS", 30)
    (tmp_path / "eml").mkdir()
    for number in range(100):
        written(tmp_path / "eml" / f"{number:03}.eml", mail(number), 1_000 - number)
    reader = EmlReader(tmp_path / "eml", names := seen_in(tmp_path))
    titles, cursor, batches = await read(reader, {})
    assert titles == [f"Mail {number}" for number in range(100)], "each once, the oldest first"
    assert max(len(batch.cursor["read"]) for batch in batches) <= 30 * 8 * 4 / 3
    assert (await read(reader, cursor))[2][0].unchanged
    written(tmp_path / "eml" / "late.eml", mail(200), 5_000)  # with a time before all that was read: no watermark would do
    titles, cursor, _ = await read(EmlReader(tmp_path / "eml", seen_in(tmp_path)), cursor)
    assert titles == ["Mail 200"], "another process, which has the store and the cursor"
    for path in list((tmp_path / "eml").glob("0[0-8]*")):
        path.unlink()
    _, cursor, _ = await read(reader, cursor)
    assert (names.cursor(), len(names._held)) == (cursor, 8 * 11), "what is gone is forgotten"
    for path in (tmp_path / "eml").iterdir():
        path.rename(tmp_path / path.name)
    _, cursor, _ = await read(reader, cursor)
    for path in tmp_path.glob("*.eml"):
        path.rename(tmp_path / "eml" / path.name)
    titles, cursor, batches = await read(reader, cursor)
    assert titles == [] and batches[0].unchanged, "an empty folder may be a disk that is not mounted: nothing was forgotten"
    (tmp_path / ".objects" / "seen" / "box.names").unlink()
    titles, _, batches = await read(reader, cursor)
    assert len(titles) == 11 and "gone from the object store" in batches[0].note


async def test_memory_does_not_grow_with_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """200,000 files that have been read, and as many that are new: some bytes each of the first, nothing of the others."""
    monkeypatch.setattr(mailfiles, "PASS", 100)
    names = seen_in(tmp_path)
    names.add(seen.hash_of(str(number)) for number in range(200_000))
    tracemalloc.start()
    names.fold()
    names.begin(names.cursor())
    new, _ = mailfiles._next(lambda: (((number,), seen.hash_of(str(number)), f"/md/{number}") for number in range(400_000)), names, None)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [file[0][0] for file in new] == list(range(200_000, 200_100)) and peak < 200_000 * 80, (held, peak)


def written(path: Path, data: bytes, ago: float = 60.0) -> None:
    path.write_bytes(data)
    os.utime(path, (time.time() - ago, time.time() - ago))


async def test_a_folder_of_eml_files(tmp_path: Path) -> None:
    written(tmp_path / "b.eml", mail(1), 100)
    written(tmp_path / "a.EML", mail(2), 50)
    written(tmp_path / "c.eml.part", mail(3))
    written(tmp_path / ".hidden.eml", mail(4))
    written(tmp_path / "broken.eml", b"\x00\x01\x02", 40)
    written(tmp_path / "fresh.eml", mail(5), 0)
    (tmp_path / "folder.eml").mkdir()
    (tmp_path / "nowhere.eml").symlink_to(tmp_path / "none")
    reader = EmlReader(tmp_path, seen_in(tmp_path))
    titles, cursor, _ = await read(reader, {})
    assert titles[:2] == ["Mail 1", "Mail 2"] and "Mail 5" not in titles, "the oldest first; one that is perhaps being written waits"
    assert (await read(reader, cursor))[2][0].unchanged
    written(tmp_path / "fresh.eml", mail(5))
    written(tmp_path / "b.eml", mail(1, "It was not whole."), 30)  # changed after it was read
    titles, cursor, _ = await read(reader, cursor)
    assert sorted(titles) == ["Mail 1", "Mail 5"]
    assert sorted(path.name for path in tmp_path.iterdir())[:2] == [".hidden.eml", "a.EML"], "nothing is moved"
    for path, words in ((tmp_path / "none", "no folder"), (tmp_path / "b.eml", "kind mbox")):
        with pytest.raises(SourceProblem, match=words):
            await read(EmlReader(path, seen_in(tmp_path)), {})


async def test_changes_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "CHECK_S", 0.05)
    path = tmp_path / "in.mbox"
    append(path, 1)
    for reader, change in (
        (MboxReader(path), lambda: append(path, 2)),
        (EmlReader(tmp_path, seen_in(tmp_path)), lambda: written(tmp_path / "x.eml", mail(1))),
    ):
        news = asyncio.Event()
        watch = asyncio.create_task(reader.watch(news.set))
        await asyncio.sleep(0.3)
        assert not news.is_set()
        change()
        await asyncio.wait_for(news.wait(), 20)
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)


def aged(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds, time.time() - seconds))


async def test_a_truncated_last_mail_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "in.mbox"
    append(path, 1)
    with path.open("ab") as file:
        file.write(b"From a@e.org Sat Nov 21 10:00:00 2026\n" + mail(2)[:-8])  # half of it, and no line end
    aged(path, 5)
    reader = MboxReader(path)
    titles, cursor, _ = await read(reader, {})
    assert titles == ["Mail 1"]
    assert (await read(reader, cursor))[0] == [], "still not"
    with path.open("ab") as file:
        file.write(mail(2)[-8:])
    aged(path, 5)
    titles, cursor, batches = await read(reader, cursor)
    assert titles == ["Mail 2"] and isinstance(item := batches[0].items[0], RawItem) and "Text of the mail." in item.body
    with path.open("ab") as file:
        file.write(b"\nFrom a@e.org Sat Nov 21 10:00:00 2026\n" + mail(3)[:-8])
    aged(path, mbox.UNFINISHED_S + 1)
    titles, cursor, _ = await read(reader, cursor)
    assert titles == ["Mail 3"], "no more comes: what is there is taken"


async def test_a_file_that_is_written_to_gives_the_mails_that_have_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mbox, "PATIENCE_S", 0.3)
    path = tmp_path / "in.mbox"
    append(path, 1, 2, 3)
    aged(path, 0)
    titles, cursor, _ = await read(MboxReader(path), {})
    assert titles == ["Mail 1", "Mail 2"]
    aged(path, 10)
    assert (await read(MboxReader(path), cursor))[0] == ["Mail 3"]


async def test_a_mail_that_grew_after_all_is_read_again_alone(tmp_path: Path) -> None:
    path = tmp_path / "in.mbox"
    append(path, *range(1, 60))
    _, cursor, _ = await read(MboxReader(path), {})
    with path.open("ab") as file:
        file.write(b"And more of the last mail.\n")
    append(path, 60)
    titles, cursor, batches = await read(MboxReader(path), cursor)
    assert titles == ["Mail 59", "Mail 60"]
    assert isinstance(item := batches[0].items[0], RawItem) and "And more" in item.body


@pytest.mark.parametrize("lock", ["dot", "flock", "lockf"])
async def test_a_locked_mbox_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lock: str) -> None:
    monkeypatch.setattr(mbox, "PATIENCE_S", 0.3)
    path, dot = tmp_path / "in.mbox", tmp_path / "in.mbox.lock"
    append(path, 1)
    ready, release = os.pipe(), os.pipe()
    child = 0
    if lock == "dot":
        dot.touch()
    elif (child := os.fork()) == 0:  # another process: its own locks would not stop this one
        file = path.open("r+b")
        getattr(fcntl, lock)(file, fcntl.LOCK_EX)
        os.write(ready[1], b"x")
        os.read(release[0], 1)
        os._exit(0)
    else:
        os.read(ready[0], 1)
    titles, cursor, batches = await read(MboxReader(path), {})
    assert (titles, dict(cursor), batches[0].note) == ([], {}, mbox.LOCKED)
    if child:
        os.write(release[1], b"x")
        os.waitpid(child, 0)
    else:
        aged(dot, 3_600)  # left behind by a program that died
    assert (await read(MboxReader(path), cursor))[0] == ["Mail 1"]


@pytest.mark.parametrize("how", ["renamed", "copied and emptied"])
async def test_what_was_not_read_before_a_rotation_is_read(tmp_path: Path, how: str) -> None:
    path, aside = tmp_path / "in.mbox", tmp_path / "in.mbox.1"
    append(path, *range(1, 4), text="A text. " * 1_000)
    _, cursor, _ = await read(MboxReader(path), {})
    append(path, 4, 5)
    if how == "renamed":
        path.rename(aside)
    else:
        aside.write_bytes(path.read_bytes())
        path.write_bytes(b"")
    append(path, 6)
    titles, cursor, _ = await read(MboxReader(path), cursor)
    assert titles == ["Mail 4", "Mail 5", "Mail 6"]
    append(path, 7)
    assert (await read(MboxReader(path), cursor))[0] == ["Mail 7"]


async def test_content_length_is_believed_where_it_leads_to_an_end(tmp_path: Path) -> None:
    """mboxcl2: nothing is quoted; and a length that is wrong."""
    path = tmp_path / "in.mbox"
    body = b"Before.\n\nFrom b@e.org Sat Nov 21 11:00:00 2026\nSubject: not a mail of its own\n\nAfter.\n"
    from_line = b"From a@e.org Sat Nov 21 10:00:00 2026\n"
    right = from_line + b"Subject: Mail 1\nContent-Length: %d\n\n" % len(body) + body + b"\n"
    wrong = from_line + b"Subject: Mail 2\nContent-Length: 5\n\nA body that is longer.\n\n"
    beyond = from_line + b"Subject: Mail 3\nContent-Length: 9999\n\nShorter.\n\n" + from_line + b"Subject: Mail 4\n\nThe end.\n"
    path.write_bytes(right + wrong + beyond)
    aged(path, 5)
    titles, cursor, batches = await read(MboxReader(path), {})
    assert titles == ["Mail 1", "Mail 2"], "the third may still be growing"
    assert isinstance(item := batches[0].items[0], RawItem) and "After." in item.body and "not a mail of its own" in item.body
    aged(path, 100)
    assert (await read(MboxReader(path), cursor))[0] == ["Mail 3", "Mail 4"]


async def test_mails_without_an_empty_line_between_them(tmp_path: Path) -> None:
    path = tmp_path / "in.mbox"
    path.write_bytes(b"".join(b"From a@e.org Sat Nov 21 10:00:00 2026\r\n" + mail(n).replace(b"\n", b"\r\n") for n in (1, 2, 3)))
    aged(path, 100)
    assert (await read(MboxReader(path), {}))[0] == ["Mail 1", "Mail 2", "Mail 3"]


async def test_memory_does_not_grow_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mails, "MAX_BATCH_BYTES", 300_000)
    part = "--b\nContent-Type: application/pdf\nContent-Disposition: attachment\n\n" + ("QUJD" * 19 + "\n") * 1_000
    peaks = []
    for count in (12, 72):
        path = tmp_path / f"{count}.mbox"
        with path.open("wb") as file:
            for number in range(count):
                head = f"Subject: {number}\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nText.\n{part}--b--\n\n"
                file.write(b"From a@e.org Sat Nov 21 10:00:00 2026\n" + head.encode())
        aged(path, 60)
        tracemalloc.start()
        read_so_far = 0
        async for batch in MboxReader(path).read({}):
            read_so_far += len(batch.items)
            del batch
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert read_so_far == count
    assert path.stat().st_size > 5_000_000 and peaks[1] < 3_000_000 and peaks[1] < peaks[0] * 1.5, peaks


async def test_mails_that_a_mail_program_moved_up_are_not_missed(tmp_path: Path) -> None:
    """Mails are deleted in the midst of the file and others appended: the old offset is in what is new."""
    path = tmp_path / "in.mbox"
    append(path, *range(1, 41))
    _, cursor, _ = await read(MboxReader(path), {})
    size = path.stat().st_size
    path.unlink()
    append(path, 1, 2, *range(30, 90))
    assert path.stat().st_size > size
    titles, _, _ = await read(MboxReader(path), cursor)
    assert set(titles) >= {f"Mail {n}" for n in range(41, 90)}
