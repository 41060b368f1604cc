"""Whatever order verdicts arrive in, the same one stands."""

import itertools
from datetime import datetime, timedelta

import pytest
from pydantic import ValidationError

from shared.events import Decision, DocumentClassified, LabelScore, SourceRef, Stage, digest_of
from tests.unit.shared.made import NOON


def verdict(stage: Stage, minutes: int, feedback: int | None = None, label: str = "world") -> DocumentClassified:
    """A verdict on one document; `minutes` after noon is its reading, `feedback` that of the newest feedback it knows."""
    at: datetime | None = NOON + timedelta(minutes=feedback) if feedback is not None else None
    return DocumentClassified(
        id="d",
        version="v",
        source=SourceRef(id="s", kind="feed"),
        title="t",
        text="x",
        story="d",
        published_at=NOON,
        received_at=NOON,
        decision={"category": Decision(label=label, probability=1, by="fusion", reasons=[])},
        stage=stage,
        as_of=NOON + timedelta(minutes=minutes),
        feedback_at=at,
    )


LIFE = {
    "provisional": verdict("provisional", 0),
    "final": verdict("final", 1),
    "corrected at once": verdict("corrected", 1, feedback=5, label="security"),
    "an old model's answer that comes late": verdict("final", 9),
    "the same, by a replica that knew the correction": verdict("corrected", 9, feedback=5, label="security"),
}


@pytest.mark.parametrize("order", list(itertools.permutations(LIFE)), ids=lambda order: "-".join(str(list(LIFE).index(name)) for name in order))
def test_in_whatever_order_the_same_verdict_stands(order: tuple[str, ...]) -> None:
    standing = None
    for name in order:
        if LIFE[name].supersedes(standing):
            standing = LIFE[name]
    assert standing is LIFE["the same, by a replica that knew the correction"]


def test_a_late_answer_never_overwrites_a_correction() -> None:
    assert not LIFE["an old model's answer that comes late"].supersedes(LIFE["corrected at once"])
    assert LIFE["corrected at once"].supersedes(LIFE["an old model's answer that comes late"])


def test_a_retraction_brings_the_old_verdict_back_in_any_order() -> None:
    retracted = verdict("final", 1, feedback=7)
    assert retracted.supersedes(LIFE["corrected at once"])
    assert not LIFE["corrected at once"].supersedes(retracted)


def test_the_same_verdict_again_is_taken() -> None:
    for one in LIFE.values():
        assert one.supersedes(one)
        assert one.supersedes(None)


def test_digests_keep_the_parts_apart() -> None:
    assert digest_of("ab", "c") != digest_of("a", "bc") != digest_of("abc")
    assert digest_of("a", "") != digest_of("a")
    assert digest_of("\ud800") == digest_of("\ud800"), "half a surrogate pair is text too"


def test_events_are_frozen_and_probabilities_bounded() -> None:
    with pytest.raises(ValidationError):
        LIFE["final"].stage = "corrected"  # type: ignore[misc]
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValidationError):
            LabelScore(label="x", probability=wrong)
