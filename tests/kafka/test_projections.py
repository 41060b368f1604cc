"""Views and members: a late replica reads the whole past, a compacted topic keeps the newest of each key, a killed member is back at once."""

import asyncio
import subprocess
import sys
import time
from collections import Counter

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from deploy.local.kafka import KafkaProcess
from shared.bus import Bus
from shared.child_process import die_with_parent
from shared.events import SourcePolled, SourceRef, TrainingRequested
from tests.support.records import NOON, document
from tests.support.services import ROOT
from tests.support.topics import read, write
from tests.support.waiting import until

pytestmark = [pytest.mark.kafka, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]
POLLED = "sources.polled.v1"


def polled(source: int, round_: int) -> SourcePolled:
    return SourcePolled(source=SourceRef(id=f"source-{source}", kind="feed"), state="ok", cursor={"round": str(round_)}, at=NOON)


async def test_a_late_replica_sees_all_of_a_compacted_topic(module_broker: KafkaProcess) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=module_broker.bootstrap)
    await admin.start()
    # segments of a moment, so that the broker compacts within the test and the offsets get holes
    await admin.alter_configs(
        [ConfigResource(ConfigResourceType.TOPIC, POLLED, {"cleanup.policy": "compact", "segment.ms": "500", "min.cleanable.dirty.ratio": "0.01"})]
    )
    await admin.close()
    writer = Bus(module_broker.bootstrap, "tests-writer")
    await writer.start()
    try:
        for round_ in range(40):
            await writer.publish(*(polled(source, round_) for source in range(20)))
        await write(module_broker.bootstrap, POLLED, [(b"nobody", b"not an event", [])])

        async def compacted() -> bool:
            await asyncio.sleep(0.6)
            await writer.publish(polled(99, 0))  # a segment is closed by the next record
            return len(await read(module_broker.bootstrap, POLLED)) < 400

        await until("the broker has compacted the topic", 90, compacted, every=1.5)
    finally:
        await writer.stop()
    left_over = await read(module_broker.bootstrap, POLLED)

    newest: dict[str, int] = {}
    seen: Counter[str] = Counter()

    async def slowly(event: SourcePolled) -> None:
        await asyncio.sleep(0.01)  # the view is complete when all is applied, not when all is fetched
        newest[event.source.id] = int(event.cursor["round"])
        seen[event.source.id] += 1

    late = Bus(module_broker.bootstrap, "tests-late")
    late.project(SourcePolled, slowly)
    await late.start()
    try:
        await asyncio.wait_for(late.caught_up(), 30)
        assert newest == {**{f"source-{source}": 39 for source in range(20)}, "source-99": 0}
        assert sum(seen.values()) == len(left_over) - 1, "each record once, and the one that is no event passed over"
        await late.publish(polled(5, 40))

        async def heard() -> bool:
            return newest["source-5"] == 40

        await until("what comes later is read too", 10, heard)
    finally:
        await late.stop()


async def test_a_quiet_topic_is_caught_up_with_and_heard_at_once(module_broker: KafkaProcess) -> None:
    bus = Bus(module_broker.bootstrap, "tests-empty")
    heard: list[str] = []
    bus.project(TrainingRequested, lambda event: heard.append(event.run_id))
    await bus.start()
    try:
        await asyncio.wait_for(bus.caught_up(), 4)  # and not when the fetch ends that waits 5 s for records
        await asyncio.sleep(6)  # longer than one wait for records: FastStream's reader was deaf then for as long again
        await bus.publish(TrainingRequested(run_id="late", reason="a test", requested_at=NOON))

        async def there() -> bool:
            return heard == ["late"]

        await until("the record is handed over", 2, there)
    finally:
        await bus.stop()


class Member:
    """tests.support.member as a process, with the times at which it said what."""

    def __init__(self, bootstrap: str) -> None:
        argv = [sys.executable, "-m", "tests.support.member", bootstrap, "tests-member"]
        self.process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=die_with_parent())

    async def line(self) -> str:
        assert self.process.stdout is not None
        return (await asyncio.wait_for(asyncio.to_thread(self.process.stdout.readline), 40)).strip()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


async def test_a_static_member_is_back_at_once_after_kill_9(module_broker: KafkaProcess) -> None:
    bus = Bus(module_broker.bootstrap, "tests-writer")
    await bus.start()
    resumed = []
    member = Member(module_broker.bootstrap)
    try:
        for turn in range(3):
            assert await member.line() == "begins"
            began = time.monotonic()
            await bus.publish(document(turn))
            while (said := await member.line()) != document(turn).id:  # what it had not committed comes again
                assert said in {document(n).id for n in range(turn)}
            resumed.append(round(time.monotonic() - began, 2))
            await asyncio.sleep(1)  # let it commit
            member.kill()
            member = Member(module_broker.bootstrap)
    finally:
        member.kill()
        await bus.stop()
    print(f"\na new member, then the same one after kill -9: first record after {resumed} s")
    assert max(resumed[1:]) < 5, "it must not wait out the session timeout of its own past (10 s)"
