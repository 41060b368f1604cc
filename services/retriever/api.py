"""The retriever over HTTP: search, ask, and a document's text for a citation to open."""

import re
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.retriever.answer import Answerer
from services.retriever.search import Search
from services.retriever.shapes import Filters
from shared import metrics
from shared.bodies import body
from shared.service import Json
from shared.taxonomy import label_set

LONGEST_QUERY, LONGEST_QUESTION, MOST_HITS = 300, 300, 50  # characters; 300 of a question reach the LLM
_COLLECTION = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


class Question(BaseModel):
    """What POST /api/ask takes; all but the question is as in search."""

    question: str
    label: list[str] = []
    source: str = ""
    since: str = ""
    collection: str = "news"


class Api:
    """The handlers; `routes` is what the service serves."""

    def __init__(self, search: Search, answerer: Answerer) -> None:
        self._search, self._answerer = search, answerer
        self.routes = [
            Route("/api/search", self.search),
            Route("/api/ask", self.ask, methods=["POST"]),
            Route("/api/documents/{id:path}", self.document),
        ]

    async def search(self, request: Request) -> Response:
        """GET ?q=&limit=&label=task:label (repeatable)&source=&since=&collection= : the best documents, each by its best passage."""
        given = request.query_params
        query = _worded(given.get("q", ""), "q", LONGEST_QUERY)
        collection = _collection(given.get("collection", "news"))
        limit = _limit(given.get("limit", "10"))
        filters = _filters(given.getlist("label"), given.get("source", ""), given.get("since", ""), collection)
        with metrics.SEARCH_SECONDS.time():
            hits = await self._search.documents(query, limit, filters, collection)
        return Json({"hits": [hit.model_dump(mode="json") for hit in hits]})

    async def ask(self, request: Request) -> Response:
        """POST {"question"}: sentences of the documents that answer it, with citations, or found=false."""
        asked = await body(request, Question)
        question = _worded(asked.question, "question", LONGEST_QUESTION)
        collection = _collection(asked.collection)
        answer = await self._answerer.answer(question, _filters(asked.label, asked.source, asked.since, collection), collection)
        return Json(answer.model_dump(mode="json"))

    async def document(self, request: Request) -> Response:
        """GET /api/documents/{id}: the text as it is indexed, and its passages."""
        collection = _collection(request.query_params.get("collection", "news"))
        document = await self._search.document(request.path_params["id"], collection)
        if document is None:
            raise HTTPException(404, f"no document {request.path_params['id'][:80]!r} in collection {collection!r}")
        return Json(document.model_dump(mode="json"))


def _worded(text: str, name: str, longest: int) -> str:
    text = " ".join(text.split())
    if not text:
        raise HTTPException(422, f"{name} is empty: say in words what to look for")
    if len(text) > longest:
        raise HTTPException(422, f"{name} has {len(text)} characters; at most {longest} are read: shorten it")
    return text


def _limit(given: str) -> int:
    if not (given.isascii() and given.isdigit() and 1 <= int(given[:4]) <= MOST_HITS):
        raise HTTPException(422, f"limit is {given[:20]!r}: a number from 1 to {MOST_HITS} is wanted")
    return int(given)


def _collection(name: str) -> str:
    if not _COLLECTION.fullmatch(name):
        raise HTTPException(422, f"collection is {name[:40]!r}: lower-case letters, digits, - and _ make its name")
    return name


def _filters(labels: list[str], source: str, since: str, collection: str) -> Filters:
    chosen: dict[str, Any] = {}
    for given in labels:
        task, colon, label = given.partition(":")
        if not colon:
            raise HTTPException(422, f"label is {given[:60]!r}: task:label is wanted, such as category:security")
        label_set(collection).check(task, label)  # its ValueError names what is allowed; the service makes it a 422
        if chosen.setdefault(task, label) != label:
            raise HTTPException(422, f"a document has one {task}: {chosen[task]} and {label} can't both be asked for")
    return Filters(labels=chosen, source=source[:300], since=_date(since) if since else None)


def _date(given: str) -> datetime:
    try:
        moment = datetime.fromisoformat(given)
    except ValueError as error:
        raise HTTPException(422, f"since is {given[:40]!r}: a date such as 2026-11-01 is wanted") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
