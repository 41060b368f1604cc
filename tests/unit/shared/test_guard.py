"""Retry what passes, quarantine what does not, stop when too much goes wrong."""

import base64
import json
from collections.abc import Awaitable, Callable

import pytest
from aiokafka.structs import ConsumerRecord
from pydantic import TypeAdapter

from shared.errors import PermanentError, TransientError
from shared.guard import Breaker, Guard, Retry

QUICK = Retry(attempts=4, first=0.001, most=0.002)
Handle = Callable[[ConsumerRecord], Awaitable[list[str]]]


class Ward:
    """Where quarantined records go in these tests."""

    def __init__(self) -> None:
        self.held: list[tuple[ConsumerRecord, dict[str, str]]] = []

    async def __call__(self, record: ConsumerRecord, headers: dict[str, str]) -> None:
        self.held.append((record, headers))


def guard(handle: Handle, ward: Ward, breaker: Breaker | None = None) -> Guard[str]:
    return Guard("sources.polled.v1", handle, ward, QUICK, breaker or Breaker())


def raising(error: Exception) -> Handle:
    async def handle(_: ConsumerRecord) -> list[str]:
        raise error

    return handle


async def test_what_passes_is_tried_again_until_it_succeeds(record) -> None:
    tries, ward = [], Ward()

    async def handle(_: ConsumerRecord) -> list[str]:
        tries.append(1)
        if len(tries) < 3:
            raise TransientError("busy")
        return ["done"]

    assert await guard(handle, ward).run(record()) == ["done"]
    assert (len(tries), ward.held) == (3, [])


@pytest.mark.parametrize("error", [TransientError("busy"), TimeoutError("late"), ConnectionResetError("gone")], ids=lambda e: type(e).__name__)
async def test_what_does_not_pass_in_time_keeps_the_record(record, error: Exception) -> None:
    ward, tries = Ward(), []

    async def handle(_: ConsumerRecord) -> list[str]:
        tries.append(1)
        raise error

    with pytest.raises(TransientError, match=str(error)):
        await guard(handle, ward).run(record())
    assert (len(tries), ward.held) == (QUICK.attempts, [])


@pytest.mark.parametrize(
    "error",
    [PermanentError("no good"), ValueError("v"), KeyError("k"), IndexError("i"), TypeError("t"), AttributeError("a"), ZeroDivisionError("z")],
    ids=lambda error: type(error).__name__,
)
async def test_what_never_will_is_quarantined_at_once(record, error: Exception) -> None:
    ward = Ward()
    assert await guard(raising(error), ward).run(record()) == []
    [(_, headers)] = ward.held
    assert headers["feedloop-error"] == type(error).__name__
    assert headers["feedloop-reason"]


async def test_the_quarantine_gets_the_raw_record_with_headers_that_are_not_utf8(record) -> None:
    ward = Ward()
    poison = record(value=b"\xff\x00not json", headers={"ce_type": "strange", "x-odd": b"\xfe\xff", "x-null": None}, offset=41)
    await guard(raising(PermanentError("header x-odd\nis not UTF-8")), ward).run(poison)
    [(held, headers)] = ward.held
    assert held.value == b"\xff\x00not json"
    assert headers["feedloop-reason"] == "header x-odd is not UTF-8", "one line"
    origin = json.loads(headers["feedloop-origin"])
    assert (origin["topic"], origin["partition"], origin["offset"]) == ("sources.polled.v1", 0, 41)
    came = {name: base64.b64decode(value) for name, value in origin["headers"]}
    assert came == {"ce_type": b"strange", "x-odd": b"\xfe\xff", "x-null": b""}


async def test_a_foreign_body_is_quarantined_with_what_and_where(record) -> None:
    async def handle(_: ConsumerRecord) -> list[str]:
        TypeAdapter(int).validate_python("many")
        return []

    ward = Ward()
    await guard(handle, ward).run(record())
    assert "valid integer" in ward.held[0][1]["feedloop-reason"]


async def test_an_error_of_the_machine_keeps_the_record(record) -> None:
    ward = Ward()
    with pytest.raises(OSError, match="No space left"):
        await guard(raising(OSError(28, "No space left on device")), ward).run(record())
    assert ward.held == []


async def test_a_quarantine_that_fails_keeps_the_record(record) -> None:
    async def refuse(record: ConsumerRecord, headers: dict[str, str]) -> None:
        raise ConnectionError("Kafka is away")

    with pytest.raises(ConnectionError):
        await Guard("sources.polled.v1", raising(PermanentError("no")), refuse, QUICK).run(record())


async def test_the_breaker_stops_dead_lettering_and_tries_one_record_now_and_then(record) -> None:
    now, mended = [0.0], False

    async def handle(_: ConsumerRecord) -> list[str]:
        if not mended:
            raise PermanentError("a bug of ours")
        return ["fine"]

    ward, breaker = Ward(), Breaker(window=10, share=0.9, least=5, rest=30.0, clock=lambda: now[0])
    broken = guard(handle, ward, breaker)
    for _ in range(5):
        await broken.run(record())
    with pytest.raises(TransientError, match="stopped dead-lettering"):
        await broken.run(record())
    now[0] = 31.0  # rested: one is tried, and kept, because it still fails
    with pytest.raises(TransientError, match="a bug of ours"):
        await broken.run(record())
    assert len(ward.held) == 5
    mended, now[0] = True, 62.0
    assert [await broken.run(record()) for _ in range(3)] == [["fine"]] * 3
    assert not breaker.open


async def test_the_breaker_stays_shut_while_enough_succeeds(record) -> None:
    ward, breaker = Ward(), Breaker(window=10, share=0.9, least=5)
    count = 0

    async def handle(_: ConsumerRecord) -> list[str]:
        nonlocal count
        count += 1
        if count % 5:
            raise PermanentError("poison")
        return ["fine"]

    mixed = guard(handle, ward, breaker)
    for _ in range(40):
        await mixed.run(record())
    assert len(ward.held) == 32


def test_waits_double_up_to_the_most() -> None:
    assert Retry(attempts=6, first=0.5, most=3.0).waits() == [0.5, 1.0, 2.0, 3.0, 3.0]
