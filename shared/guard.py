"""What stands between a record and a handler: parse, retry what passes, quarantine what does not, stop when too much goes wrong.

One record of a batch never takes the others with it: a poison record goes to `<topic>.<group>.dlq` as it came (raw bytes, headers, where it stood)
with the reason. Where nearly everything fails the fault is ours, not the records': the breaker opens and the batch is kept for later.
"""

import asyncio
import base64
import json
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import aiohttp
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord
from pydantic import ValidationError

from shared import metrics
from shared.errors import PermanentError, TransientError, one_line
from shared.logs import logger

log = logger(__name__)
T = TypeVar("T")
# what a foreign or poisonous record makes a handler raise; other errors (OSError, say) are of the machine, and the record is kept
PERMANENT: tuple[type[Exception], ...] = (
    PermanentError,
    ValidationError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)
TRANSIENT: tuple[type[BaseException], ...] = (TransientError, TimeoutError, ConnectionError, aiohttp.ClientError, KafkaError)
MOST_PAUSE = 60.0  # seconds that one record waits for what is known to be away


class Paused(TransientError):
    """What the record needs is known to be away for `wait_s` seconds more. It is not tried again before it is kept: the guard waits for that long instead,
    so that reading pauses, and does not spin."""

    def __init__(self, message: str, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.wait_s = wait_s


@dataclass(frozen=True)
class Retry:
    """How often, and how long between (seconds, doubling from `first` to `most`)."""

    attempts: int = 5
    first: float = 0.2
    most: float = 5.0

    def waits(self) -> list[float]:
        return [min(self.first * 2**n, self.most) for n in range(self.attempts - 1)]


@dataclass
class Breaker:
    """Opens when at least `share` of the last `window` records failed for good: then the handler is broken, and dead-lettering must stop.

    An open breaker lets nothing through for `rest` seconds, then one record, to see whether a deploy or a neighbour has mended it.
    """

    window: int = 100
    share: float = 0.9
    least: int = 50
    rest: float = 30.0
    clock: Callable[[], float] = time.monotonic
    _failed: deque[bool] = field(default_factory=deque)
    _looked: float = 0.0

    def record(self, failed: bool) -> None:
        was_open = self.open
        self._failed.append(failed)
        while len(self._failed) > self.window:
            self._failed.popleft()
        if self.open and not was_open:
            self._looked = self.clock()

    def lets_through(self) -> bool:
        """Whether the next record may be tried."""
        if not self.open:
            return True
        now = self.clock()
        if now - self._looked < self.rest:
            return False
        self._looked = now
        return True

    @property
    def open(self) -> bool:
        return len(self._failed) >= self.least and sum(self._failed) >= self.share * len(self._failed)

    def reset(self) -> None:
        self._failed.clear()


@dataclass
class Guard(Generic[T]):
    """Runs `handle` on one record at a time. `quarantine` is awaited with the record and the headers that say why; if it raises, the batch is kept."""

    topic: str
    handle: Callable[[ConsumerRecord], Awaitable[list[T]]]
    quarantine: Callable[[ConsumerRecord, dict[str, str]], Awaitable[None]]
    retry: Retry = field(default_factory=Retry)
    breaker: Breaker = field(default_factory=Breaker)

    async def run(self, record: ConsumerRecord) -> list[T]:
        """The events that came of the record; none where it was quarantined. Raises TransientError when the record must be kept for later."""
        if not self.breaker.lets_through():
            raise TransientError(
                f"nearly every record of {self.topic} fails for good: stopped dead-lettering; see {self.topic}.*.dlq for the reasons"
            )
        try:
            result = await self._patiently(record)
        except PERMANENT as error:
            if self.breaker.open:  # the one try has shown that nothing is mended yet
                raise TransientError(f"{self.topic}: records still fail for good: {one_line(error)}") from error
            await self._dead_letter(record, error)
            return []
        if self.breaker.open:
            self.breaker.reset()
        self.breaker.record(False)
        metrics.HANDLED.labels(self.topic).inc()
        return result

    async def _patiently(self, record: ConsumerRecord) -> list[T]:
        for wait in [*self.retry.waits(), None]:
            try:
                return await self.handle(record)
            except Paused as error:
                metrics.RETRIES.labels(self.topic).inc()
                await asyncio.sleep(min(error.wait_s, MOST_PAUSE))
                raise
            except TRANSIENT as error:
                metrics.RETRIES.labels(self.topic).inc()
                if wait is None:
                    raise TransientError(f"{type(error).__name__}: {error}") from error
                log.warning("record.retry", topic=self.topic, offset=record.offset, wait_s=wait, error=f"{type(error).__name__}: {error}")
                await asyncio.sleep(wait)
        raise AssertionError("unreachable")

    async def _dead_letter(self, record: ConsumerRecord, error: Exception) -> None:
        reason = one_line(error)
        log.error("record.quarantined", topic=self.topic, partition=record.partition, offset=record.offset, error=type(error).__name__, reason=reason)
        # the headers as they came travel in base64: one that is not UTF-8 may be the very reason
        came = [[name, base64.b64encode(value or b"").decode()] for name, value in record.headers]
        origin = {"topic": record.topic, "partition": record.partition, "offset": record.offset, "headers": came}
        await self.quarantine(record, {"feedloop-error": type(error).__name__, "feedloop-reason": reason, "feedloop-origin": json.dumps(origin)})
        self.breaker.record(True)
        metrics.DEAD_LETTERS.labels(self.topic).inc()
