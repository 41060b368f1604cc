"""Plain rules that are weighed with what the head and the language model say, in place of deciding."""

import json
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.classifier.fusion import decide
from services.classifier.pooled import Calibration
from services.classifier.rule_files import Rule
from services.classifier.rules import Hit, RuleSet
from shared.errors import ConfigError
from shared.events import Decision, LabelScore
from shared.pooling import TaskFusion
from shared.taxonomy import Task, label_set

WELLBEING = label_set("wellbeing")
RISK, EMOTION = WELLBEING.tasks["risk"], WELLBEING.tasks["emotion"]


def rule(id: str = "hint", **changes: object) -> dict:
    given = {
        "id": id, "task": "risk", "label": "high", "kind": "plain", "any": ["no way out"], "odds": 9, "reason": "it says so", "owner": "desk",
        "tests": [{"text": "no way out", "hit": True}],
    }  # fmt: skip
    return {name: value for name, value in (given | changes).items() if value is not None}


def hit(**changes: object) -> Hit:
    return Hit(Rule.model_validate(rule(**changes)), "no way out")


def decided(task: Task, *hits: Hit, llm: LabelScore | None = None, neural: dict[str, float] | None = None) -> Decision:
    found = decide(task, hits, llm=llm, neural=neural)
    assert found
    return found


def test_what_the_head_says_is_multiplied_by_the_odds_and_the_reason_says_so() -> None:
    found = decided(RISK, hit(), neural={"none": 0.6, "low": 0.2, "high": 0.2})
    assert (found.label, found.by) == ("high", "fusion")
    assert found.probabilities == pytest.approx({"none": 0.6 / 2.6, "low": 0.2 / 2.6, "high": 1.8 / 2.6}, abs=1e-5)
    assert found.reasons[0] == "rule hint: it says so (“no way out”): makes high 9 times as likely"
    assert [part.part for part in found.parts] == ["rule", "neural"] and found.parts[0].probability == 0.9
    sure = decided(RISK, hit(), neural={"none": 0.99, "low": 0.005, "high": 0.005})
    assert (sure.label, sure.by) == ("none", "fusion") and 0.9 < sure.probability < 0.99


def test_alone_it_decides_and_so_does_a_rule_without_odds() -> None:
    alone = decided(RISK, hit())
    assert (alone.label, alone.probability, alone.by) == ("high", 1.0, "rule") and alone.parts[0].probability == 1
    assert decided(RISK, hit(), llm=LabelScore(label="none", probability=0.95)).by == "rule", "a language model alone may know nothing of it"
    outright = decided(RISK, hit(id="plain", odds=None), neural={"none": 0.99, "low": 0.005, "high": 0.005})
    assert (outright.label, outright.by) == ("high", "rule")


def test_rules_with_the_same_words_count_once_by_the_strongest() -> None:
    voice = {"none": 0.5, "low": 0.25, "high": 0.25}
    twice = decided(RISK, hit(), hit(id="weaker", odds=2), neural=voice)
    assert twice.probabilities == decided(RISK, hit(), neural=voice).probabilities
    both = decided(RISK, hit(), hit(id="other", label="low", odds=2), neural=voice)
    assert both.probabilities["low"] == pytest.approx(0.5 / 3.25, abs=1e-5) and both.probabilities["high"] == pytest.approx(2.25 / 3.25, abs=1e-5)


def test_it_makes_no_safety_label_milder() -> None:
    found = decided(RISK, hit(label="none", odds=100), neural={"none": 0.2, "low": 0.1, "high": 0.7})
    assert found.label == "high" and found.probabilities["high"] == 0.7
    assert found.reasons[0].endswith("none does not lower a safety label")
    emotion = decided(EMOTION, hit(task="emotion", label="positive", odds=100), neural={"positive": 0.3, "self_harm_low": 0.7})
    assert emotion.label == "self_harm_low"


HINTS = st.lists(st.tuples(st.floats(1.01, 10_000), st.integers(0, 7)), max_size=4)
SHARES = st.lists(st.floats(0, 1), min_size=8, max_size=8)


@given(st.sampled_from([RISK, EMOTION]), SHARES, st.integers(2, 8), HINTS, st.lists(st.floats(0.05, 0.9), min_size=8, max_size=8) | st.none())
def test_no_hint_makes_a_verdict_milder_whatever_head_thresholds_and_other_hints(
    task: Task, shares: list[float], known: int, drawn: list[tuple[float, int]], least: list[float] | None
) -> None:
    labels = list(task.labels)
    voice = dict(list(zip(labels, shares, strict=False))[:known])
    learned = TaskFusion(parts=["neural"], others={"neural": 1.0}, thresholds=dict(zip(labels, least, strict=False)) if least else {})
    hits = [hit(id=f"r{n}", task=task.name, label=labels[place % len(labels)], odds=odds) for n, (odds, place) in enumerate(drawn)]

    def grave(hits: list[Hit]) -> int:
        found = decide(task, hits, neural=voice, calibration=Calibration(learned))
        assert found and sum(found.probabilities.values()) < 1.01
        return task.severity(found.label)

    heard = [one for one in hits if one.rule.label in voice]
    for number in range(len(heard) + 1):
        for some in combinations(heard, number):
            worst = [one for one in some if task.severity(one.rule.label) == max(task.severity(o.rule.label) for o in some)]
            assert grave(list(some)) >= grave(worst), "what milder hints say lowers nothing"
            assert grave(list(some)) >= grave([])
    block = hit(id="block", task="risk", kind="block", odds=None)
    blocked = decide(RISK, [*(one for one in hits if one.rule.task == "risk"), block], neural={"none": 1.0, "low": 0.0, "high": 0.0})
    assert blocked and (blocked.label, blocked.by, blocked.probability) == ("high", "rule", 1.0)


def test_thresholds_that_name_a_rare_grave_label_stand_above_a_hint_for_a_milder_one() -> None:
    learned = TaskFusion(parts=["neural"], others={"neural": 1.0}, thresholds={"self_harm_high": 0.1, "anger": 0.5, "sadness": 0.5})
    voice = {"anger": 0.5, "self_harm_high": 0.3, "sadness": 0.2}
    for hits in ([], [hit(task="emotion", label="anger", odds=5)]):
        found = decide(EMOTION, hits, neural=voice, calibration=Calibration(learned))
        assert found and found.label == "self_harm_high"


def test_a_mild_hint_takes_nothing_from_a_grave_one() -> None:
    voice = {"none": 0.35, "low": 0.45, "high": 0.2}
    assert decided(RISK, hit(), neural=voice).label == "high"
    both = decided(RISK, hit(), hit(id="calm", label="none", odds=100), neural=voice)
    assert both.label == "high" and [reason.split(": ")[-1] for reason in both.reasons[:2]] == [
        "makes high 9 times as likely", "none does not lower a safety label",
    ]  # fmt: skip


def test_where_no_trained_head_knows_the_label_a_weighed_rule_decides() -> None:
    untaught = decided(RISK, hit(odds=100), neural={"none": 0.9, "low": 0.1})
    assert (untaught.label, untaught.by) == ("high", "rule")
    by_name = decide(RISK, [hit()], neural={"none": 0.9, "low": 0.05, "high": 0.05}, calibration=Calibration(named=True))
    assert by_name and (by_name.label, by_name.by) == ("high", "rule"), "the names of labels are no trained head"


def test_a_hint_of_a_higher_priority_is_not_lost_to_a_milder_rule_that_decides() -> None:
    voice = {"none": 0.75, "low": 0.15, "high": 0.1}
    desk = hit(id="desk", label="low", odds=None, priority=1)
    assert decided(RISK, hit(priority=100, odds=2), desk, neural=voice).label == "high"
    assert decided(RISK, hit(priority=0, odds=2), desk, neural=voice).label == "low"


def test_doubt_was_learned_without_rules_and_they_take_none_away() -> None:
    learned = TaskFusion(parts=["neural"], others={"neural": 1.0}, scores={"neural": [0.7] * 40})
    voice = {"none": 0.2, "low": 0.42, "high": 0.38}
    found = decide(RISK, [hit(label="low", odds=50)], neural=voice, calibration=Calibration(learned))
    assert found and found.label == "low" and found.unsure and "high" in found.possible
    assert any(reason.startswith("together low") for reason in found.reasons)


def test_of_a_multi_task_it_raises_its_own_label_alone() -> None:
    task = Task.model_validate({"name": "tags", "kind": "multi", "labels": {"a": "", "b": ""}, "parts": ["rule", "neural"], "meaning": "tags"})
    found = decided(task, hit(task="tags", label="a"), neural={"a": 0.2, "b": 0.4})
    assert found.labels == ["a"] and found.probabilities == pytest.approx({"a": 1.8 / 2.6, "b": 0.4}, abs=1e-5)


@pytest.mark.parametrize(
    "changes",
    [{"kind": "block"}, {"odds": 1}, {"odds": 20_000}, {"kind": "allow", "clears": ["low"], "label": "none"}, {"softer_odds": 2}],
)
def test_odds_are_for_plain_rules_and_within_bounds(changes: dict) -> None:
    with pytest.raises(ConfigError, match=r"hint.*(odds|greater|less)"):
        RuleSet([("own.yaml", json.dumps({"rules": [rule(**changes)]}).encode())], label_set)


def test_what_is_said_softly_has_odds_of_its_own_and_what_follows_has_those_of_the_rule() -> None:
    def hits(text: str, **changes: object) -> list[tuple[str, str, str, float | None]]:
        one = rule(id="b", softer="low", soften=["years ago"], implies={"stress": "high"}, **changes)
        rules = RuleSet([("own.yaml", json.dumps({"collection": "wellbeing", "rules": [one]}).encode())], label_set)
        return [(hit.rule.task, hit.rule.label, hit.rule.kind, hit.rule.odds) for hit in rules.hits("", text, WELLBEING)]

    now, past = "There is no way out", "years ago there was no way out"
    stress = "block" if WELLBEING.tasks["stress"].severity("high") else "plain"
    assert hits(now, kind="block", odds=None, softer_odds=4) == [("risk", "high", "block", None), ("stress", "high", stress, None)]
    assert hits(past, kind="block", odds=None, softer_odds=4) == [("risk", "low", "plain", 4)], "what it implies is of what it says outright"
    assert hits(now, odds=9, softer_odds=4) == [("risk", "high", "plain", 9), ("stress", "high", "plain", 9)]
    assert hits(past, odds=9) == [("risk", "low", "plain", None)], "left out, it decides"


def test_contradictions_are_warned_of_where_rules_decide_and_not_where_they_are_weighed() -> None:
    def warnings(**changes: object) -> list[str]:
        given = [rule(id="a", **changes), rule(id="b", label="low", **changes)]
        return RuleSet([("own.yaml", json.dumps({"rules": given}).encode())], label_set).warnings

    assert any("contradict" in line for line in warnings(odds=None))
    assert any("contradict" in line for line in warnings(odds=None, kind="block"))
    assert not warnings()
