"""The bench's figures: intervals that hold the mean, F1 as the field counts it, and who is ahead."""

import random

import numpy as np
import pytest

from tests.bench.model.figures import Figure, against, interval, macro_f1, mean, recalls, share


def test_a_share_has_an_interval_that_narrows_with_n() -> None:
    few, many = share([True, True, False, True] * 5), share([True, True, False, True] * 100)
    assert few.value == many.value == 75.0 and (few.n, many.n) == (20, 400)
    assert few.low is not None and few.high is not None and many.low is not None and many.high is not None
    assert few.low < many.low < 75 < many.high < few.high
    assert abs((many.high - many.low) - 2 * 1.96 * 100 * (0.75 * 0.25 / 400) ** 0.5) < 1.5, "near the normal approximation"


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    dice, held = random.Random(5), 0
    for _ in range(200):
        low, high = interval(np.array([float(dice.random() < 0.6) for _ in range(60)]))
        held += low <= 0.6 <= high
    assert 175 <= held <= 200


def test_the_same_values_give_the_same_interval() -> None:
    assert mean([1.0, 2.0, 4.0]) == mean([1.0, 2.0, 4.0])
    assert (share([True] * 9).low, share([True] * 9).high) == (100.0, 100.0)
    with pytest.raises(ValueError, match="at least one"):
        share([])


def test_macro_f1_counts_a_label_that_is_never_said_as_nothing() -> None:
    assert macro_f1(["a", "a", "b", "b"], ["a", "a", "b", "b"]) == 1
    assert macro_f1(["a", "a", "b"], ["a", "a", "a"]) == pytest.approx((2 * 2 / 5 + 0) / 2)
    assert macro_f1(["a", "b"], ["c", "c"]) == 0
    assert recalls(["a", "a", "b"], ["a", "c", "b"]) == {"a": 0.5, "b": 1.0}


def test_ahead_needs_more_than_luck() -> None:
    better, worse = [True] * 80 + [False] * 20, [True] * 40 + [False] * 60
    assert against(better, worse) == "ahead (+40.0)" and against(worse, better) == "behind (-40.0)"
    assert against([True, False, True], [False, True, True]) == "even (+0.0)"


def test_a_figure_reads_as_a_person_writes_it() -> None:
    assert Figure(61.24, 50, 48.0, 74.6).text() == "61.2 % [48–75]"
    assert Figure(1.234, 30, unit="/s").text() == "1.23 /s" and Figure(20.5, 9, 18.25, 22.75, "").text() == "20.50 [18.25–22.75]"
