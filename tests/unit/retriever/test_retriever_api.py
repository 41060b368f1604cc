"""The retriever over HTTP: what it serves, and one clear line for what it will not."""

from collections.abc import AsyncIterator

import httpx
import pytest

from services.retriever.answer import Answerer
from services.retriever.api import Api
from services.retriever.app import build
from services.retriever.gateway import Gateway
from services.retriever.search import Search
from services.retriever.settings import Settings
from shared.bus import Bus
from shared.service import Service


@pytest.fixture
async def client(newsroom, search: Search) -> AsyncIterator[httpx.AsyncClient]:
    settings = Settings()
    api = Api(search, Answerer(search, Gateway("")))
    service = Service("retriever", settings, Bus(settings.kafka_bootstrap_servers, "retriever"), routes=api.routes)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(service.app), base_url="http://test") as client:
        yield client


async def test_search_then_open_the_document(client: httpx.AsyncClient) -> None:
    reply = await client.get("/api/search", params={"q": "interest rates", "limit": "2"})
    first, _ = reply.json()["hits"]
    assert first["document_id"] == "rate" and first["source"] == "The Desk" and first["published_at"].startswith("2026-11-01")
    document = (await client.get("/api/documents/rate")).json()
    assert document["text"][first["start"] : first["end"]] == first["passage"]
    assert document["labels"] == {"category": "economy"}


async def test_filters_over_http(client: httpx.AsyncClient) -> None:
    reply = await client.get("/api/search", params={"q": "news", "label": "category:science", "since": "2026-10-01", "source": "desk-feed"})
    assert {hit["document_id"] for hit in reply.json()["hits"]} == {"comet", "eels"}


async def test_ask(client: httpx.AsyncClient) -> None:
    answer = (await client.post("/api/ask", json={"question": "What is the key interest rate of Northmark?"})).json()
    assert answer["found"] and answer["model"] == "extractive" and "4.25 percent" in answer["answer"][0]["sentence"]
    assert answer["answer"][0]["citations"] == [1] and answer["citations"][0]["document_id"] == "rate"
    assert set(answer["citations"][0]) == {"n", "document_id", "title", "passage", "start", "end", "url"}


@pytest.mark.parametrize(
    ("params", "line"),
    [
        ({}, "q is empty"),
        ({"q": "  \n"}, "q is empty"),
        ({"q": "x" * 301}, "at most 300"),
        ({"q": "x", "limit": "0"}, "a number from 1 to 50"),
        ({"q": "x", "limit": "51"}, "a number from 1 to 50"),
        ({"q": "x", "limit": "٣"}, "a number from 1 to 50"),
        ({"q": "x", "limit": "9" * 5000}, "a number from 1 to 50"),
        ({"q": "x", "label": "security"}, "task:label is wanted"),
        ({"q": "x", "label": "category:nonsense"}, "it has "),
        ({"q": "x", "label": ["category:science", "category:sport"]}, "one category"),
        ({"q": "x", "since": "yesterday"}, "a date such as"),
        ({"q": "x", "collection": "../etc"}, "make its name"),
    ],
)
async def test_refused_with_one_line(client: httpx.AsyncClient, params: dict, line: str) -> None:
    reply = await client.get("/api/search", params=params)
    assert reply.status_code == 422 and line in reply.json()["error"] and "\n" not in reply.json()["error"]


@pytest.mark.parametrize("body", [b"", b"{}", b'{"question": ""}', b'{"question": 5}', b"\xff", b'{"question": "' + b"x" * 301 + b'"}'])
async def test_ask_refuses_in_one_line(client: httpx.AsyncClient, body: bytes) -> None:
    reply = await client.post("/api/ask", content=body)
    assert reply.status_code == 422 and reply.json()["error"] and "\n" not in reply.json()["error"]


async def test_an_unknown_document_is_404(client: httpx.AsyncClient) -> None:
    reply = await client.get("/api/documents/none/of/these")
    assert reply.status_code == 404 and "none/of/these" in reply.json()["error"]


def test_the_service_is_wired_from_settings_alone(tmp_path) -> None:
    service = build(Settings(qdrant_path=tmp_path / "qdrant", encoder=tmp_path / "none", objects=str(tmp_path / "objects")))
    assert service.name == "retriever"
