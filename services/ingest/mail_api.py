"""The HTTP of mail that is handed in, and of reading a source again."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.ingest.intake import Intake
from services.ingest.poller import Poller
from services.ingest.readers.mails import MAX_MAIL, item_of
from shared.bodies import SMALL, bounded
from shared.clock import Clock, utc_now
from shared.errors import one_line
from shared.events import SourceRef
from shared.service import Json

PUSHED_MAIL = SourceRef(id="api-mail", kind="mail", title="pushed mail")
TYPES = ("message/rfc822", "message/global")  # RFC 6532: with headers in UTF-8


class _Collection(BaseModel):
    collection: str = Field(default="news", pattern=r"^[a-z][a-z0-9_-]{0,40}$")


class Backfill(BaseModel):
    """`since` is a date (its beginning, UTC) or a time (ISO 8601; without a time zone it is UTC): what is older is passed over."""

    model_config = ConfigDict(extra="forbid")

    since: datetime | None = None

    @field_validator("since", mode="before")
    @classmethod
    def _as_written(cls, value: Any) -> datetime | None:
        if value is None:
            return None
        try:  # not pydantic's own reading, for which 20260131 is a second of 1970
            moment = datetime.fromisoformat(value)
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"{value!r} is no date: write it as 2026-01-31, or a time as 2026-01-31T10:00Z") from None


class MailApi:
    """Routes over the objects that app.py made."""

    def __init__(self, poller: Poller, intake: Intake, clock: Clock = utc_now) -> None:
        self._poller, self._intake, self._clock = poller, intake, clock

    def routes(self) -> list[Route]:
        return [
            Route("/api/mail", self.push, methods=["POST"]),
            Route("/api/sources/{id:path}/backfill", self.backfill, methods=["POST"]),
        ]

    async def push(self, request: Request) -> Response:
        """A mail as it is (RFC 5322), ?collection=…. 201 once it is durable; 200 where it was known (by its Message-ID, however it came); 415 and 413 for
        what is none or has over 32 MB; 422 for one that is refused, which lies in the quarantine."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in TYPES:
            raise HTTPException(415, f"the content type must be message/rfc822, and is {kind or 'missing'}")
        collection = _Collection.model_validate(dict(request.query_params)).collection
        data = await bounded(request, MAX_MAIL, "a mail")
        if not data.strip():
            raise HTTPException(422, "the body must be the mail, as it is in an .eml file")
        taken = await self._intake.take([await asyncio.to_thread(item_of, data)], PUSHED_MAIL, collection)
        found = [document.id for document in taken.published] + taken.unchanged
        if not found:
            raise HTTPException(422, taken.refused[0])
        told = {"id": found[0], "documents": found, "new": bool(taken.published), "refused": taken.refused}
        return Json(told, status_code=201 if taken.published else 200)

    async def backfill(self, request: Request) -> Response:
        """Read a source again from its beginning. 202 once that is durable: it is read even if the service is killed now. What is known is not told twice."""
        identity = request.path_params["id"]
        given = await bounded(request, SMALL, "the body")
        try:
            wanted = Backfill.model_validate_json(given) if given else Backfill()
        except ValidationError as error:
            raise HTTPException(422, one_line(error)) from error
        task = next((task for task in self._poller.tasks() if task.source.source_id == identity), None)
        if task is None:
            raise HTTPException(404, f"there is no source {identity!r}; `feedloop sources list` shows them")
        if wanted.since and wanted.since > self._clock():  # what comes meanwhile would be taken for known, and lost
            raise HTTPException(422, f"since: {wanted.since.isoformat()} lies in the future")
        await task.backfill(wanted.since)
        self._poller.wake(identity)
        return Json({"id": identity, "since": wanted.since}, status_code=202)
