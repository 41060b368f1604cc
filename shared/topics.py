"""The topics: one a class of event, with partitions, retention and compaction. `create` makes those that are missing."""

from dataclasses import dataclass, field

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from shared import events
from shared.errors import ConfigError

DAY = 24 * 3600 * 1000
FOREVER = -1
MAX_DEAD_LETTER = 3 * 2**20  # bytes: a record of the 1 MiB that Kafka takes, and its headers once more in base64


@dataclass(frozen=True)
class Topic:
    """`retention_ms` -1 keeps for ever; `compacted` keeps the newest record of each key. `readers` are the groups that may leave dead letters."""

    name: str
    event: type[events.Event]
    partitions: int = 6
    retention_ms: int = 30 * DAY
    compacted: bool = False
    readers: tuple[str, ...] = field(default=())


TOPICS: tuple[Topic, ...] = (
    Topic("documents.ingested.v1", events.DocumentIngested, readers=("inference", "classifier")),
    Topic("documents.enriched.v1", events.DocumentEnriched, readers=("classifier",)),
    Topic("documents.classified.v1", events.DocumentClassified, readers=("retriever", "feedback")),
    Topic("feedback.given.v1", events.FeedbackGiven, retention_ms=FOREVER, readers=("trainer", "classifier")),
    Topic("training.requested.v1", events.TrainingRequested, partitions=3, retention_ms=FOREVER, readers=("trainer",)),
    Topic("training.progressed.v1", events.TrainingProgressed, partitions=1, retention_ms=7 * DAY),
    Topic("training.finished.v1", events.TrainingFinished, partitions=1, retention_ms=FOREVER),
    Topic("models.published.v1", events.ModelPublished, partitions=1, compacted=True),
    Topic("models.activated.v1", events.ModelActivated, partitions=1, retention_ms=90 * DAY),
    Topic("rules.published.v1", events.RulesPublished, partitions=1, compacted=True),
    Topic("sources.polled.v1", events.SourcePolled, partitions=1, compacted=True),
)
BY_EVENT = {topic.event: topic for topic in TOPICS}


def topic_of(event: type[events.Event]) -> Topic:
    """The topic of a class of event. KeyError is a mistake of ours: every event has one."""
    return BY_EVENT[event]


def dead_letters(topic: str, group: str) -> str:
    """Where the records of `topic` go that `group` can't handle."""
    return f"{topic}.{group}.dlq"


def specs(replication: int) -> list[NewTopic]:
    """Every topic and every dead letter topic, as the broker wants them. Dead letters are kept for ever, in one partition, in order."""
    min_isr = str(max(1, replication - 1))
    wanted = []
    for topic in TOPICS:
        config = {"min.insync.replicas": min_isr, "retention.ms": str(topic.retention_ms)}
        if topic.compacted:
            config |= {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.1", "retention.ms": str(FOREVER)}
        wanted.append(NewTopic(topic.name, topic.partitions, replication, topic_configs=config))
        keep = {"min.insync.replicas": min_isr, "retention.ms": str(FOREVER), "max.message.bytes": str(MAX_DEAD_LETTER)}
        wanted += [NewTopic(dead_letters(topic.name, group), 1, replication, topic_configs=keep) for group in topic.readers]
    return wanted


async def create(bootstrap: str, replication: int = 1) -> list[str]:
    """Create the topics that are missing and return their names. Raises ConfigError where the broker can't be reached or refuses."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        await admin.start()
        response = await admin.create_topics(specs(replication), timeout_ms=30_000)
    except (KafkaError, OSError) as error:
        raise ConfigError(f"Kafka at {bootstrap} does not answer ({error}): is it running? KAFKA_BOOTSTRAP_SERVERS names it") from error
    finally:
        await admin.close()
    created = []
    for name, code, *detail in response.topic_errors:
        if code == 0:
            created.append(name)
        elif code != TopicAlreadyExistsError.errno:
            raise ConfigError(f"Kafka refuses to create topic {name}: {for_code(code).__name__} {' '.join(str(d) for d in detail if d)}")
    return created
