"""Fetching from a real server on loopback: conditions, limits, and addresses that may not be reached."""

import asyncio
import base64
import gzip
import socket
import threading
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
from services.ingest.hosts import Turn, Turns
from services.ingest.inflate import Inflater
from services.ingest.items import SourceProblem
from services.ingest.logins import without_login
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


async def test_conditions_go_only_to_the_server_that_set_them(serve, fetcher: Fetcher) -> None:  # type: ignore[no-untyped-def]
    asked: list[tuple[str, str]] = []

    async def there(request: web.Request) -> web.Response:
        asked.append(("there", request.headers.get("If-None-Match", "")))
        return web.Response(body=b"feed", headers={"ETag": '"theirs"'}, status=304 if "If-None-Match" in request.headers else 200)

    other = await serve(there)

    async def here(request: web.Request) -> web.Response:
        asked.append(("here", request.headers.get("If-None-Match", "")))
        return web.Response(status=302, headers={"Location": f"{other}/feed"})

    url = await serve(here)
    first = await fetcher.get(url, '"mine"')
    assert asked == [("here", '"mine"'), ("there", "")] and first.etag == '"theirs"'
    asked.clear()
    assert (await fetcher.get(url, first.etag, of=first.url)).body is None
    assert asked == [("here", ""), ("there", '"theirs"')]


async def test_long_headers(serve, fetcher: Fetcher) -> None:  # type: ignore[no-untyped-def]
    async def handler(request: web.Request) -> web.Response:
        return web.Response(body=b"feed", headers={"Content-Security-Policy": "x" * (20_000 if request.path == "/long" else 100_000)})

    url = await serve(handler)
    assert (await fetcher.get(f"{url}/long")).body == b"feed"
    with pytest.raises(SourceProblem):
        await fetcher.get(f"{url}/longer")


def test_empty_members_take_linear_time() -> None:
    began = time.process_time()
    with pytest.raises(SourceProblem, match="more than 1,000 parts"):
        Inflater("gzip", 10_000_000).feed(gzip.compress(b"") * 3_276)
    assert time.process_time() - began < 0.1
    many = Inflater("gzip", 100_000)
    for _ in range(900):
        many.feed(gzip.compress(b"."))
    assert many.finish() == b"." * 900


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/",
        "http://[::1]:9/",
        "http://0.0.0.0/",
        "http://167772161/",
        "http://[::ffff:10.0.0.1]/",
        "http://0x7f000002/",
        "http://0177.0.0.02/",
        "http://127.2/",
        "http://2130706434/",
        "http://[64:ff9b::7f00:2]/",
        "http://１２７.0.0.2/",
        "//169.254.169.254/latest",
    ],
)
async def test_a_redirect_inside_is_refused(serve, target: str) -> None:  # type: ignore[no-untyped-def]
    asked = 0

    async def handler(_: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.Response(status=302, headers={"Location": target})

    url = await serve(handler)
    fetcher = Fetcher(Allowed(["127.0.0.1"]), deadline_s=20.0)
    try:
        with pytest.raises(SourceProblem, match=r"not a global address|not a canonical IPv4"):
            await fetcher.get(url)
        assert asked == 1
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
        "/zstd": (b"?", "zstd"),
        "/members": (gzip.compress(b"one ") + gzip.compress(b"two") + b"\0" * 20, "x-gzip"),
        "/nothing": (gzip.compress(b"") * 6_000, "gzip"),
        "/cut": (gzip.compress(b"half of a feed is not a feed" * 99)[:-20], "gzip"),
        "/empty": (b"", "gzip"),
        "/twice": (gzip.compress(gzip.compress(b"x")), "gzip, gzip"),
        "/none": (b"not packed", "none"),
        "/charset": (b"not packed", "UTF-8"),
    }

    async def handler(request: web.Request) -> web.Response:
        assert request.headers["Accept-Encoding"] == "gzip, deflate"
        body, encoding = bodies[request.path]
        return web.Response(body=body, headers={"Content-Encoding": encoding} if encoding else {})

    url = await serve(handler)
    for path in ("/plain", "/gzip", "/zlib"):
        with pytest.raises(SourceProblem, match="larger than"):
            await fetcher.get(url + path)
    with pytest.raises(SourceProblem, match="more than 1,000 parts"):
        await fetcher.get(f"{url}/nothing")
    assert (await fetcher.get(f"{url}/fits")).body == b"y" * 100_000
    assert (await fetcher.get(f"{url}/raw")).body == b"z" * 500
    assert (await fetcher.get(f"{url}/members")).body == b"one two"
    assert (await fetcher.get(f"{url}/empty")).body == b""
    with pytest.raises(SourceProblem, match="ends in the middle"):
        await fetcher.get(f"{url}/cut")
    for path in ("/none", "/charset"):  # no codings at all: browsers pass over such a header, too
        assert (await fetcher.get(url + path)).body == b"not packed"
    for path in ("/br", "/zstd", "/twice"):
        with pytest.raises(SourceProblem, match="not asked for"):
            await fetcher.get(url + path)
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
        assert (error.value.retry_after, error.value.gone, error.value.missing) == (retry, gone, status == 404)
    for wrong in ("http://127.0.0.1:1/", "http://no-such-host.invalid/", "http://", "http://[/"):
        with pytest.raises(SourceProblem):
            await fetcher.get(wrong)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "2002:808:808::1", "::ffff:8.8.8.8", "2606:4700::1111%eth0"])
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


def test_ports_of_other_services_are_not_asked_unless_allowed() -> None:
    for port in (22, 25, 6667):
        with pytest.raises(Forbidden, match=f"port {port}"):
            Allowed().check("8.8.8.8", port)
        Allowed(["8.8.8.0/24"]).check("8.8.8.8", port)
    for port in (80, 443, 8080, 8443, 3000):
        Allowed().check("8.8.8.8", port)


async def test_what_the_server_says_of_the_time_to_come_back(serve, fetcher: Fetcher) -> None:  # type: ignore[no-untyped-def]
    async def handler(request: web.Request) -> web.Response:
        status = 304 if "If-None-Match" in request.headers else 200
        return web.Response(status=status, headers={"Cache-Control": "max-age=1800", "ETag": '"x"'})

    url = await serve(handler)
    assert ((await fetcher.get(url)).fresh, (await fetcher.get(url, '"x"')).fresh) == (1800.0, 1800.0)


async def test_moved_for_good_only_where_every_hop_was(serve, fetcher: Fetcher) -> None:  # type: ignore[no-untyped-def]
    hops = {"/a": (301, "/b"), "/b": (308, "/feed#part"), "/c": (301, "/d"), "/d": (302, "/feed"), "/e": (307, "/b"), "/f": (301, "")}

    async def handler(request: web.Request) -> web.Response:
        status, place = hops.get(request.path, (200, ""))
        return web.Response(status=status, headers={"Location": place} if place else {}, body=b"feed")

    url = await serve(handler)
    moved = {path: (await fetcher.get(url + path)).moved for path in ("/a", "/b", "/c", "/d", "/e", "/feed")}
    assert moved == {"/a": f"{url}/feed", "/b": f"{url}/feed", "/c": "", "/d": "", "/e": "", "/feed": ""}
    with pytest.raises(SourceProblem, match="301"):
        await fetcher.get(f"{url}/f")


async def test_a_login_goes_to_its_own_server_only(serve, fetcher: Fetcher) -> None:  # type: ignore[no-untyped-def]
    heard: list[tuple[str, str]] = []
    other = ""

    async def handler(request: web.Request) -> web.Response:
        heard.append((request.path, request.headers.get("Authorization", "")))
        match request.path:
            case "/same":
                return web.Response(status=301, headers={"Location": f"http://{request.host}/feed"})
            case "/away":
                return web.Response(status=302, headers={"Location": f"{other}/feed"})
            case "/lure":
                return web.Response(status=302, headers={"Location": f"{other.replace('://', '://their:words@')}/feed"})
        return web.Response(body=b"feed")

    url, other = await serve(handler), await serve(handler)
    words = "Basic " + base64.b64encode("mé:p@ss".encode()).decode()
    secret = url.replace("://", "://m%C3%A9:p%40ss@")
    for path, after in (("/same", words), ("/away", ""), ("/lure", "")):
        heard.clear()
        found = await fetcher.get(secret + path)
        assert heard == [(path, words), ("/feed", after)]
        assert "@" not in found.url and "p%40ss" not in repr(found)


def test_a_login_follows_from_http_to_https_and_never_back() -> None:
    _, login = without_login("http://me:secret@e.org/feed")
    assert login is not None and "secret" not in repr(login)
    assert login.headers("https://e.org/feed") and login.headers("http://e.org:80/x")
    for elsewhere in ("http://e.org:8080/", "https://e.org:8443/", "http://www.e.org/", "https://e.org.evil.example/"):
        assert not login.headers(elsewhere)
    _, safe = without_login("https://me:secret@e.org/feed")
    assert safe is not None and not safe.headers("http://e.org/feed")


async def test_a_deadline_over_all_hops_that_stands_still_while_others_are_served(serve) -> None:  # type: ignore[no-untyped-def]
    async def handler(request: web.Request) -> web.Response:
        await asyncio.sleep(0.5)
        left = int(request.path[1:])
        return web.Response(status=302, headers={"Location": f"/{left - 1}"}) if left else web.Response(body=b"feed")

    url = await serve(handler)
    fetcher = Fetcher(LOOPBACK, deadline_s=1.2)
    turns = Turns(per_host=1, delay_s=0.0)

    async def queued() -> bytes | None:
        turn = Turn(turns, "feed")
        try:
            return (await fetcher.get(f"{url}/0", turn=turn)).body
        finally:
            turn.leave()

    try:
        with pytest.raises(SourceProblem, match=r"within 1\.2 seconds"):
            await fetcher.get(f"{url}/4")
        assert await asyncio.gather(*(queued() for _ in range(4))) == [b"feed"] * 4, "two seconds in all, each within its own time"
    finally:
        await fetcher.close()


async def test_a_server_that_says_too_often_is_left_alone_by_all(serve, fetcher: Fetcher) -> None:  # type: ignore[no-untyped-def]
    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "50"})

    url = await serve(handler)
    turns = Turns(delay_s=0.0)
    for expected in ("429 Too Many", "too often"):
        turn = Turn(turns, "feed")
        with pytest.raises(SourceProblem, match=expected) as problem:
            await fetcher.get(url, turn=turn)
        turn.leave()
        assert problem.value.retry_after == pytest.approx(50, abs=5)


async def test_names_that_hang_hold_up_no_other_work(serve, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=b"feed")

    url = (await serve(handler)).replace("127.0.0.1", "localhost")
    look_up, release = socket.getaddrinfo, threading.Event()

    def slowly(host, *args, **kwargs):  # type: ignore[no-untyped-def]
        if str(host).endswith(".slow.test"):
            release.wait(60)
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return look_up(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", slowly)
    fetcher = Fetcher(Allowed(["localhost"]), deadline_s=20.0)
    hanging = [asyncio.create_task(fetcher.get(f"http://h{n}.slow.test/")) for n in range(80)]
    try:
        await asyncio.sleep(0.5)
        async with asyncio.timeout(15):
            assert (await fetcher.get(url)).body == b"feed"
            assert await asyncio.to_thread(lambda: "free") == "free"
        assert not any(task.done() for task in hanging)
    finally:
        release.set()
        problems = await asyncio.gather(*hanging, return_exceptions=True)
        await fetcher.close()
    assert all(isinstance(problem, SourceProblem) and not problem.missing for problem in problems), "no answer is not: no such name"
