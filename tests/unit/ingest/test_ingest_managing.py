"""Adding, removing, importing and exporting sources: by the code itself, over HTTP, and on the command line with and without a service."""

import asyncio
import re
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from typer.testing import CliRunner

from deploy.local.ports import reserve
from deploy.local.sources import app as cli
from services.ingest.addresses import Allowed
from services.ingest.config import load
from services.ingest.fetch import Fetcher
from services.ingest.manage_api import ManageApi
from services.ingest.managing import Known, Sources, Unknown, Unwanted, Wanted
from services.ingest.opml import MAX_BYTES
from services.ingest.poller import Poller
from services.ingest.readers import reader_of
from services.ingest.source import SourceTask
from services.ingest.sources import Source
from shared.errors import ConfigError, FeedloopError
from shared.service import _failed, _http_error
from tests.unit.ingest.conftest import NOW, World
from tests.unit.ingest.sites import Site, dated, feed

START = "# mine\nsources:\n  - {kind: mbox, id: letters, path: letters.mbox}  # paper\nallow_hosts: [127.0.0.1]\n"
HANDLERS = {HTTPException: _http_error, FeedloopError: _failed}


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with Site() as made:
        made.pages |= {
            "/f": feed("Desk F", dated("1", "T", "Words.")),
            "/g": feed("Desk G", dated("1", "T", "Words.")),
            "/one": "<html><link rel=alternate type=application/rss+xml href=/f></html>",
            "/two": "<html><link rel=alternate type=application/rss+xml href=/f><link rel=alternate type=application/rss+xml href=/g></html>",
            "/moved": (301, {"Location": "/g"}),
        }
        yield made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "feedloop.yaml"
    file.write_text(START)
    return file


@pytest.fixture
async def sources(path: Path) -> AsyncIterator[Sources]:
    fetcher = Fetcher(Allowed(["127.0.0.1"]), deadline_s=5)
    yield Sources(path, fetcher, lambda: NOW)
    await fetcher.close()


def opml(*urls: str) -> bytes:
    body = "".join(f"<outline text='T {n}' xmlUrl='{url}'/>" for n, url in enumerate(urls))
    return f"<opml version='2.0'><body>{body}</body></opml>".encode()


async def test_a_feed_is_added_with_its_title(sources: Sources, path: Path, site: Site) -> None:
    added = await sources.add(Wanted(url=f"{site.url}/f", interval="1h"))
    assert (added.title, added.url, added.notes) == ("Desk F", f"{site.url}/f", [])
    last = load(path).sources[-1]
    assert (last.source_id, last.title, last.interval) == (added.id, "Desk F", 3600)
    assert path.read_text().startswith("# mine") and "# paper" in path.read_text()


async def test_the_only_feed_of_a_page_is_taken_and_several_are_named(sources: Sources, path: Path, site: Site) -> None:
    assert (await sources.add(Wanted(url=f"{site.url}/one"))).url == f"{site.url}/f"
    before = path.read_text()
    with pytest.raises(Unwanted, match="2 feeds") as several:
        await sources.add(Wanted(url=f"{site.url}/two"))
    assert [found.title for found in several.value.feeds] == ["Desk F", "Desk G"]
    assert f"{site.url}/g" in str(several.value)
    assert path.read_text() == before


async def test_a_feed_that_moved_is_added_where_it_is(sources: Sources, site: Site) -> None:
    assert (await sources.add(Wanted(url=f"{site.url}/moved"))).url == f"{site.url}/g"


async def test_what_is_there_is_not_added_again(sources: Sources, site: Site) -> None:
    await sources.add(Wanted(url=f"{site.url}/f"))
    asked = len(site.asked)
    with pytest.raises(Known, match="read already"):
        await sources.add(Wanted(url=f"{site.url}/f?utm_source=x#top"))
    assert len(site.asked) == asked
    with pytest.raises(Known):
        await sources.add(Wanted(url=f"{site.url}/one"))  # another address of the same feed


async def test_what_can_not_be_read_is_not_added_unless_told_so(sources: Sources, path: Path, site: Site) -> None:
    with pytest.raises(Unwanted, match="404"):
        await sources.add(Wanted(url=f"{site.url}/none"))
    assert path.read_text() == START
    await sources.add(Wanted(url=f"{site.url}/none", check=False))
    assert load(path).sources[-1].place() == f"{site.url}/none"


@pytest.mark.parametrize(
    "wanted",
    [
        {"url": "file:///etc/passwd"},
        {"url": ""},
        {"url": "http://[x"},
        {"url": "mailto:me@a.example"},
        {"url": "feed:http://[x"},
        {"url": "javascript:alert(1)"},
        {"url": "http://a.example", "interval": "soon"},
        {"url": "http://a.example", "id": "letters"},
    ],
)
async def test_wrong_wishes(sources: Sources, path: Path, wanted: dict[str, str]) -> None:
    with pytest.raises(Unwanted, match=f"^'{re.escape(wanted['url'])}'" if len(wanted) == 1 else "soon|has the id 'letters'"):
        await sources.add(Wanted(check=False, **wanted))  # type: ignore[arg-type]
    assert path.read_text() == START


async def test_addresses_and_titles_as_people_give_them(sources: Sources, path: Path) -> None:
    for given, url in (
        ("feed://a.example/x", "http://a.example/x"),
        ("feed:https://b.example/x", "https://b.example/x"),
        ("c.example:8080/x", "https://c.example:8080/x"),
    ):
        assert (await sources.add(Wanted(url=given, check=False))).url == url
    assert (await sources.add(Wanted(url="d.example", check=False, title="A\x07\nB " + 200 * "x"))).title.startswith("A B x")


async def test_removing_by_id_and_by_address(sources: Sources, path: Path, site: Site) -> None:
    await sources.add(Wanted(url=f"{site.url}/f", id="f"))
    await sources.add(Wanted(url=f"{site.url}/g"))
    assert (await sources.remove("f")).source_id == "f"
    await sources.remove(f"{site.url}/g")
    assert path.read_text() == START
    with pytest.raises(Unknown, match="sources list"):
        await sources.remove("f")
    await sources.remove("letters")
    assert load(path).sources == ()


async def test_import_names_what_became_of_each(sources: Sources, path: Path) -> None:
    urls = ["http://a.example/f", "http://b.example/", "http://A.example:80/f?utm_medium=x", "ftp://c.example", "http://b.example"]
    done = await sources.import_opml(opml(*urls))
    assert [added.url for added in done.added] == ["http://a.example/f", "http://b.example/"]
    assert len(done.skipped) == 2 and len(done.refused) == 1 and "ftp://c.example" in done.refused[0]
    again = await sources.import_opml(opml(*urls))
    assert not again.added and len(again.skipped) == 4
    assert len(load(path).sources) == 3 and "# paper" in path.read_text()


async def test_export_and_import_are_one_another(sources: Sources, path: Path, tmp_path: Path) -> None:
    await sources.import_opml(opml(*(f"http://{n}.example/" for n in range(300))))
    await sources.add(Wanted(url="http://x.example/", id="x", title='"Q" & <A>', interval="90s", collection="other", check=False))
    exported = await sources.export()
    assert exported.feeds == 301 and exported.left_out == ["letters: a source of kind mbox is no feed"]
    other = Sources(tmp_path / "other.yaml", Fetcher(Allowed()), lambda: NOW)
    done = await other.import_opml(exported.opml.encode())
    assert len(done.added) == 301 and not done.refused and not done.note
    assert load(tmp_path / "other.yaml").sources == load(path).sources[1:]


async def test_ten_thousand_outlines(sources: Sources, path: Path) -> None:
    done = await sources.import_opml(opml(*(f"http://{n}.example/feed" for n in range(10_000))))
    assert len(done.added) == 10_000
    assert len(load(path).sources) == 10_001


async def test_a_broken_file_is_not_touched(sources: Sources, path: Path, site: Site) -> None:
    path.write_text("sources: [{kind: nothing}]")
    for work in (sources.add(Wanted(url=f"{site.url}/f")), sources.remove("x"), sources.import_opml(opml("http://a.example")), sources.export()):
        with pytest.raises(ConfigError, match="kind"):
            await work
    assert path.read_text() == "sources: [{kind: nothing}]"


async def test_over_http(sources: Sources, path: Path, site: Site) -> None:
    app = Starlette(routes=ManageApi(sources).routes(), exception_handlers=HANDLERS)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://ingest", timeout=30) as api:
        report = (await api.get("/api/sources/check", params={"url": f"{site.url}/f"})).json()
        assert report["readable"] and report["kind"] == "RSS 2.0" and report["titles"] == ["T"]
        assert (await api.get("/api/sources/check")).status_code == 422
        added = await api.post("/api/sources", json={"url": f"{site.url}/f"})
        assert added.status_code == 201 and added.json()["title"] == "Desk F"
        assert (await api.post("/api/sources", json={"url": f"{site.url}/f"})).status_code == 409
        several = await api.post("/api/sources", json={"url": f"{site.url}/two"})
        assert several.status_code == 409 and len(several.json()["feeds"]) == 2
        assert (await api.post("/api/sources", json={"url": "file:///x"})).status_code == 422
        assert (await api.post("/api/sources", json={"adress": "x"})).status_code == 422
        done = (await api.post("/api/sources/import", content=opml("http://a.example/"))).json()
        assert len(done["added"]) == 1
        assert (await api.post("/api/sources/import", content=b"<html/>")).status_code == 422
        assert (await api.post("/api/sources/import", content=b" " * (MAX_BYTES + 1))).status_code == 413
        exported = await api.get("/api/sources/export")
        assert exported.headers["content-type"].startswith("text/x-opml") and "http://a.example/" in exported.text
        assert (await api.get("/api/sources/export", params={"format": "json"})).json()["left_out"]
        assert (await api.delete(f"/api/sources/{added.json()['id']}")).json()["removed"] == added.json()["id"]
        assert (await api.delete("/api/sources/http%3A%2F%2Fa.example%2F")).status_code == 200
        assert (await api.delete("/api/sources/none")).status_code == 404
    assert path.read_text() == START


async def test_a_running_service_follows(sources: Sources, path: Path, site: Site, world: World) -> None:
    """What is added is read, and what is removed is not any more, without a restart."""

    async def ready() -> None:
        return None

    path.write_text("allow_hosts: [127.0.0.1]\n")
    fetcher = Fetcher(Allowed(), deadline_s=5)

    def make(source: Source) -> SourceTask:
        return SourceTask(source, reader_of(source, fetcher, str, world.store), world.intake, world.bus.publish, world.known, lambda: NOW)

    poller = Poller(load(path), make, fetcher.allow)
    work = asyncio.create_task(poller.run(ready, path, 0.05))

    async def until(true: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not true():
                await asyncio.sleep(0.05)

    try:
        added = await sources.add(Wanted(url=f"{site.url}/f"))
        await until(lambda: bool(world.bus.documents))
        assert world.bus.documents[0].source.id == added.id and world.bus.documents[0].source.title == "Desk F"
        await sources.remove(added.id)
        await until(lambda: not poller.tasks())
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await fetcher.close()


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No service runs that this test did not start."""
    for name in ("INGEST", "FEEDBACK", "INFERENCE", "CLASSIFIER", "RETRIEVER", "TRAINER"):
        monkeypatch.delenv(f"FEEDLOOP_{name}_URL", raising=False)
    monkeypatch.delenv("FEEDLOOP_CONFIG", raising=False)
    monkeypatch.setenv("FEEDLOOP_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def served() -> Iterator[Site]:
    """The site, in a loop of its own: the commands make their own loops."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    site = Site({"/f": feed("Desk F", dated("1", "T\x1b[31m", "Words.")), "/p": "<html>no feeds here</html>"})
    asyncio.run_coroutine_threadsafe(site.__aenter__(), loop).result(30)
    yield site
    asyncio.run_coroutine_threadsafe(site.__aexit__(None, None, None), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(30)
    loop.close()


def run(*words: str, stdin: str = "", status: int = 0) -> str:
    result = CliRunner().invoke(cli, list(words), input=stdin)
    assert result.exit_code == status, (result.output, result.exception)
    return result.output


def commands(path: Path, tmp_path: Path, site: Site) -> None:
    """What a user does, in order; the same with a service and without one."""
    assert "Desk F is added" in run("add", f"{site.url}/f", "--id", "f")
    assert "Desk F" in run("list")
    said = run("check", f"{site.url}/f")
    assert "RSS 2.0: Desk F, 1 items" in said and "\x1b" not in said
    said = run("check", f"{site.url}/p", status=1)
    assert "HTML page" in said and "no feed was found" in said
    assert "wrong: the server answers 404" in run("check", f"{site.url}/none", status=1)
    (tmp_path / "in.opml").write_bytes(opml("http://a.example/", "ftp://b.example/"))
    assert "1 added, 0 skipped, 1 not added" in run("import", str(tmp_path / "in.opml"))
    assert "0 added, 1 skipped" in run("import", "-", stdin=opml("http://a.example/").decode())
    run("export", str(tmp_path / "out.opml"))
    assert f"{site.url}/f" in (tmp_path / "out.opml").read_text()
    assert "http://a.example/" in run("export")
    assert "f is removed" in run("remove", "f")
    run("remove", "http://a.example/")
    assert path.read_text() == START
    result = CliRunner().invoke(cli, ["remove", "f"])
    assert result.exit_code != 0 and "no source 'f'" in str(result.exception)


def test_the_commands_without_a_service(quiet: None, path: Path, tmp_path: Path, served: Site) -> None:
    commands(path, tmp_path, served)
    run("add", "http://n.example/", "--unchecked", "--config", str(tmp_path / "new.yaml"))
    assert len(load(tmp_path / "new.yaml").sources) == 1 and path.read_text() == START


def test_the_commands_with_a_service(quiet: None, path: Path, tmp_path: Path, served: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from shared.service import Json

    fetcher = Fetcher(Allowed(["127.0.0.1"]), deadline_s=5)
    sources = Sources(path, fetcher, lambda: NOW)
    empty = {"reason": "", "last_success": None, "next_poll": None, "documents": 0, "items_per_day": 0.0, "state": "waiting"}

    async def listed(_: Request) -> Response:  # the poller's part of the service, which is tested elsewhere
        rows = [{"id": source.source_id, "title": source.ref.title, "place": source.place(), **empty} for source in await sources.listed()]
        return Json({"sources": rows})

    app = Starlette(routes=[Route("/api/sources", listed), *ManageApi(sources).routes()], exception_handlers=HANDLERS)  # type: ignore[arg-type]
    port = reserve(["ingest"], {})["ingest"]
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 30
    while not server.started:
        assert time.monotonic() < until
        time.sleep(0.05)
    monkeypatch.setenv("FEEDLOOP_INGEST_URL", f"http://127.0.0.1:{port}")
    monkeypatch.chdir(tmp_path.parent)  # the service's file counts, not one that lies where the command was given
    try:
        commands(path, tmp_path, served)
    finally:
        server.should_exit = True
        thread.join(30)
