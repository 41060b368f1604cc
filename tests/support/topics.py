"""Looking at topics from outside: what lies in them, how far a group has come, raw records into them."""

from collections.abc import Sequence

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import GroupCoordinatorNotAvailableError
from aiokafka.structs import ConsumerRecord

Raw = tuple[bytes | None, bytes | None, Sequence[tuple[str, bytes]]]  # key, value, headers


async def count(bootstrap: str, topic: str) -> int:
    """How many records were ever written to the topic (compaction and retention aside)."""
    return sum((await _ends(bootstrap, topic)).values())


async def read(bootstrap: str, topic: str) -> list[ConsumerRecord]:
    """All that lies in the topic now, partition by partition, without a group."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, max_partition_fetch_bytes=4 * 2**20)
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, n) for n in sorted(await _partitions(consumer, topic))]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        starts = await consumer.beginning_offsets(partitions)
        for partition in partitions:
            consumer.seek(partition, starts[partition])
        found: list[ConsumerRecord] = []
        while any([await consumer.position(p) < ends[p] for p in partitions]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                found += records
        return found
    finally:
        await consumer.stop()


async def left(bootstrap: str, group: str, topic: str) -> int:
    """How many records of the topic the group has yet to commit."""
    ends = await _ends(bootstrap, topic)
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        committed = await admin.list_consumer_group_offsets(group)
    except GroupCoordinatorNotAvailableError:  # the broker's first group is still being set up: nothing is committed yet
        committed = {}
    finally:
        await admin.close()
    return sum(end - max(0, committed[partition].offset if partition in committed else 0) for partition, end in ends.items())


async def write(bootstrap: str, topic: str, records: Sequence[Raw]) -> None:
    """Records as they are: no envelope of ours, nothing checked."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", max_request_size=2 * 2**20)
    await producer.start()
    try:
        for key, value, headers in records:
            await producer.send_and_wait(topic, value=value, key=key, headers=list(headers))
    finally:
        await producer.stop()


async def make(bootstrap: str, name: str, partitions: int = 1) -> None:
    """One more topic, for a group that only the test has."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, partitions, 1)])
    finally:
        await admin.close()


def header(record: ConsumerRecord, name: str) -> str:
    return next((value.decode() for key, value in record.headers if key == name), "")


async def _ends(bootstrap: str, topic: str) -> dict[TopicPartition, int]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    await consumer.start()
    try:
        return dict(await consumer.end_offsets([TopicPartition(topic, n) for n in await _partitions(consumer, topic)]))
    finally:
        await consumer.stop()


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> set[int]:
    await consumer._client._wait_on_metadata(topic)  # the public call answers from what is known so far
    return set(consumer.partitions_for_topic(topic) or ())
