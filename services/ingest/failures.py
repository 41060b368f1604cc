"""What a failed poll means: try again soon, later, or hardly ever because the source is gone. Pure functions over what the cursor remembers."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from services.ingest.items import SourceProblem
from shared.errors import one_line

FAILURES = "failures"  # cursor: polls that failed in a row
GONE = "gone"  # cursor: how often in a row it was found gone
MISSING = "missing"  # cursor: since when it is not found, Unix seconds
NAMES = (FAILURES, GONE, MISSING)  # all forgotten at the first good poll

DAY_S = 86_400.0
FIRST_BACKOFF_S, MOST_BACKOFF_S = 30.0, 3600.0
MISSING_BACKOFF_S = 6 * 3600.0
MISSING_DAYS, MISSING_POLLS = 14, 10  # so long and so often not found, it is gone
GONE_WAITS_S = (DAY_S, 7 * DAY_S, 30 * DAY_S)  # a 410 may be somebody's mistake: once more after a day, then rarely


@dataclass(frozen=True)
class Verdict:
    """`wait` in seconds; `memory` is what the cursor is to remember."""

    state: Literal["failing", "gone"]
    wait: float
    reason: str
    memory: Mapping[str, str]


def judge(memory: Mapping[str, str], problem: SourceProblem, now: datetime) -> Verdict:
    """The verdict on a poll that failed with `problem`, after what `memory` holds of those before it. What the server asked for is kept to."""
    failures = _count(memory, FAILURES) + 1
    kept, reason, gone = {FAILURES: str(failures)}, one_line(problem), problem.gone
    if problem.missing:
        since = _count(memory, MISSING) or int(now.timestamp())
        kept[MISSING] = str(since)
        missed_s = now.timestamp() - since
        if failures >= MISSING_POLLS and missed_s >= MISSING_DAYS * DAY_S:
            gone, reason = True, f"{reason}, and so since {datetime.fromtimestamp(since, UTC):%d %B %Y}"
    if not gone:
        most = MISSING_BACKOFF_S if problem.missing else MOST_BACKOFF_S
        wait = min(FIRST_BACKOFF_S * 2.0 ** min(failures - 1, 20), most)
        return Verdict("failing", max(wait, problem.retry_after or 0.0), reason, kept)
    times = _count(memory, GONE) + 1
    kept[GONE] = str(times)
    wait = GONE_WAITS_S[min(times, len(GONE_WAITS_S)) - 1]
    return Verdict("gone", wait, f"{reason}; retired: asked once more in {_days(wait)}; remove it, or give its new address", kept)


def _days(seconds: float) -> str:
    return "a day" if seconds == DAY_S else f"{seconds / DAY_S:.0f} days"


def _count(memory: Mapping[str, str], name: str) -> int:
    value = memory.get(name, "")
    return int(value) if value.isascii() and value.isdigit() else 0
