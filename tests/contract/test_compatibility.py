"""The checker itself: every kind of breaking change is found and named, and no harmless one is."""

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from deploy import contract
from deploy.contract import BREAKING, REFRESH, breaks, schema_of
from shared.events import FeedbackGiven, ModelActivated, SourcePolled
from shared.topics import topic_of

Schema = dict[str, Any]
Mutation = Callable[[Schema], None]


def feedback() -> Schema:
    return schema_of(FeedbackGiven)


def changed(mutate: Mutation) -> list[str]:
    new = deepcopy(feedback())
    mutate(new)
    assert new != feedback(), "the mutation changes nothing"
    return breaks(feedback(), new)


def _set(schema: Schema, *path: str, value: Any) -> None:
    *way, last = path
    for step in way:
        schema = schema[step]
    schema[last] = value


BREAKS: dict[str, tuple[Mutation, str]] = {
    "field removed": (lambda s: s["properties"].pop("why"), "why: removed"),
    "nested field removed": (lambda s: s["$defs"]["DocumentClassified"]["properties"].pop("stage"), "document.stage: removed"),
    "type changed": (lambda s: _set(s, "properties", "task", value={"type": "integer"}), "task: type changed from string to integer"),
    "null no longer taken": (
        lambda s: _set(s, "properties", "rating", value={"type": "integer"}),
        "rating: type changed from integer or null to integer",
    ),
    "null where there was none": (
        lambda s: _set(s, "properties", "task", value={"anyOf": [{"type": "string"}, {"type": "null"}]}),
        "task: type changed from string to string or null",
    ),
    "list became a text": (
        lambda s: _set(s, "$defs", "DocumentClassified", "properties", "links", value={"type": "string"}),
        "document.links: type changed from array to string",
    ),
    "items of a list": (
        lambda s: _set(s, "$defs", "Metadata", "properties", "entities", "items", value={"type": "integer"}),
        "document.metadata.entities[]: type changed",
    ),
    "values of a map": (
        lambda s: _set(s, "$defs", "Decision", "properties", "probability", value={"type": "string"}),
        "document.decision{}.probability: type changed from number to string",
    ),
    "new required field": (lambda s: (_set(s, "properties", "mood", value={"type": "string"}), s["required"].append("mood")), "mood: new and required"),
    "optional field now required": (lambda s: s["required"].append("why"), "why: required now"),
    "literal narrowed": (lambda s: s["properties"]["kind"]["enum"].remove("rating"), 'kind: narrowed, it no longer takes "rating"'),
    "free text became a literal": (lambda s: _set(s, "properties", "by", value={"type": "string", "enum": ["page"]}), "by: narrowed"),
    "lower bound": (lambda s: _set(s, "$defs", "LabelScore", "properties", "probability", "minimum", value=0.5), "minimum is 0.5 now"),
    "upper bound": (lambda s: _set(s, "$defs", "LabelScore", "properties", "probability", "maximum", value=0.5), "maximum is 0.5 now"),
    "new length": (lambda s: _set(s, "properties", "why", "maxLength", value=100), "why: maxLength is 100 now, it was absent"),
    "new pattern": (lambda s: _set(s, "properties", "id", "pattern", value="^[a-f]+$"), "id: pattern"),
    "strangers refused": (lambda s: _set(s, "additionalProperties", value=False), "the event: unknown fields are refused now"),
}  # fmt: skip

HARMLESS: dict[str, Mutation] = {
    "new optional field": lambda s: _set(s, "properties", "mood", value={"type": "string", "default": ""}),
    "required field made optional": lambda s: s["required"].remove("given_at"),
    "literal widened": lambda s: s["properties"]["kind"]["enum"].append("applause"),
    "bound loosened": lambda s: s["$defs"]["LabelScore"]["properties"]["probability"].pop("maximum"),
    "another description": lambda s: _set(s, "description", value="in other words"),
    "a class renamed": lambda s: (
        _set(s, "$defs", "Tag", value=s["$defs"].pop("ModelStamp")),
        _set(s, "properties", "judged", "anyOf", value=[{"$ref": "#/$defs/Tag"}, {"type": "null"}]),
        _set(s, "$defs", "DocumentClassified", "properties", "model", "anyOf", value=[{"$ref": "#/$defs/Tag"}, {"type": "null"}]),
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_breaking_change_is_found(name: str) -> None:
    mutate, said = BREAKS[name]
    assert any(said in line for line in changed(mutate)), changed(mutate)


@pytest.mark.parametrize("name", HARMLESS)
def test_a_harmless_change_is_let_pass(name: str) -> None:
    assert changed(HARMLESS[name]) == []


def test_a_class_that_holds_itself_is_compared_once() -> None:
    def tree(leaf: str) -> Schema:
        node = {"type": "object", "properties": {"of": {"$ref": "#/$defs/Node"}, "name": {"type": leaf}}}
        return {"$ref": "#/$defs/Node", "$defs": {"Node": node}}

    assert breaks(tree("string"), tree("string")) == []
    assert breaks(tree("string"), tree("integer")) == ["name: type changed from string to integer"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A contract folder of the test's own, in step with the code."""
    (tmp_path / "tests" / "contract" / "schemas").mkdir(parents=True)
    monkeypatch.setattr(contract, "CONTRACT", tmp_path / "tests" / "contract")
    assert contract.main() == 0
    return tmp_path / "tests" / "contract" / "schemas"


def edit(event: Any, mutate: Mutation) -> Path:
    """Make the checked-in schema one from which the code has since departed."""
    path = contract.schema_path(topic_of(event).name)
    schema = json.loads(path.read_text())
    mutate(schema)
    path.write_text(json.dumps(schema))
    return path


@pytest.mark.usefixtures("folder")
def test_in_step_there_is_nothing_to_say_or_write(capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert contract.verdict(FeedbackGiven, "feedback.given.v1") == ""
    assert contract.main() == 0
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("folder")
def test_a_new_optional_field_asks_for_the_command_and_the_command_writes_it() -> None:
    path = edit(SourcePolled, lambda s: s["properties"].pop("quarantined"))  # as though the code had just gained it
    assert contract.verdict(SourcePolled, "sources.polled.v1") == f"sources.polled.v1: {REFRESH}"
    assert contract.main() == 0
    assert "quarantined" in json.loads(path.read_text())["properties"]


@pytest.mark.usefixtures("folder")
def test_a_breaking_change_is_refused_by_test_and_command_alike(capsys: pytest.CaptureFixture[str]) -> None:
    path = edit(ModelActivated, lambda s: _set(s, "properties", "engine", value={"type": "string"}))  # as though the code had dropped it
    before = path.read_text()
    said = contract.verdict(ModelActivated, "models.activated.v1")
    assert said == f"models.activated.v1: engine: removed: {BREAKING}"
    assert "a breaking change is a new topic" in said
    assert contract.main() == 1
    assert "a breaking change is a new topic" in capsys.readouterr().err
    assert path.read_text() == before


def test_a_topic_without_a_schema_asks_for_the_command(folder: Path) -> None:
    (folder / "feedback.given.v1.json").unlink()
    assert "no schema is checked in: run `python -m deploy.contract`" in contract.verdict(FeedbackGiven, "feedback.given.v1")
