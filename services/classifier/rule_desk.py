"""Rules for all replicas: an HTTP route that checks and announces them, and the handler that puts what was announced in force."""

import asyncio
from collections.abc import Callable

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from services.classifier.rule_news import Files, announcement, back_to_folder, files_in, files_of
from services.classifier.rulebook import RuleBook
from shared.bodies import body
from shared.bus import Bus
from shared.clock import Clock
from shared.errors import ConfigError, PermanentError, one_line
from shared.events import RulesPublished, RuleText
from shared.logs import logger
from shared.objects import ObjectStore
from shared.service import Json

log = logger(__name__)
FIRST_S, AGAIN_S = 10.0, 5.0  # how long the rules' files are waited for at first, and how long until they are tried again


class PublishRequest(BaseModel):
    """The files of a folder, all of them; none asks each replica for those of its own folder. Without `drop_safety_rules` a set that lacks safety rules
    that ship is refused. A field that is none is refused: misspelt `files` would ask for the folders."""

    model_config = ConfigDict(extra="forbid")

    files: list[RuleText] = Field(default=[], max_length=200)
    by: str = Field(default="anonymous", max_length=200)
    reason: str = Field(default="", max_length=2_000)
    drop_safety_rules: bool = False


class RuleDesk:
    """Takes rules in and hands them out."""

    def __init__(self, book: RuleBook, store: ObjectStore, bus: Bus, clock: Clock) -> None:
        self._book, self._store, self._bus, self._clock = book, store, bus, clock
        self._wanted: RulesPublished | None = None  # announced, and not to be had yet
        self._away, self._taking = asyncio.Event(), asyncio.Lock()

    def routes(self) -> list[BaseRoute]:
        return [Route("/api/rules", self.publish, methods=["POST"])]

    async def publish(self, request: Request) -> Response:
        """Announce the rules to all replicas. Refused whole, with the reason, where they are bad. 202: each replica takes them when it reads the topic."""
        asked = await body(request, PublishRequest)
        event, warnings = await asyncio.to_thread(self._announcement, asked)
        await self._bus.publish(event)
        log.info("rules.announced", digest=event.digest, by=event.by, reason=event.reason, drop_safety_rules=asked.drop_safety_rules)
        return Json({"digest": event.digest, "count": event.rules, "previous": event.previous, "warnings": warnings}, status_code=202)

    def _announcement(self, asked: PublishRequest) -> tuple[RulesPublished, list[str]]:
        previous = self._book.rules.digest
        if not asked.files:
            return back_to_folder(previous, asked.by, asked.reason, self._clock()), []
        files = files_of(asked.files)
        rules = self._book.check(files)
        warnings = self._book.agreed(rules, asked.drop_safety_rules, "`drop_safety_rules: true` in the request")
        return announcement(rules, files, self._store, previous, asked.by, asked.reason, self._clock()), warnings

    async def on_rules_published(self, event: RulesPublished) -> None:
        """Put the announced rules in force; in every replica. In a thread: thousands of rules take a second to make ready. Where the object store that holds
        their files is away, the rules of before go on, `problem` says so, and `keep_announced` tries again: verdicts don't wait for it."""
        self._wanted = event
        await self._bring_about(event)

    async def keep_announced(self) -> None:
        """Bring about what could not be had when it was announced. Runs as long as the service."""
        while True:
            await self._away.wait()
            await asyncio.sleep(AGAIN_S)
            self._away.clear()
            if self._wanted:
                await self._bring_about(self._wanted)

    async def _bring_about(self, event: RulesPublished) -> None:
        try:
            async with asyncio.timeout(FIRST_S):
                read = await asyncio.to_thread(self._files_of, event)
        except Exception as error:  # noqa: BLE001 an object store's client raises classes of its own; what is wrong with the rules is in `read`
            if self._wanted is event:
                self._book.later(event.digest, one_line(error) if str(error) else f"the object store does not answer within {FIRST_S:.0f} s")
                self._away.set()
            return
        async with self._taking:
            if self._wanted is event:  # no newer one was announced meanwhile
                self._wanted = None
                await asyncio.to_thread(self._book.take, event.digest, read)

    def _files_of(self, event: RulesPublished) -> Callable[[], Files]:
        """The files, or what is wrong with them, ready to be handed over: nobody waits for the store while the rules are changed."""
        try:
            files = files_in(event, self._store)
        except (ConfigError, PermanentError) as error:
            wrong = error

            def refused() -> Files:
                raise wrong

            return refused
        return lambda: files
