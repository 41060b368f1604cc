"""A block-list safety rule can't be outvoted, from the text to the verdict: by no other rule, no head, no language model, no correction. The fusion alone
is put to the same test, and to mutations, in test_classifier_fusion."""

import json
from pathlib import Path

import pytest
from classifier_samples import RULES, enriched, feedback, ingested
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from services.classifier import decide as deciding
from services.classifier import fusion
from services.classifier.decide import Decider, Neural
from services.classifier.overlay import Overlay
from services.classifier.rulebook import RuleBook
from shared.taxonomy import label_set

LABELS = list(label_set("wellbeing").tasks["risk"].labels)
WORDS = ["I want to kill myself", "i wanna d!e tonight", "k1ll  mys3lf is all I think of", "nobody would miss me", "my friend", "a game", "said", "not", "🎵",
         "“", "never", "in minecraft", "years ago", "lol", "today", ". ", ", "]  # fmt: skip
texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=8).map(" ".join)
risk = st.sampled_from(LABELS)
shares = st.fixed_dictionaries({label: st.floats(0, 1) for label in LABELS})
anything = {
    "text": texts,
    "collection": st.sampled_from(["wellbeing", "news"]),
    "llm": st.none() | st.tuples(risk, st.floats(0, 1)),
    "neural": st.none() | shares,
    "corrected": st.none() | risk,
    "others": st.lists(st.tuples(st.sampled_from(["plain", "allow"]), risk, st.integers(-1000, 1000)), max_size=2),
}


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory):
    """Rule books by the rules that stand beside the shipped ones: plain and allow rules of any priority that hit everywhere the safety rules may."""
    made: dict[str, RuleBook] = {}

    def book(others) -> RuleBook:
        rules = []
        for n, (kind, label, priority) in enumerate(others):
            clears = {"clears": [other for other in LABELS if other != label]} if kind == "allow" else {}
            body = {"id": f"other-{n}", "task": "risk", "label": label, "kind": kind, "priority": priority, "reason": "r", "owner": "o"} | clears
            rules.append(body | {"pattern": "[a-z]+", "tests": [{"text": "word", "hit": True}]})
        key = json.dumps(rules)
        if key not in made:
            if len(made) > 60:
                made.clear()
            folder = tmp_path_factory.mktemp("rules")
            (folder / "safety.yaml").write_bytes((RULES / "safety.yaml").read_bytes())
            (folder / "others.yaml").write_text(json.dumps({"rules": rules}))
            made[key] = RuleBook(folder, label_set)
        return made[key]

    return book


def is_outvoted(book: RuleBook, text: str, collection: str, llm, neural, corrected, others) -> bool:
    """Whether a verdict on risk stands below the gravest block hit of the text."""
    overlay = Overlay()
    if corrected:
        overlay.remember(feedback("f1", corrected, task="risk", collection=collection))
    document = ingested(title="", text=text, collection=collection)
    document = enriched(document, {"risk": llm}) if llm else document
    verdict = Decider(book, overlay, label_set).document(document, Neural({"risk": neural} if neural else {}))
    blocks = [hit.rule.label for hit in book.rules.hits("", text, label_set(collection)) if hit.rule.kind == "block" and hit.rule.task == "risk"]
    worst = max(map(LABELS.index, blocks), default=0)
    return LABELS.index(verdict.decision["risk"].label) < worst


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(**anything)
def test_nothing_lowers_what_a_block_rule_finds_in_a_text(books, **said) -> None:
    assert not is_outvoted(books(said["others"]), **said)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(text=texts, others=anything["others"])
def test_other_rules_take_no_block_hit_away(books, text: str, others) -> None:
    def blocks(book: RuleBook) -> set[tuple[str, str]]:
        return {(hit.rule.id, hit.rule.label) for hit in book.rules.hits("", text, label_set("wellbeing")) if hit.rule.kind == "block"}

    assert blocks(books([])) <= blocks(books(others))


def test_the_property_fails_without_the_guard(books, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of the fusion without its first step must be found out."""
    source = Path(fusion.__file__).read_text()
    assert source.count("if blocks:") == 1, "the mutation no longer fits fusion.py"
    copy: dict[str, object] = {"__name__": "mutated"}
    exec(compile(source.replace("if blocks:", "if blocks and False:"), fusion.__file__, "exec"), copy)
    monkeypatch.setattr(deciding, "decide", copy["decide"])
    said = anything | {"others": st.just([])}
    try:
        find(
            st.fixed_dictionaries(said),
            lambda case: is_outvoted(books([]), **case),
            settings=settings(max_examples=300, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)),
        )
    except NoSuchExample:
        pytest.fail("the property holds of a fusion without its guard: it tests nothing")
