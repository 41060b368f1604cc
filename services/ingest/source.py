"""One source: poll, publish, say how it went and when to go on. What fails here fails alone."""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from services.ingest import cadence, failures
from services.ingest.hosts import Kind, Turn, Turns
from services.ingest.intake import Intake, Publish, Taken
from services.ingest.items import Batch, RawItem, Reader, SourceProblem
from services.ingest.known import Known
from services.ingest.logins import authority
from services.ingest.readers.feed import MOVED
from services.ingest.sources import FeedSource, ImapSource, Source
from services.ingest.telling import JITTER, PollCount, State, Teller
from shared import metrics
from shared.clock import Clock
from shared.events import SourcePolled
from shared.guard import one_line
from shared.logs import logger

log = logger(__name__)
MAX_LISTED = 2_000  # items of a feed that the cursor remembers, 13 bytes each
LISTED = "listed"
SINCE = "since"  # of a backfill: what was published before is passed over, until its pass has come to an end
OWN = frozenset((LISTED, SINCE, cadence.NEWS, cadence.DAILY, *failures.NAMES))  # what of the cursor is kept here; the rest is the reader's


class SourceTask:
    """Polls one source whenever it is told to. `polled` is the last that was said of it, also where Kafka could not be told."""

    def __init__(
        self, source: Source, reader: Reader, intake: Intake, publish: Publish, known: Known, clock: Clock, turn: Turn | None = None
    ) -> None:
        self.source, self.reader, self._intake, self._clock = source, reader, intake, clock
        self._turn = turn or Turn(Turns(), kind_of(source))
        self._lock = asyncio.Lock()
        self._teller = Teller(source, publish, known, clock)

    @property
    def polled(self) -> SourcePolled | None:
        return self._teller.polled

    @property
    def polling(self) -> bool:
        """Whether it is being read, or waits for its turn."""
        return self._lock.locked()

    def wait(self) -> float:
        """Seconds until the next poll; none before the first, and after a restart what is left of them."""
        last = self.polled
        if last is None or last.next_poll is None:
            return 0.0
        due = last.next_poll
        if last.state in ("ok", "unchanged"):
            due = min(due, last.at + timedelta(seconds=self._interval(last.cursor, last.at) * (1 + JITTER)))  # the interval may be shorter since
        return max(0.0, (due - self._clock()).total_seconds())

    async def poll(self, due: float | None = None) -> PollCount:
        """Poll now and return when all is durable. `due` (the loop's time) is when it should have begun, for the lag that is measured.
        Never raises but when cancelled: what went wrong is the source's state."""
        async with self._lock:
            began = asyncio.get_running_loop().time()
            count = PollCount()
            before = self.polled
            cursor = {name: value for name, value in before.cursor.items() if name not in OWN} if before else {}
            own = {name: value for name, value in before.cursor.items() if name in OWN} if before else {}
            try:
                await self._turn.begin(host_of(self.source, cursor), doubted=failures.FAILURES in own, due=due)
                state, note = await self._read(cursor, own, count)
                good = {name: value for name, value in own.items() if name not in failures.NAMES and name != SINCE}
                await self._teller.tell(count, state, note, {**cursor, **good}, self._interval({**cursor, **good}, self._clock()))
            except asyncio.CancelledError:
                raise
            except SourceProblem as problem:
                if problem.evidence:
                    count.refusals.append(one_line(problem))
                    await self._keep(problem)
                await self._fail(count, cursor, own, problem)
            except Exception as error:
                if not isinstance(error, OSError | TimeoutError):
                    log.exception("poll.stumbled", source=self.source.source_id, error=f"{type(error).__name__}: {error}")
                await self._fail(count, cursor, own, SourceProblem(f"{type(error).__name__}: {one_line(error)}"))
            finally:
                self._turn.leave()
            metrics.POLL_SECONDS.observe(asyncio.get_running_loop().time() - began)
            return count

    async def backfill(self, since: datetime | None) -> None:
        """Have the next poll begin anew: from the source's beginning, passing over what was published before `since`. Durable when it returns; a poll that
        runs is waited for. Raises what the bus raises."""
        async with self._lock:
            before = self.polled
            kept = (
                {name: value for name, value in before.cursor.items() if name == MOVED or (name in OWN and name not in (LISTED, SINCE))}
                if before
                else {}
            )
            await self._teller.begin_anew({**kept, **({SINCE: since.isoformat()} if since else {})})

    async def _read(self, cursor: dict[str, str], own: dict[str, str], count: PollCount) -> tuple[State, str]:
        """Read all batches. `cursor` and `own` move on with each that is durable, so that a failure later loses nothing and repeats little."""
        before = frozenset(own.get(LISTED, "").split())
        since = datetime.fromisoformat(own[SINCE]) if SINCE in own else None
        note, waiting = "", False
        async for batch in self.reader.read(dict(cursor)):
            if waiting:  # the one before it was not the last: its cursor is saved on the way
                passing = {name: value for name, value in own.items() if name not in failures.NAMES}
                await self._teller.tell(count, "ok", note, {**cursor, **passing}, 0.0)  # killed here, the next process goes on at once
            taken = await self._intake.take(batch.items, self.source.ref, self.source.collection, before, since)
            count.documents += len(taken.published)
            count.unchanged += len(taken.unchanged)
            count.refusals += taken.refused
            note, waiting = batch.note, True
            self._advance(cursor, own, batch, taken)
        return ("ok" if count.documents or count.refusals else "unchanged"), note

    def _advance(self, cursor: dict[str, str], own: dict[str, str], batch: Batch, taken: Taken) -> None:
        cursor.clear()
        cursor.update(batch.cursor)
        now = self._clock()
        last = self.polled
        if isinstance(self.source, FeedSource):
            if not batch.unchanged:
                own[LISTED] = " ".join(taken.marks[:MAX_LISTED])
            moments = cadence.learn(cadence.moments_of(own), _dates(batch.items), bool(taken.published), now)
            own |= {cadence.NEWS: " ".join(map(str, moments))} if moments else {}
        ages = [(now - document.published_at).total_seconds() / failures.DAY_S for document in taken.published]
        days = (now - last.at).total_seconds() / failures.DAY_S if last else 0.0
        own[cadence.DAILY] = f"{cadence.daily(cadence.number(own, cadence.DAILY), days, ages):.4f}"

    def _interval(self, cursor: Mapping[str, str], now: datetime) -> float:
        """Seconds from a good poll to the next. A mailbox is the user's own and is asked as often as he says."""
        return cadence.wait_of(cursor, self.source.interval, now) if isinstance(self.source, FeedSource) else self.source.interval

    async def _keep(self, problem: SourceProblem) -> None:
        if problem.evidence:
            try:
                await self._intake.refuse(self.source.source_id, problem.evidence)
            except Exception as error:  # noqa: BLE001 the store being away must not hide the source's own problem
                log.error("quarantine.failed", source=self.source.source_id, error=one_line(error))

    async def _fail(self, count: PollCount, cursor: Mapping[str, str], own: Mapping[str, str], problem: SourceProblem) -> None:
        verdict = failures.judge(own, problem, self._clock())
        kept = {name: value for name, value in own.items() if name not in failures.NAMES}
        log.warning("source.failing", source=self.source.source_id, reason=verdict.reason, **verdict.memory)
        await self._teller.tell(count, verdict.state, verdict.reason, {**cursor, **kept, **verdict.memory}, verdict.wait)


def kind_of(source: Source) -> Kind:
    """Which places (services.ingest.hosts) a source takes."""
    return "feed" if isinstance(source, FeedSource) else "mail" if isinstance(source, ImapSource) else "file"


def host_of(source: Source, cursor: Mapping[str, str]) -> str:
    """The server that is asked first, as host:port; empty for what lies in files. Raises ValueError for a bad port."""
    if isinstance(source, FeedSource):
        return authority(cursor.get(MOVED) or source.url)
    return f"{source.host}:{source.port}" if isinstance(source, ImapSource) else ""


def _dates(items: Iterable[object]) -> list[datetime]:
    return [item.published for item in items if isinstance(item, RawItem) and item.published]
