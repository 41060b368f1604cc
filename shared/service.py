"""A service: one process, one bus, one small HTTP server. `app.py` of each service builds one of these and nothing else."""

import asyncio
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
import uvicorn
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from shared import logs, metrics
from shared.bus import Bus
from shared.errors import FeedloopError, TransientError, one_line
from shared.guard import TRANSIENT
from shared.settings import ServiceSettings

Check = Callable[[], Awaitable[str]]  # empty where all is well, else the reason in words
Background = Callable[[], Awaitable[None]]
AWAY = tuple(kind for kind in TRANSIENT if kind is not TransientError)
OPEN_PATHS = ("/health", "/ready", "/metrics")


class Json(JSONResponse):
    """JSON by orjson; takes dates and pydantic models."""

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content, default=lambda value: value.model_dump(mode="json"))


class Service:
    """Wires settings, bus, routes and background work into one process.

    routes: what the service serves beside /health, /ready and /metrics. checks: by name, what /ready asks beside Kafka.
    background: coroutines that run as long as the service; one that raises ends the process (the supervisor starts it again).
    prepare: awaited before the bus starts; finish: awaited after it has stopped. open_paths: prefixes that need no token (static files).
    """

    def __init__(
        self,
        name: str,
        settings: ServiceSettings,
        bus: Bus,
        *,
        routes: Sequence[BaseRoute] = (),
        checks: dict[str, Check] | None = None,
        background: Sequence[Background] = (),
        prepare: Background | None = None,
        finish: Background | None = None,
        open_paths: Sequence[str] = (),
    ) -> None:
        self.name, self.settings, self.bus = name, settings, bus
        self._checks = {"kafka": bus.ping, **(checks or {})}
        self._background, self._prepare, self._finish = background, prepare, finish
        self._started = asyncio.Event()
        self._fatal: Exception | None = None
        self._server: uvicorn.Server | None = None
        own = [Route("/health", self._health), Route("/ready", self._ready), Route("/metrics", self._metrics)]
        starlette = Starlette(
            routes=[*own, *routes],
            lifespan=self._lifespan,
            exception_handlers={
                HTTPException: _http_error,
                ValidationError: _bad_input,
                ValueError: _bad_input,
                FeedloopError: _failed,
                **dict.fromkeys(AWAY, _away),
            },
        )
        self.app: ASGIApp = TokenRequired(starlette, settings.token, (*OPEN_PATHS, *open_paths))

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        if self._prepare:
            await self._prepare()
        await self.bus.start()
        tasks = [asyncio.create_task(self._watch(work)) for work in (self._catch_up, *self._background)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.bus.stop()
            if self._finish:
                await self._finish()

    async def _catch_up(self) -> None:
        await self.bus.caught_up()
        self._started.set()
        logs.logger(__name__).info("service.ready", port=self.settings.http_port)

    async def _watch(self, work: Background) -> None:
        try:
            await work()
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 policy lives here: whatever it is, the process ends and is started again
            self._fatal = error
            logs.logger(__name__).exception("service.failed", error=f"{type(error).__name__}: {error}")
            if self._server:
                self._server.should_exit = True

    async def caught_up(self) -> None:
        """Returns when the service's views hold what their topics held at the start."""
        await self._started.wait()

    async def _health(self, _: Request) -> Response:
        return Json({"service": self.name, "status": "alive"})

    async def _ready(self, _: Request) -> Response:
        reasons = {name: reason for name, check in self._checks.items() if (reason := await check())}
        if not self._started.is_set():
            reasons["views"] = "still reading the past"
        return Json({"service": self.name, "ready": not reasons, "reasons": reasons}, status_code=503 if reasons else 200)

    async def _metrics(self, _: Request) -> Response:
        return Response(metrics.exposition(), media_type="text/plain; version=0.0.4")

    async def serve(self) -> None:
        """Run until a signal ends the process. Raises what a background task died of."""
        config = uvicorn.Config(
            self.app,
            host=self.settings.http_host,
            port=self.settings.http_port,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=5,
            lifespan="on",
        )
        self._server = uvicorn.Server(config)
        await self._server.serve()
        if self._fatal:
            raise self._fatal


class TokenRequired:
    """ASGI middleware: `Authorization: Bearer <token>` on every path but the open ones, where a token is set."""

    def __init__(self, app: ASGIApp, token: str, open_paths: Sequence[str]) -> None:
        self.app, self.token, self.open_paths = app, token, tuple(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self.token and not self._is_open(scope["path"]):
            given = Headers(scope=scope).get("authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(given.encode(), self.token.encode()):
                await Json({"error": "this needs the access token (FEEDLOOP_TOKEN)"}, status_code=401)(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _is_open(self, path: str) -> bool:
        return any(path == known or (known.endswith("/") and known != "/" and path.startswith(known)) for known in self.open_paths)


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return Json({"error": error.detail}, status_code=error.status_code)


async def _bad_input(_: Request, error: Exception) -> Response:
    return Json({"error": one_line(error)}, status_code=422)


async def _away(_: Request, error: Exception) -> Response:
    return Json({"error": f"something this needs is away, try again: {type(error).__name__}: {one_line(error)}"}, status_code=503)


async def _failed(_: Request, error: Exception) -> Response:
    return Json({"error": one_line(error)}, status_code=503 if isinstance(error, TransientError) else 400)
