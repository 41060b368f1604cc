"""The envelope of an event: CloudEvents 1.0 in Kafka's binary mode (ce_* headers, JSON body), and W3C traceparent beside it. Knows no Kafka client."""

import re
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol, TypeVar

from shared.errors import PermanentError
from shared.events import Event, digest_of
from shared.topics import topic_of

E = TypeVar("E", bound=Event)
MAX_BODY = 1_000_000  # bytes; Kafka refuses more than 1 MiB: larger bodies travel by reference
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class Carrier(Protocol):
    """A Kafka record, as far as an envelope goes."""

    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...

    @property
    def value(self) -> bytes | None: ...


def new_trace(entity: str) -> str:
    """A traceparent (W3C Trace Context, level 1) whose trace id is made of the entity's id: one correlation id from entry to verdict."""
    return f"00-{digest_of(entity)[:32]}-{secrets.token_hex(8)}-01"


def child_trace(traceparent: str) -> str:
    """The same trace, a new span."""
    version, trace, _, flags = traceparent.split("-")
    return f"{version}-{trace}-{secrets.token_hex(8)}-{flags}"


def envelope(event: Event, source: str, at: datetime, traceparent: str) -> dict[str, str]:
    """The headers of an event."""
    return {
        "ce_specversion": "1.0",
        "ce_id": event.event_id(),
        "ce_type": topic_of(type(event)).name,
        "ce_source": f"/feedloop/{source}",
        "ce_time": at.isoformat(),
        "content-type": "application/json",
        "traceparent": traceparent,
    }


def header(record: Carrier, name: str) -> str:
    """One header as text, empty where it is missing or null. Raises PermanentError where it is not UTF-8."""
    for key, value in record.headers:
        if key == name:
            try:
                return (value or b"").decode()
            except UnicodeDecodeError as error:
                raise PermanentError(f"header {name} is not UTF-8") from error
    return ""


def parse(kind: type[E], record: Carrier) -> E:
    """The event in a record. Raises PermanentError for a foreign envelope and pydantic.ValidationError for a foreign body."""
    for key, value in record.headers:
        if not _is_utf8(value):
            raise PermanentError(f"header {key} is not UTF-8")
    wanted = topic_of(kind).name
    if (given := header(record, "ce_type")) != wanted:
        raise PermanentError(f"ce_type is {given!r}, expected {wanted!r}")
    if record.value is None:
        raise PermanentError("the record has no body")
    return kind.model_validate_json(record.value)


def _is_utf8(value: bytes | None) -> bool:
    try:
        (value or b"").decode()
    except UnicodeDecodeError:
        return False
    return True


def body_of(event: Event) -> bytes:
    """The JSON body. Raises PermanentError for what Kafka would not take."""
    body = event.model_dump_json().encode()
    if len(body) > MAX_BODY:
        raise PermanentError(
            f"{type(event).__name__} {event.key()} is {len(body)} bytes; at most {MAX_BODY} travel inline: store it and send a reference"
        )
    return body


def trace_of(record: Carrier) -> str:
    """The record's traceparent, empty where it has none or a malformed one: a foreign producer's mistake must not hold up the record."""
    try:
        given = header(record, "traceparent")
    except PermanentError:
        return ""
    return given if _TRACEPARENT.fullmatch(given) else ""
