"""When a feed is asked again: pure functions, and headers as servers write them."""

import random
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingest import cadence
from services.ingest.cadence import DAY_S, bounds, daily, learn, moments_of, reason, suggested, wait_of
from services.ingest.freshness import fresh_seconds, retry_seconds
from tests.unit.ingest.conftest import NOW

MINUTE, HOUR = 60.0, 3600.0
QUARTER = 15 * MINUTE


def cursor(moments: list[int], **more: str) -> dict[str, str]:
    return {cadence.NEWS: " ".join(map(str, moments)), **more}


def ago(*seconds: float) -> list[int]:
    return [int(NOW.timestamp() - back) for back in sorted(seconds, reverse=True)]


def every(gap: float, times: int = 10, last: float = 0.0) -> list[int]:
    return ago(*(last + gap * n for n in range(times)))


def test_nothing_known_means_the_interval() -> None:
    assert wait_of({}, QUARTER, NOW) == QUARTER
    assert wait_of(cursor(ago(0)), QUARTER, NOW) == QUARTER
    assert reason({}, QUARTER, NOW) == ""


@pytest.mark.parametrize(
    ("gap", "expected"), [(10 * MINUTE, 5 * MINUTE), (40 * MINUTE, 20 * MINUTE), (2 * HOUR, HOUR), (DAY_S, 2 * HOUR), (30 * DAY_S, 2 * HOUR)]
)
def test_half_of_the_typical_gap_within_bounds(gap: float, expected: float) -> None:
    assert wait_of(cursor(every(gap)), QUARTER, NOW) == pytest.approx(expected, rel=0.01)


def test_a_feed_that_falls_silent_is_asked_less_and_less_and_one_that_wakes_more() -> None:
    busy = every(10 * MINUTE)
    waits = [wait_of(cursor(busy), QUARTER, NOW + timedelta(hours=hours)) for hours in (0, 1, 3, 6, 48)]
    assert waits == sorted(waits) and waits[0] == 5 * MINUTE and waits[2] == pytest.approx(45 * MINUTE) and waits[-1] == 2 * HOUR
    woken, now = every(DAY_S), NOW
    for _ in range(8):
        now += timedelta(minutes=10)
        woken = learn(woken, (), True, now)
    assert wait_of(cursor(woken), QUARTER, now) <= QUARTER, "after eight news within 80 minutes it is a busy one"


def test_bounds_follow_the_interval() -> None:
    assert bounds(QUARTER) == (5 * MINUTE, 2 * HOUR)
    assert bounds(HOUR) == (QUARTER, 8 * HOUR)
    assert bounds(2 * DAY_S) == (DAY_S / 2, 2 * DAY_S)
    assert bounds(30.0) == (30.0, 30.0), "an interval below five minutes is kept as it is"


def test_what_server_and_feed_ask_for() -> None:
    busy = every(10 * MINUTE)
    assert wait_of(cursor(busy, fresh="3600"), QUARTER, NOW) == HOUR, "the server's word is kept to"
    assert wait_of(cursor(busy, fresh="99999999"), QUARTER, NOW) == DAY_S, "for a day at most"
    assert wait_of(cursor([], hint="3600"), QUARTER, NOW) == HOUR, "the feed's word counts while nothing is known"
    assert wait_of(cursor(busy, hint="3600"), QUARTER, NOW) == 5 * MINUTE, "and less than what was seen"
    assert "Cache-Control" in reason(cursor(busy, fresh="3600"), QUARTER, NOW) and "1 hour" in reason(cursor(busy, fresh="3600"), QUARTER, NOW)
    assert "5 minutes" in reason(cursor(busy), QUARTER, NOW)
    assert wait_of({cadence.NEWS: "x -1 ٣", cadence.FRESH: "soon", cadence.HINT: "nan"}, QUARTER, NOW) == QUARTER, "a cursor that can't be read"


def test_learning() -> None:
    dates = [NOW - timedelta(hours=n) for n in range(30)]
    first = learn([], dates, True, NOW)
    assert first == ago(*(HOUR * n for n in range(10)))
    later = NOW + timedelta(minutes=30)
    assert learn(first, dates, False, later) == first, "a poll without news"
    assert learn(first, [*dates, later + timedelta(days=3)], False, later) == first
    assert learn(first, dates, True, later)[-1] == int(later.timestamp()), "an edit counts when it is seen"
    assert learn(first, [later - timedelta(minutes=10)], True, later)[-1] == int((later - timedelta(minutes=10)).timestamp())
    assert learn([], [NOW + timedelta(days=1)], True, NOW) == ago(0), "a date that lies ahead is none"
    assert learn([], [], False, NOW) == []
    digest = [NOW - timedelta(seconds=5 * n) for n in range(20)]
    assert len(learn([], digest, True, NOW)) == 1, "twenty at once are one moment"
    stamped = [later] * 20  # a feed that dates all its items with the time of the request
    assert learn(first, stamped, False, later) == first


@settings(deadline=None)  # a busy machine is slow at times
@given(
    st.lists(st.tuples(st.integers(1, 10**6), st.booleans(), st.lists(st.integers(-(10**9), 10**9), max_size=5)), max_size=30), st.floats(1, 10**6)
)
def test_whatever_comes_it_is_bounded(polls: list[tuple[int, bool, list[int]]], interval: float) -> None:
    moments, now = [], NOW
    least, most = bounds(interval)
    for seconds, new, dates in polls:
        now += timedelta(seconds=seconds)
        moments = learn(moments, [now + timedelta(seconds=shift) for shift in dates], new, now)
        assert len(moments) <= cadence.MAX_MOMENTS and moments == sorted(moments) == moments_of(cursor(moments))
        assert least <= wait_of(cursor(moments), interval, now) <= most


def test_it_follows_a_source_at_a_fraction_of_the_polls() -> None:
    """Two weeks of a source that writes by day only, against the fixed interval: fewer polls, and news wait hardly longer."""
    chance = random.Random(5)
    news = [NOW + timedelta(days=day, hours=8 + chance.random() * 10) for day in range(14) for _ in range(8)]
    polls, delays, moments, now, seen = 0, [], [], NOW, NOW
    while now < NOW + timedelta(days=14):
        found = [at for at in news if seen < at <= now]
        delays += [(now - at).total_seconds() for at in found]
        moments, seen, polls = learn(moments, found, bool(found), now), now, polls + 1
        now += timedelta(seconds=wait_of(cursor(moments), QUARTER, now))
    assert polls < 14 * 96 / 2 and sum(delays) / len(delays) < HOUR


def test_items_a_day() -> None:
    value, now = 0.0, 0
    for now in range(60):
        value = daily(value, 1.0 if now else 0.0, [0.1] * 5)
    assert value == pytest.approx(5.0, rel=0.12)
    assert daily(value, 7.0, []) == pytest.approx(value / 2.718, rel=0.01)
    assert daily(0.0, 0.0, [365.0] * 50) < 0.001, "an archive that is read at once is not fifty items a day"


@pytest.mark.parametrize(
    ("feed", "seconds"),
    [
        ({"ttl": "60"}, 3600.0),
        ({"ttl": " 5 ", "sy_updateperiod": "hourly"}, 3600.0),
        ({"sy_updateperiod": "Daily\n", "sy_updatefrequency": "4"}, DAY_S / 4),
        ({"sy_updateperiod": "hourly", "sy_updatefrequency": "0"}, 3600.0),
        ({"ttl": "-5"}, None),
        ({"ttl": "0"}, None),
        ({"ttl": "soon", "sy_updateperiod": "sometimes"}, None),
        ({}, None),
    ],
)
def test_what_a_feed_suggests(feed: dict[str, str], seconds: float | None) -> None:
    assert suggested(feed) == seconds


def at(**shift: float) -> str:
    return format_datetime(NOW + timedelta(**shift), usegmt=True)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Cache-Control": "max-age=600"}, 600.0),
        ({"Cache-Control": 'public, MAX-AGE="600" , s-maxage=9'}, 600.0),
        ({"Cache-Control": "max-age=600", "Age": "200"}, 400.0),
        ({"Cache-Control": "max-age=100", "Age": "200"}, 0.0),
        ({"Cache-Control": "max-age=31536000"}, DAY_S),
        ({"Cache-Control": "max-age=" + "9" * 5000}, DAY_S),
        ({"Cache-Control": "max-age=-1"}, None),
        ({"Cache-Control": "max-age=600, no-cache", "Expires": at(hours=1)}, 0.0),
        ({"Cache-Control": "no-store"}, 0.0),
        ({"Cache-Control": "private", "Expires": at(hours=1)}, 3600.0),
        ({"Cache-Control": "max-age=60", "Expires": at(hours=1)}, 60.0),
        ({"Expires": at(hours=5), "Date": at(hours=4)}, 3600.0),  # its clock is four hours ahead
        ({"Expires": at(hours=-1)}, 0.0),
        ({"Expires": "0"}, 0.0),
        ({"Expires": "Sat, 99 Nov 2026 12:00:00 GMT"}, 0.0),
        ({"Expires": at(days=400)}, DAY_S),
    ],
)
def test_freshness(headers: dict[str, str], seconds: float | None) -> None:
    assert fresh_seconds(headers, NOW) == seconds


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 5 ", 5.0),
        (at(minutes=3), 180.0),
        (at(minutes=-3), 0.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("9" * 400, DAY_S),
        ("²", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    assert retry_seconds(value, NOW) == seconds


def test_a_date_before_the_epoch_is_none() -> None:
    assert learn([], [datetime(1, 1, 1, tzinfo=UTC), datetime(1969, 12, 31, tzinfo=UTC)], True, NOW) == ago(0)
