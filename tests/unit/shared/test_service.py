"""A service's HTTP: health, readiness with reasons, the token, and errors in one line."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shared import metrics
from shared.bodies import LARGE, body
from shared.bus import Bus
from shared.errors import PermanentError, TransientError, one_line
from shared.service import Json, Service
from shared.settings import ServiceSettings
from tests.loop.memory_kafka import MemoryKafka, use
from tests.loop.running import running

Start = Callable[..., Any]


class Wish(BaseModel):
    count: int


async def echo(request: Request) -> Response:
    return Json({"count": (await body(request, Wish)).count})


async def fail(request: Request) -> Response:
    raise {"transient": TransientError("the store is away"), "permanent": PermanentError("no such thing"), "value": ValueError("odd")}[
        request.path_params["how"]
    ]


ROUTES = [Route("/api/echo", echo, methods=["POST"]), Route("/api/fail/{how}", fail), Route("/static/page.js", echo), Route("/", echo)]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Start:
    """Runs a service on a Kafka in memory: `async with start(token="…") as client`."""
    kafka = MemoryKafka()
    use(kafka, monkeypatch)

    @asynccontextmanager
    async def started(token: str = "", **given: Any) -> AsyncIterator[httpx.AsyncClient]:
        service = Service("tester", ServiceSettings(token=token), Bus("memory", "tester"), routes=ROUTES, **given)
        async with running(service) as client:
            yield client

    return started


def check(reason: str) -> Callable[[], Awaitable[str]]:
    async def answer() -> str:
        return reason

    return answer


async def test_a_body_is_read_no_further_than_its_limit(start: Start) -> None:
    read = 0

    async def flood() -> AsyncIterator[bytes]:
        nonlocal read
        while read < 3 * LARGE:
            read += 1_000_000
            yield b" " * 1_000_000

    async with start() as client:
        answer = await client.post("/api/echo", content=flood())
    assert answer.status_code == 413 and "32 MB" in answer.json()["error"]


async def test_health_ready_and_metrics(start: Start) -> None:
    async with start(checks={"engine": check("")}) as client:
        assert (await client.get("/health")).json() == {"service": "tester", "status": "alive"}
        ready = await client.get("/ready")
        assert (ready.status_code, ready.json()) == (200, {"service": "tester", "ready": True, "reasons": {}})
        exposed = await client.get("/metrics")
        assert exposed.headers["content-type"].startswith("text/plain")
        assert "# TYPE feedloop_guard_handled_total counter" in exposed.text


async def test_a_failing_check_is_not_ready_but_alive(start: Start) -> None:
    async with start(checks={"engine": check("the engine does not answer"), "index": check("")}) as client:
        ready = await client.get("/ready")
        assert ready.status_code == 503
        assert ready.json() == {"service": "tester", "ready": False, "reasons": {"engine": "the engine does not answer"}}
        assert (await client.get("/health")).status_code == 200


async def test_it_is_not_ready_before_its_views_have_caught_up(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    caught_up = asyncio.Event()
    monkeypatch.setattr(Bus, "caught_up", lambda self: caught_up.wait())
    async with start() as client:
        assert (await client.get("/ready")).json()["reasons"] == {"views": "still reading the past"}
        caught_up.set()
        await asyncio.sleep(0.01)
        assert (await client.get("/ready")).status_code == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [("/health", 200), ("/ready", 200), ("/metrics", 200), ("/static/page.js", 422), ("/", 422), ("/api/fail/value", 401), ("/healthy", 401)],
)
async def test_the_token_is_asked_everywhere_but_on_open_paths(start: Start, path: str, status: int) -> None:
    async with start(token="secret", open_paths=("/", "/static/")) as client:
        assert (await client.get(path)).status_code == status  # 422: it was let through, and found no body


@pytest.mark.parametrize("given", ["", "Bearer ", "Bearer wrong", "Bearer secrets", "Basic secret", "Bearer sécret"])
async def test_a_wrong_token_is_refused_with_what_is_needed(start: Start, given: str) -> None:
    async with start(token="secret") as client:
        answer = await client.get("/api/fail/value", headers={"authorization": given.encode()})
        assert (answer.status_code, answer.json()) == (401, {"error": "this needs the access token (FEEDLOOP_TOKEN)"})
        assert (await client.get("/api/fail/value", headers={"authorization": "Bearer secret"})).status_code == 422


@pytest.mark.parametrize(
    ("how", "status", "said"), [("transient", 503, "the store is away"), ("permanent", 400, "no such thing"), ("value", 422, "odd")]
)
async def test_errors_are_one_line_with_a_fitting_status(start: Start, how: str, status: int, said: str) -> None:
    async with start() as client:
        answer = await client.get(f"/api/fail/{how}")
        assert (answer.status_code, answer.json()) == (status, {"error": said})


@pytest.mark.parametrize("sent", ["", "{", '{"count": "many"}', "[]", "{}"])
async def test_a_body_that_is_wrong_is_told_in_one_line(start: Start, sent: str) -> None:
    async with start() as client:
        answer = await client.post("/api/echo", content=sent)
        assert answer.status_code == 422
        assert "\n" not in answer.json()["error"] != ""
        assert (await client.post("/api/echo", json={"count": 3})).json() == {"count": 3}


async def test_prepare_comes_before_the_bus_and_finish_after_it(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def note(name: str) -> Callable[..., Awaitable[None]]:
        async def step(*_: Any) -> None:
            order.append(name)

        return step

    monkeypatch.setattr(Bus, "start", note("bus starts"))
    monkeypatch.setattr(Bus, "stop", note("bus stops"))
    async with start(prepare=note("prepare"), finish=note("finish")):
        pass
    assert order == ["prepare", "bus starts", "bus stops", "finish"]


def test_metrics_are_named_by_the_convention() -> None:
    import re

    services = "guard|ingest|inference|classifier|retriever|feedback|trainer"
    families = [family for family in metrics.REGISTRY.collect() if family.name.startswith("feedloop_")]
    assert len(families) > 15
    for family in families:
        assert re.fullmatch(rf"feedloop_({services})_[a-z]+(_[a-z]+)*", family.name), family.name
        assert family.documentation.strip()
        if family.type == "histogram":
            assert family.name.endswith("_seconds"), family.name


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "feedloop.example"])
def test_an_open_door_without_a_lock_is_refused(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEEDLOOP_HTTP_HOST", host)
    with pytest.raises(ValidationError, match="set FEEDLOOP_TOKEN, or listen on"):
        ServiceSettings()
    monkeypatch.setenv("FEEDLOOP_TOKEN", "secret")
    assert ServiceSettings().http_host == host


def test_settings_come_from_the_environment_and_name_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "kafka:9092")
    monkeypatch.setenv("FEEDLOOP_HTTP_PORT", "8123")
    assert (ServiceSettings().kafka_bootstrap_servers, ServiceSettings().http_port) == ("kafka:9092", 8123)
    monkeypatch.setenv("FEEDLOOP_HTTP_PORT", "80800")
    with pytest.raises(ValidationError, match="http_port") as caught:
        ServiceSettings()
    assert "\n" not in one_line(caught.value)
