"""Which rules are in force: the folder's, the published ones, and the ones of before where the new are bad."""

import asyncio
import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import yaml
from classifier_samples import START
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from test_classifier_rules import NEWS, rule

from services.classifier import rule_desk
from services.classifier.rule_desk import RuleDesk
from services.classifier.rule_news import MOST_INLINE, announcement, back_to_folder, files_in, files_of
from services.classifier.rulebook import FOLDER, SHIPPED, RuleBook
from shared.envelope import MAX_BODY, body_of
from shared.errors import ConfigError, FeedloopError, PermanentError
from shared.events import RulesPublished, RuleText
from shared.objects import ObjectStore
from shared.service import _failed, _http_error
from shared.taxonomy import label_set


def text_of(*rules: dict) -> str:
    return json.dumps({"rules": list(rules)})


def book_of(folder: Path) -> RuleBook:
    return RuleBook(folder, label_set, drop_safety_rules=True)


def save(file: Path, text: str, mtime: int) -> None:
    file.write_text(text)
    os.utime(file, (mtime, mtime))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rules").mkdir()
    save(tmp_path / "rules" / "a.yaml", text_of(rule()), 1)
    return tmp_path / "rules"


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return ObjectStore(str(tmp_path / "objects"))


def news(book: RuleBook, store: ObjectStore, text: str, name: str = "b.yaml") -> RulesPublished:
    files = files_of([RuleText(name=name, text=text)])
    return announcement(book.check(files), files, store, book.rules.digest, "ana", "because", START)


def take(book: RuleBook, store: ObjectStore, event: RulesPublished) -> bool:
    return book.take(event.digest, lambda: files_in(event, store))


def test_a_bad_edit_keeps_the_old_rules_and_says_so(folder: Path) -> None:
    file = folder / "a.yaml"
    book = book_of(folder)
    first = book.rules
    assert not book.refresh()
    save(file, text_of(rule(label="extreme")), 2)
    assert not book.refresh()
    assert book.rules is first
    assert "'r1'" in book.problem and "stay in force" in book.problem
    save(file, text_of(rule(any=["act now", "hurry"])), 3)
    assert book.refresh()
    assert book.problem == "" and book.rules.digest != first.digest
    assert book.rules.hits("", "Hurry up", NEWS)
    file.unlink()
    assert not book.refresh()
    assert "no rule files" in book.problem and len(book.rules) == 1


def test_both_endings_of_a_rule_file_are_read(folder: Path) -> None:
    save(folder / "b.yml", text_of(rule(id="r2")), 1)
    book = book_of(folder)
    assert len(book.rules) == 2
    save(folder / "b.yml", text_of(rule(id="r2"), rule(id="r3")), 2)
    assert book.refresh() and len(book.rules) == 3


@pytest.mark.parametrize(("text", "why"), [("", "no rule files"), (text_of(rule(label="extreme")), "no label 'extreme'"), ("rules: [", "a.yaml")])
def test_with_a_bad_folder_at_the_start_the_rules_that_ship_stand_in(
    folder: Path, store: ObjectStore, capsys: pytest.CaptureFixture[str], text: str, why: str
) -> None:
    file = folder / "a.yaml"
    save(file, text, 2) if text else file.unlink()
    book = book_of(folder)
    shipped = RuleBook(SHIPPED, label_set).rules.digest
    assert (book.rules.digest, book.source) == (shipped, FOLDER) and book.warnings == book.rules.warnings
    assert why in book.problem and book.problem.endswith("the rules that ship are in force until the folder is sound")
    assert "rules.refused" in capsys.readouterr().out
    assert not book.refresh() and why in book.problem
    event = news(book, store, text_of(rule(id="r2")))
    assert take(book, store, event) and book.problem == ""
    assert take(book, store, back_to_folder(event.digest, "ana", "enough", START))
    assert book.rules.digest == shipped and why in book.problem, "the folder is as bad as before"
    save(file, text_of(rule(any=["hurry"], tests=[{"text": "hurry", "hit": True}])), 3)
    assert book.refresh() and book.problem == "" and book.rules.hits("", "hurry", NEWS)


def test_a_bad_folder_that_becomes_sound_while_published_rules_are_in_force_is_no_problem_any_more(folder: Path, store: ObjectStore) -> None:
    book = book_of(folder)
    event = news(book, store, text_of(rule(id="r2")))
    assert take(book, store, event)
    save(folder / "a.yaml", "rules: [", 2)
    assert not book.refresh() and "a.yaml" in book.problem
    save(folder / "a.yaml", text_of(rule(id="r3")), 3)
    assert not book.refresh() and book.problem == "" and book.source == event.digest


def test_without_sound_rules_that_ship_there_is_no_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.classifier.rulebook.SHIPPED", tmp_path)
    with pytest.raises(ConfigError, match="no rule files"):
        RuleBook(tmp_path, label_set)


def test_published_rules_hold_in_every_replica_until_the_folder_is_asked_for_again(folder: Path, store: ObjectStore) -> None:
    one, other = book_of(folder), book_of(folder)
    event = RulesPublished.model_validate_json(
        news(one, store, text_of(rule(any=["hurry"], tests=[{"text": "hurry", "hit": True}]))).model_dump_json()
    )
    assert event.files and event.files_ref is None and event.rules == 1 and event.previous == one.rules.digest
    for book in (one, other):
        assert take(book, store, event) and not take(book, store, event)
        assert (book.source, book.problem) == (event.digest, "")
        assert book.rules.hits("", "hurry", NEWS) and not book.rules.hits("", "act now", NEWS)
    assert one.rules.digest == other.rules.digest == event.digest
    save(folder / "a.yaml", text_of(rule(any=["act now", "at once"])), 5)
    assert not one.refresh() and one.source == event.digest  # an edit of the folder waits
    assert take(one, store, back_to_folder(event.digest, "ana", "enough", START))
    assert one.source == FOLDER and one.rules.hits("", "at once", NEWS)


def test_published_rules_that_are_bad_missing_or_others_are_refused_and_the_old_stay(folder: Path, store: ObjectStore) -> None:
    book = book_of(folder)
    before, good = book.rules, news(book, store, text_of(rule(id="r2")))
    gone = good.model_copy(update={"files": [], "files_ref": store.put(b"[]").model_copy(update={"uri": "blobs/no/thing"})})
    odd = good.model_copy(update={"files": [], "files_ref": store.put(b"{")})
    for event, says in (
        (good.model_copy(update={"files": [RuleText(name="b.yaml", text=text_of(rule(label="extreme")))]}), "no label 'extreme'"),
        (good.model_copy(update={"files": [RuleText(name="b.yaml", text=text_of(rule(id="r3")))]}), "not those of their digest"),
        (good.model_copy(update={"files": [RuleText(name="../b.yaml", text="")]}), "no name of a rule file"),
        (gone, "has no blobs/no/thing"),
        (odd, "holds no rule files"),
    ):
        assert not take(book, store, event)
        assert says in book.problem and "stay in force" in book.problem and book.rules is before and book.source == FOLDER
    assert take(book, store, good) and book.problem == ""


def test_large_rules_travel_by_reference(folder: Path, store: ObjectStore) -> None:
    book = book_of(folder)
    many = text_of(*(rule(id=f"r{n}", reason="x" * 1100) for n in range(400)))
    assert len(many) > MOST_INLINE
    event = news(book, store, many)
    assert event.files == [] and event.files_ref and len(body_of(event)) < 2_000
    assert take(book, store, event) and len(book.rules) == 400
    assert len(body_of(news(book, store, text_of(rule(reason='"\\' * (MOST_INLINE // 8)))))) <= MAX_BODY


def test_names_of_files_are_checked() -> None:
    with pytest.raises(ConfigError, match="two rule files"):
        files_of([RuleText(name="a.yaml", text=""), RuleText(name="a.yaml", text="")])
    with pytest.raises(PermanentError, match="holds no rule files"):
        files_in(RulesPublished(digest="d", files_ref=None, published_at=START).model_copy(update={"files_ref": _Ref()}), _Odd())  # type: ignore[arg-type]


class _Ref:
    uri = "x"


class _Odd:
    def get(self, _: object) -> bytes:
        return b'[{"name": 1}]'


def test_expiry_is_told_once_a_rule(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    now = [datetime(2026, 11, 20, 12, tzinfo=UTC)]
    save(folder / "a.yaml", text_of(rule(expires="2026-11-20")), 2)
    book = RuleBook(folder, label_set, lambda: now[0], drop_safety_rules=True)
    told = lambda: capsys.readouterr().out.count("rules.expired")  # noqa: E731
    book.refresh()
    assert told() == 0
    now[0] = datetime(2026, 11, 21, tzinfo=UTC)
    book.refresh()
    book.refresh()
    assert told() == 1 and book.rules.hits("", "act now", NEWS) == []


class MemoryBus:
    """Hands what is published to those who read the topic, as the projections of the replicas do."""

    def __init__(self) -> None:
        self.readers: list = []

    async def publish(self, *events: RulesPublished) -> None:
        for event in events:
            for reader in self.readers:
                await reader(RulesPublished.model_validate_json(event.model_dump_json()))


DROP = {"drop_safety_rules": True}


async def test_rules_are_published_over_http_and_taken_by_all_replicas(folder: Path, store: ObjectStore) -> None:
    bus, books = MemoryBus(), [book_of(folder) for _ in range(3)]
    desks = [RuleDesk(book, store, bus, lambda: START) for book in books]  # type: ignore[arg-type]
    bus.readers = [desk.on_rules_published for desk in desks]
    app = Starlette(routes=desks[0].routes(), exception_handlers={HTTPException: _http_error, FeedloopError: _failed})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://classifier") as client:
        shadowed = [rule(), rule(id="r2", label="low")]
        answer = await client.post("/api/rules", json={"files": [{"name": "a.yaml", "text": text_of(*shadowed)}], "by": "ana", **DROP})
        assert answer.status_code == 202 and answer.json()["count"] == 2 and len(answer.json()["warnings"]) == 3
        assert {book.rules.digest for book in books} == {answer.json()["digest"]} == {book.source for book in books}
        for wrong, says in (
            ([{"name": "a.yaml", "text": text_of(rule(label="extreme"))}], "no label 'extreme'"),
            ([{"name": "a.txt", "text": ""}], "no name of a rule file"),
            ([{"name": "a.yaml", "text": yaml.safe_dump({"rules": 5})}], "a.yaml"),
        ):
            refused = await client.post("/api/rules", json={"files": wrong})
            assert refused.status_code >= 400 and says in refused.json()["error"]
            assert {book.source for book in books} == {answer.json()["digest"]}
        assert (await client.post("/api/rules", json={"file": []})).status_code == 422  # misspelt, it would ask for the folders
        assert (await client.post("/api/rules", json={"reason": "back"})).json()["digest"] == FOLDER
        assert {book.source for book in books} == {FOLDER} and len(books[2].rules) == 1


SAFETY = (SHIPPED / "safety.yaml").read_text()
ALL = SAFETY.count("kind: block")


@pytest.mark.parametrize(
    ("files", "dropped"),
    [
        ({"a.yaml": text_of(rule())}, f"drop {ALL} of the {ALL} safety rules"),
        ({"safety.yaml": SAFETY.replace("id: risk-code-word", "id: mine")}, f"drop 1 of the {ALL} safety rules that ship (risk-code-word)"),
        ({"safety.yaml": SAFETY.replace("kind: block", "kind: plain", 1)}, "drop 1 of"),
        ({"safety.yaml": SAFETY.replace("kind: block", "kind: block\n    expires: 2027-01-01", 1)}, "drop 1 of"),
        ({"safety.yaml": f"collection: wellbeing\n{SAFETY}"}, f"drop {ALL} of"),
    ],
)
async def test_safety_rules_are_not_dropped_by_accident(tmp_path: Path, store: ObjectStore, files: dict[str, str], dropped: str) -> None:
    book, bus = RuleBook(SHIPPED, label_set), MemoryBus()
    desk = RuleDesk(book, store, bus, lambda: START)  # type: ignore[arg-type]
    bus.readers = [desk.on_rules_published]
    app = Starlette(routes=desk.routes(), exception_handlers={HTTPException: _http_error, FeedloopError: _failed})
    body = {"files": [{"name": name, "text": text} for name, text in files.items()]}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://classifier") as client:
        refused = await client.post("/api/rules", json=body)
        assert refused.status_code == 400 and dropped in refused.json()["error"] and "drop_safety_rules: true" in refused.json()["error"]
        assert book.source == FOLDER and book.warnings == book.rules.warnings
        asked = await client.post("/api/rules", json=body | DROP)
        assert asked.status_code == 202 and "safety rules that ship are not in force" in asked.json()["warnings"][0]
        assert book.source == asked.json()["digest"] and book.warnings[0] == asked.json()["warnings"][0]
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    stands_in = RuleBook(tmp_path, label_set)
    assert "FEEDLOOP_DROP_SAFETY_RULES=true" in stands_in.problem and stands_in.rules.digest == book_of(SHIPPED).rules.digest
    assert "safety rules that ship are not in force" in RuleBook(tmp_path, label_set, drop_safety_rules=True).warnings[0]


def test_an_edit_of_the_folder_does_not_drop_safety_rules_either(folder: Path) -> None:
    save(folder / "safety.yaml", SAFETY, 1)
    book = RuleBook(folder, label_set)
    before = book.rules.digest
    assert book.warnings == [] and len(book.rules) > ALL  # rules of one's own beside them are nobody's business
    (folder / "safety.yaml").unlink()
    assert not book.refresh() and f"drop {ALL} of the {ALL}" in book.problem and book.rules.digest == before


class Away(ObjectStore):
    """An object store that can be away, or answer nothing at all."""

    state = ""

    def get(self, ref):
        if self.state == "silent":
            time.sleep(0.5)
        if self.state:
            raise OSError("connection refused")
        return super().get(ref)


@pytest.mark.parametrize("state", ["away", "silent"])
async def test_an_object_store_that_is_away_does_not_stop_verdicts(folder: Path, tmp_path: Path, monkeypatch, state: str) -> None:
    monkeypatch.setattr(rule_desk, "FIRST_S", 0.2)
    monkeypatch.setattr(rule_desk, "AGAIN_S", 0.05)
    store, book = Away(str(tmp_path / "objects")), book_of(folder)
    large, small = (news(book, store, text_of(*(rule(id=f"r{n}", reason="x" * 1100) for n in range(many)))) for many in (400, 2))
    assert large.files_ref and not small.files_ref
    desk = RuleDesk(book, store, MemoryBus(), lambda: START)  # type: ignore[arg-type]
    keeping = asyncio.create_task(desk.keep_announced())
    store.state = state
    await asyncio.wait_for(desk.on_rules_published(large), 2)  # what the service's start waits for
    assert len(book.rules) == 1 and "can't be read now, and are tried again" in book.problem
    await asyncio.sleep(0.2)
    store.state = ""
    async with asyncio.timeout(10):
        while len(book.rules) != 400:
            await asyncio.sleep(0.05)
    assert book.problem == ""
    store.state = state
    await desk.on_rules_published(news(book, store, text_of(*(rule(id=f"s{n}", reason="x" * 1100) for n in range(400)))))
    await desk.on_rules_published(small)  # newer: what was waited for is wanted no longer
    store.state = ""
    await asyncio.sleep(0.6)
    assert len(book.rules) == 2 and not keeping.done()
    keeping.cancel()


async def test_reading_the_folder_and_the_topic_at_once_leaves_one_of_them_whole(folder: Path, store: ObjectStore) -> None:
    book = book_of(folder)
    event = news(book, store, text_of(rule(id="r2", any=["hurry"], tests=[{"text": "hurry", "hit": True}])))
    for n in range(20):
        save(folder / "a.yaml", text_of(rule(id=f"f{n}")), 10 + n)
        await asyncio.gather(asyncio.to_thread(book.refresh), asyncio.to_thread(take, book, store, event))
        assert book.source == event.digest == book.rules.digest
        take(book, store, back_to_folder(event.digest, "", "", START))
        assert book.rules.hits("", "act now", NEWS)[0].rule.id == f"f{n}"


@pytest.mark.parametrize(
    "text",
    [
        "rules:\n  - id: {{ name }}\n",
        "rules: [{[x]: 1}]",
        "rules:\n  ? [a, b]\n  : c",
        "rules: !!set {a, b}",
        "rules: [!!timestamp abc]",
        "!!set {rules}",
        "rules: 1" + ":1" * 200 + ".0",
    ],
    ids=["template", "list as key", "complex key", "set", "timestamp", "all a set", "sexagesimal"],
)
def test_yaml_that_is_sound_and_no_rules_is_refused_and_ends_nothing(folder: Path, text: str) -> None:
    book = book_of(folder)
    first = book.rules
    save(folder / "b.yaml", text, 2)
    assert not book.refresh() and book.rules is first
    assert "b.yaml" in book.problem and "stay in force" in book.problem
    again = book_of(folder)  # a restart meanwhile: those that ship stand in
    assert "b.yaml" in again.problem and len(again.rules) > 20
