"""A web site on loopback for tests: pages by path, and what was asked for."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import format_datetime
from types import TracebackType

from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.unit.ingest.conftest import NOW, rss


@dataclass
class Site:
    """`async with Site() as site`. `pages` by path with its query: a body, or a status with headers."""

    pages: dict[str, str | bytes | tuple[int, dict[str, str]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    types: dict[str, str] = field(default_factory=dict)
    url: str = ""

    async def __aenter__(self) -> "Site":
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._server = TestServer(app)
        await self._server.start_server()
        self.url = f"http://127.0.0.1:{self._server.port}"
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._server.close()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path_qs)
        page = self.pages.get(request.path_qs)
        if request.path_qs == "/hangs":
            await asyncio.sleep(60)
        if page is None:
            return web.Response(status=404, text="no such page")
        if isinstance(page, tuple):
            return web.Response(status=page[0], headers=page[1])
        body = page.encode() if isinstance(page, str) else page
        return web.Response(body=body, content_type=self.types.get(request.path_qs, "text/html" if body.startswith(b"<html") else "application/xml"))


def feed(title: str, *items: str) -> bytes:
    """An RSS feed of that title."""
    return rss(*items).replace(b"<title>Desk</title>", f"<title>{title}</title>".encode())


def dated(guid: str, title: str, text: str, ago: timedelta = timedelta(hours=1), now: datetime = NOW) -> str:
    """An item with a date."""
    date = format_datetime(now - ago)
    return f"<item><guid isPermaLink='false'>{guid}</guid><title>{title}</title><description>{text}</description><pubDate>{date}</pubDate></item>"
