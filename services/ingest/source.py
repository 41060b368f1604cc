"""One source in its own task: poll, publish, say how it went, sleep. What fails here fails alone."""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from services.ingest.config import Source
from services.ingest.intake import Intake, Publish, Taken
from services.ingest.items import Batch, Reader, SourceProblem
from services.ingest.known import Known
from shared.clock import Clock
from shared.events import SourcePolled
from shared.guard import one_line
from shared.logs import logger

log = logger(__name__)
State = Literal["ok", "unchanged", "failing", "gone"]
FIRST_BACKOFF_S, MOST_BACKOFF_S = 30.0, 3600.0
GONE_S = 86_400.0
JITTER = 0.1
MAX_LISTED = 2_000  # items of a feed that the cursor remembers, 13 bytes each


@dataclass
class PollCount:
    """One poll in figures."""

    documents: int = 0
    unchanged: int = 0
    refusals: list[str] = field(default_factory=list)


class SourceTask:
    """Polls one source for as long as `run` runs. `polled` is the last that was said of it, also where Kafka could not be told."""

    def __init__(self, source: Source, reader: Reader, intake: Intake, publish: Publish, known: Known, clock: Clock) -> None:
        self.source, self._reader, self._intake, self._publish, self._known, self._clock = source, reader, intake, publish, known, clock
        self._lock = asyncio.Lock()
        self._rescheduled = asyncio.Event()
        self._told: SourcePolled | None = None  # only where it could not be published

    @property
    def polled(self) -> SourcePolled | None:
        return self._told or self._known.polls.get(self.source.source_id)

    async def run(self) -> None:
        """Until cancelled. The first poll is at once, or when the last one before a restart said."""
        while True:
            self._rescheduled.clear()
            try:
                await asyncio.wait_for(self._rescheduled.wait(), self._wait())
            except TimeoutError:
                await self.poll()

    def _wait(self) -> float:
        """Seconds until the next poll."""
        last = self.polled
        if last is None or last.next_poll is None:
            return 0.0
        due = last.next_poll
        if last.state in ("ok", "unchanged"):
            due = min(due, last.at + timedelta(seconds=self.source.interval * (1 + JITTER)))  # the interval may have been shortened since
        return max(0.0, (due - self._clock()).total_seconds())

    async def poll(self) -> PollCount:
        """Poll now and return when all is durable. Never raises but when cancelled: what went wrong is the source's state."""
        async with self._lock:
            count = PollCount()
            before = self.polled
            cursor = dict(before.cursor) if before else {}
            try:
                state, note = await self._read(cursor, count)
                await self._tell(count, state, note, cursor, self.source.interval)
            except asyncio.CancelledError:
                raise
            except SourceProblem as problem:
                if problem.evidence:
                    count.refusals.append(one_line(problem))
                    await self._keep(problem)
                await self._fail(count, cursor, problem)
            except Exception as error:
                if not isinstance(error, OSError | TimeoutError):
                    log.exception("poll.stumbled", source=self.source.source_id, error=f"{type(error).__name__}: {error}")
                await self._fail(count, cursor, SourceProblem(f"{type(error).__name__}: {one_line(error)}"))
            self._rescheduled.set()
            return count

    async def _read(self, cursor: dict[str, str], count: PollCount) -> tuple[State, str]:
        """Read all batches. `cursor` moves on with each that is durable, so that a failure later loses nothing and repeats little."""
        before = frozenset(cursor.pop("listed", "").split())
        note, waiting = "", False
        async for batch in self._reader.read(_without_failures(cursor)):
            if waiting:  # the one before it was not the last: its cursor is saved on the way
                await self._tell(count, "ok", note, cursor, 0.0)  # killed here, the next process goes on at once
            taken = await self._intake.take(batch.items, self.source.ref, self.source.collection, before)
            count.documents += len(taken.published)
            count.unchanged += len(taken.unchanged)
            count.refusals += taken.refused
            note, waiting = batch.note, True
            self._advance(cursor, batch, taken, before)
        return ("ok" if count.documents or count.refusals else "unchanged"), note

    def _advance(self, cursor: dict[str, str], batch: Batch, taken: Taken, before: frozenset[str]) -> None:
        cursor.clear()
        cursor.update(_without_failures(batch.cursor))
        if self.source.kind == "feed":
            cursor["listed"] = " ".join(sorted(before) if batch.unchanged else taken.marks[:MAX_LISTED])

    async def _keep(self, problem: SourceProblem) -> None:
        if problem.evidence:
            try:
                await self._intake.refuse(self.source.source_id, problem.evidence)
            except Exception as error:  # noqa: BLE001 the store being away must not hide the source's own problem
                log.error("quarantine.failed", source=self.source.source_id, error=one_line(error))

    async def _fail(self, count: PollCount, cursor: Mapping[str, str], problem: SourceProblem) -> None:
        before = self.polled
        failures = int(before.cursor.get("failures", "0")) + 1 if before else 1
        listed = {"listed": before.cursor["listed"]} if before and "listed" in before.cursor else {}
        wait = max(min(FIRST_BACKOFF_S * 2 ** min(failures - 1, 20), MOST_BACKOFF_S), problem.retry_after or 0.0)
        state: State = "gone" if problem.gone else "failing"
        log.warning("source.failing", source=self.source.source_id, failures=failures, reason=one_line(problem))
        kept = {**listed, **cursor, "failures": str(failures)}
        await self._tell(count, state, one_line(problem), kept, GONE_S if problem.gone else wait)

    async def _tell(self, count: PollCount, state: State, note: str, cursor: Mapping[str, str], wait: float) -> None:
        now = self._clock()
        before = self.polled
        good = state in ("ok", "unchanged")
        refused = f"{len(count.refusals)} items refused: {'; '.join(dict.fromkeys(count.refusals))[:300]}" if count.refusals and good else ""
        event = SourcePolled(
            source=self.source.ref,
            state=state,
            reason="; ".join(part for part in (note, refused) if part),
            cursor=dict(cursor),
            last_success=now if good else before.last_success if before else None,
            next_poll=_later(now, wait),
            items=count.documents,
            quarantined=len(count.refusals),
            at=now,
        )
        try:
            await self._publish(event)
        except Exception as error:  # noqa: BLE001 Kafka is away: the state shows it, and the old cursor stays the one that counts
            log.error("cursor.not_saved", source=self.source.source_id, error=one_line(error))
            kept = dict(before.cursor) if before else {}
            failures = str(int(kept.get("failures", "0")) + 1)
            reason = f"Kafka does not take the state: {one_line(error)}"
            self._told = event.model_copy(
                update={
                    "state": "failing",
                    "reason": reason,
                    "cursor": {**kept, "failures": failures},
                    "next_poll": _later(now, FIRST_BACKOFF_S),
                }
            )
            return
        self._told = None
        self._known.on_poll(event)


def _without_failures(cursor: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in cursor.items() if name not in ("failures", "listed")}


def _later(now: datetime, wait: float) -> datetime:
    return now + timedelta(seconds=wait * random.uniform(1.0, 1.0 + JITTER))
