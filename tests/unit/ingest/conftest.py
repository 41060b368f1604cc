"""Parts that the tests of ingest share: a bus that records, a clock that stands still, an intake over real files."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.ingest.intake import Intake
from services.ingest.known import Known
from services.ingest.quarantine import Quarantine
from services.ingest.stories import Stories
from shared.events import DocumentIngested, Event, SourcePolled
from shared.objects import ObjectStore

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@dataclass
class Recorder:
    """Records what is published, in order. Kafka itself is not the subject here. `broken` makes it refuse, as a broker that is away."""

    events: list[Event] = field(default_factory=list)
    broken: bool = False

    async def publish(self, *events: Event) -> None:
        if self.broken:
            raise ConnectionError("no broker")
        self.events += events

    @property
    def documents(self) -> list[DocumentIngested]:
        return [event for event in self.events if isinstance(event, DocumentIngested)]

    @property
    def polls(self) -> list[SourcePolled]:
        return [event for event in self.events if isinstance(event, SourcePolled)]


@dataclass
class World:
    """One process of ingest, without sources. `restarted` is the next one: it has read the topics and nothing else."""

    folder: Path
    bus: Recorder
    store: ObjectStore
    known: Known
    quarantine: Quarantine
    intake: Intake

    async def restarted(self) -> "World":
        world = make_world(self.folder, Recorder(list(self.bus.events)))
        for event in self.bus.events:
            if isinstance(event, DocumentIngested):
                await world.known.on_document(event)
            elif isinstance(event, SourcePolled):
                world.known.on_poll(event)
        return world


def make_world(folder: Path, bus: Recorder) -> World:
    objects = str(folder / "objects")
    known, store, quarantine = Known(Stories()), ObjectStore(objects), Quarantine(objects, lambda: NOW)
    return World(folder, bus, store, known, quarantine, Intake(bus.publish, store, known, quarantine, lambda: NOW))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path, Recorder())


def rss(*items: str, head: str = '<?xml version="1.0" encoding="utf-8"?>') -> bytes:
    """A feed of RSS items given as XML."""
    return f"{head}<rss version='2.0'><channel><title>Desk</title>{''.join(items)}</channel></rss>".encode()


def item(guid: str, title: str, text: str, extra: str = "") -> str:
    return f"<item><guid isPermaLink='false'>{guid}</guid><title>{title}</title><description><![CDATA[{text}]]></description>{extra}</item>"
