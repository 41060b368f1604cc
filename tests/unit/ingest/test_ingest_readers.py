"""Mailboxes: mbox and Maildir on disk, IMAP from a small server that speaks the protocol."""

import mailbox
import os
import socketserver
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from services.ingest.config import ImapSource
from services.ingest.items import Batch, RawItem, Reader, Refused, SourceProblem
from services.ingest.readers import mails
from services.ingest.readers.imap import ImapReader
from services.ingest.readers.maildir import MaildirReader
from services.ingest.readers.mbox import MboxReader


def mail(number: int, text: str = "Text of the mail.") -> bytes:
    return f"From: a@e.org\nSubject: Mail {number}\nMessage-ID: <{number}@e.org>\n\n{text}\n".encode()


def append(path: Path, *numbers: int, text: str = "Text of the mail.") -> None:
    with path.open("ab") as file:
        for number in numbers:
            file.write(b"From a@e.org Sat Nov 21 10:00:00 2026\n" + mail(number, text) + b"\n")
    os.utime(path, (time.time() - 60, time.time() - 60))  # settled


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
    monkeypatch.setattr("services.ingest.readers.mbox.MAX_MAIL", 100_000)
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
    reader = MaildirReader(tmp_path / "md")
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
        await read(MaildirReader(tmp_path), {})


class _Imap(socketserver.StreamRequestHandler):
    """Enough of IMAP4rev1 for imaplib: LOGIN, SELECT/EXAMINE, UID SEARCH, UID FETCH, LOGOUT."""

    disable_nagle_algorithm = True

    def handle(self) -> None:
        server = self.server
        assert isinstance(server, ImapServer)
        self.wfile.write(b"* OK ready\r\n")
        while line := self.rfile.readline():
            tag, _, command = line.decode().strip().partition(" ")
            server.commands.append(command)
            words = command.split()
            answer = "OK done"
            match words[0].upper():
                case "CAPABILITY":
                    self.wfile.write(b"* CAPABILITY IMAP4rev1\r\n")
                case "LOGIN" if "right" not in command:
                    answer = "NO wrong password"
                case "EXAMINE" if "INBOX" not in command:
                    answer = "NO no such folder"
                case "EXAMINE":
                    self.wfile.write(f"* {len(server.mails)} EXISTS\r\n* OK [UIDVALIDITY {server.validity}] valid\r\n".encode())
                case "UID" if words[1] == "SEARCH":
                    first = int(words[-1].split(":")[0])
                    found = [uid for uid in server.mails if uid >= first] or [max(server.mails)]  # n:* always names the newest
                    self.wfile.write(f"* SEARCH {' '.join(map(str, found))}\r\n".encode())
                case "UID":
                    data = server.mails[int(words[2])]
                    self.wfile.write(f"* 1 FETCH (UID {words[2]} BODY[]<0> {{{len(data)}}}\r\n".encode() + data + b")\r\n")
                case "LOGOUT":
                    self.wfile.write(b"* BYE\r\n" + f"{tag} OK\r\n".encode())
                    return
            self.wfile.write(f"{tag} {answer}\r\n".encode())


class ImapServer(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Imap)
        self.mails: dict[int, bytes] = {}
        self.validity = 1
        self.commands: list[str] = []


@pytest.fixture
def imap() -> Iterator[ImapServer]:
    with ImapServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def imap_reader(server: ImapServer, password: str = "right", folder: str = "INBOX") -> ImapReader:
    port = server.server_address[1]
    source = ImapSource(kind="imap", host="127.0.0.1", port=port, tls=False, user="me", password_env="PW", folder=folder)
    return ImapReader(source, {"PW": password}.get)  # type: ignore[arg-type]


async def test_imap_cursor_and_validity(imap: ImapServer) -> None:
    imap.mails = {n: mail(n) for n in range(5, 65)}
    titles, cursor, batches = await read(imap_reader(imap), {})
    assert (len(titles), [len(batch.items) for batch in batches]) == (60, [50, 10])
    assert dict(cursor) == {"validity": "1", "uid": "64"}
    titles, cursor, batches = await read(imap_reader(imap), cursor)
    assert (titles, batches[0].unchanged) == ([], True)
    imap.mails[70] = mail(70)
    titles, cursor, _ = await read(imap_reader(imap), cursor)
    assert titles == ["Mail 70"]
    imap.validity = 2  # the server has numbered its mails anew
    titles, cursor, _ = await read(imap_reader(imap), cursor)
    assert len(titles) == 61
    assert all("BODY.PEEK" in command for command in imap.commands if "FETCH" in command), "nothing is marked as read"


async def test_imap_troubles_are_said(imap: ImapServer) -> None:
    for reader, words in (
        (imap_reader(imap, password="bad"), "wrong password"),
        (imap_reader(imap, folder="None"), "no folder"),
        (imap_reader(imap, password=""), "PW"),
    ):
        with pytest.raises(SourceProblem, match=words):
            await read(reader, {})
    imap.server_close()
    with pytest.raises(SourceProblem, match="refuse"):
        await read(imap_reader(imap), {})
