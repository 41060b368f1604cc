"""Kafka in memory, as far as shared.bus uses it: one ordered log a topic, groups that share offsets, views that read from the beginning.

It takes the place of FastStream's KafkaBroker alone, so that the Bus, its guard, envelopes, topics and every service's wiring are the real ones. What
it does not prove (partitions, rebalance, kill -9) is proved by tests/kafka on a real broker.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
from aiokafka.structs import ConsumerRecord, TopicPartition

OnBatch = Callable[[list[ConsumerRecord]], Awaitable[None]]


class MemoryKafka:
    """The cluster: the logs and the offsets of the groups, which outlive the brokers (connections) of restarted services."""

    def __init__(self) -> None:
        self._logs: defaultdict[str, list[ConsumerRecord]] = defaultdict(list)
        self.offsets: dict[tuple[str, str], int] = {}
        self.grown = asyncio.Condition()
        self.connections: list[Connection] = []

    async def append(self, topic: str, value: bytes, key: bytes, headers: Mapping[str, Any]) -> None:
        """One record at the end of a log; header values may be text, bytes or null."""
        log = self._logs[topic]
        pairs = tuple((name, text.encode() if isinstance(text, str) else text) for name, text in headers.items())
        async with self.grown:
            log.append(ConsumerRecord(topic, 0, len(log), 0, 0, key, value, None, len(key), len(value), pairs))
            self.grown.notify_all()

    def compact(self, topic: str) -> None:
        """Keep the newest record of each key alone. Only where nobody is reading: offsets are places in the log here."""
        self._logs[topic] = list({record.key: record for record in self._logs[topic]}.values())

    def records(self, topic: str) -> list[ConsumerRecord]:
        return list(self._logs[topic])

    def dead(self) -> list[str]:
        """Why records were quarantined, of all topics."""
        return [
            f"{topic}: {dict(record.headers)['feedloop-reason'].decode()}"
            for topic, log in self._logs.items()
            if topic.endswith(".dlq")
            for record in log
        ]

    async def settled(self, seconds: float = 30) -> None:
        """Returns when every reader has handled all there is, and nothing new has come of it. Raises TimeoutError after `seconds`."""
        quiet = 0
        async with asyncio.timeout(seconds):
            while quiet < 3:
                await asyncio.sleep(0.01)
                behind = any(reader.busy or reader.position < len(self._logs[reader.topic]) for c in self.connections for reader in c.running())
                quiet = 0 if behind else quiet + 1

    async def stop(self) -> None:
        for connection in list(self.connections):
            await connection.stop()


class Reader:
    """A subscriber and its consumer in one. In a group it goes on from the group's offset, else from the beginning."""

    def __init__(self, kafka: MemoryKafka, topic: str, group: str | None, most: int) -> None:
        self.kafka, self.topic, self.group, self.most = kafka, topic, group, most
        self.position, self.busy = 0, False
        self.on_batch: OnBatch | None = None
        self.task: asyncio.Task[None] | None = None
        self.consumer: Any = None

    def __call__(self, on_batch: OnBatch) -> OnBatch:
        self.on_batch = on_batch
        return on_batch

    def start(self) -> None:
        self.position = self.kafka.offsets.get((self.group, self.topic), 0) if self.group else 0
        self.consumer = _Consumer(self)
        self.task = asyncio.create_task(self._run(), name=f"read {self.topic}")

    async def stop(self) -> None:
        if self.task:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
            self.task = self.consumer = None

    async def _run(self) -> None:
        assert self.on_batch
        while True:
            async with self.kafka.grown:
                await self.kafka.grown.wait_for(lambda: len(self.kafka.records(self.topic)) > self.position)
            begun, batch = self.position, self.kafka.records(self.topic)[self.position : self.position + self.most]
            self.busy, self.position = True, begun + len(batch)
            try:
                await self.on_batch(batch)
            except Exception:  # noqa: BLE001 as FastStream: whatever it is
                if self.group is None:
                    raise AssertionError("a view's batch failed: with Kafka the rest of it would be lost") from None
                self.position = begun  # AckPolicy.NACK_ON_ERROR seeks back
            else:
                if self.group:
                    self.kafka.offsets[self.group, self.topic] = self.position
            finally:
                self.busy = False


class _Consumer:
    def __init__(self, reader: Reader) -> None:
        self._reader, self._partition = reader, TopicPartition(reader.topic, 0)

    def assignment(self) -> set[TopicPartition]:
        return {self._partition}

    async def position(self, partition: TopicPartition) -> int:
        return self._reader.position


class _Asker:
    """A consumer that reads nothing, and is asked where topics end."""

    def __init__(self, kafka: MemoryKafka) -> None:
        self._kafka = kafka

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def end_offsets(self, partitions: set[TopicPartition]) -> dict[TopicPartition, int]:
        return {partition: len(self._kafka.records(partition.topic)) for partition in partitions}


class Connection:
    """What a service holds in place of a KafkaBroker."""

    def __init__(self, kafka: MemoryKafka) -> None:
        self._kafka, self.readers = kafka, list[Reader]()
        kafka.connections.append(self)

    def subscriber(self, topic: str, *, batch: bool, max_records: int, group_id: str | None = None, **settings: Any) -> Reader:
        """Settings as FastStream takes them; the loop's safety rests on these."""
        assert batch and settings["auto_offset_reset"] == "earliest"
        assert settings["ack_policy"].value == ("nack_on_error" if group_id else "manual")
        self.readers.append(Reader(self._kafka, topic, group_id, max_records))
        return self.readers[-1]

    def running(self) -> list[Reader]:
        return [reader for reader in self.readers if reader.task]

    async def start(self) -> None:
        for reader in self.readers:
            reader.start()

    async def stop(self) -> None:
        for reader in self.readers:
            await reader.stop()

    async def publish(self, body: bytes, *, topic: str, key: bytes, headers: dict[str, str]) -> None:
        await self._kafka.append(topic, body, key, headers)

    async def ping(self, timeout: float) -> bool:
        return True


def use(kafka: MemoryKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every Bus that is made from now on connects to `kafka`."""
    monkeypatch.setattr("shared.bus.KafkaBroker", lambda *_, **settings: Connection(kafka))
    monkeypatch.setattr("shared.bus.AIOKafkaConsumer", lambda **_: _Asker(kafka))
