import itertools
import math

import orjson
import pytest
from classifier_samples import START, at, enriched, feedback, ingested

from services.classifier.decide import Neural
from shared.events import DocumentClassified

NEURAL = Neural({"category": {"technology": 0.8, "business": 0.2}, "sentiment": {"neutral": 0.7, "negative": 0.3}}, "head-1")
VERDICT = {"category": ("security", 0.9), "sentiment": ("neutral", 0.6), "urgency": ("normal", 0.5)}


def test_stages_and_stamps(new_decider) -> None:
    document = ingested()
    decider = new_decider()
    provisional = decider.document(document, NEURAL)
    assert (provisional.stage, provisional.as_of, provisional.feedback_at) == ("provisional", START, None)
    assert provisional.decision["category"].label == "technology"
    assert provisional.head_digest == "head-1" and provisional.rules_digest == decider.rulebook.rules.digest
    assert "urgency" not in provisional.decision  # nobody spoke of it, and it has no default
    assert provisional.decision["risk"].by == "default"

    final = decider.document(enriched(document, VERDICT), NEURAL)
    assert (final.stage, final.as_of) == ("final", at(5))
    assert final.decision["category"].label == "security" and final.model is not None
    assert final.supersedes(provisional) and not provisional.supersedes(final)

    corrected = new_decider(feedback("f1", "business")).document(final, NEURAL, at(10))
    assert (corrected.stage, corrected.as_of, corrected.feedback_at) == ("corrected", at(5), at(10))
    assert corrected.decision["category"].by == "correction" and corrected.decision["sentiment"].by == "fusion"
    assert corrected.verdict == final.verdict and corrected.metadata == final.metadata


def test_a_retraction_brings_back_what_the_parts_say(new_decider) -> None:
    given, taken_back = feedback("f1", "business", 10), feedback("r1", minutes=20, retracts="f1")
    corrected = new_decider(given).document(enriched(ingested(), VERDICT), NEURAL)
    again = new_decider(given, taken_back).document(corrected, NEURAL, at(20))
    assert (again.stage, again.feedback_at) == ("final", at(20))
    assert again.decision["category"].label == "security"
    assert again.supersedes(corrected) and not corrected.supersedes(again)


@pytest.mark.parametrize("seen_by_llm_handler", [True, False])
def test_a_late_llm_answer_never_overwrites_a_correction(new_decider, seen_by_llm_handler: bool) -> None:
    """The correction is given on the provisional verdict; the LLM answers long after, on a replica that knows of the correction or does not yet."""
    given = feedback("f1", "business", 10)
    provisional = new_decider().document(ingested(), NEURAL)
    corrected = new_decider(given).document(provisional, NEURAL, at(10))
    late = new_decider(*([given] if seen_by_llm_handler else [])).document(enriched(ingested(), VERDICT, minutes=500), NEURAL)
    assert late.stage == ("corrected" if seen_by_llm_handler else "final")
    assert late.feedback_at == (at(10) if seen_by_llm_handler else None)
    for order in itertools.permutations([provisional, corrected, late]):
        kept: DocumentClassified | None = None
        for verdict in order:
            kept = verdict if verdict.supersedes(kept) else kept
        assert kept is not None and kept.decision["category"].label == "business" and kept.stage == "corrected"


def test_every_order_of_a_whole_life_ends_alike(new_decider) -> None:
    first, second, taken_back = feedback("f1", "business", 10), feedback("f2", "science", 20), feedback("r", minutes=30, retracts="f2")
    provisional = new_decider().document(ingested(), NEURAL)
    final = new_decider().document(enriched(ingested(), VERDICT), NEURAL)
    verdicts = [
        provisional,
        final,
        new_decider(first).document(final, NEURAL, at(10)),
        new_decider(first, second).document(final, NEURAL, at(20)),
        new_decider(first, second, taken_back).document(final, NEURAL, at(30)),
    ]
    for order in itertools.permutations(verdicts):
        kept = None
        for verdict in order:
            kept = verdict if verdict.supersedes(kept) else kept
        assert kept == verdicts[-1] and kept.decision["category"].label == "business"


def test_the_same_inputs_give_the_same_bytes(new_decider) -> None:
    events = [feedback(f"f{n}", label, n, title="Router maker ships firmware", text=ingested().text, document_id=f"d{n}") for n, label in
              enumerate(["business", "science", "world", "sport"])]  # fmt: skip
    document = enriched(ingested(), {"category": ("security", 1 / 3), "sentiment": ("positive", 2 / 3)})
    seen = {new_decider(*order).document(document, NEURAL).model_dump_json() for order in itertools.permutations(events)}
    assert len(seen) == 1
    fused = orjson.loads(seen.pop())["decision"]["sentiment"]
    for number in [fused["probability"], *(part["probability"] for part in fused["parts"])]:
        assert number == round(number, 6)


def test_a_safety_rule_stands_above_the_overlay(new_decider) -> None:
    document = ingested(title="", text="I want to kill myself")
    verdict = new_decider(feedback("f1", "none", task="risk")).document(document, Neural())
    assert verdict.decision["risk"].label == "high" and verdict.decision["risk"].by == "rule"


def test_a_bare_text_is_decided_with_the_corrections_of_its_copies(new_decider) -> None:
    document = ingested()
    decider = new_decider(feedback("f1", "business", title=document.title, text=document.text))
    verdict = decider.text(document.title, document.text, "news", NEURAL)
    assert (verdict.decision["category"].label, verdict.decision["category"].by) == ("business", "correction")
    assert (verdict.rules_digest, verdict.head_digest, verdict.fusion_digest) == (decider.rulebook.rules.digest, "head-1", "")
    assert decider.text("", "Quite another text", "news", NEURAL).decision["category"].label == "technology"


CALM = "The lamps are off, and the letters lie on the table in the hall where my brother will find them when he comes home tomorrow evening."
WORRIED = Neural({"risk": {"none": 0.1, "low": 0.2, "high": 0.7}}, "head-1")


@pytest.mark.parametrize(("task_label", "followed"), [("none", False), ("low", False), ("high", True)])
def test_only_a_correction_of_the_very_text_lowers_a_safety_label(new_decider, task_label: str, followed: bool) -> None:
    """Neither a near-duplicate nor the same story: a person has seen another text."""
    given = feedback("f1", task_label, task="risk", collection="wellbeing", title="Note", text=CALM, document_id="doc-0", story="s1")
    decider = new_decider(given)
    for title, text in [("Note", CALM.replace("table", "desk")), ("Another", "words on the same event")]:
        document = ingested("doc-2", title, text, story="s1", collection="wellbeing")
        risk = decider.document(document, WORRIED).decision["risk"]
        assert risk.label == "high" and (risk.by == "correction") == followed
        assert followed or "not followed, only one of this very text lowers a safety label" in risk.reasons[-1]
    assert decider.text("Note", CALM, "wellbeing", WORRIED).decision["risk"].label == task_label
    assert decider.document(ingested("doc-3", "Note", CALM, story="", collection="wellbeing"), WORRIED).decision["risk"].by == "correction"


def test_a_head_that_says_what_is_no_number_is_left_out(new_decider) -> None:
    broken = Neural({"category": {"technology": math.nan, "business": math.nan}, "sentiment": {"neutral": 0.7, "negative": math.inf}}, "head-1")
    verdict = new_decider().document(ingested(title="", text="I want to kill myself"), broken)
    assert verdict.decision["risk"].label == "high" and "category" not in verdict.decision
    assert verdict.decision["sentiment"].label == "neutral"


def test_a_correction_that_is_not_followed_makes_no_corrected_verdict(new_decider) -> None:
    document = ingested(text="I want to kill myself.", collection="wellbeing")
    of = {"task": "risk", "collection": "wellbeing"}
    ignored = new_decider(feedback("f1", "none", **of)).document(document, NEURAL)
    assert (ignored.stage, ignored.decision["risk"].label, ignored.feedback_at) == ("provisional", "high", at(10))
    agreed = new_decider(feedback("f1", "high", **of)).document(document, NEURAL)
    assert (agreed.stage, agreed.decision["risk"].label) == ("corrected", "high")
