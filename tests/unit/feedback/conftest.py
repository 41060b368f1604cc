"""The feedback service as services.feedback.app wires it, on a bus in memory."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

import services.feedback.app as wiring
from services.feedback.settings import Settings
from shared.events import Decision, DocumentClassified, Event, SourceRef

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


class MemoryBus:
    """As shared.bus.Bus: what is published is kept and told to the projections at once."""

    def __init__(self, *_: Any) -> None:
        self.published: list[Event] = []
        self.listeners: dict[type[Event], Callable[[Any], Any]] = {}
        self.now = NOON

    def clock(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now

    def project(self, kind: type[Event], apply: Callable[[Any], Any]) -> None:
        self.listeners[kind] = apply

    async def publish(self, *events: Event) -> None:
        self.published += events
        self.tell(*events)

    def tell(self, *events: Event) -> None:
        """As if another service had published it."""
        for event in events:
            self.listeners[type(event)](event)

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def caught_up(self) -> None: ...

    async def ping(self) -> str:
        return ""


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[tuple[MemoryBus, httpx.AsyncClient]]:
    """The service between its start and its end, and a client to it."""
    service = wiring.build(settings)
    said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    life = asyncio.create_task(service.app(scope, said.get, heard.put))  # type: ignore[arg-type]
    await said.put({"type": "lifespan.startup"})
    assert (await heard.get())["type"] == "lifespan.startup.complete"
    async with httpx.AsyncClient(transport=httpx.ASGITransport(service.app), base_url="http://page") as client:
        yield service.bus, client  # type: ignore[misc]
    await said.put({"type": "lifespan.shutdown"})
    await life


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Its neighbours are away: nothing listens on port 1."""
    monkeypatch.setattr(wiring, "Bus", MemoryBus)
    away = "http://127.0.0.1:1"
    return Settings(retriever_url=away, trainer_url=away, ingest_url=away, classifier_url=away)


@pytest.fixture
def start() -> Callable[[Settings], Any]:
    return running


@pytest.fixture
async def served(settings: Settings) -> AsyncIterator[tuple[MemoryBus, httpx.AsyncClient]]:
    async with running(settings) as both:
        yield both


@pytest.fixture
def item() -> Callable[..., DocumentClassified]:
    """item(n, label=…, stage=…): the verdict on document n, received n minutes after noon."""

    def make(n: int = 1, label: str = "business", *, stage: str = "final", **more: Any) -> DocumentClassified:
        at = NOON + timedelta(minutes=n)
        given = {
            "received_at": at,
            "published_at": at,
            "as_of": at,
            "title": f"Title {n}",
            "text": f"Text {n} of the day",
            "story": f"story{n}",
            **more,
        }
        decision = {"category": Decision(label=label, probability=0.8, by="llm", reasons=["the model says so"])}
        source = SourceRef(id="s", kind="feed", title="Northern Post")
        return DocumentClassified(id=f"d{n:03}", version="1", source=source, decision=decision, stage=stage, **given)

    return make
