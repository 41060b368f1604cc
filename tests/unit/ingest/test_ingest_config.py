"""The file of the sources: what it takes, and one clear line for what it does not."""

from pathlib import Path

import pytest

from services.ingest.config import load
from services.ingest.sources import FeedSource, MboxSource, seconds
from shared.errors import ConfigError

EXAMPLE = Path(__file__).parents[3] / "feedloop.example.yaml"


def write(folder: Path, text: str) -> Path:
    path = folder / "feedloop.yaml"
    path.write_text(text)
    return path


def test_example_loads() -> None:
    config = load(EXAMPLE)
    assert [source.kind for source in config.sources] == ["feed", "feed"]
    assert config.sources[0].interval == 3600
    assert config.sources[1].source_id == "python-insider"


def test_example_comments_load_too(tmp_path: Path) -> None:
    lines = EXAMPLE.read_text().splitlines()
    opened = [line.replace("  # ", "  ", 1) if line.startswith(("  # -", "  #   ")) else line for line in lines]
    config = load(write(tmp_path, "\n".join(opened)))
    assert [source.kind for source in config.sources] == ["feed", "feed", "mbox", "maildir", "eml", "imap"]


def test_keys_without_entries_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = write(tmp_path, "\ufeffsources:\n  # - kind: feed\nallow_hosts:\n")
    assert load(path).sources == () and load(path).allow_hosts == ()


def test_id_does_not_depend_on_where_the_file_lies(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    text = "sources: [{kind: mbox, path: mail/x.mbox}]"
    here, there = load(write(tmp_path, text)).sources[0], load(write(tmp_path / "a", text)).sources[0]
    assert isinstance(here, MboxSource) and isinstance(there, MboxSource)
    assert here.source_id == there.source_id
    assert here.path == tmp_path / "mail/x.mbox" and there.path == tmp_path / "a/mail/x.mbox"


def test_a_password_in_an_address_is_not_shown() -> None:
    source = FeedSource(kind="feed", url="https://me:secret@example.org/feed")
    assert "secret" not in source.place() + source.ref.title


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sources: [{kind: feed, urll: 'http://a.org'}]", ["sources.0.url"]),
        ("sources: [{kind: feed, url: 'http://a.org', size: 3}]", ["sources.0.size", "allowed:", "interval"]),
        ("sources: [{kind: ftp, url: 'http://a.org'}]", ["sources.0.kind", "feed, mbox, maildir"]),
        ("sources: [{url: 'http://a.org'}]", ["sources.0.kind", "feed, mbox"]),
        ("sources: [{kind: feed, url: 'file:///etc/passwd'}]", ["sources.0.url", "http or https"]),
        ("sources: [{kind: feed, url: 'http://a.org', interval: soon}]", ["sources.0.interval", "15m"]),
        ("sources: [{kind: feed, id: x, url: 'http://a.org'}, {kind: feed, id: x, url: 'http://b.org'}]", ["id 'x'"]),
        ("sources: [{kind: feed, url: 'http://a.org:99999/'}]", ["sources.0.url", "http or https"]),
        ("sources: [{kind: feed, url: 'http://[a/'}]", ["sources.0.url", "http or https"]),
        ("x: 2020-13-45", ["can't be read"]),
        ("feeds: []", ["feeds", "sources, allow_hosts"]),
        ("allow_hosts: ['10.0.0.0/99']", ["allow_hosts", "10.0.0.0/99"]),
        ("just words", ["mapping", "sources"]),
        ("sources: [", ["can't be read"]),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        load(write(tmp_path, text))
    message = str(error.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"feedloop\.example\.yaml"):
        load(tmp_path / "none.yaml")


def test_intervals() -> None:
    assert [seconds(value) for value in (900, "30s", "15m", "2h", "1d")] == [900, 30, 900, 7200, 86400]
    for wrong in ("", "0", "-5", "x", "90d"):
        with pytest.raises(ValueError, match="interval"):
            seconds(wrong)
