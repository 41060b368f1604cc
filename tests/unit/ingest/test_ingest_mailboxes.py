"""Mailboxes and files of mails on the command line: what is meant, what would be read, what is wrong, and what is written into the file."""

import mailbox
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deploy.local.sources import app as cli
from services.ingest.addresses import Allowed
from services.ingest.config import load
from services.ingest.fetch import Fetcher
from services.ingest.mailboxes import NoMailbox, check_mailbox, mailbox_of
from services.ingest.sources import ImapSource, Source
from tests.unit.ingest.imap_server import ImapServer, running
from tests.unit.ingest.test_ingest_kill import BAD, mail, make_eml, make_maildir, make_mbox


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    made = Fetcher(Allowed())
    yield made
    await made.close()


@pytest.mark.parametrize(
    ("address", "wanted"),
    [
        (
            "imaps://desk%40e.org@mail.e.org/News?password_env=PW",
            {"user": "desk@e.org", "host": "mail.e.org", "port": 993, "tls": True, "folder": "News"},
        ),
        ("imap://me@mail.e.org?password_env=PW", {"port": 143, "tls": "starttls", "folder": "INBOX"}),
        ("imap://me@127.0.0.1:1143?password_env=PW&tls=false", {"port": 1143, "tls": False}),
        ("imaps://me@e.org/?auth=xoauth2&token_env=T", {"auth": "xoauth2", "token_env": "T"}),
    ],
)
def test_addresses_of_mail_servers(address: str, wanted: dict[str, Any]) -> None:
    source = mailbox_of(address, id="box")
    assert isinstance(source, ImapSource) and source.id == "box"
    assert {name: getattr(source, name) for name in wanted} == wanted


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("imaps://me:secret@e.org/?password_env=PW", "environment variable"),
        ("imaps://e.org/?password_env=PW", "USER@HOST"),
        ("imaps://me@e.org:99999/?password_env=PW", "no address of a mail server"),
        ("imaps://me@e.org/", "password_env is missing"),
        ("imaps://me@e.org/?password_env=PW&colour=red", "colour"),
    ],
)
def test_what_is_no_mailbox_is_said_without_its_password(address: str, words: str) -> None:
    with pytest.raises(NoMailbox, match=words) as said:
        mailbox_of(address)
    assert "secret" not in str(said.value)


def test_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    mailbox.Maildir(str(tmp_path / "md"))
    (tmp_path / "eml").mkdir()
    (tmp_path / "in.mbox").touch()
    for address, kind, name in (("./md", "maildir", "md"), (str(tmp_path / "eml"), "eml", "eml"), ("mbox:in.mbox", "mbox", "in.mbox")):
        source = mailbox_of(address)
        assert source is not None and (source.kind, source.place()) == (kind, str(tmp_path / name))
    assert mailbox_of("md") is None and mailbox_of("https://e.org/feed") is None and mailbox_of("e.org/feed") is None


@pytest.mark.parametrize("make", [make_mbox, make_maildir, make_eml])
async def test_what_would_be_read(tmp_path: Path, fetcher: Fetcher, make: Any) -> None:
    source: Source = make(tmp_path)
    before = sorted(path.name for path in tmp_path.rglob("*"))
    report = await check_mailbox(source, fetcher, str)
    assert report.readable and report.items == 7 and len(report.titles) == 5 and all(title.startswith("Mail ") for title in report.titles)
    assert [line for line in report.problems if line.startswith("1 of the first 7 mails would be refused")]
    assert sorted(path.name for path in tmp_path.rglob("*")) == before, "nothing is left behind"


async def test_what_is_wrong(tmp_path: Path, fetcher: Fetcher) -> None:
    for address, words in (
        (f"mbox:{tmp_path / 'none'}", "no mailbox at"),
        (f"maildir:{tmp_path}", "neither new/ nor cur/"),
        (f"eml:{tmp_path / 'none'}", "no folder"),
        (f"imap://me@127.0.0.1:{9}/?password_env=PW&tls=false", "127.0.0.1"),
    ):
        source = mailbox_of(address)
        assert source is not None
        report = await check_mailbox(source, fetcher, lambda _: "x")
        assert not report.readable and words in report.problems[0], report
    empty = mailbox_of(f"eml:{tmp_path}")
    assert empty is not None and "no mail in it" in (await check_mailbox(empty, fetcher, str)).problems[0]


async def test_a_mail_server_is_asked(fetcher: Fetcher) -> None:
    server = ImapServer()
    server.inbox.mails = {1: mail(1), 2: BAD}
    async with running(server):
        source = mailbox_of(f"imap://me@127.0.0.1:{server.port}/?password_env=PW&tls=false")
        assert source is not None
        report = await check_mailbox(source, fetcher, lambda _: "right")
        assert (report.readable, report.kind, report.titles) == (True, "mail server", ["Mail 1"])
        report = await check_mailbox(source, fetcher, lambda _: "wrong")
        assert not report.readable and report.problems


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "feedloop.yaml"
    config.write_text("# mine\nsources: []\n")
    make_mbox(tmp_path)

    def run(*words: str) -> Any:
        return CliRunner().invoke(cli, [*words, "--config", str(config)])

    said = run("check", f"mbox:{tmp_path}/in.mbox")
    assert said.exit_code == 0 and "mbox: its first mails, 7 items" in said.output and "Mail 0" in said.output and "would be refused" in said.output
    assert run("check", f"mbox:{tmp_path}/none").exit_code == 1
    assert "can't be read" in str(run("add", f"mbox:{tmp_path}/none").exception) and load(config).sources == ()
    assert "box: " in run("add", f"{tmp_path}/in.mbox", "--id", "box", "--interval", "1h").output
    assert "is read already, as box" in str(run("add", f"mbox:{tmp_path}/in.mbox").exception)
    assert "added" in run("add", "imaps://me@mail.e.org/News?password_env=PW", "--unchecked").output
    box, imap = load(config).sources
    assert (box.source_id, box.kind, box.interval, imap.kind) == ("box", "mbox", 3600, "imap") and config.read_text().startswith("# mine")
    monkeypatch.setenv("FEEDLOOP_INGEST_URL", "http://127.0.0.1:9")
    result = CliRunner().invoke(cli, ["check", f"{tmp_path}/in.mbox"])
    assert "name it with --config" in str(result.exception), "the service reads no files for whoever asks it"
    assert os.path.exists(tmp_path / "in.mbox")
