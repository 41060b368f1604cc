"""The labels of texts that are no documents: inference's route, asked by the classifier's own client over a real socket."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import uvicorn
from aiohttp import web

from services.classifier.llm import LanguageModel
from services.inference.adapters import Served
from services.inference.handlers import Handlers
from services.inference.labels import Labels
from services.inference.settings import Settings
from shared.asked import MOST_ASKED, Asked
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
async def served(enricher, handlers, quiet_bus) -> AsyncIterator[str]:
    routes = Labels(enricher, handlers.ask, lambda: handlers.settled).routes()
    service = Service("inference", Settings(token="secret"), quiet_bus, routes=routes)
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
