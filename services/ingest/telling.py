"""What is said of a source after a poll: its state, its cursor and when it is read next, as SourcePolled. Only what Kafka has taken counts."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from services.ingest import failures
from services.ingest.intake import Publish
from services.ingest.items import SourceProblem
from services.ingest.known import Known
from services.ingest.sources import Source
from shared import metrics
from shared.clock import Clock
from shared.events import SourcePolled
from shared.guard import one_line
from shared.logs import logger

log = logger(__name__)
State = Literal["ok", "unchanged", "failing", "gone"]
JITTER = 0.1


@dataclass
class PollCount:
    """One poll in figures."""

    documents: int = 0
    unchanged: int = 0
    refusals: list[str] = field(default_factory=list)


class Teller:
    """For one source. `polled` is the last that was said of it, also where Kafka could not be told."""

    def __init__(self, source: Source, publish: Publish, known: Known, clock: Clock) -> None:
        self._source, self._publish, self._known, self._clock = source, publish, known, clock
        self._told: SourcePolled | None = None  # only where it could not be published

    @property
    def polled(self) -> SourcePolled | None:
        return self._told or self._known.polls.get(self._source.source_id)

    async def begin_anew(self, cursor: Mapping[str, str]) -> None:
        """Have the next poll begin with this cursor, at once. Durable when it returns. Raises what the bus raises."""
        before, now = self.polled, self._clock()
        event = SourcePolled(
            source=self._source.ref,
            state=before.state if before else "unchanged",
            reason="to be read again from its beginning",
            cursor=dict(cursor),
            last_success=before.last_success if before else None,
            next_poll=now,
            at=now,
        )
        await self._publish(event)
        self._told = None
        self._known.on_poll(event)

    async def tell(self, count: PollCount, state: State, note: str, cursor: Mapping[str, str], wait: float) -> None:
        """After a poll, or on its way: `note` in words, `wait` in seconds until the next. Never raises: where Kafka is away the state says so."""
        now = self._clock()
        before, good = self.polled, state in ("ok", "unchanged")
        refused = f"{len(count.refusals)} items refused: {'; '.join(dict.fromkeys(count.refusals))[:300]}" if count.refusals and good else ""
        event = SourcePolled(
            source=self._source.ref,
            state=state,
            reason=_whole("; ".join(part for part in (note, refused) if part)),
            cursor={_whole(name): _whole(value) for name, value in cursor.items()},
            last_success=now if good else before.last_success if before else None,
            next_poll=_later(now, wait),
            items=count.documents,
            quarantined=len(count.refusals),
            at=now,
        )
        try:
            await self._publish(event)
        except Exception as error:  # noqa: BLE001 Kafka is away: the state shows it, and the old cursor stays the one that counts
            log.error("cursor.not_saved", source=self._source.source_id, error=one_line(error))
            kept = dict(before.cursor) if before else {}
            verdict = failures.judge(kept, SourceProblem(f"Kafka does not take the state: {one_line(error)}"), now)
            kept = {name: value for name, value in kept.items() if name not in failures.NAMES}
            told = {"state": verdict.state, "reason": verdict.reason, "cursor": {**kept, **verdict.memory}}
            self._told = event.model_copy(update={**told, "next_poll": _later(now, failures.FIRST_BACKOFF_S)})
            metrics.POLLS.labels("failing").inc()
            return
        if before is not None and good != (before.state in ("ok", "unchanged")):
            log.info("source.recovered" if good else "source.lost", source=self._source.source_id, state=state, reason=event.reason)
        metrics.POLLS.labels(state).inc()
        self._told = None
        self._known.on_poll(event)


def _whole(text: str) -> str:
    """Without half characters, which names of files have and JSON has not."""
    return text.encode("utf-8", "replace").decode()


def _later(now: datetime, wait: float) -> datetime:
    return now + timedelta(seconds=wait * random.uniform(1.0, 1.0 + JITTER))
