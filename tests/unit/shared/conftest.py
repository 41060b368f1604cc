"""Records as Kafka hands them over."""

from collections.abc import Callable
from typing import Any

import pytest
from aiokafka.structs import ConsumerRecord

from shared.envelope import envelope, new_trace
from shared.events import Event
from shared.topics import topic_of
from tests.unit.shared.made import NOON, polled

MakeRecord = Callable[..., ConsumerRecord]


@pytest.fixture
def record() -> MakeRecord:
    """Makes the record of an event, or of raw bytes; `headers` replaces all of them."""

    def make(event: Event | None = None, *, value: bytes | None = None, headers: Any = None, offset: int = 7) -> ConsumerRecord:
        event = event or polled()
        topic = topic_of(type(event)).name
        written = envelope(event, "tester", NOON, new_trace(event.key())) if headers is None else headers
        body = event.model_dump_json().encode() if value is None else value
        pairs = tuple((name, text.encode() if isinstance(text, str) else text) for name, text in dict(written).items())
        return ConsumerRecord(topic, 0, offset, 0, 0, event.key().encode(), body, None, 0, len(body), pairs)

    return make
