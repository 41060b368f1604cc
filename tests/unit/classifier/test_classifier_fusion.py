import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.classifier.fusion import Correction, decide, pool
from services.classifier.rule_files import Rule
from services.classifier.rules import Hit
from shared.events import LabelScore
from shared.taxonomy import label_set

TASKS = label_set("news").tasks
CATEGORY, URGENCY, RISK = TASKS["category"], TASKS["urgency"], TASKS["risk"]
SEVERITY = list(RISK.labels)


def hit(label: str, kind: str = "plain", task: str = "risk", priority: int = 0, id: str = "r") -> Hit:
    tests = [{"text": "words", "hit": True}]
    about = {"id": id, "task": task, "label": label, "kind": kind, "priority": priority}
    rule = Rule.model_validate({**about, "any": ["words"], "reason": "because", "owner": "o", "tests": tests})
    return Hit(rule, "words")


def llm(label: str, p: float) -> LabelScore:
    return LabelScore(label=label, probability=p)


def test_a_confident_llm_beats_a_head_that_was_never_taught_the_label() -> None:
    head = {"technology": 0.8, "business": 0.1, "science": 0.1}
    decision = decide(CATEGORY, llm=llm("security", 0.9), neural=head)
    assert decision and (decision.label, decision.by) == ("security", "fusion")
    assert "the head was never taught security" in decision.reasons
    assert [(part.part, part.label) for part in decision.parts] == [("llm", "security"), ("neural", "technology")]


def test_pooling_is_what_the_docstring_says() -> None:
    chances = pool(["a", "b", "c"], llm("a", 0.6), {"a": 0.1, "b": 0.9})
    scores = {
        "a": 0.75 * math.log(0.6) + 0.25 * math.log(0.1),
        "b": 0.75 * math.log(0.2) + 0.25 * math.log(0.9),
        "c": 0.75 * math.log(0.2) + 0.25 * math.log(1 / 3),
    }
    total = sum(math.exp(score) for score in scores.values())
    assert chances == pytest.approx({label: math.exp(score) / total for label, score in scores.items()})


def test_a_missing_part_is_renormalised_away() -> None:
    head = {"technology": 0.7, "business": 0.3}
    assert pool(list(CATEGORY.labels), None, head) == pytest.approx(head)
    alone = pool(list(CATEGORY.labels), llm("security", 0.91), {})
    assert alone["security"] == pytest.approx(0.91)
    assert alone["sport"] == pytest.approx(0.01)
    by_head, by_llm = decide(CATEGORY, neural=head), decide(CATEGORY, llm=llm("sport", 0.5))
    assert by_head and (by_head.label, by_head.probability, by_head.by) == ("technology", 0.7, "neural")
    assert by_llm and (by_llm.label, by_llm.probability, by_llm.by) == ("sport", 0.5, "llm")


def test_the_head_weighs_more_where_the_llm_is_the_weaker_and_a_sure_llm_still_wins() -> None:
    labels, head = ["a", "b"], {"a": 0.3, "b": 0.7}
    doubtful, sure = llm("a", 0.72), llm("a", 0.97)
    assert pool(labels, doubtful, head)["a"] > 0.5 > pool(labels, doubtful, head, 0.4)["a"]
    assert pool(labels, sure, head, 0.4)["a"] > 0.5


def test_answers_that_are_no_label_of_the_task_are_left_out() -> None:
    decision = decide(CATEGORY, llm=llm("gossip", 0.99), neural={"gossip": 0.9, "sport": 0.1})
    assert decision and (decision.label, decision.by) == ("sport", "neural")
    assert decide(CATEGORY) is None


def test_order_of_the_parts() -> None:
    voices = {"llm": llm("low", 0.99), "neural": {"low": 0.9, "high": 0.1}}
    plain = [hit("high", task="urgency", id="a"), hit("normal", task="urgency", id="b", priority=5)]
    by_rule = decide(URGENCY, plain, None, **voices)
    assert by_rule and (by_rule.label, by_rule.by) == ("normal", "rule")
    corrected = decide(URGENCY, plain, Correction("low", "nobody needs to act", "ana"), **voices)
    assert corrected and (corrected.label, corrected.by) == ("low", "correction")
    assert corrected.reasons == ["corrected to low by ana: nobody needs to act"]
    nothing = decide(RISK)
    assert nothing and (nothing.label, nothing.by) == ("none", "default")


def test_an_allow_rule_clears_but_never_a_block() -> None:
    cleared = decide(RISK, [hit("none", "allow", priority=999)])
    assert cleared and (cleared.label, cleared.by) == ("none", "rule")
    blocked = decide(RISK, [hit("none", "allow", priority=999), hit("low", "block", id="b")])
    assert blocked and blocked.label == "low"


def test_a_correction_against_a_block_is_shown_and_not_followed_but_may_raise_it() -> None:
    lowered = decide(RISK, [hit("high", "block")], Correction("none", "a song", "ben"))
    assert lowered and (lowered.label, lowered.by) == ("high", "rule")
    assert "not followed, a safety rule stands above it" in lowered.reasons[1]
    raised = decide(RISK, [hit("low", "block")], Correction("high", "I know her", "ben"))
    assert raised and (raised.label, raised.by) == ("high", "correction")


probabilities = st.floats(0, 1)
risk_labels = st.sampled_from(SEVERITY)
hits = st.lists(
    st.builds(hit, risk_labels, st.sampled_from(["allow", "plain", "block"]), st.just("risk"), st.integers(-9, 999), st.text("ab", min_size=1))
)


@given(
    blocks=st.lists(st.builds(hit, risk_labels, st.just("block"), st.just("risk"), st.integers(-9, 999)), min_size=1, max_size=3),
    others=hits,
    correction=st.none() | st.builds(Correction, st.sampled_from([*SEVERITY, "unknown"])),
    spoken=st.none() | st.builds(llm, risk_labels, probabilities),
    head=st.none() | st.dictionaries(risk_labels, probabilities),
    parts=st.lists(st.sampled_from(["rule", "llm", "neural"]), unique=True),
)
def test_nothing_outvotes_a_block(blocks, others, correction, spoken, head, parts) -> None:
    task = RISK.model_copy(update={"parts": parts})
    decision = decide(task, [*others, *blocks], correction, spoken, head)
    assert decision is not None
    worst = max(SEVERITY.index(block.rule.label) for block in [*blocks, *(o for o in others if o.rule.kind == "block")])
    assert SEVERITY.index(decision.label) >= worst
    if decision.by != "rule":  # a person alone may raise it
        assert decision.by == "correction" and SEVERITY.index(decision.label) > worst


@given(
    spoken=st.none() | st.builds(llm, st.sampled_from(list(CATEGORY.labels)), probabilities),
    head=st.none() | st.dictionaries(st.sampled_from(list(CATEGORY.labels)), probabilities),
)
def test_probabilities_are_probabilities(spoken, head) -> None:
    decision = decide(CATEGORY, llm=spoken, neural=head)
    if decision is None:
        assert spoken is None and not head
    else:
        assert 0 <= decision.probability <= 1 and decision.label in CATEGORY.labels
        assert decision.reasons
