"""What can't be handled: single records go to the dead letters as they came, failures that pass are waited for, a broken handler stops."""

import asyncio
import base64
import json
from collections import Counter

import pytest

from deploy.local.kafka import KafkaProcess
from shared.bus import Bus
from shared.envelope import envelope, new_trace
from shared.errors import PermanentError, TransientError
from shared.events import DocumentClassified, DocumentIngested, Event
from shared.guard import Breaker, Retry
from tests.conftest import Service
from tests.support.records import NOON, document
from tests.support.topics import count, header, left, make, read, write
from tests.support.waiting import until

pytestmark = [pytest.mark.kafka, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]
IN, OUT = "documents.ingested.v1", "documents.classified.v1"
DEAD = f"{IN}.classifier.dlq"
Headers = list[tuple[str, bytes]]


def headers_of(event: DocumentIngested, **changed: bytes) -> Headers:
    """The envelope of an event, some headers changed or added."""
    own = {name: value.encode() for name, value in envelope(event, "tests", NOON, new_trace(event.id)).items()}
    return list({**own, **{name.replace("__", "-"): value for name, value in changed.items()}}.items())


def body(event: DocumentIngested, **changed: object) -> bytes:
    return json.dumps({**json.loads(event.model_dump_json()), **changed}).encode()


def grown(event: DocumentIngested, size: int) -> bytes:
    """The event's body with a text that makes it `size` bytes."""
    return body(event, text="x" * (size - len(body(event, text=""))))


def poison() -> dict[str, tuple[bytes | None, Headers]]:
    """Bodies and headers that no service can take, by what is wrong with them."""
    n = document(9000)
    good = headers_of(n)
    return {
        "bad JSON": (b'{"id": "doc", ', good),
        "no JSON at all": (b"\x00\xff\xfe garbage", good),
        "a list": (b"[1, 2, 3]", good),
        "nested too deep": (b"[" * 200_000, good),
        "another event's type": (body(n), headers_of(n, ce_type=b"documents.classified.v1")),
        "no headers": (body(n), []),
        "a header that is not UTF-8": (body(n), headers_of(n, subject=b"caf\xe9")),
        "an empty body": (b"", good),
        "no body": (None, good),
        "900 kB of nothing": (b"z" * 900_000, good),
        "nearly all that Kafka takes": (b"z" * 1_047_000, good),
        "headers that are large themselves": (b"z" * 600_000, headers_of(n, subject=b"s" * 400_000)),
        "a document whose verdict is too large": (grown(n, 999_950), good),
        "half a surrogate pair": (body(n).replace(b"Council", b"\\ud800"), good),
        "a time without a zone": (body(n, received_at="2026-11-20"), good),
        "a collection that is no name": (body(n, collection="../" * 300), good),
    }


async def test_poison_goes_to_the_dead_letters_and_holds_nothing_up(broker: KafkaProcess, service: Service) -> None:
    kinds = poison()
    good = [document(n) for n in range(120)]
    records = [(event.id.encode(), event.model_dump_json().encode(), headers_of(event)) for event in good]
    strange_but_sound = document(500)
    records.append((b"trace", strange_but_sound.model_dump_json().encode(), headers_of(strange_but_sound, traceparent=b"not a trace")))
    large = document(501)
    records.append((b"large", grown(large, 900_000), headers_of(large)))
    mixed = list(records)
    for place, (what, (value, headers)) in enumerate(kinds.items()):
        mixed.insert(place * 7 + 3, (what.encode(), value, headers))
    await write(broker.bootstrap, IN, mixed)

    classifier = service("classifier", broker)

    async def nothing_left() -> bool:
        return await left(broker.bootstrap, "classifier", IN) == 0

    await until(f"every record is handled; its log ends:\n{classifier.last_lines()}", 60, nothing_left, every=0.5)
    verdicts = {DocumentClassified.model_validate_json(record.value or b"").id for record in await read(broker.bootstrap, OUT)}
    assert verdicts >= {event.id for event in [*good, strange_but_sound, large]}
    dead = {(record.key or b"").decode(): record for record in await read(broker.bootstrap, DEAD)}
    assert set(dead) == set(kinds)
    came = {(record.key or b"").decode(): record for record in await read(broker.bootstrap, IN)}
    for what, (value, headers) in kinds.items():
        record = dead[what]
        assert record.value == (value or b""), what
        assert header(record, "feedloop-reason") and header(record, "feedloop-error"), what
        origin = json.loads(header(record, "feedloop-origin"))
        assert (origin["topic"], origin["partition"], origin["offset"]) == (IN, came[what].partition, came[what].offset), what
        assert [(name, base64.b64decode(given)) for name, given in origin["headers"]] == headers, what
    reasons = {what: header(record, "feedloop-reason") for what, record in dead.items()}
    assert "ce_type is 'documents.classified.v1'" in reasons["another event's type"]
    assert reasons["a header that is not UTF-8"] == "header subject is not UTF-8"
    await classifier.ready()


async def test_a_failure_that_passes_keeps_the_record(broker: KafkaProcess) -> None:
    await make(broker.bootstrap, f"{IN}.tests-patient.dlq")
    bus = Bus(broker.bootstrap, "tests-patient")
    tries: Counter[str] = Counter()

    async def handler(event: DocumentIngested) -> list[Event]:
        tries[event.id] += 1
        if event.id == document(7).id and tries[event.id] <= 7:
            raise TransientError("the neighbour is away")
        return []

    bus.handle(DocumentIngested, handler, retry=Retry(attempts=3, first=0.05))
    await bus.start()
    try:
        await bus.publish(*(document(n) for n in range(30)))

        async def kept() -> bool:
            return tries[document(7).id] > 3

        await until("the batch comes again", 30, kept)
        assert await left(broker.bootstrap, "tests-patient", IN) > 0, "nothing is committed while it is away"

        async def nothing_left() -> bool:
            return await left(broker.bootstrap, "tests-patient", IN) == 0

        await until("all is handled", 60, nothing_left)
    finally:
        await bus.stop()
    assert set(tries) == {document(n).id for n in range(30)}
    assert tries[document(7).id] == 8
    assert await count(broker.bootstrap, f"{IN}.tests-patient.dlq") == 0


async def test_a_broken_handler_stops_dead_lettering_and_goes_on_once_it_is_mended(broker: KafkaProcess) -> None:
    dlq = f"{IN}.tests-broken.dlq"
    await make(broker.bootstrap, dlq)
    bus = Bus(broker.bootstrap, "tests-broken")
    broken = True
    handled: set[str] = set()

    async def handler(event: DocumentIngested) -> list[Event]:
        if broken and event.id != document(3).id:
            raise PermanentError("a release that is broken")
        handled.add(event.id)
        return []

    bus.handle(DocumentIngested, handler, breaker=Breaker(rest=3.0))
    await bus.start()
    try:
        await bus.publish(*(document(n) for n in range(400)))

        async def open_now() -> bool:
            return await count(broker.bootstrap, dlq) >= 49  # of fifty records one may be the sound one, as the partitions come

        await until("the breaker opens", 30, open_now)
        await asyncio.sleep(7)  # two looks at whether it is mended
        letters = await count(broker.bootstrap, dlq)
        assert 49 <= letters <= 60, "it stops at fifty, whatever comes again"
        assert await left(broker.bootstrap, "tests-broken", IN) > 300
        broken = False

        async def nothing_left() -> bool:
            return await left(broker.bootstrap, "tests-broken", IN) == 0

        await until("all is handled once the handler is mended", 40, nothing_left)
    finally:
        await bus.stop()
    assert await count(broker.bootstrap, dlq) == letters
    lost = {document(n).id for n in range(400)} - handled
    assert len(lost) <= letters, "what was not handled lies in the dead letters"
