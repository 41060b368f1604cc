"""The labels of texts that are no documents: inference's route, asked by the classifier's own client over a real socket, and what describes it."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
import uvicorn
from aiohttp import web

from services.classifier.llm import LanguageModel
from services.inference.adapters import Served
from services.inference.app import build
from services.inference.handlers import Handlers
from services.inference.labels import Labels
from services.inference.settings import Settings
from shared import metrics
from shared.asked import MOST_ASKED, Asked
from shared.bodies import LARGE
from shared.errors import TransientError
from shared.prompts import label_messages
from shared.service import Service
from shared.taxonomy import label_set


@pytest.fixture
def handlers(enricher, adapters, quiet_bus) -> Handlers:
    made = Handlers(enricher, adapters, quiet_bus, document_s=3.0)
    made._settled.set()
    return made


@pytest.fixture
def service(enricher, handlers, quiet_bus) -> Service:
    routes = Labels(enricher, handlers.ask, lambda: handlers.settled).routes()
    return Service("inference", Settings(token="secret"), quiet_bus, routes=routes)


@pytest.fixture
async def client(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": "Bearer secret"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(service.app), base_url="http://inference", headers=headers) as made:
        yield made


@pytest.fixture
async def served(service: Service) -> AsyncIterator[str]:
    server = uvicorn.Server(uvicorn.Config(service.app, port=0, lifespan="off", log_level="warning"))
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    await running


@pytest.fixture
async def llm(served: str) -> AsyncIterator[LanguageModel]:
    made = LanguageModel(served, "secret")
    await made.open()
    yield made
    await made.close()


async def test_each_text_is_asked_of_each_task_and_the_answer_names_who_spoke(llm, adapters, fake) -> None:
    fake.loaded["adapter-abc"] = "/x"
    fake.answers["adapter-abc"] = "sport"
    adapters.live = Served("adapter-abc", "abcdef", ["news"])
    answer = await llm.ask([Asked(text="A late goal.", title="Cup"), Asked(text="Rates stay.")], "news")
    for spoken in answer.items:
        assert (spoken.model.adapter, spoken.model.name, spoken.model.base, spoken.model.taught) == ("abcdef", "adapter-abc", "tiny-base", ["news"])
    tasks = {task.name for task in label_set("news").asked_of("llm")}
    assert [set(one.verdict) for one in answer.items] == [tasks, tasks] and {one.problem for one in answer.items} == {""}
    assert answer.items[0].verdict["category"].label == "sport" and answer.items[0].verdict["category"].probability < 1
    assert {asked["model"] for asked in fake.asked} == {"adapter-abc"} and len(fake.asked) == 2 * len(tasks)
    asked = [body["messages"] for body in fake.asked]
    for task in label_set("news").asked_of("llm"):
        assert label_messages(task, "Cup", "A late goal.") in asked
        assert label_messages(task, "Rates stay.", "Rates stay.") in asked, (
            "a text without a title is asked under its first sentence, as a document is"
        )


async def test_nothing_is_read_before_the_live_adapter_is_back_nor_for_ever(llm, handlers, fake) -> None:
    handlers._settled.clear()
    with pytest.raises(TransientError, match=r"503.*not loaded yet"):
        await llm.ask([Asked(text="A late goal.")], "news")
    handlers._settled.set()

    async def silent(_: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    fake.hook = silent
    with pytest.raises(TransientError, match=r"503.*a text was not read within 3 s"):
        await llm.ask([Asked(text="A late goal.")], "news")
    assert not any(handlers.adapters._in_flight.values()), "the adapter is free again"


async def test_it_asks_for_the_token(served: str) -> None:
    stranger = LanguageModel(served)
    await stranger.open()
    try:
        with pytest.raises(TransientError, match="401"):
            await stranger.ask([Asked(text="a")], "news")
    finally:
        await stranger.close()


async def test_a_text_that_gets_no_sound_answer_says_so_and_the_others_are_answered(llm, fake) -> None:
    async def nonsense_on_goals(request: web.Request) -> web.Response:
        body = await request.json()
        options = body["structured_outputs"]["choice"]
        text = "blah" if "goal" in json.dumps(body["messages"]) else options[0]
        return web.json_response({"choices": [{"message": {"content": text}, "finish_reason": "stop"}]})

    fake.hook = nonsense_on_goals
    first, second = (await llm.ask([Asked(text="A late goal."), Asked(text="Rates stay.")], "news")).items
    assert first.verdict == {} and "blah" in first.problem
    assert set(second.verdict) == {"category", "sentiment", "urgency"} and not second.problem


async def test_an_engine_that_is_away_or_a_bad_request_is_told_in_one_line(llm, fake) -> None:
    fake.instead = web.Response(status=503, text="overloaded")
    with pytest.raises(TransientError, match=r"inference answers 503.*overloaded"):
        await llm.ask([Asked(text="A late goal.")], "news")
    fake.instead = None
    with pytest.raises(TransientError, match=r"422.*no label set 'welbeing'"):
        await llm.ask([Asked(text="A late goal.")], "welbeing")
    with pytest.raises(ValueError, match="at most 16"):
        await llm.ask([Asked(text="a")] * (MOST_ASKED + 1), "news")
    for url, said in (("", "FEEDLOOP_INFERENCE_URL is not set"), ("http://127.0.0.1:1", "inference does not answer")):
        away = LanguageModel(url)
        await away.open()
        try:
            with pytest.raises(TransientError, match=said):
                await away.ask([Asked(text="a")], "news")
        finally:
            await away.close()


def refused_by(document: dict[str, Any], reference: str, told: Any) -> str:
    """What the document's schema finds wrong with a body; empty where it has the form that is described."""
    found = jsonschema.Draft202012Validator({**document, "$ref": reference}).iter_errors(told)
    return "; ".join(error.message for error in found)


def schema_of(body: dict[str, Any]) -> str:
    return str(body["content"]["application/json"]["schema"]["$ref"])


BODIES: list[Any] = [
    {"items": [{"text": "A late goal."}]},
    {"items": [{"text": "", "title": ""}], "collection": "wellbeing"},
    {"items": [{"text": "a"}] * MOST_ASKED},
    {"items": [{"text": "a"}] * (MOST_ASKED + 1)},
    {"items": []},
    {"items": [{"text": "a" * 100_000}]},
    {"items": [{"text": "a" * 100_001}]},
    {"items": [{"text": "a", "title": "b" * 1_000}]},
    {"items": [{"text": "a", "title": "b" * 1_001}]},
    {"items": [{"title": "b"}]},
    {"items": [{"text": 5}]},
    {"items": [{"text": "a", "label": "b"}]},
    {"items": [{"text": "a"}], "colection": "news"},
    {"items": [{"text": "a"}], "collection": None},
    {"items": {"text": "a"}},
    {"collection": "news"},
    [],
    None,
]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: json.dumps(body)[:60])
async def test_what_the_description_allows_is_answered_and_nothing_else(client: httpx.AsyncClient, body: Any) -> None:
    document = (await client.get("/openapi.json")).json()
    described = document["paths"]["/api/labels"]["post"]
    answer = await client.post("/api/labels", json=body)
    wrong = refused_by(document, schema_of(described["requestBody"]), body)
    assert answer.status_code == (422 if wrong else 200), wrong or answer.text
    assert not refused_by(document, schema_of(described["responses"][str(answer.status_code)]), answer.json())


async def test_each_answer_is_of_the_form_that_is_described(client: httpx.AsyncClient, handlers, fake) -> None:
    """Every status that the description names, and none that it does not; the bodies are checked against its schemas."""
    document = (await client.get("/openapi.json")).json()
    responses = document["paths"]["/api/labels"]["post"]["responses"]
    asked = {"items": [{"text": "A late goal."}, {"text": "Rates stay."}]}
    answers = [await client.post("/api/labels", json=asked)]
    told = answers[0].json()
    assert set(told) == {"items"} and [set(one) for one in told["items"]] == [set(document["components"]["schemas"]["Spoken"]["properties"])] * 2
    assert refused_by(document, "#/components/schemas/LabelsSpoken", {"items": [{"verdict": {}, "problem": ""}]}), "the three are always there"

    async def nonsense(_: web.Request) -> web.Response:
        return web.json_response({"choices": [{"message": {"content": "blah"}, "finish_reason": "stop"}]})

    fake.hook = nonsense
    answers.append(await client.post("/api/labels", json=asked))
    assert all(one["model"] is None and "blah" in one["problem"] for one in answers[-1].json()["items"])
    fake.hook, fake.instead = None, web.Response(status=503, text="overloaded")
    answers.append(await client.post("/api/labels", json=asked))
    handlers._settled.clear()
    answers.append(await client.post("/api/labels", json=asked))
    answers.append(await client.post("/api/labels", json={**asked, "collection": "welbeing"}))
    answers.append(await client.post("/api/labels", json={**asked, "collection": "../news"}))
    answers.append(await client.post("/api/labels", content=b"{"))
    answers.append(await client.post("/api/labels", content=b" " * (LARGE + 1)))
    answers.append(await client.post("/api/labels", json=asked, headers={"Authorization": "Bearer wrong"}))
    assert [answer.status_code for answer in answers] == [200, 200, 503, 503, 422, 422, 422, 413, 401]
    assert {str(answer.status_code) for answer in answers} == set(responses)
    for answer in answers:
        assert not refused_by(document, schema_of(responses[str(answer.status_code)]), answer.json()), answer.text
    assert (
        f"{LARGE // 1_000_000} MB" in responses["413"]["description"]
        and f"up to {MOST_ASKED} texts" in document["paths"]["/api/labels"]["post"]["summary"]
    )


async def test_the_service_describes_its_route_at_openapi_json(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As it is wired: what is described is served, by the method that is described; what is not is the gateway's, which is OpenAI's own."""
    for name in ("MODELS_CACHE", "OBJECTS"):
        monkeypatch.setenv(f"FEEDLOOP_{name}", str(tmp_path / name))
    service = build(Settings())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(service.app), base_url="http://inference") as made:
        document = (await made.get("/openapi.json")).json()
    assert document["openapi"] == "3.1.0" and document["components"]["securitySchemes"]["token"] == {"type": "http", "scheme": "bearer"}
    described = {(path, method.upper()) for path, operations in document["paths"].items() for method in operations}
    routes = {(route.path, method) for route in service.app.app.routes for method in route.methods - {"HEAD"}}  # type: ignore[attr-defined]
    own = {("/health", "GET"), ("/ready", "GET"), ("/metrics", "GET"), ("/openapi.json", "GET")}
    gateway = {("/v1/chat/completions", "POST"), ("/v1/models", "GET"), ("/api/adapters", "GET")}
    assert described == routes - own - gateway == {("/api/labels", "POST")}
    references = re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document))
    assert set(references) <= set(document["components"]["schemas"])


@pytest.fixture
def counted() -> Callable[[], dict[str, float]]:
    """counted(): requests by outcome since the last call, and `seconds` for those whose time was taken."""

    def now() -> dict[str, float]:
        samples = [sample for metric in (metrics.LABEL_REQUESTS, metrics.LABEL_SECONDS) for family in metric.collect() for sample in family.samples]
        found = {sample.labels["outcome"]: sample.value for sample in samples if sample.name == "feedloop_inference_label_requests_total"}
        return {**found, "seconds": next(sample.value for sample in samples if sample.name == "feedloop_inference_label_seconds_count")}

    before = now()

    def since() -> dict[str, float]:
        nonlocal before
        then, before = before, now()
        return {name: value - then.get(name, 0) for name, value in before.items() if value != then.get(name, 0)}

    return since


async def test_each_request_is_counted_once_by_what_became_of_it(client: httpx.AsyncClient, handlers, enricher, fake, counted, monkeypatch) -> None:
    asked = {"items": [{"text": "A late goal."}, {"text": "Rates stay."}]}

    async def nonsense_on_goals(request: web.Request) -> web.Response:
        body = await request.json()
        text = "blah" if "goal" in json.dumps(body["messages"]) else body["structured_outputs"]["choice"][0]
        return web.json_response({"choices": [{"message": {"content": text}, "finish_reason": "stop"}]})

    assert (await client.post("/api/labels", json=asked)).status_code == 200
    assert counted() == {"ok": 1, "seconds": 1}, "of two texts one request"
    fake.hook = nonsense_on_goals
    assert (await client.post("/api/labels", json=asked)).status_code == 200
    assert counted() == {"problem": 1, "seconds": 1}
    fake.hook, fake.instead = None, web.Response(status=503, text="overloaded")
    assert (await client.post("/api/labels", json=asked)).status_code == 503
    assert counted() == {"away": 1, "seconds": 1}, "how long it took to come to nothing is what one wants to know then"
    fake.instead = None
    for wrong in ({"items": []}, {**asked, "collection": "welbeing"}, {**asked, "collection": "../news"}):
        assert (await client.post("/api/labels", json=wrong)).status_code == 422
        assert counted() == {"refused": 1}, "the model was not asked: that is no time of its"
    assert (await client.post("/api/labels", content=b" " * (LARGE + 1))).status_code == 413
    assert counted() == {"refused": 1}
    assert (await client.post("/api/labels", json=asked, headers={"Authorization": "Bearer wrong"})).status_code == 401
    assert counted() == {}
    handlers._settled.clear()
    assert (await client.post("/api/labels", json=asked)).status_code == 503
    assert counted() == {"away": 1}
    handlers._settled.set()

    def broken(*_: Any) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(type(enricher), "stamp", broken)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        await client.post("/api/labels", json=asked)
    assert counted() == {"failed": 1, "seconds": 1}


async def test_the_time_of_a_request_is_that_of_all_its_texts(client: httpx.AsyncClient, fake) -> None:
    """Two texts side by side: with six the third pair waits for its turn, and the time that is measured is the whole."""

    async def slow(request: web.Request) -> web.Response:
        options = (await request.json())["structured_outputs"]["choice"]
        await asyncio.sleep(0.1)
        return web.json_response({"choices": [{"message": {"content": options[0]}, "finish_reason": "stop"}]})

    def total() -> float:
        [family] = metrics.LABEL_SECONDS.collect()
        return next(sample.value for sample in family.samples if sample.name.endswith("_sum"))

    fake.hook, before = slow, total()
    assert (await client.post("/api/labels", json={"items": [{"text": f"A late goal {n}."} for n in range(6)]})).status_code == 200
    assert total() - before >= 0.29
