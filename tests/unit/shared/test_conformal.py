"""Split-conformal prediction: it keeps its promise on data of the same kind, and thinning the scores costs caution, never safety."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.conformal import KEPT, doubtful, kept, limit, possible, score

LABELS = ["none", "low", "high"]


def test_scores_limits_and_sets() -> None:
    chances = {"none": 0.5, "low": 0.1, "high": 0.4}
    assert score(chances, ["low"], "single") == 0.9 and score(chances, ["gone"], "single") == 1.0
    scores = [n / 10 for n in range(10)]
    assert [limit(scores, rate) for rate in (0.1, 0.2, 0.5)] == [0.9, 0.8, 0.5]
    assert limit(scores, 0.05) == 1.0 == limit([], 0.4)  # too few examples for such a promise: everything is possible
    assert possible(LABELS, chances, 0.6, "single") == ["none", "high"]
    assert possible(LABELS, chances, 0.6, "ordinal") == LABELS
    assert possible(LABELS, chances, 0.4, "single") == [] and possible(LABELS, {"none": 1.0}, 1.0, "single") == LABELS


def test_several_labels_are_promised_together() -> None:
    chances = {"a": 0.9, "b": 0.2, "c": 0.5}
    assert score(chances, ["a"], "multi") == 0.5 and score(chances, ["a", "b", "c"], "multi") == 0.8
    assert score(chances, ["d"], "multi") == 1.0 and score({}, [], "multi") == 0.0
    assert possible(["a", "b", "c"], chances, 0.5, "multi") == ["a", "c"]
    assert doubtful(chances, 0.5) == ["c"] and doubtful(chances, 0.1) == ["b", "c"] and doubtful({"a": 0.95, "b": 0.02}, 0.1) == []


@pytest.mark.parametrize("kind", ["single", "ordinal", "multi"])
def test_the_promise_is_kept(kind: str) -> None:
    """Labels drawn from known probabilities that the model only guesses at: the truth is among what is possible at least as often as promised."""
    dice = random.Random(7)

    def example() -> tuple[dict[str, float], list[str]]:
        raw = [dice.random() ** 3 + 0.01 for _ in LABELS]
        true = {label: value / sum(raw) for label, value in zip(LABELS, raw, strict=True)}
        if kind == "multi":
            return {label: p**2 for label, p in true.items()}, [label for label, p in true.items() if dice.random() < p]
        said = {label: p**2 for label, p in true.items()}  # overconfident
        return {label: p / sum(said.values()) for label, p in said.items()}, dice.choices(LABELS, weights=list(true.values()))

    stored = kept([score(*example(), kind) for _ in range(3000)])
    for rate in (0.05, 0.1, 0.3):
        most = limit(stored, rate)
        missed = 0
        for _ in range(4000):
            chances, truth = example()
            if kind == "multi":
                sure = set(LABELS) - set(doubtful(chances, most))
                missed += any((label in truth) != (label in possible(LABELS, chances, most, kind)) for label in sure)
            else:
                missed += truth[0] not in possible(LABELS, chances, most, kind)
        assert missed / 4000 <= rate + 0.015  # three standard errors of 4000 draws, and of the split's own
        assert missed / 4000 >= rate / 4 or kind == "ordinal"  # and it is not bought by calling everything possible


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(st.floats(0, 1), min_size=1, max_size=3 * KEPT), st.floats(0.01, 0.49))
def test_what_is_kept_is_never_less_cautious(scores: list[float], rate: float) -> None:
    stored = kept(scores)
    assert len(stored) <= KEPT and stored == sorted(stored)
    assert limit(stored, rate) >= limit(sorted(scores), rate) - 1e-9
