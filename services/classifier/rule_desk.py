"""Rules for all replicas: an HTTP route that checks and announces them, and the handler that puts what was announced in force."""

import asyncio

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from services.classifier.rule_news import announcement, back_to_folder, files_in, files_of
from services.classifier.rulebook import RuleBook
from shared.bus import Bus
from shared.clock import Clock
from shared.events import RulesPublished, RuleText
from shared.logs import logger
from shared.objects import ObjectStore
from shared.service import Json, body

log = logger(__name__)


class PublishRequest(BaseModel):
    """The files of a folder, all of them; none asks each replica for those of its own folder."""

    files: list[RuleText] = Field(default=[], max_length=200)
    by: str = Field(default="anonymous", max_length=200)
    reason: str = Field(default="", max_length=2_000)


class RuleDesk:
    """Takes rules in and hands them out."""

    def __init__(self, book: RuleBook, store: ObjectStore, bus: Bus, clock: Clock) -> None:
        self._book, self._store, self._bus, self._clock = book, store, bus, clock

    def routes(self) -> list[BaseRoute]:
        return [Route("/api/rules", self.publish, methods=["POST"])]

    async def publish(self, request: Request) -> Response:
        """Announce the rules to all replicas. Refused whole, with the reason, where they are bad. 202: each replica takes them when it reads the topic."""
        asked = await body(request, PublishRequest)
        event, warnings = await asyncio.to_thread(self._announcement, asked)
        await self._bus.publish(event)
        log.info("rules.announced", digest=event.digest, by=event.by, reason=event.reason)
        return Json({"digest": event.digest, "count": event.rules, "previous": event.previous, "warnings": warnings}, status_code=202)

    def _announcement(self, asked: PublishRequest) -> tuple[RulesPublished, list[str]]:
        previous = self._book.rules.digest
        if not asked.files:
            return back_to_folder(previous, asked.by, asked.reason, self._clock()), []
        files = files_of(asked.files)
        rules = self._book.check(files)
        return announcement(rules, files, self._store, previous, asked.by, asked.reason, self._clock()), rules.warnings

    async def on_rules_published(self, event: RulesPublished) -> None:
        """Put the announced rules in force; in every replica. In a thread: thousands of rules take a second to make ready."""
        await asyncio.to_thread(self._book.take, event.digest, lambda: files_in(event, self._store))
