"""The HTTP of ingest: the health of the sources, a poll by hand, a text pushed, the quarantine, and replay. Managing sources: services.ingest.manage_api."""

import asyncio
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.ingest.health import row
from services.ingest.intake import Intake
from services.ingest.items import RawItem
from services.ingest.known import Known
from services.ingest.poller import Poller
from services.ingest.quarantine import Quarantine
from services.ingest.urls import canonical
from shared.bodies import SMALL, body
from shared.clock import utc_now
from shared.events import Link, SourceRef
from shared.service import Json

PUSHED = SourceRef(id="api", kind="api", title="pushed")
MAX_PUSH = 10_000_000  # bytes


class Push(BaseModel):
    """A text that is handed in. `id` names it (the same id later is a new version of it); without one its url does, else its content."""

    model_config = ConfigDict(extra="forbid")

    title: str = Field(default="", max_length=2_000)
    text: str
    id: str = Field(default="", max_length=500)
    url: str = ""
    author: str = Field(default="", max_length=500)
    published_at: datetime | None = Field(default=None, description="ISO 8601; without a time zone it is UTC")
    links: list[Link] = []
    collection: str = Field(default="news", pattern=r"^[a-z][a-z0-9_-]{0,40}$")


class Replay(BaseModel):
    model_config = ConfigDict(extra="forbid")

    ids: list[str] = Field(min_length=1, max_length=10_000)


class Api:
    """Routes over the objects that app.py made."""

    def __init__(self, poller: Poller, intake: Intake, known: Known, quarantine: Quarantine) -> None:
        self._poller, self._intake, self._known, self._quarantine = poller, intake, known, quarantine

    def routes(self) -> list[Route]:
        return [
            Route("/api/sources", self.sources),
            Route("/api/sources/poll", self.poll, methods=["POST"]),
            Route("/api/documents", self.push, methods=["POST"]),
            Route("/api/quarantine", self.quarantined),
            Route("/api/replay", self.replay, methods=["POST"]),
        ]

    async def sources(self, _: Request) -> Response:
        return Json({"sources": [row(task, self._known.count(task.source.source_id), utc_now) for task in self._poller.tasks()]})

    async def poll(self, _: Request) -> Response:
        counts = await self._poller.poll_all()
        states = {task.source.source_id: task.polled for task in self._poller.tasks()}
        return Json(
            {
                "sources": len(counts),
                "failing": sum(1 for polled in states.values() if polled and polled.state in ("failing", "gone")),
                "documents": sum(count.documents for count in counts.values()),
                "unchanged": sum(count.unchanged for count in counts.values()),
                "quarantined": sum(len(count.refusals) for count in counts.values()),
            }
        )

    async def push(self, request: Request) -> Response:
        given = await body(request, Push, MAX_PUSH, "a pushed text")
        if given.url and not canonical(given.url):
            raise HTTPException(422, "url: must be an http or https address")
        item = RawItem(
            key=given.id,
            title=given.title,
            body=given.text,
            url=given.url,
            author=given.author,
            published=_utc(given.published_at),
            links=tuple(given.links),
            raw=given.model_dump_json().encode(),
        )
        taken = await self._intake.take([item], PUSHED, given.collection)
        if taken.refused:
            raise HTTPException(422, taken.refused[0])
        if taken.published:
            return Json({"id": taken.published[0].id, "story": taken.published[0].story, "new": True}, status_code=201)
        return Json({"id": taken.unchanged[0], "new": False})

    async def quarantined(self, request: Request) -> Response:
        """The newest refusals, newest first; ?before=… with the `next` of an answer goes on from there. `next` is empty at the end."""
        entries, following = await asyncio.to_thread(self._quarantine.page, request.query_params.get("before", ""))
        return Json({"quarantine": entries, "next": following})

    async def replay(self, request: Request) -> Response:
        wanted = await body(request, Replay, SMALL)
        count, unknown = await self._intake.replay(wanted.ids)
        return Json({"replayed": count, "unknown": unknown})


def _utc(value: datetime | None) -> datetime | None:
    try:
        return value if value is None else value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError as error:  # the first or the last day that there is, in another zone
        raise HTTPException(422, f"published_at: {value} is no time that can be kept") from error
