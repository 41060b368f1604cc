"""The views take what comes in whatever order, and the stream tells it."""

import asyncio
import itertools
import json
from datetime import UTC, datetime, timedelta

import pytest

import services.feedback.stream as streaming
from services.feedback.stream import Stream
from services.feedback.views import Items, Loop
from shared.events import FeedbackGiven, ModelPublished, SourcePolled, SourceRef, TrainingFinished, TrainingProgressed

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def at(minute: int) -> datetime:
    return NOON + timedelta(minutes=minute)


def test_verdicts_and_feedback_give_the_same_view_in_any_order(item):
    given = FeedbackGiven(id="f", kind="correction", document_id="d001", task="category", correct="economy", given_at=at(2))
    other = given.model_copy(update={"id": "g", "correct": "sport", "given_at": at(3)})
    back = FeedbackGiven(id="r", kind="retraction", document_id="d001", retracts="f", given_at=at(4))
    verdicts = [item(1, "business", stage="provisional"), item(1, "world"), item(1, "economy", stage="corrected", feedback_at=at(2))]
    shown = set()
    for order in itertools.permutations([*verdicts, given, other, back]):
        items = Items()
        for event in order:
            (items.on_feedback_given if isinstance(event, FeedbackGiven) else items.on_document_classified)(event)
        shown.add(json.dumps(items.shown("d001"), sort_keys=True))
    (only,) = (json.loads(text) for text in shown)
    assert (only["stage"], only["decision"]["category"]["label"]) == ("corrected", "economy")
    assert [said["id"] for said in only["feedback"]] == ["g"]


def test_the_newest_are_kept(item):
    items = Items(keep=100)
    for n in reversed(range(150)):
        items.on_document_classified(item(n))
    assert all(items.get(f"d{n:03}") for n in range(50, 150)) and items.counts()["documents"] <= 110


def test_the_loop_shows_a_run_until_it_has_finished_in_any_order():
    started = TrainingProgressed(run_id="r", phase="training", step=1, steps=9, at=at(1))
    failed = TrainingFinished(run_id="r", outcome="failed", reason="disk full", finished_at=at(2))
    for order in ([started, failed], [failed, started]):
        loop = Loop()
        for event in order:
            (loop.on_training_progressed if event is started else loop.on_training_finished)(event)
        assert loop.shown()["training"] is None and loop.shown()["runs"] == [failed]
    again = started.model_copy(update={"at": at(3)})
    loop.on_training_progressed(again)  # a run that failed is tried again, under the same id
    assert loop.shown()["training"] == again


def test_the_loop_shows_what_is_live_and_failing_sources_first():
    loop = Loop()
    loop.on_model_published(ModelPublished(role="adapter", digest="abcdef0123456789", previous="base", published_at=at(1), reason="better"))
    for n, state in enumerate(("ok", "failing")):
        loop.on_source_polled(SourcePolled(source=SourceRef(id=f"s{n}", kind="feed"), state=state, at=at(n)))
    shown = loop.shown()
    assert (shown["live"][0]["name"], shown["live"][0]["reason"]) == ("adapter-abcdef012345", "better")
    assert [polled.state for polled in shown["sources"]] == ["failing", "ok"]


@pytest.fixture
def stream(item, monkeypatch) -> Stream:
    monkeypatch.setattr(streaming, "GATHER_S", 0.05)
    items = Items()
    items.on_document_classified(item(1))

    async def loop():
        return {"waiting": 3}

    return Stream(items.shown, loop)


async def test_an_item_is_delivered_once_for_several_changes(stream):
    events = (await stream.serve(None)).body_iterator
    assert await anext(events) == b": welcome\n\n"
    for _ in range(3):
        stream.changed("item", "d001")
    stream.changed("item", "gone")
    stream.changed("loop", None)
    kind, data = (await asyncio.wait_for(anext(events), 5)).decode().split("\n", 1)
    assert kind == "event: item" and json.loads(data.removeprefix("data: "))["id"] == "d001"
    assert (await asyncio.wait_for(anext(events), 5)) == b'event: loop\ndata: {"waiting":3}\n\n'
    await events.aclose()
    assert not stream._readers


async def test_a_slow_reader_is_sent_away_and_the_others_stay(stream, monkeypatch):
    monkeypatch.setattr(streaming, "LONGEST", 5)
    slow, quick = (await stream.serve(None)).body_iterator, (await stream.serve(None)).body_iterator
    await anext(slow)
    await anext(quick)
    for n in range(5):
        stream.changed("item", "d001" if n == 0 else f"gone{n}")
    assert b"d001" in await asyncio.wait_for(anext(quick), 5)
    waiting = asyncio.create_task(anext(quick))
    await asyncio.sleep(0.1)
    stream.changed("item", "d001")  # one more than the slow one may be behind
    assert b"d001" in await asyncio.wait_for(waiting, 5)
    assert len(stream._readers) == 1
    with pytest.raises(StopAsyncIteration):
        await anext(slow)  # the page comes again and reads everything anew
    await quick.aclose()


async def test_a_quiet_stream_beats(stream, monkeypatch):
    monkeypatch.setattr(streaming, "BEAT_S", 0.05)
    events = (await stream.serve(None)).body_iterator
    await anext(events)
    assert await asyncio.wait_for(anext(events), 5) == b": beat\n\n"
    await events.aclose()
