"""A user's own label set works at once with rules and the language model, and without a head."""

import json
from pathlib import Path

import pytest
from classifier_samples import enriched, feedback, ingested

from services.classifier.decide import Decider, Neural
from services.classifier.overlay import Overlay
from services.classifier.rulebook import SHIPPED, RuleBook
from services.classifier.rules import RuleSet
from shared.events import DocumentClassified, LabelScore
from shared.taxonomy import label_set, use

EXAMPLE = Path(__file__).parents[3] / "feedloop.example.yaml"
RULES = """
collection: desk
rules:
  - {id: fire, task: tags, label: danger, kind: block, any: [fire], reason: somebody may be harmed, owner: desk,
     tests: [{text: a fire broke out, hit: true}]}
  - {id: loud, task: tone, label: alarmed, kind: plain, any: [evacuate], reason: an order to leave, owner: desk,
     tests: [{text: they evacuate the school, hit: true}]}
"""


@pytest.fixture
def decider(tmp_path: Path):
    """The label set that feedloop.example.yaml shows, without the marks of a comment."""
    text = EXAMPLE.read_text().partition("label_sets: {}\n")[2]
    shown = "label_sets:\n" + "\n".join(line.removeprefix("#") for line in text.splitlines())
    (tmp_path / "feedloop.yaml").write_text(shown)
    use(tmp_path / "feedloop.yaml")
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "desk.yaml").write_text(RULES)
    yield Decider(RuleBook(tmp_path / "rules", label_set, drop_safety_rules=True), Overlay(), label_set)
    use(None)


def test_rules_and_the_language_model_decide_it(decider: Decider) -> None:
    document = ingested(title="A fire at the school", text="The council met at once, and the budget was spent.", collection="desk")
    provisional = decider.document(document, Neural())
    assert set(provisional.decision) == {"tags"}
    assert (provisional.decision["tags"].labels, provisional.decision["tags"].by) == (["danger"], "rule")

    read = enriched(document, {"beat": ("city", 0.9), "tone": ("raised", 0.7), "tags": ("money", 0.8)})
    final = decider.document(read, Neural())
    assert final.decision["beat"].label == "city" and final.decision["beat"].by == "llm"
    assert (final.decision["tone"].label, final.decision["tone"].expected_rank) == ("raised", 1.0)
    assert (final.decision["tags"].label, final.decision["tags"].labels) == ("danger", ["money", "danger"])
    assert DocumentClassified.model_validate_json(final.model_dump_json()) == final

    decider.overlay.remember(feedback("f1", "people", task="tags", collection="desk"))
    corrected = decider.document(read, Neural())
    assert corrected.decision["tags"].labels == ["people", "danger"] and corrected.stage == "corrected"


def test_of_several_labels_the_models_own_probabilities_count(decider: Decider) -> None:
    read = enriched(ingested(collection="desk"), {})
    score = LabelScore(label="money", probability=0.9, probabilities={"money": 0.9, "people": 0.7, "danger": 0.1})
    decision = decider.document(read.model_copy(update={"verdict": {"tags": score}}), Neural()).decision["tags"]
    assert decision.labels == ["money", "people"] and not decision.unsure


@pytest.mark.parametrize(
    ("kind", "one", "other", "shadowed"),
    [
        ("single", "spill", "blast", "b"),  # the graver label decides, whatever the ids
        ("single", "blast", "spill", "a"),
        ("multi", "spill", "blast", ""),  # each label is decided on its own
        ("multi", "blast", "blast", "b"),
    ],
)
def test_how_grave_a_label_is_its_own_label_set_says(tmp_path: Path, kind: str, one: str, other: str, shadowed: str) -> None:
    labels = {"calm": "nothing", "blast": "the lesser", "spill": "the graver"}
    task = {"meaning": "what happens", "kind": kind, "labels": labels, "safety": ["blast", "spill"]}
    (tmp_path / "feedloop.yaml").write_text(json.dumps({"label_sets": {"plant": {"tasks": {"harm": task}}}}))
    more = {"task": "harm", "kind": "block", "any": ["leak"], "reason": "r", "owner": "o", "tests": [{"text": "a leak", "hit": True}]}
    rules = [{"id": "a", "label": one, **more}, {"id": "b", "label": other, **more}]
    use(tmp_path / "feedloop.yaml")
    try:
        told = RuleSet([("a.yaml", json.dumps({"collection": "plant", "rules": rules}).encode())], label_set).warnings
    finally:
        use(None)
    assert [line[: len("rule 'a'")] for line in told if "can never decide" in line] == ([f"rule '{shadowed}'"] if shadowed else [])


@pytest.mark.parametrize(
    ("labels", "safety", "outright", "in_doubt"),
    [
        (["none", "low", "high"], True, ("high", "block"), ("low", "plain")),
        (["none", "low", "high"], ["high"], ("high", "block"), ("low", "plain")),
        (["none", "medium", "high"], True, ("high", "block"), ("high", "plain")),  # nothing softer to say: said all the same, and not beyond doubt
    ],
)
def test_the_safety_rules_that_ship_watch_over_a_label_set_of_ones_own(tmp_path: Path, labels, safety, outright, in_doubt) -> None:
    risk = {"meaning": "who may be in danger", "kind": "ordinal", "labels": {name: name for name in labels}, "safety": safety, "default": "none"}
    (tmp_path / "feedloop.yaml").write_text(json.dumps({"label_sets": {"desk": {"tasks": {"risk": risk}}}}))
    use(tmp_path / "feedloop.yaml")
    try:
        book = RuleBook(SHIPPED, label_set)
        told = {
            text: {(hit.rule.label, hit.rule.kind) for hit in book.rules.hits("", text, label_set("desk")) if hit.rule.id == "risk-wish"}
            for text in ("I want to die.", "I don't think I want to die.", "I don't want to die.")
        }
        assert list(told.values()) == [{outright}, {in_doubt}, set()]
        assert not [line for line in book.warnings if "desk" in line]
        decided = Decider(book, Overlay(), label_set).text("", "I want to die. I am going to kill myself tonight.", "desk", Neural())
        assert (decided.decision["risk"].label, decided.decision["risk"].by) == ("high", "rule")
    finally:
        use(None)


def test_safety_rules_that_can_not_watch_over_a_label_set_are_told_of(tmp_path: Path) -> None:
    risk = {"meaning": "who may be in danger", "kind": "ordinal", "labels": {"no": "a", "yes": "b"}, "safety": True}
    (tmp_path / "feedloop.yaml").write_text(json.dumps({"label_sets": {"desk": {"tasks": {"risk": risk}}}}))
    use(tmp_path / "feedloop.yaml")
    try:
        [told] = [line for line in RuleBook(SHIPPED, label_set).warnings if "left out of desk" in line]
    finally:
        use(None)
    assert "no label 'high' in task 'risk'" in told and " 16 rules are left out" in told


def test_a_label_set_that_stands_in_for_one_that_ships_and_lacks_a_task_does_not_keep_the_rules_from_being_read(tmp_path: Path) -> None:
    tasks = {
        name: {"meaning": name, "kind": "ordinal", "labels": {one: one for one in ("none", "low", "high")}, **more}
        for name, more in {"stress": {}, "risk": {"safety": True, "default": "none"}}.items()
    }
    (tmp_path / "feedloop.yaml").write_text(json.dumps({"label_sets": {"wellbeing": {"tasks": tasks}}}))
    use(tmp_path / "feedloop.yaml")
    try:
        book = RuleBook(SHIPPED, label_set)
        assert book.problem == "" and any("no task 'emotion'" in line for line in book.warnings)
        said = {(hit.rule.task, hit.rule.label) for hit in book.rules.hits("", "I am completely overwhelmed and burned out", label_set("wellbeing"))}
        assert said == {("stress", "high")}
    finally:
        use(None)
