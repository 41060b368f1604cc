"""The reviewer's queue: who comes first, how doubt is measured, and what a person's word takes out of it."""

import random

import pytest

from services.feedback.review import SAFETY_WEIGHT, Review, information, review
from services.feedback.views import Items
from shared.care import GRAVEST, OTHER, gravest, severity, words
from shared.events import Decision, DocumentClassified, FeedbackGiven
from shared.taxonomy import Task, label_set

WELLBEING = label_set("wellbeing").tasks
MULTI = Task(name="topics", meaning="m", labels=dict.fromkeys("abcd", "x"), kind="multi")


def said(label: str, by: str = "fusion", **more) -> Decision:
    return Decision(label=label, by=by, reasons=["so"], **{"probability": 0.9, **more})


def unsure(*chances: float, task: str = "category") -> Decision:
    labels = list(label_set("wellbeing" if task in ("stress", "emotion") else "news").tasks[task].labels)[: len(chances)]
    given = dict(zip(labels, chances, strict=True))
    return said(labels[0], probability=chances[0], probabilities=given, unsure=True, possible=labels)


def person(kind: str, task: str, correct: str, on: DocumentClassified, **more) -> FeedbackGiven:
    fields = {"id": f"{kind}-{task}-{correct}", "document": on, "given_at": on.received_at, **more}
    return FeedbackGiven(kind=kind, document_id=on.id, task=task, correct=correct, **fields)


@pytest.fixture
def message(item):
    """message(n, risk=…, emotion=…): a message with these verdicts."""

    def make(n: int = 1, **decision: str | Decision) -> DocumentClassified:
        made = {name: one if isinstance(one, Decision) else said(one) for name, one in decision.items()}
        return item(n, collection="wellbeing").model_copy(update={"decision": made})

    return make


def test_entropy_is_a_share_of_the_highest_that_so_many_labels_can_have():
    assert information(said("x", probabilities={"a": 0.25, "b": 0.25, "c": 0.25, "d": 0.25})) == pytest.approx(1)
    assert information(said("x", probabilities={"a": 1.0, "b": 0.0, "c": 0.0})) == 0
    assert information(said("x", probabilities={"a": 0.5, "b": 0.5, "c": 0.0, "d": 0.0})) == pytest.approx(0.5)
    ten = Task(name="t", meaning="m", labels=dict.fromkeys("abcdefghij", "x"))
    two = {"a": 0.5, "b": 0.5}
    assert information(said("a", probabilities=two), ten) == pytest.approx(0.30103)  # one bit of log2(10), though only two were named
    assert information(said("a", probability=0.5), ten) > information(said("a", probabilities=two), ten), "what is not known is spread evenly"


def test_of_a_multi_task_each_label_is_a_question_of_its_own():
    assert information(said("a", probabilities=dict.fromkeys("abcd", 0.5)), MULTI) == pytest.approx(1)
    assert information(said("a", probabilities={"a": 1.0, "b": 0.5, "c": 0.0, "d": 0.0}), MULTI) == pytest.approx(0.25)


def test_severity_is_a_share_of_the_tasks_own_scale():
    assert severity(WELLBEING["risk"], ["high"]) == 1 and severity(WELLBEING["risk"], ["low"]) == 0.5 and severity(WELLBEING["risk"], ["none"]) == 0
    assert severity(WELLBEING["emotion"], ["sadness"]) == 0 and severity(WELLBEING["emotion"], ["self_harm_high", "sadness"]) == 1
    assert severity(None, ["high"]) == severity(WELLBEING["stress"], ["high"]) == 0
    assert (words(1.0), words(0.5)) == (GRAVEST, OTHER)
    assert gravest({"stress": said("high"), "risk": said("low"), "emotion": said("self_harm_high")}, WELLBEING) == (1, "emotion")


def test_safety_first_then_doubt_then_time(item, message):
    doubtful = {"category": unsure(0.5, 0.5), "sentiment": said("neutral")}
    more_doubtful = {"category": unsure(*[0.1] * 10), "sentiment": unsure(0.98, 0.02, task="sentiment")}
    given = [
        (message(1, risk="low"), "safety"),
        (message(2, risk="low", emotion="self_harm_high"), "safety"),  # the graver of the two counts
        (message(3, risk=said("high", by="rule", probability=1.0)), "safety"),
        (item(4).model_copy(update={"decision": doubtful}), "unsure"),
        (item(5).model_copy(update={"decision": more_doubtful}), "unsure"),
        (message(6, risk="none", emotion="sadness"), "rest"),
        (item(7), "rest"),
    ]
    expected = ["d003", "d002", "d001", "d005", "d004", "d007", "d006"]
    for seed in range(3):
        items = Items()
        for one, why in random.Random(seed).sample(given, len(given)):
            items.on_document_classified(one)
            assert items.review(one.id).why == why
        page = items.page(50, "", "", "", "", "review")
        assert [one["id"] for one in page["items"]] == expected
        assert (page["look"], page["total"]) == ({"safety": 3, "unsure": 2, "rest": 2}, 7)
    assert [one["id"] for one in items.page(50, "", "", "", "")["items"]] == [f"d{n:03}" for n in range(7, 0, -1)]


def test_a_doubt_about_safety_counts_twice_and_any_other_once(message):
    stress = review(message(1, stress=unsure(0.5, 0.3, 0.2, task="stress")), [])
    risk = Decision(label="none", probability=0.5, by="fusion", reasons=["so"], unsure=True, possible=["none", "low"])
    same = risk.model_copy(update={"probabilities": {"none": 0.5, "low": 0.3, "high": 0.2}})
    found = review(message(2, stress=unsure(0.5, 0.3, 0.2, task="stress"), risk=same), [])
    assert (stress.task, found.task) == ("stress", "risk") and found.weight == pytest.approx(SAFETY_WEIGHT * stress.weight, abs=1e-5)
    gladness = said("positive", unsure=True, possible=["positive", "neutral"], probabilities={"positive": 0.5, "neutral": 0.5})
    danger = gladness.model_copy(update={"possible": ["sadness", "self_harm_low"]})
    assert review(message(1, emotion=danger), []).weight == pytest.approx(SAFETY_WEIGHT * review(message(1, emotion=gladness), []).weight, abs=1e-5)


def test_a_doubt_of_a_sure_task_is_none(item):
    flat = said("politics", probabilities=dict.fromkeys(label_set().tasks["category"].labels, 0.1))  # flat, and yet one label alone is possible
    assert review(item(1).model_copy(update={"decision": {"category": flat}}), []) == Review(why="rest")


@pytest.mark.parametrize("kind", ["confirmation", "correction"])
def test_what_a_person_has_judged_is_judged(item, kind):
    one = item(1).model_copy(update={"decision": {"category": unsure(0.5, 0.5)}})
    assert review(one, [person(kind, "category", "politics", one)]) == Review(why="judged")
    assert review(one, [person("rating", "category", "", one)]).why == "unsure"


def test_a_word_on_an_earlier_version_does_not_judge_the_edited_text(item):
    old = item(1)
    edited = old.model_copy(update={"version": "2"})
    assert review(edited, [person("confirmation", "category", "business", old)]).why == "rest"


def test_a_safety_label_is_settled_only_by_who_saw_it(message):
    grave = message(1, risk="high", stress="high", emotion="sadness")
    earlier = message(1, risk="none", stress="high", emotion="sadness")
    assert review(grave, [person("correction", "stress", "low", grave)]).why == "safety", "another task, in passing"
    assert review(grave, [person("confirmation", "emotion", "sadness", earlier)]).why == "safety", "before the model said so"
    assert review(grave, [person("confirmation", "risk", "low", message(1, risk="low"))]).why == "safety", "a lesser one was seen"
    for settled in (
        person("confirmation", "risk", "high", grave),
        person("correction", "risk", "none", grave),  # a block rule keeps its label, but a person has looked
        person("correction", "risk", "high", earlier),  # the person said so
    ):
        assert review(grave, [settled]).why == "judged"


def test_feedback_and_its_retraction_move_an_item_out_and_back(item):
    items = Items()
    one = item(1).model_copy(update={"decision": {"category": unsure(0.5, 0.5)}})
    items.on_document_classified(one)
    given = person("confirmation", "category", "politics", one)
    items.on_feedback_given(given)
    assert items.page(9, "", "", "", "", "review")["items"] == [] and len(items.page(9, "", "", "", "")["items"]) == 1
    items.on_feedback_given(FeedbackGiven(id="r", kind="retraction", document_id=one.id, retracts=given.id, given_at=one.received_at))
    assert items.page(9, "", "", "", "", "review")["look"] == {"safety": 0, "unsure": 1, "rest": 0}


def test_pages_of_the_queue_neither_repeat_nor_skip(item, message):
    items = Items()
    rng = random.Random(7)
    for n in range(60):
        p = rng.choice([0.5, 0.6, 0.7])
        kinds = [message(n, risk=rng.choice(["low", "high"])), item(n), item(n).model_copy(update={"decision": {"category": unsure(p, 1 - p)}})]
        items.on_document_classified(rng.choice(kinds))
    seen, before = [], ""
    while True:
        page = items.page(7, before, "", "", "", "review")
        seen += page["items"]
        if not (before := page["next"]):
            break
    ranks = [(Review.model_validate(one["review"]).rank(), one["received_at"]) for one in seen]
    assert len(seen) == len({one["id"] for one in seen}) == 60 and ranks == sorted(ranks, reverse=True)


def test_one_odd_record_does_not_hide_the_others(item):
    items = Items()
    odd = item(1, collection="../../etc").model_copy(update={"decision": {"risk": said("high", unsure=True)}})
    items.on_document_classified(odd)
    items.on_document_classified(item(2))
    page = items.page(9, "", "", "", "", "review")
    assert [one["id"] for one in page["items"]] == ["d001", "d002"] and page["items"][0]["care"] is None
