"""What has been told: in little memory, for millions of documents, once, in linear time; and what is refused, with its reason, also after a restart."""

import asyncio
import random
import sys
import time
from pathlib import Path

import pytest

from services.ingest import intake as way
from services.ingest import known as knowing
from services.ingest.items import RawItem, Refused
from services.ingest.quarantine import Quarantine
from services.ingest.table import Table
from shared.errors import TransientError
from shared.events import DocumentIngested, Event, SourceRef
from tests.unit.ingest.conftest import NOW, World, make_world

DESK = SourceRef(id="desk", kind="feed", title="Desk")


def raw(key: str, text: str = "Some words of text.") -> RawItem:
    return RawItem(key=key, title=f"Title {key}", body=text, raw=key.encode())


def document(number: int, version: str = "1") -> DocumentIngested:
    return DocumentIngested(
        id=f"d{number}", version=version, source=DESK, title="T", text="", published_at=NOW, received_at=NOW, story=f"d{number}", collection="news"
    )


def test_a_table_is_a_dict_in_fewer_bytes() -> None:
    dice, table, wanted = random.Random(1), Table(), dict[int, int]()
    for _ in range(60_000):
        key, value = dice.choice([dice.getrandbits(64), dice.getrandbits(9), dice.getrandbits(10) << 54]), dice.getrandbits(32)
        table.put(key, value)
        wanted[key or 1] = value
    assert len(table) == len(wanted) and all(table.get(key) == value for key, value in wanted.items())
    assert not any(dice.getrandbits(63) + 2_000 in table for _ in range(1_000))
    assert sum(sys.getsizeof(part) for part in table._keys + table._values) < 45 * len(table)


def test_the_newest_half_stays_known(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert knowing.MAX_VERSIONS >= 4_000_000, "a mailbox of a million that is rewritten is known again"
    monkeypatch.setattr(knowing, "MAX_VERSIONS", 1_000)
    for number in range(2_400):
        world.known.remember(document(number))
    assert not any(world.known.tells(document(number)) for number in range(1_900, 2_400)) and world.known.tells(document(0))
    assert world.known.tells(document(2_399, "2")) and world.known.count("desk") == 2_400


async def test_twenty_thousand_items_take_linear_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(way, "signature_of", lambda document: None)
    monkeypatch.setattr(way, "documents_of", lambda item, *_: ([document(int(item.key))], []))
    began = time.process_time()
    taken = await world.intake.take([raw(str(number)) for number in range(20_000)], DESK, "news", since=NOW.replace(year=2027))
    assert len(taken.unchanged) == len(taken.marks) == 20_000 and time.process_time() - began < 6


@pytest.mark.parametrize("error", [OverflowError("date value out of range"), AttributeError("None has no x"), AssertionError()])
async def test_an_item_that_our_cleaning_stumbles_on_is_refused_alone(world: World, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    real = way.documents_of

    def stumbling(item: RawItem, *rest):  # type: ignore[no-untyped-def]
        if item.key == "bad":
            raise error
        return real(item, *rest)

    monkeypatch.setattr(way, "documents_of", stumbling)
    taken = await world.intake.take([raw("1"), raw("bad"), raw("2")], DESK, "news")
    assert [told.title for told in taken.published] == ["Title 1", "Title 2"]
    (kept,) = world.quarantine.last()
    assert kept.reason == "unreadable" and type(error).__name__ in kept.detail


@pytest.mark.parametrize("error", [TransientError("the object store is away"), PermissionError("denied")])
async def test_a_store_that_is_away_is_no_fault_of_an_item(world: World, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def away(*_):  # type: ignore[no-untyped-def]
        raise error

    monkeypatch.setattr(way, "documents_of", away)
    with pytest.raises(type(error)):
        await world.intake.take([raw("1")], DESK, "news")
    assert world.quarantine.last() == []


async def test_a_poll_that_is_cancelled_while_it_publishes_tells_nothing_twice(world: World) -> None:
    gate, begun, told = asyncio.Event(), asyncio.Event(), list[Event]()

    async def publish(*events: Event) -> None:
        begun.set()
        await gate.wait()
        told.extend(events)

    world.intake._publish = publish
    first = asyncio.create_task(world.intake.take([raw("1")], DESK, "news"))
    await begun.wait()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert first.cancelled()
    second = asyncio.create_task(world.intake.take([raw("1"), raw("2")], DESK, "news"))
    await asyncio.sleep(0.3)
    assert told == []
    gate.set()
    assert [news.title for news in (await second).published] == ["Title 2"]
    assert [event.title for event in told if isinstance(event, DocumentIngested)] == ["Title 1", "Title 2"]
    assert world.intake._left == {}


def test_a_refusal_outlives_the_process_and_is_paged(tmp_path: Path) -> None:
    times = iter(NOW.replace(minute=minute) for minute in range(60))
    first = Quarantine(str(tmp_path), lambda: next(times))
    for number in range(5):
        first.put("desk", Refused("no-text", f"nothing in {number} \ud800", str(number).encode()))
    again = Quarantine(str(tmp_path), lambda: next(times))
    assert again.last() == first.last() and [row.detail for row in again.last()] == [f"nothing in {number} ?" for number in (4, 3, 2, 1, 0)]
    again.put("desk", Refused("no-text", "listed again after the restart", b"3"))
    again.put("other", Refused("no-text", "another source", b"3"))
    assert [row.source for row in again.last()] == ["other", *["desk"] * 5]
    pages, before = [], ""
    while True:
        rows, before = again.page(before, 4)
        pages.append([row.detail[:12] for row in rows])
        if not before:
            break
    assert [len(page) for page in pages] == [4, 2] and pages[1] == ["nothing in 1", "nothing in 0"]
    small = Quarantine(str(tmp_path), lambda: next(times), most=3)
    small.put("desk", Refused("no-text", "newest", b"9"))
    assert [row.detail for row in small.last()] == ["newest", "another source", "nothing in 4 ?"]


async def test_a_restarted_service_shows_what_was_refused(world: World) -> None:
    await world.intake.refuse("desk", Refused("not-a-feed", "a page", b"<html>"))
    assert [row.detail for row in make_world(world.folder, world.bus).quarantine.last()] == ["a page"]
