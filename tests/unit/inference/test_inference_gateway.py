"""The narrow door: chat completions for `live`, and nothing that could harm the engine."""

from collections.abc import AsyncIterator

import httpx
import pytest
from aiohttp import web

from services.inference.adapters import Served
from services.inference.gateway import Gateway
from services.inference.settings import Settings
from shared.service import Service

MESSAGES = [{"role": "user", "content": "hello"}]


@pytest.fixture
async def client(engine, adapters, quiet_bus) -> AsyncIterator[httpx.AsyncClient]:
    service = Service("inference", Settings(), quiet_bus, routes=Gateway(engine, adapters).routes())  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(service.app), base_url="http://gateway") as made:
        yield made


async def test_the_alias_is_resolved_and_the_answer_names_who_spoke(client, adapters, fake):
    fake.loaded["adapter-abc"] = "/x"
    adapters.live = Served("adapter-abc", "abcdef")
    answer = await client.post("/v1/chat/completions", json={"model": "live", "messages": MESSAGES, "temperature": 0})
    assert answer.status_code == 200 and answer.json()["model"] == "adapter-abc" == fake.asked[0]["model"]
    assert (await client.get("/v1/models")).json()["data"][0]["root"] == "adapter-abc"
    assert (await client.get("/api/adapters")).json()["live"] == {"name": "adapter-abc", "digest": "abcdef", "taught": []}


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ({"messages": MESSAGES, "stream": True}, 422, "stream"),
        ({"messages": MESSAGES, "prompt_logprobs": 1}, 422, "prompt_logprobs"),
        ({"messages": MESSAGES, "n": 100}, 422, "n: not taken"),
        ({"messages": MESSAGES, "model": "base"}, 404, "no model 'base'"),
        ({"messages": MESSAGES, "model": "adapter-abc"}, 404, "the only one is 'live'"),
        ({"messages": MESSAGES, "model": ["live"]}, 404, "no model"),
        ({"model": "live"}, 422, "messages"),
        ({"messages": "hello"}, 422, "messages"),
        ([1], 422, "messages"),
    ],
)
async def test_what_is_not_known_is_refused_and_never_reaches_the_engine(client, fake, body, status, word):
    answer = await client.post("/v1/chat/completions", json=body)
    assert answer.status_code == status and word in answer.json()["error"]
    assert fake.asked == []


async def test_a_body_that_is_no_json_is_refused(client):
    answer = await client.post("/v1/chat/completions", content=b"{")
    assert (answer.status_code, answer.json()["error"]) == (400, "the body is not JSON")


@pytest.mark.parametrize(
    ("status", "text", "ours"), [(503, "busy", 503), (400, "bad grammar", 400), (400, "context length", 400), (200, "<html>", 503)]
)
async def test_the_engines_errors_come_through_in_one_line(client, fake, status, text, ours):
    fake.instead = web.Response(status=status, text=text)
    answer = await client.post("/v1/chat/completions", json={"messages": MESSAGES})
    assert answer.status_code == ours and answer.json()["error"]


async def test_other_routes_of_the_engine_are_not_there(client):
    assert (await client.post("/v1/load_lora_adapter", json={})).status_code == 404
    assert (await client.post("/v1/completions", json={})).status_code == 404
