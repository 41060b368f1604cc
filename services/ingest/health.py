"""A source's health as one row for people and programs: what it is doing, why, since when, and what comes next."""

from typing import Any

from services.ingest import cadence, failures
from services.ingest.readers.feed import MOVED
from services.ingest.source import SourceTask
from services.ingest.sources import FeedSource
from shared.clock import Clock


def row(task: SourceTask, documents: int, clock: Clock) -> dict[str, Any]:
    """The row of /api/sources. `documents` are those of the source since the topic's beginning; times are UTC, `every_s` is the wait in seconds that the
    source has now, `failures` the polls that failed in a row, `moved_to` an address that it has moved to for good."""
    source, polled = task.source, task.polled
    head: dict[str, Any] = {
        "id": source.source_id,
        "kind": source.kind,
        "title": source.ref.title,
        "place": source.place(),
        "collection": source.collection,
        "interval_s": source.interval,
        "polling": task.polling,
        "documents": documents,
    }
    if polled is None:
        never = {"state": "waiting", "reason": "not polled yet", "last_success": None, "next_poll": None, "polled_at": None, "every_s": None}
        return {**head, **never, "items": 0, "items_per_day": None, "quarantined": 0, "failures": 0, "moved_to": ""}
    days = (clock() - polled.at).total_seconds() / failures.DAY_S
    return {
        **head,
        "state": polled.state,
        "reason": polled.reason or _in_words(task),
        "last_success": polled.last_success,
        "next_poll": polled.next_poll,
        "polled_at": polled.at,
        "every_s": round((polled.next_poll - polled.at).total_seconds()) if polled.next_poll else None,
        "items": polled.items,
        "items_per_day": round(cadence.daily(cadence.number(polled.cursor, cadence.DAILY), days, ()), 2),
        "quarantined": polled.quarantined,
        "failures": int(cadence.number(polled.cursor, failures.FAILURES)),
        "moved_to": polled.cursor.get(MOVED, ""),
    }


def _in_words(task: SourceTask) -> str:
    """Why a source that nothing is wrong with is in its state."""
    polled, source = task.polled, task.source
    if polled is None:
        return "not polled yet"
    found = f"{polled.items} new items" if polled.items != 1 else "1 new item"
    said = found if polled.state == "ok" else "nothing new"
    if isinstance(source, FeedSource) and (why := cadence.reason(polled.cursor, source.interval, polled.at)):
        said = f"{said}; {why}"
    return said
