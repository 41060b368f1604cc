"""At least once, really: the classifier and the broker are killed with -9 while they work, and no document is lost."""

import asyncio
import os
import signal
import time
from collections import defaultdict
from collections.abc import Sequence

import pytest
from aiokafka.errors import KafkaError

from deploy.local.kafka import KafkaProcess
from shared.bus import Bus
from shared.envelope import parse
from shared.events import DocumentClassified, DocumentIngested, Event
from tests.conftest import Service
from tests.support.records import document
from tests.support.services import ServiceProcess
from tests.support.topics import count, header, left, read
from tests.support.waiting import until

pytestmark = [pytest.mark.kafka, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]
DOCUMENTS = 2000
IN, OUT = "documents.ingested.v1", "documents.classified.v1"


async def publish_patiently(bus: Bus, events: Sequence[Event]) -> int:
    """Publish all, and again what was not confirmed. How many were sent again."""
    again = 0
    for start in range(0, len(events), 50):
        waiting = list(events[start : start + 50])
        while waiting:
            answers = await asyncio.gather(*(bus.publish(event) for event in waiting), return_exceptions=True)
            unconfirmed = [event for event, answer in zip(waiting, answers, strict=True) if isinstance(answer, KafkaError)]
            others = [answer for answer in answers if isinstance(answer, BaseException) and not isinstance(answer, KafkaError)]
            assert not others, others
            again += len(unconfirmed)
            waiting = unconfirmed
    return again


async def all_handled(kafka: KafkaProcess, seconds: float = 150) -> None:
    async def nothing_left() -> bool:
        return await left(kafka.bootstrap, "classifier", IN) == 0

    await until("the classifier has handled every document", seconds, nothing_left, every=0.5)


async def check_verdicts(kafka: KafkaProcess) -> int:
    """Each document has a provisional verdict, and every repeat of one tells the same fact. How many repeats there are."""
    verdicts: dict[str, list[str]] = defaultdict(list)
    for record in await read(kafka.bootstrap, OUT):
        verdict = parse(DocumentClassified, record)
        assert verdict.stage == "provisional" and verdict.decision["category"].label
        verdicts[verdict.id].append(header(record, "ce_id"))
    missing = {document(n).id for n in range(DOCUMENTS)} - set(verdicts)
    assert not missing, f"{len(missing)} of {DOCUMENTS} documents have no verdict: {sorted(missing)[:5]}"
    assert set(verdicts) == {document(n).id for n in range(DOCUMENTS)}
    assert all(len(set(ids)) == 1 for ids in verdicts.values()), "a verdict told twice has one event id"
    assert await count(kafka.bootstrap, f"{IN}.classifier.dlq") == 0
    return sum(map(len, verdicts.values())) - DOCUMENTS


async def test_nothing_is_lost_when_the_classifier_is_killed(broker: KafkaProcess, service: Service) -> None:
    bus = Bus(broker.bootstrap, "tests")
    await bus.start()
    try:
        assert await publish_patiently(bus, [document(n) for n in range(DOCUMENTS)]) == 0
    finally:
        await bus.stop()

    async def verdicts_beyond(number: int) -> bool:
        return await count(broker.bootstrap, OUT) > number

    began = time.monotonic()
    classifier: ServiceProcess = service("classifier", broker)
    back = []
    for target in (200, 700, 1200):
        await until(f"{target} verdicts", 120, lambda t=target: verdicts_beyond(t), every=0.2)
        classifier.kill()
        assert await left(broker.bootstrap, "classifier", IN) > 0, "it was killed at work"
        stood, killed = await count(broker.bootstrap, OUT), time.monotonic()
        classifier.start()
        await until("a verdict after the restart", 60, lambda s=stood: verdicts_beyond(s), every=0.2)
        back.append(round(time.monotonic() - killed, 1))
    await all_handled(broker)
    seconds = time.monotonic() - began
    repeats = await check_verdicts(broker)
    print(f"\nclassifier killed 3 times: {DOCUMENTS} documents, 0 lost, {repeats} repeats, {seconds:.0f} s; first verdict after each kill: {back} s")
    assert repeats <= 3 * 700, "a kill repeats what was in hand (a batch of 100 a partition at most), not the topic"


async def test_nothing_is_lost_when_the_broker_is_killed(broker: KafkaProcess, service: Service) -> None:
    classifier = service("classifier", broker)
    await classifier.ready()
    address = broker.bootstrap
    bus = Bus(address, "tests")
    await bus.start()
    began = time.monotonic()
    away = []
    try:
        sending = asyncio.create_task(publish_patiently(bus, [document(n) for n in range(DOCUMENTS)]))
        for _ in range(3):
            await asyncio.sleep(0.3)
            assert broker.pid is not None
            os.kill(broker.pid, signal.SIGKILL)
            killed = time.monotonic()
            await broker.wait()
            assert await broker.start() == address
            away.append(round(time.monotonic() - killed, 1))
            await asyncio.sleep(3)
        again = await asyncio.wait_for(sending, 120)
    finally:
        await bus.stop()
    assert {parse(DocumentIngested, record).id for record in await read(address, IN)} == {document(n).id for n in range(DOCUMENTS)}
    await all_handled(broker)
    seconds = time.monotonic() - began
    repeats = await check_verdicts(broker)
    print(f"\nbroker killed 3 times (away {away} s): {DOCUMENTS} documents, 0 lost, {again} sent again, {repeats} repeats, {seconds:.0f} s")
