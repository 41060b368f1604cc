"""Answers stand in the documents or are not given; the LLM's choice is checked, and its absence costs only its choice."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

from services.retriever.answer import Answerer
from services.retriever.gateway import Gateway
from services.retriever.search import Search
from shared.grounding import fold

VPN = "What should administrators of Harbourgate do?"


class Engine:
    """A small HTTP server that speaks the gateway's contract. `says` makes the reply's content of the sentences offered."""

    def __init__(self) -> None:
        self.requests: list[tuple[dict[str, Any], str]] = []
        self.says: Callable[[list[str]], str] = lambda offered: json.dumps(offered[:1])
        self.status, self.delay_s, self.url = 200, 0.0, ""

    async def complete(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.requests.append((body, request.headers.get("Authorization", "")))
        await asyncio.sleep(self.delay_s)
        offered = body["response_format"]["json_schema"]["schema"]["items"]["enum"]
        reply = {"model": "adapter-0123456789ab", "choices": [{"message": {"content": self.says(offered)}, "finish_reason": "stop"}]}
        return web.json_response(reply, status=self.status)


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    engine = Engine()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", engine.complete)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    engine.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield engine
    await runner.cleanup()


@pytest.fixture
async def answerer(engine: Engine, search: Search) -> AsyncIterator[Answerer]:
    gateway = Gateway(engine.url, token="secret", timeout_s=1)
    await gateway.open()
    yield Answerer(search, gateway)
    await gateway.close()


async def test_the_llm_chooses_and_the_citation_stands(newsroom, search: Search, engine: Engine, answerer: Answerer) -> None:
    engine.says = lambda offered: json.dumps([next(s for s in offered if "update before Friday" in s)])
    answer = await answerer.answer(VPN)
    assert answer.found and answer.model == "adapter-0123456789ab"
    assert "update before Friday" in answer.answer[0].sentence and answer.answer[0].citations == [1]
    (citation,) = answer.citations
    document = await search.document(citation.document_id)
    assert document and citation.document_id == "vpn" and citation.url == "https://news.example/vpn"
    assert document.text[citation.start : citation.end] == citation.passage
    assert answer.answer[0].sentence in fold(citation.passage)


async def test_what_the_llm_is_asked(newsroom, engine: Engine, answerer: Answerer) -> None:
    await answerer.answer(VPN)
    body, authorization = engine.requests[0]
    schema = body["response_format"]["json_schema"]["schema"]
    assert (body["model"], body["temperature"], body["max_tokens"], authorization) == ("live", 0, 200, "Bearer secret")
    assert (schema["type"], schema["minItems"], schema["maxItems"]) == ("array", 1, 2)
    assert 1 <= len(schema["items"]["enum"]) <= 6
    assert all(sentence in body["messages"][1]["content"] for sentence in schema["items"]["enum"])


@pytest.mark.parametrize(
    "nonsense",
    ["not json", '"a text"', "[]", "{}", '["Administrators should reboot everything."]', "[1]", '[["x"]]', "null"],
)
async def test_nonsense_gives_the_best_sentence_as_it_stands(newsroom, engine: Engine, answerer: Answerer, nonsense: str) -> None:
    engine.says = lambda offered: nonsense
    answer = await answerer.answer(VPN)
    assert answer.found and answer.model == "extractive" and len(answer.answer) == 1
    assert answer.citations[0].document_id == "vpn"


@pytest.mark.parametrize("trouble", ["refuses", "slow", "away", "unset"])
async def test_without_the_llm(newsroom, search: Search, engine: Engine, answerer: Answerer, trouble: str) -> None:
    if trouble == "refuses":
        engine.status = 503
    if trouble == "slow":
        engine.delay_s = 1.5
    if trouble == "away":
        answerer.gateway.url = "http://127.0.0.1:1"
    if trouble == "unset":
        answerer.gateway.url = ""
    answer = await answerer.answer("When does comet Halvorsen come closest to the sun?")
    assert answer.found and answer.model == "extractive"
    assert answer.answer[0].sentence == "The ball of ice and dust will come closest to the sun in January."


@pytest.mark.parametrize(
    ("question", "document"),
    [
        ("What is the key interest rate of Northmark?", "rate"),
        ("How much money did investors put into the bakery?", "bakery"),
        ("How do eels find their way?", "eels"),
        ("Which version of Harbourgate was shipped on Monday?", "vpn"),
    ],
)
async def test_answerable(newsroom, answerer: Answerer, question: str, document: str) -> None:
    answer = await answerer.answer(question)
    assert answer.found and answer.citations[0].document_id == document


@pytest.mark.parametrize(
    "question",
    [
        "Who won the chess world championship?",
        "What is the capital of Mongolia?",
        "What vulnerability was found in Microsoft Exchange?",
        "How do I reset my phone?",
        "asdf qwer zxcv",
        "???",
    ],
)
async def test_unanswerable_is_not_found_and_nobody_is_asked(newsroom, engine: Engine, answerer: Answerer, question: str) -> None:
    answer = await answerer.answer(question)
    assert (answer.found, answer.answer, answer.citations) == (False, [], [])
    assert engine.requests == []


async def test_an_empty_index_knows_nothing(answerer: Answerer) -> None:
    assert not (await answerer.answer("What is the key interest rate?")).found


async def test_an_edit_between_search_and_answer_is_noticed(newsroom, search: Search, answerer: Answerer, classified) -> None:
    stale = await search.passages(VPN, 12)

    async def before_the_edit(*_: object) -> list:
        return [hit for hit in stale if hit.document_id == "vpn"]

    await newsroom.apply(classified("vpn", "Withdrawn", "This article was withdrawn.", minutes=60))
    search.passages = before_the_edit  # type: ignore[method-assign]
    assert not (await answerer.answer(VPN)).found
