"""The page's API and the page itself."""

import re
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, cast, get_args

from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.feedback.neighbours import Neighbours
from services.feedback.stream import Stream
from services.feedback.views import Items, Loop, Order
from shared import care, metrics
from shared.bodies import body
from shared.bus import Bus
from shared.events import FeedbackGiven, digest_of
from shared.logs import logger
from shared.service import Json
from shared.taxonomy import label_set

log = logger(__name__)
STATIC = Path(__file__).parent / "static"
MOST_TITLE, MOST_TEXT = 1_000, 20_000  # characters that the classifier is asked about: the head reads the first of them only
COLLECTION = r"^[A-Za-z0-9_-]{1,64}$"  # it becomes part of a file's name
POLICY = b"default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"


class Said(BaseModel):
    """What a person sends. `id` makes a repeat harmless; without `document_id`, title and text say what is labelled."""

    id: str = Field(default="", max_length=64)
    document_id: str = ""
    kind: Literal["correction", "confirmation", "retraction"] = "correction"
    task: str = ""
    correct: str = ""
    incorrect: str = ""
    why: str = Field(default="", max_length=2000)
    retracts: str = ""
    title: str = Field(default="", max_length=1000)
    text: str = Field(default="", max_length=20_000)
    by: str = Field(default="page", max_length=200)
    collection: str = Field(default="news", pattern=COLLECTION)


class Api:
    def __init__(self, bus: Bus, items: Items, loop: Loop, neighbours: Neighbours, stream: Stream, help_text: str = care.HELP) -> None:
        self.bus, self.items, self.loop, self.neighbours, self.stream, self.help_text = bus, items, loop, neighbours, stream, help_text

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/api/labels", self.labels),
            Route("/api/care", self.care),
            Route("/api/items", self.list_items),
            Route("/api/items/{id}", self.item),
            Route("/api/items/{id}/mattered", self.mattered),
            Route("/api/feedback", self.give, methods=["POST"]),
            Route("/api/search", self.search),
            Route("/api/ask", self.ask, methods=["POST"]),
            Route("/api/loop", self.state),
            Route("/api/models/rollback", self.rollback, methods=["POST"]),
            Route("/api/stream", self.stream.serve),
            Mount("/static", StaticFiles(directory=STATIC), middleware=[Middleware(Guarded)]),
            Route("/", lambda _: FileResponse(STATIC / "index.html"), middleware=[Middleware(Guarded)]),
        ]

    async def labels(self, request: Request) -> Response:
        collection = request.query_params.get("collection", "news")
        if not re.fullmatch(COLLECTION, collection):
            raise HTTPException(422, "collection: letters, digits, - and _ only")
        return Json(label_set(collection))

    async def care(self, _: Request) -> Response:
        """How an item with a safety label is spoken of, and the help text that goes with it."""
        return Json({"gravest": care.GRAVEST, "other": care.OTHER, "note": care.NOTE, "help": self.help_text})

    async def list_items(self, request: Request) -> Response:
        """?order=newest (if not given) or review, limit, before, label, stage, q; see Items.page."""
        ask = request.query_params
        try:
            limit = min(200, max(1, int(ask.get("limit", "50"))))
        except ValueError as error:
            raise HTTPException(422, "limit: a whole number") from error
        order = ask.get("order", "newest")
        if order not in get_args(Order):
            raise HTTPException(422, f"order: {' or '.join(get_args(Order))}")
        return Json(self.items.page(limit, ask.get("before", ""), ask.get("label", ""), ask.get("stage", ""), ask.get("q", ""), cast(Order, order)))

    async def item(self, request: Request) -> Response:
        shown = self.items.shown(request.path_params["id"])
        if shown is None:
            raise HTTPException(404, f"no document {request.path_params['id']!r} here")
        return Json(shown)

    async def mattered(self, request: Request) -> Response:
        """Which words moved the neural head towards the labels of an item's verdict, of the tasks that it had a say in; as the classifier has it now."""
        item = self.items.get(request.path_params["id"])
        if item is None:
            raise HTTPException(404, f"no document {request.path_params['id']!r} here")
        labels = label_set(item.collection)  # those it was judged by, which may be of another name
        asked = {
            task: one.label
            for task, one in item.decision.items()
            if one.by in ("neural", "fusion") and task in labels.tasks and one.label in labels.tasks[task].labels  # it may have been edited since
        }
        if not asked:
            return Json({"mattered": {}, "head_digest": ""})
        text = {"title": item.title[:MOST_TITLE], "text": item.text[:MOST_TEXT]}
        return Json(
            await self.neighbours.call("classifier", "POST", "/api/mattered", json={**text, "collection": labels.collection, "labels": asked})
        )

    async def give(self, request: Request) -> Response:
        """Take what a person said, check it, and make it an event. Answers once Kafka has it."""
        event = self.event(await body(request, Said))
        if self.items.said(event.document_id, event.id) is None:
            await self.bus.publish(event)
            self.items.on_feedback_given(event)  # the topic will tell it again; who undoes at once must not be told that there is nothing to undo
            metrics.FEEDBACK.labels(event.kind).inc()
            log.info("feedback.given", id=event.id, kind=event.kind, document=event.document_id, task=event.task, correct=event.correct)
        return Json({"id": event.id, "review": self.items.review(event.document_id)}, status_code=202)

    def event(self, said: Said) -> FeedbackGiven:
        """Raises HTTPException with what is wrong, in one line."""
        now: datetime = self.bus.clock()
        document = self.items.get(said.document_id) if said.document_id else None
        if said.document_id and document is None:
            raise HTTPException(404, f"no document {said.document_id!r} here")
        if document is None and not (said.title or said.text):
            raise HTTPException(422, "document_id, or the title and text that are labelled, is needed")
        title, text = (document.title, document.text) if document else (said.title, said.text)
        document_id = said.document_id or f"text-{digest_of(title, text)[:20]}"
        if said.id and (other := self.items.elsewhere(document_id, said.id)):
            raise HTTPException(409, f"id: {said.id!r} is the id of feedback on another document, {other!r}: give each its own, or leave it out")
        if said.kind == "retraction":
            if self.items.said(document_id, said.retracts) is None:
                raise HTTPException(404, f"no feedback {said.retracts!r} on this document to take back")
        else:
            try:
                label_set(document.collection if document else said.collection).check(said.task, said.correct)
            except ValueError as error:
                raise HTTPException(422, str(error)) from error
        decided = document.decision.get(said.task) if document else None
        verdict = ", ".join(care.holding(decided)) if decided else ""  # of a multi task all labels that hold, as a correction names them
        return FeedbackGiven(
            id=said.id or digest_of("feedback", document_id, said.kind, said.task, said.correct, said.retracts, now.isoformat())[:24],
            kind=said.kind,
            document_id=document_id,
            document=document,
            story=document.story if document else "",
            task=said.task,
            correct=said.correct,
            incorrect=said.incorrect or (verdict if verdict != said.correct else ""),
            why=said.why,
            retracts=said.retracts,
            title=title,
            text=text,
            judged=document.model if document else None,
            by=said.by,
            given_at=now,
            collection=document.collection if document else said.collection,
        )

    async def search(self, request: Request) -> Response:
        return Json(await self.neighbours.call("retriever", "GET", "/api/search", params=dict(request.query_params)))

    async def ask(self, request: Request) -> Response:
        question = (await body(request, Question)).question
        return Json(await self.neighbours.call("retriever", "POST", "/api/ask", json={"question": question}))

    async def rollback(self, request: Request) -> Response:
        wish = await body(request, Rollback)
        return Json(await self.neighbours.call("trainer", "POST", "/api/rollback", json=wish.model_dump()), status_code=202)

    async def state(self, _: Request) -> Response:
        return Json(await self.whole())

    async def whole(self) -> dict[str, Any]:
        """The loop's state, with the figures of the neighbours that answer."""
        trainer = await self.neighbours.glance("trainer", "/api/state") or {}
        held = await self.neighbours.glance("ingest", "/api/quarantine")
        return {
            **self.loop.shown(),
            **self.items.counts(),
            "waiting": trainer.get("waiting"),
            "train_after": trainer.get("train_after"),
            "heads": trainer.get("heads"),
            "quarantined": len(held["quarantine"]) if held else None,
        }


class Question(BaseModel):
    question: str = Field(min_length=1, max_length=500)


class Rollback(BaseModel):
    role: str = "adapter"
    reason: str = "asked for on the page"


class Guarded:
    """ASGI middleware: the headers that keep a page to itself (CSP and friends)."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                extra = [(b"content-security-policy", POLICY), (b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]
                message["headers"] = [*message.get("headers", []), *extra, (b"cache-control", b"no-cache")]
            await send(message)

        await self.app(scope, receive, with_headers)
