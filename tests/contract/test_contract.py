"""Every topic has an example and a schema, and the code still keeps to both."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from deploy import contract
from shared.events import Event
from shared.topics import TOPICS, Topic

DESIGN = Path(__file__).parents[2] / "docs" / "design.md"
every_topic = pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)


def example(topic: Topic) -> dict[str, Any]:
    return json.loads(contract.example_path(topic.name).read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def subclasses(event: type[Event]) -> set[type[Event]]:
    return {event, *(deeper for child in event.__subclasses__() for deeper in subclasses(child))}


def test_every_event_has_one_topic() -> None:
    declared = {event for event in subclasses(Event) - {Event} if event.__module__ == "shared.events"}
    assert declared == {topic.event for topic in TOPICS}
    assert len({topic.name for topic in TOPICS}) == len({topic.event for topic in TOPICS}) == len(TOPICS)


@pytest.mark.parametrize("folder", ["examples", "schemas"])
def test_every_topic_has_an_example_and_a_schema_and_no_file_is_left_over(folder: str) -> None:
    assert {path.stem for path in (contract.CONTRACT / folder).glob("*.json")} == {topic.name for topic in TOPICS}


@every_topic
def test_the_code_keeps_to_the_schema(topic: Topic) -> None:
    said = contract.verdict(topic.event, topic.name)
    assert not said, said


@every_topic
def test_the_example_parses_and_round_trips(topic: Topic) -> None:
    raw = example(topic)
    event = topic.event.model_validate(raw)
    assert topic.event.model_validate_json(event.model_dump_json()) == event
    assert raw.items() <= event.model_dump(mode="json").items(), "the example holds what the event does not"


@every_topic
def test_the_example_has_a_key_and_an_id_that_does_not_depend_on_the_order_of_its_fields(topic: Topic) -> None:
    raw = example(topic)
    event, turned = topic.event.model_validate(raw), topic.event.model_validate(dict(reversed(raw.items())))
    assert event.key() == turned.key() != ""
    assert event.event_id() == turned.event_id()
    assert re.fullmatch(r"[0-9a-f]{32}", event.event_id())


@every_topic
def test_another_fact_has_another_id(topic: Topic) -> None:
    event = topic.event.model_validate(example(topic))
    moment = next(name for name, value in event if hasattr(value, "year"))
    later = event.model_copy(update={moment: getattr(event, moment).replace(year=2031)})
    assert later.event_id() != event.event_id()
    assert later.key() == event.key()


@every_topic
def test_a_record_of_the_required_fields_alone_is_read(topic: Topic) -> None:
    """What an older writer left out has a default."""
    required = contract.schema_of(topic.event)["required"]
    topic.event.model_validate({name: value for name, value in example(topic).items() if name in required})


@every_topic
def test_a_field_of_a_newer_writer_is_passed_over(topic: Topic) -> None:
    raw = example(topic)
    assert topic.event.model_validate({**raw, "told_by_a_newer_writer": 1}) == topic.event.model_validate(raw)


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_names_follow_the_convention(topic: Topic) -> None:
    assert re.fullmatch(r"[a-z]+s?\.[a-z]+\.v\d+", topic.name)
    assert topic.event.__name__.lower().endswith(topic.name.split(".")[1])


def test_the_table_of_the_design_page_is_that_of_the_code() -> None:
    """A row a topic: what it is called, its event, whether it is compacted, and at least the groups that may leave dead letters."""
    if not DESIGN.exists():
        pytest.skip("docs/design.md is absent")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in DESIGN.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    told = {name: cells for cells in rows for name in re.findall(r"[a-z]+\.[a-z]+\.v\d+", cells[0])}
    assert set(told) == {topic.name for topic in TOPICS}
    for topic in TOPICS:
        first, event, _, readers = told[topic.name]
        assert topic.event.__name__ in event or "," in first, f"{topic.name} is {topic.event.__name__}"
        assert ("compacted" in first) == topic.compacted, topic.name
        assert all(reader in readers for reader in topic.readers), f"{topic.name} is read by {', '.join(topic.readers)}"
