"""Envelopes, parsing, and one correlation id from parent to child; over an in-memory stand-in for the broker alone (tests/kafka has the real one)."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaError, RequestTimedOutError, TopicAuthorizationFailedError

from shared.bus import Bus
from shared.envelope import MAX_BODY, envelope, header, new_trace, parse
from shared.errors import PermanentError, TransientError
from shared.events import SourcePolled, TrainingFinished, TrainingProgressed
from shared.guard import Retry
from shared.topics import dead_letters
from tests.loop.memory_kafka import MemoryKafka, _Asker, use
from tests.unit.shared.made import NOON, polled

TOPIC = "sources.polled.v1"


@pytest.fixture
async def kafka(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MemoryKafka]:
    kafka = MemoryKafka()
    use(kafka, monkeypatch)
    yield kafka
    await kafka.stop()


def test_the_envelope_is_a_cloudevent_in_binary_mode(record) -> None:
    event = polled()
    trace = new_trace("wire")
    headers = envelope(event, "ingest", NOON, trace)
    assert headers == {
        "ce_specversion": "1.0",
        "ce_id": event.event_id(),
        "ce_type": TOPIC,
        "ce_source": "/feedloop/ingest",
        "ce_time": "2026-11-01T12:00:00+00:00",
        "content-type": "application/json",
        "traceparent": trace,
    }
    assert parse(SourcePolled, record(event)) == event


def test_the_trace_id_is_made_of_the_entity() -> None:
    one, two = new_trace("wire").split("-"), new_trace("wire").split("-")
    assert one[1] == two[1] != new_trace("other").split("-")[1]
    assert one[2] != two[2]
    assert [len(part) for part in one] == [2, 32, 16, 2]


def test_a_foreign_type_is_refused(record) -> None:
    with pytest.raises(PermanentError, match=r"ce_type is 'documents\.ingested\.v1', expected 'sources\.polled\.v1'"):
        parse(SourcePolled, record(headers={"ce_type": "documents.ingested.v1"}))
    with pytest.raises(PermanentError, match="ce_type is ''"):
        parse(SourcePolled, record(headers={}))


def test_a_header_that_is_not_utf8_is_named(record) -> None:
    with pytest.raises(PermanentError, match="header x-odd is not UTF-8"):
        parse(SourcePolled, record(headers={"ce_type": TOPIC, "x-odd": b"\xff\xfe"}))


def test_a_null_header_is_an_empty_one(record) -> None:
    given = record(headers={"ce_type": TOPIC, "traceparent": None})
    assert header(given, "traceparent") == ""
    assert parse(SourcePolled, given) == polled()


@pytest.mark.parametrize("value", [b"", b"[]", b"{", b'{"source": 1}', b"\xff"])
def test_a_foreign_body_is_a_validation_error(record, value: bytes) -> None:
    with pytest.raises(ValueError, match="validation error"):
        parse(SourcePolled, record(value=value))


def test_no_body_is_named(record) -> None:
    with pytest.raises(PermanentError, match="no body"):
        parse(SourcePolled, replace(record(), value=None))


async def test_children_keep_the_correlation_id_of_their_parent(kafka: MemoryKafka) -> None:
    bus = Bus("memory", "tester", clock=lambda: NOON)

    async def handler(event: SourcePolled) -> list[TrainingProgressed]:
        await bus.publish(TrainingProgressed(run_id="inside", phase="preparing", at=NOON))
        return [TrainingProgressed(run_id="after", phase="training", at=NOON)]

    bus.handle(SourcePolled, handler)
    await bus.start()
    await bus.publish(polled())
    await kafka.settled()
    await bus.stop()
    [parent] = kafka.records(TOPIC)
    children = kafka.records("training.progressed.v1")
    traces = [header(record, "traceparent").split("-") for record in (parent, *children)]
    assert len(children) == 2
    assert len({trace[1] for trace in traces}) == 1, "one correlation id"
    assert len({trace[2] for trace in traces}) == 3, "a span of its own each"


@pytest.mark.parametrize("given", ["", "garbage", "00-xyz-1-01", b"\xff", None])
async def test_a_malformed_traceparent_holds_nothing_up(kafka: MemoryKafka, given: Any) -> None:
    bus = Bus("memory", "tester", clock=lambda: NOON)
    seen: list[str] = []

    async def handler(event: SourcePolled) -> list[TrainingProgressed]:
        seen.append(event.source.id)
        return [TrainingProgressed(run_id="after", phase="training", at=NOON)]

    bus.handle(SourcePolled, handler)
    await bus.start()
    await kafka.append(TOPIC, polled().model_dump_json().encode(), b"wire", {"ce_type": TOPIC, "traceparent": given})
    await kafka.settled()
    await bus.stop()
    if given == b"\xff":
        assert len(kafka.records(dead_letters(TOPIC, "tester"))) == 1
    else:
        assert seen == ["wire"]
        [child] = kafka.records("training.progressed.v1")
        assert len(header(child, "traceparent").split("-")[1]) == 32


async def test_an_answer_too_large_for_kafka_is_quarantined_and_its_neighbours_go_on(kafka: MemoryKafka) -> None:
    bus = Bus("memory", "tester", clock=lambda: NOON)

    async def handler(event: SourcePolled) -> list[TrainingFinished]:
        length = MAX_BODY if event.source.id == "long" else 1
        return [TrainingFinished(run_id="r", outcome="failed", reason="x" * length, finished_at=NOON)]

    bus.handle(SourcePolled, handler)
    await bus.start()
    await bus.publish(polled(source={"id": "long", "kind": "feed"}), polled())
    await kafka.settled()
    await bus.stop()
    [held] = kafka.records(dead_letters(TOPIC, "tester"))
    assert held.key == b"long"
    assert "store it and send a reference" in header(held, "feedloop-reason")
    assert len(kafka.records("training.finished.v1")) == 1


async def test_publishing_what_is_too_large_is_refused(kafka: MemoryKafka) -> None:
    bus = Bus("memory", "tester")
    with pytest.raises(PermanentError, match="at most 1000000 travel inline"):
        await bus.publish(polled(reason="x" * MAX_BODY))


async def test_a_batch_that_failed_comes_again_and_in_order(kafka: MemoryKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.bus.asyncio.sleep", _no_time(asyncio.sleep))
    bus = Bus("memory", "tester")
    tries: list[str] = []

    async def handler(event: SourcePolled) -> list[SourcePolled]:
        tries.append(event.source.id)
        if event.source.id == "b" and tries.count("b") < 3:
            raise TransientError("busy")
        return []

    bus.handle(SourcePolled, handler, batch=10, retry=Retry(attempts=1))
    await bus.start()
    await bus.publish(*(polled(source={"id": name, "kind": "feed"}) for name in "abc"))
    await kafka.settled()
    await bus.stop()
    assert tries == ["a", "b", "c"] * 3
    assert kafka.records(dead_letters(TOPIC, "tester")) == []


async def test_a_view_is_caught_up_only_when_its_records_have_been_applied(kafka: MemoryKafka) -> None:
    writer, reader = Bus("memory", "writer"), Bus("memory", "reader")
    await writer.publish(*(polled(source={"id": str(n), "kind": "feed"}) for n in range(20)))
    seen: list[str] = []

    async def apply(event: SourcePolled) -> None:
        await asyncio.sleep(0.01)  # a view that has to look something up
        seen.append(event.source.id)

    reader.project(SourcePolled, apply)
    await reader.start()
    await reader.caught_up()
    assert len(seen) == 20
    await reader.stop()


async def test_catching_up_outlasts_a_broker_that_is_away_and_no_other_trouble(kafka: MemoryKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.bus.asyncio.sleep", _no_time(asyncio.sleep))
    trouble: list[KafkaError] = [KafkaConnectionError("no broker"), RequestTimedOutError("slow")]

    class Asker(_Asker):
        async def start(self) -> None:
            if trouble:
                raise trouble.pop()

    monkeypatch.setattr("shared.bus.AIOKafkaConsumer", lambda **_: Asker(kafka))
    bus = Bus("memory", "reader")
    seen: list[str] = []
    bus.project(SourcePolled, lambda event: seen.append(event.source.id))
    await bus.publish(polled(source={"id": "a", "kind": "feed"}))
    await bus.start()
    await bus.caught_up()
    assert (seen, trouble) == (["a"], [])
    trouble.append(TopicAuthorizationFailedError("not yours"))
    other = Bus("memory", "other")
    other.project(SourcePolled, lambda event: None)
    await other.start()
    with pytest.raises(TopicAuthorizationFailedError):
        await other.caught_up()
    await bus.stop()
    await other.stop()


async def test_a_view_passes_over_what_is_foreign_and_waits_for_what_is_away(kafka: MemoryKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.bus.asyncio.sleep", _no_time(asyncio.sleep))
    bus = Bus("memory", "reader")
    seen: list[str] = []
    away = [OSError("the store is away"), TransientError("busy")]

    def apply(event: SourcePolled) -> None:
        if event.source.id == "odd":
            raise KeyError("a field that is not there")
        if event.source.id == "b" and away:
            raise away.pop()
        seen.append(event.source.id)

    bus.project(SourcePolled, apply)
    await kafka.append(TOPIC, b"{", b"k", {"ce_type": TOPIC, "x": None})
    await bus.publish(*(polled(source={"id": name, "kind": "feed"}) for name in ("a", "odd", "b", "c")))
    await bus.start()
    await bus.caught_up()
    await bus.stop()
    assert (seen, away) == (["a", "b", "c"], [])


def _no_time(sleep: Any) -> Any:
    async def sleep_shortly(seconds: float) -> None:
        await sleep(min(seconds, 0.005))

    return sleep_shortly
