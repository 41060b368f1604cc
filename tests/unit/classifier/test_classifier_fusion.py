from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.classifier.fusion import Correction, decide
from services.classifier.pooled import Calibration
from services.classifier.rule_files import Rule
from services.classifier.rules import Hit
from shared.events import LabelScore
from shared.pooling import TaskFusion
from shared.taxonomy import Task, label_set

TASKS = label_set("news").tasks
CATEGORY, URGENCY, RISK = TASKS["category"], TASKS["urgency"], TASKS["risk"]
SEVERITY = list(RISK.labels)


def hit(label: str, kind: str = "plain", task: str = "risk", priority: int = 0, id: str = "r", clears: tuple[str, ...] = ()) -> Hit:
    tests = [{"text": "words", "hit": True}]
    about = {"id": id, "task": task, "label": label, "kind": kind, "priority": priority}
    about |= {"clears": list(clears)} if kind == "allow" else {}
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


def test_a_missing_part_is_renormalised_away() -> None:
    head = {"technology": 0.7, "business": 0.3}
    by_head, by_llm = decide(CATEGORY, neural=head), decide(CATEGORY, llm=llm("sport", 0.5))
    assert by_head and (by_head.label, by_head.probability, by_head.by) == ("technology", 0.7, "neural")
    assert by_llm and (by_llm.label, by_llm.probability, by_llm.by) == ("sport", 0.5, "llm")
    assert by_head.probabilities == head and len(by_llm.probabilities) == len(CATEGORY.labels)


def test_the_models_own_probabilities_of_all_labels_count() -> None:
    said = LabelScore(label="sport", probability=0.5, probabilities={"sport": 0.5, "culture": 0.4})
    decision = decide(CATEGORY, llm=said)
    assert decision and decision.probabilities["culture"] == pytest.approx(0.4) and decision.probabilities["world"] == pytest.approx(0.0125)
    assert decision.parts[0].probabilities["culture"] == 0.4
    head = {"sport": 0.4, "culture": 0.6}
    assert [d.label for p in (said, llm("sport", 0.5)) if (d := decide(CATEGORY, llm=p, neural=head))] == ["sport", "sport"]
    close = LabelScore(label="sport", probability=0.5, probabilities={"sport": 0.5, "culture": 0.49})
    tipped = decide(CATEGORY, llm=close, neural={"sport": 0.3, "culture": 0.7})
    assert tipped and tipped.label == "culture"  # where the rest is spread evenly, culture could not have won


def test_the_median_of_an_ordinal_task() -> None:
    said = LabelScore(label="low", probability=0.4, probabilities={"low": 0.4, "normal": 0.25, "high": 0.35})
    decision = decide(URGENCY, llm=said)
    assert decision and (decision.label, decision.expected_rank, decision.probability) == ("normal", 0.95, 0.25)
    assert decision.unsure and decision.possible == ["low", "normal", "high"]
    alone = decide(URGENCY, llm=llm("low", 0.4))
    assert alone and alone.label == "low"  # one label and no others: taken at its word
    assert (d := decide(CATEGORY, llm=said.model_copy(update={"label": "sport"}))) and d.expected_rank is None


def test_uncalibrated_is_said_and_a_weak_label_is_unsure() -> None:
    weak, strong = decide(CATEGORY, neural={"sport": 0.5, "world": 0.45, "health": 0.05}), decide(CATEGORY, neural={"sport": 0.7, "world": 0.3})
    assert weak and strong
    assert (weak.unsure, weak.possible) == (True, ["sport", "world"]) and weak.reasons[-1] == "unsure: world is possible too"
    assert (strong.unsure, strong.possible) == (False, ["sport"])
    assert all("uncalibrated: the weights of the parts were set by hand" in decision.reasons for decision in (weak, strong))


LEARNED = TaskFusion(
    parts=["llm", "neural"],
    temperatures={"neural": 0.5},
    weights={"llm": {"sport": 0.1}, "neural": {"sport": 1.5}},
    others={"llm": 0.1, "neural": 1.5},
    scores={"llm+neural": [n / 20 for n in range(20)], "neural": [0.6] * 20},
)


def test_learned_weights_decide_and_the_error_rate_says_what_is_possible() -> None:
    voices = {"llm": llm("culture", 0.6), "neural": {"sport": 0.55, "culture": 0.45}}
    by_hand, learned = decide(CATEGORY, **voices), decide(CATEGORY, **voices, calibration=Calibration(LEARNED, 0.1))
    assert by_hand and learned
    assert (by_hand.label, learned.label) == ("culture", "sport")
    assert not any("uncalibrated" in reason for reason in learned.reasons)
    assert learned.unsure and {"sport", "culture"} <= set(learned.possible)
    careless = decide(CATEGORY, **voices, calibration=Calibration(LEARNED, 0.35))
    assert careless and not careless.unsure and careless.possible == ["sport"]
    alone = decide(CATEGORY, neural={"sport": 0.6, "culture": 0.4}, calibration=Calibration(LEARNED, 0.1))
    assert alone and alone.probability == pytest.approx(0.36 / (0.36 + 0.16), abs=1e-6)  # its temperature alone
    assert alone.possible == ["sport"] and not alone.unsure
    llm_alone = decide(CATEGORY, llm=llm("sport", 0.9), calibration=Calibration(LEARNED, 0.1))
    assert llm_alone and any("never seen together" in reason for reason in llm_alone.reasons)


def test_a_learned_threshold_names_a_rare_label_and_says_so() -> None:
    learned = TaskFusion(parts=["neural"], others={"neural": 1.0}, thresholds={"health": 0.5}, scores={"neural": [0.7] * 20})
    decision = decide(CATEGORY, neural={"sport": 0.6, "health": 0.4}, calibration=Calibration(learned))
    assert decision and (decision.label, decision.probability, decision.unsure) == ("health", 0.4, True)
    assert "sport is likelier (60%) and is said too easily; health reaches more of its threshold" in decision.reasons


def test_weights_of_other_parts_and_other_digests_are_said() -> None:
    heads_only = TaskFusion(parts=["neural"], temperatures={"neural": 2.0})
    decision = decide(CATEGORY, llm=llm("sport", 0.9), neural={"sport": 0.9, "world": 0.1}, calibration=Calibration(heads_only))
    assert decision and "uncalibrated: the weights of the parts were set by hand" in decision.reasons
    stale = decide(CATEGORY, neural={"sport": 0.9, "world": 0.1}, calibration=Calibration(LEARNED, 0.1, ["neural"]))
    assert stale and "calibrated on other weights of the neural head than those that spoke" in stale.reasons


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
    emotion, killing_time = label_set("wellbeing").tasks["emotion"], hit("neutral", "allow", task="emotion", clears=("self_harm_high",))
    harm, anger = {"self_harm_high": 0.9, "anger": 0.1}, {"self_harm_high": 0.1, "anger": 0.9}
    taken_back, untouched = (decide(emotion, [killing_time], None, None, head) for head in (harm, anger))
    assert taken_back and (taken_back.label, taken_back.by) == ("neutral", "rule")
    assert "self_harm_high, which the others say (90%), is cleared by it" in taken_back.reasons
    assert untouched and (untouched.label, untouched.by) == ("anger", "neural")  # it clears the labels that it names, and no other
    assert blocked and blocked.label == "low"


def test_an_allow_rule_clears_also_where_a_plain_rule_decides() -> None:
    emotion = label_set("wellbeing").tasks["emotion"]
    said = lambda label, kind="plain", **more: hit(label, kind, task="emotion", id=kind, **more)  # noqa: E731
    plain, low, high = said("stress"), {"self_harm_low": 0.9, "stress": 0.1}, {"self_harm_high": 0.9, "stress": 0.1}
    ours = said("stress", "allow", priority=100, clears=("self_harm_low",))
    raised, cleared, graver = (decide(emotion, hits, neural=head) for hits, head in (([plain], low), ([plain, ours], low), ([plain, ours], high)))
    assert raised and (raised.label, raised.by) == ("self_harm_low", "neural")
    assert cleared and (cleared.label, cleared.by, cleared.possible) == ("stress", "rule", ["stress"])
    assert cleared.reasons == [plain.reason(), ours.reason(), "self_harm_low, which the others say (90%), is cleared by it"]
    assert graver and (graver.label, graver.by) == ("self_harm_high", "neural")  # it clears the labels that it names, and no other
    softened = decide(emotion, [plain, said("self_harm_low", "allow", clears=("self_harm_high",))], neural=high)
    assert softened and (softened.label, softened.by) == ("self_harm_low", "rule")  # what it says instead is not lowered either
    untouched = decide(emotion, [plain, ours], neural={"stress": 0.1, "sadness": 0.9})
    assert untouched and (untouched.label, untouched.reasons) == ("stress", [plain.reason()])
    alone = decide(emotion, [plain, said("self_harm_low", "allow", clears=("self_harm_high",))])
    assert alone and alone.label == "stress"  # nothing was there to be taken back
    blocked = decide(emotion, [plain, ours, said("self_harm_low", "block")], neural=low)
    assert blocked and (blocked.label, blocked.by) == ("self_harm_low", "rule")


def test_a_correction_against_a_block_is_shown_and_not_followed_but_may_raise_it() -> None:
    lowered = decide(RISK, [hit("high", "block")], Correction("none", "a song", "ben"))
    assert lowered and (lowered.label, lowered.by) == ("high", "rule")
    assert "not followed, a safety rule stands above it" in lowered.reasons[1]
    raised = decide(RISK, [hit("low", "block")], Correction("high", "I know her", "ben"))
    assert raised and (raised.label, raised.by) == ("high", "correction")


def test_safety_labels_of_a_task_that_has_others_too() -> None:
    emotion = label_set("wellbeing").tasks["emotion"]
    block = hit("self_harm_low", "block", task="emotion")
    for label, decided in [("fear", "self_harm_low"), ("self_harm_low", "self_harm_low"), ("self_harm_high", "self_harm_high")]:
        decision = decide(emotion, [block], Correction(label), llm("positive", 1.0), {"positive": 1.0})
        assert decision and decision.label == decided


probabilities = st.floats(0, 1)
risk_labels = st.sampled_from(SEVERITY)
hits = st.lists(
    st.builds(hit, risk_labels, st.sampled_from(["allow", "plain", "block"]), st.just("risk"), st.integers(-9, 999), st.text("ab", min_size=1),
              st.lists(risk_labels))
)  # fmt: skip
weights = st.floats(0, 1000)
fusions = st.none() | st.builds(
    lambda each, other, bias: TaskFusion(
        parts=["llm", "neural"], weights={"llm": each, "neural": each}, others={"llm": other, "neural": other}, bias=bias, scores={"llm": [0.0]}
    ),
    st.dictionaries(risk_labels, weights),
    weights,
    st.dictionaries(risk_labels, st.floats(-1000, 1000)),
)
anything = {
    "blocks": st.lists(st.builds(hit, st.sampled_from(SEVERITY[1:]), st.just("block"), st.just("risk"), st.integers(-9, 999)), min_size=1, max_size=3),
    "others": hits,
    "correction": st.none() | st.builds(Correction, st.sampled_from([*SEVERITY, "unknown", "none,low", "high,low"])),
    "spoken": st.none() | st.builds(lambda label, p, all_: LabelScore(label=label, probability=p, probabilities=all_), risk_labels, probabilities,
                                    st.dictionaries(risk_labels, probabilities)),
    "head": st.none() | st.dictionaries(risk_labels, probabilities),
    "parts": st.lists(st.sampled_from(["rule", "llm", "neural"]), unique=True),
    "kind": st.sampled_from(["single", "ordinal", "multi"]),
    "fusion": fusions,
}  # fmt: skip


def is_outvoted(decider, blocks, others, correction, spoken, head, parts, kind, fusion) -> str:
    """Empty where the gravest block stands, else what is wrong."""
    task = RISK.model_copy(update={"parts": parts, "kind": kind})
    decision = decider(task, [*others, *blocks], correction, spoken, head, Calibration(fusion))
    named = [h.rule.label for h in [*blocks, *others] if h.rule.kind == "block"]
    worst = max(SEVERITY.index(label) for label in named)
    if decision is None:
        return "no decision"
    if decision.unsure and not set(decision.possible) - set(named):
        return "a block is doubted"
    if kind == "multi":
        lost = {label for label in named if label not in decision.labels or decision.probabilities[label] != 1}
        return f"{lost} lost" if lost or SEVERITY.index(decision.label) < worst or decision.by != "rule" else ""
    if SEVERITY.index(decision.label) < worst:
        return "lowered"
    raised = decision.by == "correction" and SEVERITY.index(decision.label) > worst  # a person alone may raise it
    return "" if decision.by == "rule" or raised else f"decided by {decision.by}"


CERTAIN = {  # whoever can speak says "none", and is sure of it
    "blocks": [hit("high", "block")],
    "others": [hit("none", "allow", priority=999, clears=("low", "high")), hit("none", priority=999)],
    "correction": Correction("none"),
    "spoken": llm("none", 1.0),
    "head": {"none": 1.0, "low": 0.0, "high": 0.0},
    "parts": ["rule", "llm", "neural"],
    "fusion": TaskFusion(parts=["llm", "neural"], others={"llm": 1000, "neural": 1000}, bias={"none": 1000}),
}


@settings(deadline=None)  # a busy machine is no failure
@given(**anything)
@example(**CERTAIN, kind="single")
@example(**CERTAIN, kind="ordinal")
@example(**CERTAIN, kind="multi")
@example(**CERTAIN | {"correction": None}, kind="single")
def test_nothing_outvotes_a_block(**said) -> None:
    """Not the other parts, not a correction, not an allow rule of any priority, not any weights, in no kind of task."""
    assert is_outvoted(decide, **said) == ""


MUTATIONS = {
    "blocks are not looked at": ("fusion", "if blocks:", "if False and blocks:"),
    "corrections first": (
        "fusion",
        "if correction is None or task.severity(correction.label) <= task.severity(block.rule.label):",
        "if correction is None:",
    ),
    "the mildest block": ("fusion", "(-task.severity(hit.rule.label), -hit.rule.priority, hit.rule.id)", "(task.severity(hit.rule.label),)"),
    "the highest priority": ("fusion", "(-task.severity(hit.rule.label), -hit.rule.priority, hit.rule.id)", "(-hit.rule.priority,)"),
    "a certain model": ("fusion", "    if blocks:", "    if blocks and not (llm and llm.probability > 0.99 and llm.label == task.default):"),
    "a certain head": ("fusion", "    if blocks:", "    if blocks and not (neural and neural.get(task.default, 0) > 0.99):"),
    "a rule of priority 999": ("fusion", "    if blocks:", "    if blocks and max(hit.rule.priority for hit in said.hits) < 999:"),
    "parts decide who may block": ("said", ' if "rule" in task.parts or task.safety else []', ' if "rule" in task.parts else []'),
    "several: blocks are not looked at": ("several", 'if hit.rule.kind == "block"}', "if False}"),
    "several: a correction settles all": ("several", "for label in task.labels} | settled", "for label in task.labels}"),
    "several: what is pooled stands above": ("several", "chances = found.chances | chances", "chances = chances | found.chances"),
    "several: the likeliest alone": ("several", "for name in found.chances} | settled", "for name in found.chances}"),
}


def mutated(name: str, old: str, new: str):
    """services.classifier.fusion.decide with one line of one of its modules changed."""
    import sys
    from types import ModuleType

    from services.classifier import fusion, said, several

    kept = {module.__name__: module for module in (said, several, fusion)}
    try:
        for module in (said, several, fusion):  # in the order in which they import one another
            source = Path(module.__file__).read_text()
            if module.__name__.endswith(f".{name}"):
                assert source.count(old) >= 1, f"the mutation no longer fits {name}.py"
                source = source.replace(old, new)
            other = ModuleType(module.__name__)
            sys.modules[module.__name__] = other
            exec(compile(source, module.__file__, "exec"), other.__dict__)
        return other.decide
    finally:
        sys.modules.update(kept)


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_the_property_fails_of_a_fusion_that_is_wrong(mutation: str) -> None:
    from hypothesis import Phase, find
    from hypothesis.errors import NoSuchExample

    wrong = mutated(*MUTATIONS[mutation])
    if any(
        is_outvoted(wrong, **CERTAIN | {"correction": correction}, kind=kind)
        for kind in ("single", "multi")
        for correction in (None, Correction("none"))
    ):
        return
    try:
        find(
            st.fixed_dictionaries(anything),
            lambda said: is_outvoted(wrong, **said) != "",
            settings=settings(max_examples=5000, phases=[Phase.generate], derandomize=True, database=None, deadline=None),
        )
    except NoSuchExample:
        pytest.fail("the property holds for the wrong fusion too, so it proves nothing")


@settings(deadline=None)  # a busy machine is no failure
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
        assert decision.label in decision.possible
        assert 0.999 < sum(decision.probabilities.values()) < 1.001


SEVERAL = Task.model_validate(
    {"name": "mood", "meaning": "m", "kind": "multi", "labels": dict.fromkeys(["joy", "anger", "fear", "harm"], "m"), "safety": ["harm"]}
)


def on_mood(label: str, kind: str = "plain", **more) -> Hit:
    return hit(label, kind, task="mood", **more)


def test_of_several_labels_each_is_decided_on_its_own() -> None:
    decision = decide(SEVERAL, neural={"joy": 0.9, "anger": 0.8, "fear": 0.1, "harm": 0.02})
    assert decision and (decision.label, decision.labels, decision.probability) == ("joy", ["joy", "anger"], 0.9)
    assert decision.probabilities == {"joy": 0.9, "anger": 0.8, "fear": 0.1, "harm": 0.02} and not decision.unsure
    none = decide(SEVERAL, neural={"joy": 0.3, "anger": 0.2, "fear": 0.1, "harm": 0.02})
    assert none and (none.label, none.labels, none.probability) == ("", [], 0.7)
    default = decide(SEVERAL.model_copy(update={"default": "fear"}), neural={"joy": 0.3, "anger": 0.2, "fear": 0.1, "harm": 0.02})
    assert default and (default.label, default.labels) == ("fear", ["fear"])
    assert decide(SEVERAL) is None
    doubt = decide(SEVERAL, neural={"joy": 0.55, "anger": 0.2, "fear": 0.45, "harm": 0.02})
    assert doubt and doubt.unsure and doubt.possible == ["joy", "fear"] and doubt.reasons[-1] == "unsure: joy, fear may hold or not"


def test_learned_thresholds_of_several_labels() -> None:
    learned = TaskFusion(parts=["neural"], weights={"neural": {"anger": 1.0}}, thresholds={"joy": 0.95, "fear": 0.1}, scores={"neural": [0.02] * 30})
    decision = decide(SEVERAL, neural={"joy": 0.9, "anger": 0.99, "fear": 0.2}, calibration=Calibration(learned))
    assert decision and decision.labels == ["anger", "fear"] and decision.unsure
    assert decision.reasons[-1] == "unsure: joy, fear may hold or not"


def test_authority_label_by_label() -> None:
    head = {"joy": 0.9, "anger": 0.9, "fear": 0.9, "harm": 0.01}
    ruled = decide(
        SEVERAL,
        [on_mood("joy", "allow", priority=5, clears=("anger", "harm")), on_mood("anger", id="p"), on_mood("harm", "block", id="b")],
        None,
        None,
        head,
    )
    assert ruled and (ruled.label, ruled.labels, ruled.by) == ("harm", ["joy", "fear", "harm"], "rule")
    corrected = decide(SEVERAL, [on_mood("harm", "block"), on_mood("joy")], Correction("anger"), None, head)
    assert corrected and corrected.labels == ["anger", "harm"] and "not followed for harm, a safety rule stands above it" in corrected.reasons[1]
    nothing = decide(SEVERAL, [on_mood("joy")], Correction("none"), None, head)
    assert nothing and (nothing.labels, nothing.by, nothing.probability) == ([], "correction", 1.0)
    allowed = decide(SEVERAL, [on_mood("joy", "allow", priority=999, clears=("harm",)), on_mood("harm", "block", id="b")])
    assert allowed and allowed.labels == ["joy", "harm"] and allowed.label == "harm"


mood = st.dictionaries(st.sampled_from(list(SEVERAL.labels)), probabilities)


@settings(deadline=None)  # a busy machine is no failure
@given(
    spoken=st.none() | st.builds(llm, st.sampled_from(list(SEVERAL.labels)), probabilities),
    head=mood,
    rules=st.lists(st.builds(on_mood, st.sampled_from(list(SEVERAL.labels)), st.sampled_from(["allow", "plain"]))),
    correction=st.none() | st.builds(Correction, st.sampled_from(["joy", "joy, fear", "none", "unknown"])),
)
def test_several_labels_are_labels_and_probabilities(spoken, head, rules, correction) -> None:
    decision = decide(SEVERAL, rules, correction, spoken, head)
    if decision is None:
        assert not head and spoken is None and not rules and (correction is None or correction.label == "unknown")
        return
    assert decision.labels == [label for label in SEVERAL.labels if label in decision.labels]
    assert (decision.label in decision.labels) == bool(decision.labels)
    assert set(decision.labels) <= set(decision.possible) and decision.reasons
    assert all(0 <= p <= 1 for p in decision.probabilities.values())


def test_a_correction_that_says_what_a_safety_rule_says_is_followed() -> None:
    agreed = decide(RISK, [hit("high", "block")], Correction("high", "", "ana", True))
    assert agreed and agreed.by == "rule" and agreed.reasons[-1] == Correction("high", "", "ana", True).reason()
    lower = decide(RISK, [hit("high", "block")], Correction("low", "", "ana", True))
    assert lower and lower.label == "high" and "not followed" in lower.reasons[-1]
