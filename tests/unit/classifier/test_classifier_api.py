"""The classifier's HTTP interface, and `feedloop classify` against it: the whole way from the command to the verdict."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from classifier_samples import START, feedback
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from test_classifier_head import SHIPPED, OneHot

from deploy.local.classify import classify
from deploy.local.errors import LocalError
from deploy.local.texts import Given
from services.classifier.api import MOST_EXPLAINED, NOT_READY, Api
from services.classifier.app import build
from services.classifier.live_head import LiveHead
from services.classifier.llm import LanguageModel
from services.classifier.settings import Settings
from shared.asked import MOST_ASKED, LabelsSpoken, Spoken
from shared.care import GRAVEST, HELP, NOTE
from shared.errors import FeedloopError, TransientError
from shared.events import LabelScore, ModelStamp
from shared.objects import ObjectStore
from shared.registry import Registry
from shared.service import _bad_input, _failed, _http_error


@pytest.fixture
def api(new_decider, tmp_path: Path) -> Starlette:
    live = LiveHead(OneHot(), SHIPPED / "news", Registry(ObjectStore(str(tmp_path / "objects")), tmp_path / "cache"), "c", lambda: START)
    live.start()
    ready = asyncio.Event()
    ready.set()
    handlers = {HTTPException: _http_error, ValueError: _bad_input, FeedloopError: _failed}
    return Starlette(routes=Api(new_decider(), live, ready).routes(), exception_handlers=handlers)


def api_in(app: Starlette) -> Api:
    return next(route for route in app.routes if route.path == "/api/classify").endpoint.__self__


@pytest.fixture
async def client(api: Starlette) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=api, raise_app_exceptions=False), base_url="http://classifier") as made:
        yield made


async def test_a_verdict_carries_what_it_rests_on(client: httpx.AsyncClient) -> None:
    answer = (await client.post("/api/classify", json={"text": "I want to kill myself", "title": "Note"})).json()
    assert len(answer["rules_digest"]) == len(answer["head_digest"]) == 64 and answer["fusion_digest"] == "" and answer["collection"] == "news"
    assert answer["safety"] == ["risk"]
    risk, category = answer["decision"]["risk"], answer["decision"]["category"]
    [span] = next(part for part in risk["parts"] if part["part"] == "rule")["spans"]
    assert "I want to kill myself"[span["start"] : span["end"]] == span["words"] and span["field"] == "text" and "kill" in span["words"]
    assert sum(category["probabilities"].values()) == pytest.approx(1, abs=1e-4) and category["label"] in category["possible"]
    assert category["parts"][0]["probabilities"] and category["mattered"] == []
    assert any("uncalibrated" in reason for reason in category["reasons"])


@pytest.mark.parametrize("collection", ["news", "wellbeing"])
async def test_care_goes_with_a_safety_label_and_with_no_other(client: httpx.AsyncClient, collection: str) -> None:
    items = [{"text": "I went to the store"}, {"text": "I want to kill myself"}]
    calm, grave = (await client.post("/api/classify", json={"items": items, "collection": collection})).json()["items"]
    assert (calm["safety"], calm["care"]) == ([], None)
    assert grave["care"] == {"words": GRAVEST, "severity": 1.0, "task": grave["care"]["task"], "note": NOTE, "help": HELP}
    assert grave["care"]["task"] in grave["safety"]


async def test_the_help_text_is_the_desks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FEEDLOOP_HELP_TEXT", "Ask Ana at the front desk.")
    for name in ("HEAD", "MODELS_CACHE", "OBJECTS"):
        monkeypatch.setenv(f"FEEDLOOP_{name}", str(tmp_path / name))
    service = build(Settings())
    api_in(service.app.app).ready.set()  # without a bus there is no past to be read
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=service.app), base_url="http://classifier") as made:
        answer = (await made.post("/api/classify", json={"text": "I want to kill myself"})).json()
    assert answer["care"]["help"] == "Ask Ana at the front desk."


async def test_nothing_is_judged_before_the_past_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The interface and /ready say so in one line; the rules in force can be looked at all the same."""
    for name in ("HEAD", "MODELS_CACHE", "OBJECTS"):
        monkeypatch.setenv(f"FEEDLOOP_{name}", str(tmp_path / name))
    service = build(Settings())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=service.app), base_url="http://classifier") as made:
        refused = await made.post("/api/classify", json={"text": "I want to kill myself"})
        assert refused.status_code == 503 and refused.json() == {"error": NOT_READY}
        monkeypatch.setitem(service._checks, "kafka", service._checks["verdicts"])
        assert (await made.get("/ready")).json()["reasons"]["verdicts"] == NOT_READY
        assert (await made.get("/api/rules")).status_code == 200
        api_in(service.app.app).ready.set()
        assert (await made.post("/api/classify", json={"text": "I want to kill myself"})).status_code == 200
        assert "verdicts" not in (await made.get("/ready")).json()["reasons"]


async def test_explanations_are_asked_for_and_bounded(client: httpx.AsyncClient) -> None:
    answer = (await client.post("/api/classify?explain=1", json={"items": [{"text": "a bb ccc dddd eeeee ffffff"}] * MOST_EXPLAINED})).json()
    assert len(answer["items"]) == MOST_EXPLAINED
    spans = [span for item in answer["items"] for decision in item["decision"].values() for span in decision["mattered"]]
    assert all(span["words"] == "a bb ccc dddd eeeee ffffff"[span["start"] : span["end"]] and "drop" in span for span in spans)
    refused = await client.post("/api/classify?explain=1", json={"items": [{"text": "a"}] * (MOST_EXPLAINED + 1)})
    assert refused.status_code == 422 and refused.json() == {"error": "items: at most 16 at once with explain, and these are 17"}
    assert (await client.post("/api/classify?explain=0", json={"items": [{"text": "a"}] * (MOST_EXPLAINED + 1)})).status_code == 200
    strange = await client.post("/api/classify", json={"text": "a", "collection": "Gossip!"})
    assert strange.status_code == 422 and "no name of a collection" in strange.json()["error"]


class Model(LanguageModel):
    """Says what it is told to, or why it can't."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[int, str]] = []
        self.verdict: dict[str, LabelScore] | TransientError = {"stress": LabelScore(label="high", probability=0.9)}

    async def ask(self, items, collection):
        self.asked.append((len(items), collection))
        if isinstance(self.verdict, TransientError):
            raise self.verdict
        model = ModelStamp(base="model-1", adapter="c0ffee", weights=11_000_000)
        return LabelsSpoken(items=[Spoken(verdict=self.verdict, model=model), *[Spoken(problem="not one sound answer")] * (len(items) - 1)])


async def test_the_language_model_is_asked_where_that_is_wished(api: Starlette, client: httpx.AsyncClient) -> None:
    api_in(api).llm = model = Model()
    of = {"collection": "wellbeing"}  # no head answers for it here
    plain = (await client.post("/api/classify", json={"text": "It is all too much", **of})).json()
    assert model.asked == [] and plain["model"] is None and plain["llm_problem"] == "" and plain["undecided"] == ["emotion", "stress"]
    items = [{"text": "It is all too much"}, {"text": "b"}]
    first, second = (await client.post("/api/classify?llm=1", json={"items": items, **of})).json()["items"]
    assert model.asked == [(2, "wellbeing")] and first["model"]["adapter"] == "c0ffee" and first["undecided"] == ["emotion"]
    stress = first["decision"]["stress"]
    assert (stress["label"], stress["by"]) == ("high", "llm") and "the language model says high (90%)" in stress["reasons"]
    assert second["model"] is None and second["llm_problem"] == "not one sound answer" and "stress" in second["undecided"]
    model.verdict = TransientError("inference does not answer")
    away = (await client.post("/api/classify?llm=1&explain=1", json={"text": "I want to kill myself"})).json()
    assert away["llm_problem"] == "inference does not answer" and away["decision"]["risk"]["label"] == "high" and away["model"] is None
    refused = await client.post("/api/classify?llm=1", json={"items": [{"text": "a"}] * (MOST_ASKED + 1)})
    assert refused.status_code == 422 and refused.json() == {"error": "items: at most 16 at once with llm, and these are 17"}
    model.asked.clear()
    for off in ("0", "false", "False", ""):
        assert (await client.post(f"/api/classify?llm={off}", json={"text": "a", **of})).status_code == 200
    strange = await client.post("/api/classify?llm=no", json={"text": "a", **of})
    assert strange.status_code == 422 and "'no' is neither of 1 and true" in strange.json()["error"] and not model.asked
    astray = await client.post("/api/classify", json={"title": "I want to die", "items": [{"text": "hello"}]})
    assert astray.status_code == 422 and "`title` goes with `text`" in astray.json()["error"]


async def test_the_words_that_moved_the_head_towards_a_verdict_of_before(client: httpx.AsyncClient) -> None:
    text = "Parliament votes on the new budget tonight, after a long debate about taxes."
    asked = {"text": text, "title": "Vote", "labels": {"category": "politics", "risk": "none"}}
    answer = (await client.post("/api/mattered", json=asked)).json()
    explained = (await client.post("/api/classify?explain=1", json={"text": text, "title": "Vote"})).json()
    assert set(answer["mattered"]) == {"category"} and answer["head_digest"] == explained["head_digest"], "the head was never taught risk"
    assert all(
        span["words"] == {"title": "Vote", "text": text}[span["field"]][span["start"] : span["end"]] for span in answer["mattered"]["category"]
    )
    other = {"labels": {"category": explained["decision"]["category"]["label"]}}
    assert (await client.post("/api/mattered", json=asked | other)).json()["mattered"]["category"] == explained["decision"]["category"]["mattered"]
    by_name = {"text": "What a lovely evening", "collection": "wellbeing", "labels": {"sentiment": "positive"}}  # no head answers for it here
    verdict = (await client.post("/api/classify", json={key: by_name[key] for key in ("text", "collection")})).json()
    assert (await client.post("/api/mattered", json=by_name)).json()["head_digest"] == verdict["head_digest"] != ""
    for wrong, why in (({"category": "gossip"}, "gossip"), ({"mood": "good"}, "mood"), ({}, "labels")):
        refused = await client.post("/api/mattered", json={"text": text, "labels": wrong})
        assert refused.status_code == 422 and why in refused.json()["error"]
    strange = await client.post("/api/mattered", json=asked | {"collection": "welbeing"})
    assert strange.status_code == 422 and "there is no label set 'welbeing'" in strange.json()["error"]


async def test_a_collection_without_a_head_is_decided_by_rules_and_by_name(client: httpx.AsyncClient) -> None:
    answer = (await client.post("/api/classify?explain=1", json={"text": "I want to kill myself", "collection": "wellbeing"})).json()
    assert answer["collection"] == "wellbeing" and "risk" in answer["safety"] and answer["decision"]["risk"]["label"] == "high"
    answer = (await client.post("/api/classify?explain=1", json={"text": "What a lovely evening", "collection": "wellbeing"})).json()
    assert {task for task, one in answer["decision"].items() if one["by"] == "neural"} == {"sentiment"}  # the others are of safety, or in an order
    assert any(reason.startswith("nearest by the labels' names: ") for reason in answer["decision"]["sentiment"]["reasons"])
    assert len(answer["head_digest"]) == 64


async def test_a_collection_that_is_not_there_is_refused_by_name(client: httpx.AsyncClient) -> None:
    refused = await client.post("/api/classify", json={"text": "a", "collection": "welbeing"})
    assert refused.status_code == 422
    assert refused.json() == {"error": "collection: there is no label set 'welbeing'; there are news, wellbeing"}


@pytest.mark.parametrize("body", [{"text": "a", "colection": "wellbeing"}, {"items": [{"text": "a", "tittle": "b"}]}])
async def test_a_misspelt_field_is_refused_and_not_left_out(client: httpx.AsyncClient, body: dict) -> None:
    refused = await client.post("/api/classify", json=body)
    assert refused.status_code == 422 and "Extra inputs are not permitted" in refused.json()["error"]


@pytest.mark.parametrize("text", ["", " \n", "\0", "\u200b"])
async def test_of_nothing_the_head_says_nothing(client: httpx.AsyncClient, text: str) -> None:
    answer = (await client.post("/api/classify", json={"text": text})).json()
    assert {task: one["by"] for task, one in answer["decision"].items()} == {"risk": "default"} and answer["head_digest"] == ""


async def test_a_copy_of_a_corrected_text_gets_the_correction(new_decider, client: httpx.AsyncClient, api: Starlette) -> None:
    api_in(api).decider.overlay.remember(feedback("f1", "culture", title="Evening", text="A choir sang."))
    answer = (await client.post("/api/classify", json={"text": "A choir sang.", "title": "Evening"})).json()
    assert (answer["decision"]["category"]["label"], answer["decision"]["category"]["by"]) == ("culture", "correction")


async def test_the_interface_is_described_as_it_is(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    assert document["openapi"] == "3.1.0" and set(document["paths"]) == {"/api/classify", "/api/mattered", "/api/rules"}
    schemas = document["components"]["schemas"]
    for reference in re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)):
        assert reference in schemas
    assert schemas["ClassifyRequest"]["properties"]["collection"]["default"] == "news"
    assert "drop_safety_rules" in schemas["PublishRequest"]["properties"]
    care = schemas["Care"]
    assert set(care["required"]) == {"words", "severity", "task", "note", "help"} and "no diagnosis" in care["description"]
    assert schemas["Classified"]["properties"]["care"]["anyOf"] == [{"$ref": "#/components/schemas/Care"}, {"type": "null"}]
    answers = {"Classified": await client.post("/api/classify", json={"text": "a"}), "RulesInForce": await client.get("/api/rules")}
    for name, answer in answers.items():
        assert answer.status_code == 200 and set(answer.json()) == set(schemas[name]["properties"]) == set(schemas[name]["required"])


async def test_the_command_against_the_service(api: Starlette, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    server = uvicorn.Server(uvicorn.Config(api, host="127.0.0.1", port=0, log_config=None, lifespan="off"))
    serving = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(60):
            while not server.started:
                await asyncio.sleep(0.05)
        port = server.servers[0].sockets[0].getsockname()[1]
        monkeypatch.setenv("FEEDLOOP_CLASSIFIER_URL", f"http://127.0.0.1:{port}")
        api_in(api).ready.clear()
        with pytest.raises(LocalError) as waits:
            await classify([Given("I want to kill myself")], "wellbeing", "default", as_json=False, explain=True)
        assert str(waits.value) == f"the classifier refuses: {NOT_READY}"
        api_in(api).ready.set()
        texts = [Given("I want to kill myself"), Given("I went to the store", "Saturday")]
        await classify(texts, "wellbeing", "default", as_json=False, explain=True)
        said = capsys.readouterr().out
        whole = " ".join(said.split())  # lines are broken where the terminal ends
        assert whole.count(f"Whoever wrote this {GRAVEST}. {NOTE}") == 1 and whole.index(NOTE) < whole.index("I went to the store")
        assert whole.endswith(" ".join(HELP.split())) and whole.count(HELP[:40]) == 1
        assert said.index("risk") < said.index("I went to the store") and "high  by rule" in said and "wellbeing: rules " in said
        await classify(texts, "news", "default", as_json=True, explain=False)
        rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [row["decision"]["risk"]["label"] for row in rows] == ["high", "none"] and rows[1]["title"] == "Saturday"
        assert rows[0]["care"]["help"] == HELP and rows[1]["care"] is None
    finally:
        server.should_exit = True
        await serving
