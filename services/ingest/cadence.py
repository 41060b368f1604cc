"""How often to ask a feed: pure functions of when it had news, of what it asks for itself, and of the interval that its user set.

The moments at which a feed had news (the dates of its items; for items without one, the poll that brought them) are remembered, the last ten of them.
Half of the typical gap between them is a good interval: news then wait a quarter of a gap on average. A feed that has fallen silent is asked less and
less: never sooner than a quarter of the time since its last news. Both stay between a least and a most around the configured interval, which is what
counts while nothing is known. What the feed says of itself (<ttl>, <sy:updatePeriod>) is one gap among those seen; what the server says (Cache-Control,
Expires) is kept to, up to a day.

All of it lives in the source's cursor, under the names below, so that it survives a restart.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from statistics import median
from typing import Any

from services.ingest.failures import DAY_S

NEWS = "news"  # cursor: the moments, Unix seconds
FRESH = "fresh"  # cursor: seconds that the server asked to wait after its last answer
HINT = "hint"  # cursor: seconds between two looks that the feed itself suggests
DAILY = "daily"  # cursor: items a day

LEAST_S = 300.0  # nothing is asked more often than every five minutes, unless its user says so
LESS, MORE = 4.0, 8.0  # the interval may become this many times shorter and longer
GAP_SHARE, QUIET_SHARE = 0.5, 0.25
MAX_MOMENTS = 10
TOGETHER_S = 300  # items that come within five minutes are one moment
MEMORY_DAYS = 7.0  # of the items a day: an item's weight falls to 1/e in this time
_PERIODS = {"hourly": 3600.0, "daily": DAY_S, "weekly": 7 * DAY_S, "monthly": 30 * DAY_S, "yearly": 365 * DAY_S}


def bounds(interval: float) -> tuple[float, float]:
    """The least and the most that the wait of a source with this interval (seconds) may become. An interval below LEAST_S was chosen for a source of
    the user's own: it stays as it is."""
    if interval < LEAST_S:
        return interval, interval
    return max(interval / LESS, LEAST_S), min(interval * MORE, max(interval, DAY_S))


def wait_of(cursor: Mapping[str, str], interval: float, now: datetime) -> float:
    """Seconds from a good poll at `now` to the next one, by what the cursor holds."""
    return max(_learnt(cursor, interval, now), min(number(cursor, FRESH), DAY_S))


def reason(cursor: Mapping[str, str], interval: float, now: datetime) -> str:
    """Why the wait after a good poll at `now` is another than the interval, in words; empty where it is not."""
    wait, learnt = wait_of(cursor, interval, now), _learnt(cursor, interval, now)
    if wait > learnt:
        return f"asked every {_span(wait)}, as the server wants it (Cache-Control or Expires)"
    if learnt == interval:
        return ""
    bound = {limit: f", the {name} for an interval of {_span(interval)}" for limit, name in zip(bounds(interval), ("least", "most"), strict=True)}
    return f"asked every {_span(wait)}, by how often it has news{bound.get(wait, '')}"


def _learnt(cursor: Mapping[str, str], interval: float, now: datetime) -> float:
    least, most = bounds(interval)
    moments = moments_of(cursor)
    typical = max(interval, min(number(cursor, HINT), most)) / GAP_SHARE  # what is taken for the gap while nothing is known
    gap = median([typical, *(after - before for before, after in pairwise(moments))])
    quiet = max(now.timestamp() - moments[-1], 0.0) if moments else 0.0
    return min(max(GAP_SHARE * gap, QUIET_SHARE * quiet, least), most)


def _span(seconds: float) -> str:
    for unit, name in ((DAY_S, "day"), (3600.0, "hour"), (60.0, "minute")):
        if seconds >= unit:
            return f"{seconds / unit:.3g} {name}{'' if seconds == unit else 's'}"
    return f"{seconds:.3g} seconds"


def learn(moments: Sequence[int], dates: Iterable[datetime], new: bool, now: datetime) -> list[int]:
    """The moments after a poll at `now` that read items of these `dates`; `new` says whether any was new or edited.

    A poll without news teaches nothing but that time has passed. Some feeds date every item with the time of the request: a date therefore counts only
    where something new came, and never when it lies ahead.
    """
    if moments and not new:
        return list(moments)
    latest = moments[-1] if moments else None
    stamps = sorted({*moments, *(int(date.timestamp()) for date in dates if 0 < date.timestamp() <= now.timestamp())})
    if new and (not stamps or (latest is not None and stamps[-1] <= latest)):
        stamps.append(int(now.timestamp()))  # an edit, a late item, or one without a date
    kept: list[int] = []
    for stamp in stamps:
        if not kept or stamp - kept[-1] >= TOGETHER_S:
            kept.append(stamp)
    return kept[-MAX_MOMENTS:]


def moments_of(cursor: Mapping[str, str]) -> list[int]:
    """The moments that a cursor holds, oldest first."""
    return sorted(int(word) for word in cursor.get(NEWS, "").split() if word.isascii() and word.isdigit() and len(word) <= 11)


def daily(before: float, days: float, ages: Iterable[float]) -> float:
    """Items a day, after `days` since the number was `before`, with new items that are so many days old: a mean over about a week that forgets slowly."""
    return before * math.exp(-max(days, 0.0) / MEMORY_DAYS) + sum(math.exp(-max(age, 0.0) / MEMORY_DAYS) for age in ages) / MEMORY_DAYS


def suggested(feed: Mapping[str, Any]) -> float | None:
    """Seconds between two looks that a feed itself suggests, as feedparser reads it: the minutes of RSS 2.0's <ttl>, or <sy:updatePeriod> shared by
    <sy:updateFrequency> (RSS 1.0, Syndication module), the longer one. None where it says nothing that can be read."""
    said = []
    if (ttl := str(feed.get("ttl") or "").strip()).isascii() and ttl.isdigit():
        said.append(60.0 * int(ttl[:9]))
    if period := _PERIODS.get(str(feed.get("sy_updateperiod") or "").strip().lower()):
        times = str(feed.get("sy_updatefrequency") or "").strip()
        said.append(period / max(int(times[:9]), 1) if times.isascii() and times.isdigit() else period)
    return max(said, default=0.0) or None


def number(cursor: Mapping[str, str], name: str) -> float:
    """A number of the cursor; 0 where there is none or, from another version's hand, something else."""
    try:
        value = float(cursor.get(name, "0"))
    except ValueError:
        return 0.0
    return value if math.isfinite(value) else 0.0
