"""Fetching from a real server on loopback: conditions, limits, and addresses that may not be reached."""

import asyncio
import gzip
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from email.utils import format_datetime

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from services.ingest.addresses import Allowed, Forbidden
from services.ingest.fetch import Fetcher
from services.ingest.items import SourceProblem
from tests.unit.ingest.conftest import NOW

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
LOOPBACK = Allowed(["127.0.0.0/8"])


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Handler], Awaitable[str]]]:
    servers: list[TestServer] = []

    async def start(handler: Handler) -> str:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        servers.append(TestServer(app))
        await servers[-1].start_server()
        return f"http://127.0.0.1:{servers[-1].port}"

    yield start
    for server in servers:
        await server.close()


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    made = Fetcher(LOOPBACK, deadline_s=1.0, max_bytes=100_000, clock=lambda: NOW)
    yield made
    await made.close()


async def test_conditional_get(serve, fetcher: Fetcher) -> None:  # type: ignore[no-untyped-def]
    async def handler(request: web.Request) -> web.Response:
        if request.headers.get("If-None-Match") == '"v1"' and request.headers.get("If-Modified-Since") == "yesterday":
            return web.Response(status=304)
        return web.Response(body=b"feed", headers={"ETag": '"v1"', "Last-Modified": "yesterday", "Content-Type": "application/rss+xml"})

    url = await serve(handler)
    first = await fetcher.get(url)
    assert (first.body, first.etag, first.modified, first.content_type) == (b"feed", '"v1"', "yesterday", "application/rss+xml")
    assert (await fetcher.get(url, first.etag, first.modified)).body is None


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/",
        "http://[::1]:9/",
        "http://0.0.0.0/",
        "http://167772161/",
        "http://[::ffff:10.0.0.1]/",
    ],
)
async def test_a_redirect_inside_is_refused(serve, target: str) -> None:  # type: ignore[no-untyped-def]
    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": target})

    url = await serve(handler)
    fetcher = Fetcher(Allowed(["127.0.0.1"]), deadline_s=20.0)
    try:
        with pytest.raises(SourceProblem, match=r"not a global address|not a canonical IPv4"):
            await fetcher.get(url)
    finally:
        await fetcher.close()


async def test_a_name_that_leads_inside_is_refused_unless_allowed_by_name(serve) -> None:  # type: ignore[no-untyped-def]
    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=b"inside")

    url = (await serve(handler)).replace("127.0.0.1", "localhost")
    strict, named = Fetcher(Allowed()), Fetcher(Allowed(["localhost"]))
    try:
        with pytest.raises(SourceProblem, match="allow_hosts"):
            await strict.get(url)
        assert (await named.get(url)).body == b"inside"
        strict.allow(Allowed(["127.0.0.1", "::1"]))
        assert (await strict.get(url)).body == b"inside", "the list may change while it runs"
    finally:
        await strict.close()
        await named.close()


async def test_redirects_are_followed_to_a_limit_and_to_http_only(serve, fetcher: Fetcher) -> None:  # type: ignore[no-untyped-def]
    async def handler(request: web.Request) -> web.Response:
        match request.path:
            case "/file":
                return web.Response(status=301, headers={"Location": "file:///etc/passwd"})
            case "/loop":
                return web.Response(status=307, headers={"Location": "/loop"})
            case "/once":
                return web.Response(status=308, headers={"Location": "there"})
        return web.Response(body=b"there")

    url = await serve(handler)
    found = await fetcher.get(f"{url}/once")
    assert (found.body, found.url) == (b"there", f"{url}/there")
    with pytest.raises(SourceProblem, match="5 redirects"):
        await fetcher.get(f"{url}/loop")
    with pytest.raises(SourceProblem, match="no http"):
        await fetcher.get(f"{url}/file")


async def test_a_slow_loris_meets_the_deadline(serve, fetcher: Fetcher) -> None:  # type: ignore[no-untyped-def]
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(100):
            await response.write(b"x")
            await asyncio.sleep(0.05)
        return response

    started = time.monotonic()
    with pytest.raises(SourceProblem, match="within 1 seconds"):
        await fetcher.get(await serve(handler))
    assert time.monotonic() - started < 4.0  # five seconds of drops were on offer


async def test_too_large_and_bombs(serve, fetcher: Fetcher) -> None:  # type: ignore[no-untyped-def]
    bodies = {
        "/plain": (b"x" * 100_001, ""),
        "/gzip": (gzip.compress(b"\0" * 200_000_000), "gzip"),
        "/zlib": (zlib.compress(b"\0" * 20_000_000), "deflate"),
        "/fits": (gzip.compress(b"y" * 100_000), "gzip"),
        "/raw": (zlib.compress(b"z" * 500, wbits=-15), "deflate"),
        "/br": (b"?", "br"),
        "/lie": (b"this is not gzip at all", "gzip"),
    }

    async def handler(request: web.Request) -> web.Response:
        body, encoding = bodies[request.path]
        return web.Response(body=body, headers={"Content-Encoding": encoding} if encoding else {})

    url = await serve(handler)
    for path in ("/plain", "/gzip", "/zlib"):
        with pytest.raises(SourceProblem, match="larger than"):
            await fetcher.get(url + path)
    assert (await fetcher.get(f"{url}/fits")).body == b"y" * 100_000
    assert (await fetcher.get(f"{url}/raw")).body == b"z" * 500
    with pytest.raises(SourceProblem, match="not asked for"):
        await fetcher.get(f"{url}/br")
    with pytest.raises(SourceProblem, match="not compressed"):
        await fetcher.get(f"{url}/lie")


async def test_answers_that_are_none(serve, fetcher: Fetcher) -> None:  # type: ignore[no-untyped-def]
    async def handler(request: web.Request) -> web.Response:
        later = format_datetime(NOW + timedelta(seconds=90), usegmt=True)
        headers = {"/429": {"Retry-After": "120"}, "/503": {"Retry-After": later}}.get(request.path, {})
        return web.Response(status=int(request.path[1:]), headers=headers)

    url = await serve(handler)
    for status, retry, gone in ((429, 120.0, False), (503, 90.0, False), (404, None, False), (410, None, True), (500, None, False)):
        with pytest.raises(SourceProblem, match=str(status)) as error:
            await fetcher.get(f"{url}/{status}")
        assert (error.value.retry_after, error.value.gone) == (retry, gone)
    for wrong in ("http://127.0.0.1:1/", "http://no-such-host.invalid/", "http://", "http://[/"):
        with pytest.raises(SourceProblem):
            await fetcher.get(wrong)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "2002:808:808::1"])
def test_global_addresses(address: str) -> None:
    Allowed().check(address)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1%eth0",
     "fd00::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "ff02::1"],
)  # fmt: skip
def test_other_addresses(address: str) -> None:
    with pytest.raises(Forbidden):
        Allowed().check(address)


def test_ranges() -> None:
    Allowed(["10.0.0.0/8"]).check("10.2.3.4")
    Allowed(["127.0.0.1"]).check("::ffff:127.0.0.1")
    with pytest.raises(Forbidden):
        Allowed(["10.0.0.0/8"]).check("127.0.0.1")
