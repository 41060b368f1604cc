"""The bus: events in and out of Kafka, at least once, over FastStream.

Two ways to read. `handle`: the records of a topic are shared out among the replicas of a service (a consumer group); the handler returns the events
that follow, and offsets move only when those are durable. `project`: every replica reads the whole topic from its beginning (no group) to hold a
view in memory. Both hand over parsed events; what can't be parsed is quarantined (`handle`) or passed over and counted (`project`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, TypeVar

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaConnectionError, KafkaError, MessageSizeTooLargeError
from aiokafka.structs import ConsumerRecord
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.kafka.prometheus import KafkaPrometheusMiddleware

from shared import metrics
from shared.clock import Clock, utc_now
from shared.envelope import body_of, child_trace, envelope, new_trace, parse, trace_of
from shared.errors import one_line
from shared.events import Event
from shared.guard import PERMANENT, TRANSIENT, Breaker, Guard, Retry
from shared.logs import logger
from shared.topics import MAX_DEAD_LETTER, dead_letters, topic_of

log = logger(__name__)
E = TypeVar("E", bound=Event)
CUT = 100_000  # bytes of a dead letter that Kafka will not take whole
_IDLE_WAIT_MS = 5000  # an idle consumer asks this seldom; a record that arrives is handed over at once all the same
_AWAY: tuple[type[BaseException], ...] = (*TRANSIENT, OSError)
_trace: ContextVar[str] = ContextVar("traceparent", default="")


async def _keep_raw(message: Any, original: Callable[[Any], Awaitable[Any]]) -> Any:
    """Parser for FastStream: its own fails on a header that is not UTF-8, outside of every middleware, and the record is lost. Ours never fails:
    it parses the records without headers and hands the raw ones on."""
    records: tuple[ConsumerRecord, ...] = message if isinstance(message, tuple) else (message,)
    parsed = await original(tuple(replace(record, headers=()) for record in records))
    parsed.raw_message = records
    return parsed


async def _raw_records(message: Any) -> list[ConsumerRecord]:
    return list(message.raw_message)


def _at_once(subscriber: Any) -> Any:
    """FastStream's own `get_msg` (0.7.8) waits for records, and where none came sleeps just as long, deaf to what comes then: half the records on a quiet
    topic were seconds late. This one waits again instead."""

    async def get_msg(consumer: AIOKafkaConsumer) -> tuple[ConsumerRecord, ...]:
        found = await consumer.getmany(timeout_ms=_IDLE_WAIT_MS, max_records=subscriber.max_records)
        return tuple(record for records in found.values() for record in records)

    subscriber.get_msg = get_msg
    return subscriber


class _Projection:
    """A view's subscription. `idle` is set while none of its records are being applied; `done` once the past has been read."""

    def __init__(self, subscriber: Any) -> None:
        self.subscriber, self.done, self.idle = subscriber, False, asyncio.Event()
        self.idle.set()


class Bus:
    """One service's connection to Kafka."""

    def __init__(self, bootstrap: str, service: str, replica: str = "0", clock: Clock = utc_now) -> None:
        self.service, self.replica, self.clock = service, replica, clock
        self._servers = bootstrap.split(",")
        self.broker = KafkaBroker(
            self._servers,
            client_id=f"{service}-{replica}",
            acks="all",
            # Not idempotent: on a new topic a leader that is not ready answers NotLeaderForPartition, and aiokafka's idempotent producer then meets
            # OutOfOrderSequenceNumber for ever (measured with 0.14). A repeat by a retry is harmless here: event ids are deterministic.
            enable_idempotence=False,
            allow_auto_create_topics=False,
            max_request_size=MAX_DEAD_LETTER,  # events are held to MAX_BODY before
            apply_types=False,
            logger=None,
            middlewares=[KafkaPrometheusMiddleware(registry=metrics.REGISTRY, app_name=service)],
        )
        self._projections: list[_Projection] = []

    def handle(
        self,
        kind: type[E],
        handler: Callable[[E], Awaitable[Iterable[Event]]],
        *,
        at_once: int = 1,
        batch: int = 100,
        longest_s: float = 300,
        retry: Retry | None = None,
        breaker: Breaker | None = None,
    ) -> None:
        """Subscribe the service's group to the topic of `kind`: up to `batch` records at a time, `at_once` of them side by side.

        `longest_s` is the longest that one batch may take; past it Kafka gives the partitions to another replica.
        """
        topic = topic_of(kind).name

        async def one(record: ConsumerRecord) -> list[Event]:
            event = parse(kind, record)
            traceparent = trace_of(record) or new_trace(event.key())
            token = _trace.set(traceparent)
            try:
                with structlog.contextvars.bound_contextvars(correlation=traceparent.split("-")[1]):
                    followed = list(await handler(event))
                    for following in followed:
                        body_of(following)  # what is too large is the record's fault: it is quarantined, not tried for ever
                    return followed
            finally:
                _trace.reset(token)

        async def quarantine(record: ConsumerRecord, headers: dict[str, str]) -> None:
            await self._send_raw(dead_letters(topic, self.service), record, headers)

        guard = Guard[Event](topic, one, quarantine, retry or Retry(), breaker or Breaker())
        gate = asyncio.Semaphore(at_once)

        async def gated(record: ConsumerRecord) -> list[Event]:
            async with gate:
                outcome = await guard.run(record)
                # published here rather than at the end of the batch: a slow neighbour holds nobody up
                token = _trace.set(trace_of(record))
                try:
                    await self.publish(*outcome)
                finally:
                    _trace.reset(token)
                return outcome

        async def on_batch(records: list[ConsumerRecord]) -> None:
            # all of them, even when one fails: what is done is done, and the batch comes again (effects are idempotent)
            outcomes = await asyncio.gather(*(gated(record) for record in records), return_exceptions=True)
            failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
            if failures:
                log.warning("batch.kept", topic=topic, records=len(records), failed=len(failures), error=str(failures[0]))
                await asyncio.sleep(1.0)  # NACK seeks back at once: without a pause a neighbour's outage would spin
                raise failures[0]

        subscriber = self.broker.subscriber(
            topic,
            batch=True,
            max_records=batch,
            batch_timeout_ms=_IDLE_WAIT_MS,
            fetch_max_wait_ms=_IDLE_WAIT_MS,
            group_id=self.service,
            group_instance_id=f"{self.service}-{topic}-{self.replica}",
            auto_offset_reset="earliest",
            max_poll_interval_ms=int(longest_s * 1000),
            ack_policy=AckPolicy.NACK_ON_ERROR,
            parser=_keep_raw,
            decoder=_raw_records,
            title=f"{self.service}.on_{topic}",
        )
        _at_once(subscriber)(on_batch)

    def project(self, kind: type[E], apply: Callable[[E], Awaitable[None] | None]) -> None:
        """Read the whole topic of `kind` from its beginning, in every replica, and go on reading. `ready` says when the past has been read."""
        topic = topic_of(kind).name

        async def one(record: ConsumerRecord) -> None:
            while True:
                try:
                    result = apply(parse(kind, record))
                    if result is not None:
                        await result
                    return
                except PERMANENT as error:
                    metrics.DEAD_LETTERS.labels(topic).inc()  # the record stays in the topic; the group that handles it quarantines it
                    log.error("record.passed_over", topic=topic, partition=record.partition, offset=record.offset, reason=one_line(error))
                    return
                except _AWAY as error:  # without this record the view would be wrong, and nothing would bring it again
                    metrics.RETRIES.labels(topic).inc()
                    log.warning(
                        "view.waiting", topic=topic, partition=record.partition, offset=record.offset, error=f"{type(error).__name__}: {error}"
                    )
                    await asyncio.sleep(1.0)

        async def on_batch(records: list[ConsumerRecord]) -> None:
            projection.idle.clear()
            try:
                for record in records:
                    await one(record)
            finally:
                projection.idle.set()

        subscriber = self.broker.subscriber(
            topic,
            batch=True,
            max_records=1000,
            batch_timeout_ms=_IDLE_WAIT_MS,
            fetch_max_wait_ms=_IDLE_WAIT_MS,
            auto_offset_reset="earliest",
            ack_policy=AckPolicy.MANUAL,
            parser=_keep_raw,
            decoder=_raw_records,
            title=f"{self.service}.project_{topic}",
        )
        projection = _Projection(_at_once(subscriber))
        self._projections.append(projection)
        subscriber(on_batch)

    async def start(self) -> None:
        """Connect and begin to read."""
        await self.broker.start()

    async def stop(self) -> None:
        await self.broker.stop()

    async def caught_up(self) -> None:
        """Returns when every projection has read what its topic held at the time of the call."""
        while waiting := [projection for projection in self._projections if projection.subscriber.consumer and not projection.done]:
            # a connection of its own: on the projection's the broker answers when the fetch has ended that waits for records there, seconds later
            asker = AIOKafkaConsumer(bootstrap_servers=self._servers, enable_auto_commit=False)
            try:
                await asker.start()
                for projection in waiting:
                    await self._catch_up(projection, asker)
            except KafkaError as error:
                if not error.retriable and not isinstance(error, KafkaConnectionError):
                    raise
                log.warning("bus.broker_away", reason=f"{type(error).__name__}: {one_line(error)}")
                await asyncio.sleep(1.0)
            finally:
                await asker.stop()

    async def _catch_up(self, projection: _Projection, asker: AIOKafkaConsumer) -> None:
        """Returns when the projection has read what its topic holds now; `asker` is asked how much that is."""
        consumer = projection.subscriber.consumer
        while not (assigned := consumer.assignment()):
            await asyncio.sleep(0.05)
        ends = await asker.end_offsets(assigned)
        while any([await consumer.position(partition) < end for partition, end in ends.items()]):
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.05)  # the position moves when a batch is fetched: it still has to be handed over, and to be applied
        await projection.idle.wait()
        projection.done = True

    async def publish(self, *published: Event) -> None:
        """Send events and return when all of them are durable (acks=all). Raises KafkaError where the broker will not have one."""
        await asyncio.gather(*(self._publish(event) for event in published))

    async def _publish(self, event: Event) -> None:
        body = body_of(event)
        parent = _trace.get()
        headers = envelope(event, self.service, self.clock(), child_trace(parent) if parent else new_trace(event.key()))
        for wait in (0.1, 0.3, 1.0, 3.0, None):
            try:
                await self.broker.publish(body, topic=topic_of(type(event)).name, key=event.key().encode(), headers=headers)
                return
            except KafkaError as error:  # a leader that moved, a topic that is new: the client gives up on some of these at once
                if wait is None or not error.retriable:
                    raise
                log.warning("publish.retry", topic=topic_of(type(event)).name, wait_s=wait, error=type(error).__name__)
                await asyncio.sleep(wait)

    async def _send_raw(self, topic: str, record: ConsumerRecord, headers: dict[str, str]) -> None:
        try:
            await self.broker.publish(record.value or b"", topic=topic, key=record.key, headers=headers)
        except MessageSizeTooLargeError:  # its beginning and the reason; the whole stays where it came from for as long as its topic keeps it
            cut = {name: value[:CUT] for name, value in headers.items()} | {"feedloop-cut": str(len(record.value or b""))}
            await self.broker.publish((record.value or b"")[:CUT], topic=topic, key=(record.key or b"")[:CUT], headers=cut)

    async def ping(self) -> str:
        """Empty where the broker answers, else the reason: for /ready."""
        return "" if await self.broker.ping(timeout=3.0) else "Kafka does not answer"
