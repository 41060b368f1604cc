"""Plain rules that are weighed with what the head and the language model say, in place of deciding."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.classifier.fusion import decide
from services.classifier.rule_files import Rule
from services.classifier.rules import Hit, RuleSet
from shared.errors import ConfigError
from shared.events import Decision, LabelScore
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


@given(st.lists(st.floats(0, 1), min_size=3, max_size=3), st.floats(1.01, 10_000), st.sampled_from(["none", "low", "high"]))
def test_a_hint_never_lowers_how_grave_a_verdict_is_nor_outvotes_a_block_rule(shares: list[float], odds: float, label: str) -> None:
    voice = dict(zip(RISK.labels, shares, strict=True))
    without, with_hint = decide(RISK, neural=voice), decide(RISK, [hit(label=label, odds=odds)], neural=voice)
    assert without and with_hint
    assert RISK.severity(with_hint.label) >= RISK.severity(without.label)
    assert sum(with_hint.probabilities.values()) == pytest.approx(sum(without.probabilities.values()), abs=1e-4) or sum(shares) == 0
    block = hit(id="block", kind="block", odds=None)
    blocked = decide(RISK, [hit(label=label, odds=odds), block], neural=voice)
    assert blocked and (blocked.label, blocked.by, blocked.probability) == ("high", "rule", 1.0)


def test_of_a_multi_task_it_raises_its_own_label_alone() -> None:
    task = Task.model_validate({"name": "tags", "kind": "multi", "labels": {"a": "", "b": ""}, "parts": ["rule", "neural"], "meaning": "tags"})
    found = decided(task, hit(task="tags", label="a"), neural={"a": 0.2, "b": 0.4})
    assert found.labels == ["a"] and found.probabilities == pytest.approx({"a": 1.8 / 2.6, "b": 0.4}, abs=1e-5)


@pytest.mark.parametrize("changes", [{"kind": "block"}, {"odds": 1}, {"odds": 20_000}, {"kind": "allow", "clears": ["low"], "label": "none"}])
def test_odds_are_for_plain_rules_and_within_bounds(changes: dict) -> None:
    with pytest.raises(ConfigError, match=r"hint.*(odds|greater|less)"):
        RuleSet([("own.yaml", json.dumps({"rules": [rule(**changes)]}).encode())], label_set)


def test_a_block_rules_odds_are_those_of_its_softer_hits_and_of_what_follows_from_them() -> None:
    block = rule(id="b", kind="block", softer="low", soften=["years ago"], implies={"stress": "high"}, odds=4)
    rules = RuleSet([("own.yaml", json.dumps({"collection": "wellbeing", "rules": [block]}).encode())], label_set)
    outright, soft = (rules.hits("", text, WELLBEING) for text in ("There is no way out", "years ago there was no way out"))
    assert [(one.rule.task, one.rule.label, one.rule.kind, one.rule.odds) for one in outright] == [
        ("risk", "high", "block", 4), ("stress", "high", "block" if WELLBEING.tasks["stress"].severity("high") else "plain", None),
    ]  # fmt: skip
    assert next((one.rule.task, one.rule.label, one.rule.kind, one.rule.odds) for one in soft) == ("risk", "low", "plain", 4)
    assert {one.rule.odds for one in soft} == {4}
    voice = {"none": 0.1, "low": 0.1, "high": 0.8}
    assert decided(RISK, *outright, neural=voice).by == "rule" and decided(RISK, *soft, neural=voice).label == "high"
