"""What the broker is asked for."""

import pytest

from shared import events
from shared.topics import FOREVER, TOPICS, dead_letters, specs, topic_of


def test_every_topic_and_every_dead_letter_topic_is_asked_for_once() -> None:
    names = [spec.name for spec in specs(1)]
    wanted = {topic.name for topic in TOPICS} | {dead_letters(topic.name, group) for topic in TOPICS for group in topic.readers}
    assert set(names) == wanted
    assert len(names) == len(wanted)


@pytest.mark.parametrize(("replication", "least"), [(1, "1"), (2, "1"), (3, "2")])
def test_replication_leaves_one_broker_to_spare(replication: int, least: str) -> None:
    for spec in specs(replication):
        assert spec.replication_factor == replication
        assert spec.topic_configs["min.insync.replicas"] == least


def test_what_the_loop_lives_by_is_kept_for_ever() -> None:
    by_name = {spec.name: spec for spec in specs(1)}
    for topic in TOPICS:
        config = by_name[topic.name].topic_configs
        assert (config.get("cleanup.policy") == "compact") == topic.compacted
    for kept in (events.FeedbackGiven, events.TrainingRequested, events.ModelPublished, events.SourcePolled):
        assert by_name[topic_of(kept).name].topic_configs["retention.ms"] == str(FOREVER)
    for name, spec in by_name.items():
        if name.endswith(".dlq"):
            assert (spec.num_partitions, spec.topic_configs["retention.ms"]) == (1, str(FOREVER))


def test_a_compacted_topic_has_one_partition_so_that_its_newest_record_is_the_newest() -> None:
    assert {topic.partitions for topic in TOPICS if topic.compacted} == {1}


def test_a_class_without_a_topic_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        topic_of(events.Event)
