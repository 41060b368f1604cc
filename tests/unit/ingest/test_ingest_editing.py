"""Editing feedloop.yaml: what the user wrote stays to the character, and no edit is half done or made over another's."""

import os
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.ingest.config import IngestConfig, load
from services.ingest.editing import Edit, edit
from services.ingest.replacing import locked, replace_file
from shared.errors import ConfigError

EXAMPLE = Path(__file__).parents[3] / "feedloop.example.yaml"
NEW = {"kind": "feed", "url": "https://new.example/feed", "title": "It's: new # or not"}


def written(folder: Path, text: str) -> Path:
    path = folder / "feedloop.yaml"
    path.write_bytes(text.encode())
    return path


def adding(*sources: dict[str, Any]) -> Any:
    return lambda _: Edit(add=sources)


def removing(*ids: str) -> Any:
    return lambda _: Edit(remove=frozenset(ids))


def test_adding_to_the_example_keeps_every_character(tmp_path: Path) -> None:
    before = EXAMPLE.read_text()
    path = written(tmp_path, before)
    edit(path, adding(NEW))
    after = path.read_text()
    new = "  - kind: feed\n    url: https://new.example/feed\n    title: 'It''s: new # or not'\n"
    assert after.count(new) == 1 and after.replace(new, "") == before
    assert [source.title for source in load(path).sources] == ["Debian News", "", NEW["title"]]
    assert after.index("new.example") < after.index("# # A file of mails")  # with the sources, not below the comments behind them


def test_removing_the_last_keeps_the_comments_behind_it(tmp_path: Path) -> None:
    path = written(tmp_path, EXAMPLE.read_text())
    edit(path, removing("python-insider"))
    kept = path.read_text()
    assert "python" not in kept
    for words in ("# # A file of mails", "# Only addresses that are reachable", "allow_hosts: []", "# for people"):
        assert words in kept
    assert len(load(path).sources) == 1


def test_added_and_removed_is_as_before(tmp_path: Path) -> None:
    path = written(tmp_path, EXAMPLE.read_text())
    edit(path, adding({**NEW, "id": "x"}))
    edit(path, removing("x"))
    assert path.read_text() == EXAMPLE.read_text()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# only a comment",
        "allow_hosts: [a.example]",
        "sources:\nallow_hosts: []\n",
        "sources:\n  # - kind: feed\n  #   url: http://a.example\n",
        "sources: []  # none yet\nallow_hosts: []\n",
        "sources: ~\n",
        "sources: [{kind: feed, id: a, url: 'http://a.example/#x'}]  # said shortly\n",
        "sources: [\n  {kind: feed, id: a, url: 'http://a.example'}, # one\n]\n",
        "sources:\n- kind: feed\n  id: a\n  url: http://a.example",
        "sources:\n  -\n    # which?\n    kind: feed\n    id: a\n    url: http://a.example  # this\n\n# end\n",
        "sources:\n  - {kind: feed, id: a, url: http://a.example}\n  # behind\n",
        "sources:\r\n  - kind: feed\r\n    id: a\r\n    url: http://a.example\r\n# end\r\n",
        "\ufeffsources:\n  - kind: feed\n    id: a\n    title: >-\n      Long\n      title 🎉\n    url: http://a.example\n",
        "sources:\n  - kind: feed\n    url: http://a.example\n    title: |\n      Block\n# end\n",
        "--- # begin\nsources:\n    - kind: feed\n      url: http://a.example\n",
    ],
)
def test_forms_that_people_write(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, text)
    before = list(load(path).sources)
    edit(path, adding({**NEW, "id": "n1"}, {**NEW, "id": "n2", "url": "https://two.example"}))
    both = path.read_bytes().decode()
    assert [source.source_id for source in load(path).sources] == [*(source.source_id for source in before), "n1", "n2"]
    for comment in ("# only a comment", "# none yet", "# said shortly", "# one", "# which?", "# this", "# end", "# behind", "# begin"):
        assert (comment in both) == (comment in text)
    assert both.startswith("\ufeff") == text.startswith("\ufeff")
    if "\r\n" in text:
        assert both.count("\n") == both.count("\r\n")
    edit(path, removing("n1"))
    assert [source.source_id for source in load(path).sources] == [*(source.source_id for source in before), "n2"]
    for source in before:
        edit(path, removing(source.source_id))
    edit(path, removing("n2"))
    assert not load(path).sources
    edit(path, adding({**NEW, "id": "n3"}))
    assert len(load(path).sources) == 1


def test_a_missing_file_is_made(tmp_path: Path) -> None:
    path = tmp_path / "feedloop.yaml"
    edit(path, adding(NEW))
    assert load(path).sources[0].title == NEW["title"]
    assert not edit(tmp_path / "other.yaml", lambda _: Edit()).sources
    assert not (tmp_path / "other.yaml").exists()


@pytest.mark.parametrize(
    "text",
    [
        "sources:\n  - &a {kind: feed, id: a, url: http://a.example}\nallow_hosts: &b []\nx: *a\n",
        "sources: &s\n  - kind: feed\n    id: a\n    url: http://a.example\nallow_hosts: [b.example]\n--- \nsources: []\n",
        "{allow_hosts: [b.example]}\n",
        "sources:\n  - kind: feed\n    id: a\n    url: &u http://a.example\n  - {kind: feed, id: b, url: *u}\n",
    ],
)
def test_what_can_not_be_edited_is_left_alone(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, text)
    change = removing("a") if "url: &u" in text else adding(NEW)
    with pytest.raises(ConfigError):
        edit(path, change)
    assert path.read_bytes().decode() == text
    assert os.listdir(tmp_path) == ["feedloop.yaml"]


def test_a_wrong_addition_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    path = written(tmp_path, EXAMPLE.read_text())
    with pytest.raises(ConfigError, match=r"sources\.2\.url"):
        edit(path, adding({"kind": "feed", "url": "gopher://x"}))
    with pytest.raises(ConfigError, match="python-insider"):
        edit(path, adding({**NEW, "id": "python-insider"}))
    assert path.read_text() == EXAMPLE.read_text()


def test_a_change_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    path = written(tmp_path, EXAMPLE.read_text())

    def slow(_: IngestConfig) -> Edit:
        path.write_text("allow_hosts: [editor.example]\n")  # an editor that knows of no lock
        return Edit(add=[NEW])

    with pytest.raises(ConfigError, match="changed by somebody else"):
        edit(path, slow)
    assert path.read_text() == "allow_hosts: [editor.example]\n"
    assert os.listdir(tmp_path) == ["feedloop.yaml"]


def test_two_editors_wait_for_each_other(tmp_path: Path) -> None:
    path = written(tmp_path, "sources:\n")
    threads = [threading.Thread(target=edit, args=(path, adding({"kind": "feed", "id": f"f{n}", "url": f"http://{n}.example"}))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert {source.source_id for source in load(path).sources} == {f"f{n}" for n in range(8)}


def test_a_lock_that_is_not_let_go_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.ingest.replacing.LOCK_S", 0.2)
    with locked(tmp_path), pytest.raises(ConfigError, match="another process"), locked(tmp_path):
        pass


def test_rights_and_links_stay(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    real = written(tmp_path / "real", "sources:\n")
    real.chmod(0o640)
    link = tmp_path / "feedloop.yaml"
    link.symlink_to(real)
    edit(link, adding(NEW))
    assert link.is_symlink() and len(load(link).sources) == 1
    assert real.stat().st_mode & 0o777 == 0o640


def test_a_folder_that_can_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, "sources:\n")

    def busy(*_: Any) -> None:
        raise OSError(16, "Device or resource busy")

    monkeypatch.setattr("os.replace", busy)
    with pytest.raises(ConfigError, match="mounted"):
        replace_file(path, b"sources:\n", b"x")
    assert os.listdir(tmp_path) == ["feedloop.yaml"] and path.read_text() == "sources:\n"


def test_ten_thousand_at_once(tmp_path: Path) -> None:
    path = written(tmp_path, EXAMPLE.read_text())
    many = [{"kind": "feed", "url": f"https://{n}.example/feed", "title": f"Feed {n}"} for n in range(10_000)]
    edit(path, adding(*many))
    assert len(load(path).sources) == 10_002
    assert "# # A file of mails" in path.read_text()


TITLES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(titles=st.lists(TITLES, min_size=1, max_size=4), flow=st.booleans(), gone=st.integers(0, 3))
def test_any_title_goes_in_and_comes_out(tmp_path: Path, titles: list[str], flow: bool, gone: int) -> None:
    start = "# mine\nsources: [{kind: feed, id: a, url: 'http://a.example'}]\n# end\n" if flow else EXAMPLE.read_text()
    path = written(tmp_path, start)
    edit(path, adding(*({"kind": "feed", "id": f"n{n}", "url": "http://n.example", "title": title} for n, title in enumerate(titles))))
    assert [source.title for source in load(path).sources][-len(titles) :] == titles
    edit(path, removing(f"n{min(gone, len(titles) - 1)}"))
    assert len(load(path).sources) == len(yaml.safe_load(start)["sources"]) + len(titles) - 1
    assert [line for line in path.read_text().splitlines() if line.strip().startswith("#")] == [
        line for line in start.splitlines() if line.strip().startswith("#")
    ]
