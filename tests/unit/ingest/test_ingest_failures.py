"""What a failed poll means for the next: backoff, what the server asks for, and sources that are gone."""

from collections.abc import Mapping
from datetime import timedelta

import pytest

from services.ingest.failures import DAY_S, GONE, MISSING, judge
from services.ingest.items import SourceProblem
from tests.unit.ingest.conftest import NOW

GONE_PROBLEM = SourceProblem("gone (410)", gone=True)
NOT_FOUND = SourceProblem("the server answers 404 Not Found", missing=True)


def test_backoff_is_bounded_and_keeps_to_what_the_server_asks() -> None:
    memory: Mapping[str, str] = {}
    waits = []
    for _ in range(40):
        verdict = judge(memory, SourceProblem("500"), NOW)
        memory = verdict.memory
        waits.append(verdict.wait)
    assert waits[:3] == [30.0, 60.0, 120.0] and waits[-1] == 3600.0 and verdict.state == "failing"
    assert judge(memory, SourceProblem("503", retry_after=7200.0), NOW).wait == 7200.0
    assert judge({}, SourceProblem("503", retry_after=1.0), NOW).wait == 30.0


def test_gone_is_asked_rarely() -> None:
    memory: Mapping[str, str] = {}
    waits = []
    for _ in range(4):
        verdict = judge(memory, GONE_PROBLEM, NOW)
        memory = verdict.memory
        assert verdict.state == "gone" and "retired" in verdict.reason and "410" in verdict.reason
        waits.append(verdict.wait / DAY_S)
    assert waits == [1, 7, 30, 30]
    assert GONE not in judge(memory, SourceProblem("500"), NOW).memory, "another answer begins anew"


def test_not_found_is_gone_after_two_weeks_only() -> None:
    memory: Mapping[str, str] = {}
    now, polls = NOW, 0
    while (verdict := judge(memory, NOT_FOUND, now)).state == "failing":
        assert verdict.wait <= 6 * 3600
        memory, polls, now = verdict.memory, polls + 1, now + timedelta(seconds=verdict.wait)
    assert timedelta(days=14) <= now - NOW < timedelta(days=14.5) and polls < 70
    assert "since 21 November 2026" in verdict.reason
    assert judge(verdict.memory, NOT_FOUND, now).wait == 7 * DAY_S
    assert MISSING not in judge(memory, SourceProblem("500"), now).memory, "an error of another kind is no sign of having gone"


@pytest.mark.parametrize("broken", [{"failures": "x"}, {"gone": "²"}, {"missing": ""}])
def test_a_cursor_that_cannot_be_read(broken: dict[str, str]) -> None:
    assert judge(broken, GONE_PROBLEM, NOW).wait == DAY_S
