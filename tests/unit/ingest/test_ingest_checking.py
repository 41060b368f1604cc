"""What an address is said to be before it is a source, and the feeds that are found from a page's address."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from services.ingest.addresses import Allowed
from services.ingest.checking import Report, check
from services.ingest.discovery import announced, linked, usual
from services.ingest.fetch import Fetcher
from tests.unit.ingest.conftest import NOW, item
from tests.unit.ingest.sites import Site, dated, feed


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with Site() as made:
        yield made


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    made = Fetcher(Allowed(["127.0.0.1"]), deadline_s=5)
    yield made
    await made.close()


async def looked(site: Site, fetcher: Fetcher, path: str) -> Report:
    return await check(site.url + path, fetcher, lambda: NOW)


async def test_a_feed_in_order(site: Site, fetcher: Fetcher) -> None:
    site.pages["/f"] = feed(
        "The &amp; Desk", dated("1", "One <![CDATA[<script>x()</script>]]>", "Words."), dated("2", "Two", "More.", timedelta(days=3))
    )
    report = await looked(site, fetcher, "/f")
    assert report.readable and not report.problems and not report.advice
    assert (report.kind, report.title, report.items, report.titles) == ("RSS 2.0", "The & Desk", 2, ["One", "Two"])
    assert report.newest == NOW - timedelta(hours=1)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ('<feed version="0.3" xmlns="http://purl.org/atom/ns#"><title>A</title><entry><title>x</title></entry></feed>', "Atom 0.3"),
        ('<feed xmlns="http://www.w3.org/2005/Atom"><title>A</title><entry><title>x</title></entry></feed>', "Atom 1.0"),
        (
            '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/"><item><title>x</title></item></rdf:RDF>',
            "RSS 1.0",
        ),
        ("<rss version='0.92'><channel><item><title>x</title></item></channel></rss>", "RSS 0.92"),
        ("<CHANNEL HREF='http://e.example/'><TITLE>A</TITLE><ITEM HREF='http://e.example/1'><TITLE>x</TITLE></ITEM></CHANNEL>", "CDF"),
        ('{"version": "https://jsonfeed.org/version/1", "title": "A", "items": [{"id": "1", "title": "x"}]}', "JSON Feed 1.0"),
        ('{"version": "https://jsonfeed.org/version/1.1", "title": "A", "items": [{"id": "1", "title": "x"}]}', "JSON Feed 1.1"),
    ],
)
async def test_kinds_and_versions(site: Site, fetcher: Fetcher, body: str, kind: str) -> None:
    site.pages["/f"] = body
    report = await looked(site, fetcher, "/f")
    assert report.readable and report.kind == kind and report.items == 1 and report.titles == ["x"]


async def test_what_is_wrong_with_a_feed_is_named(site: Site, fetcher: Fetcher) -> None:
    site.pages["/f"] = feed(
        "Bad",
        item("1", "No date & broken", "<img src='x'>"),
        dated("2", "Future", "Words.", timedelta(days=-2)),
        "<item><title>No id</title><description>Words.</description></item>",
    )
    report = await looked(site, fetcher, "/f")
    assert report.readable
    words = "\n".join(report.problems)
    for part in (
        "the feed is broken",
        "2 of 3 items have no date",
        "1 of 3 items has a date in the future",
        "1 of 3 items has no text",
        "neither an id",
    ):
        assert part in words, words
    site.pages["/old"] = feed("Old", dated("1", "T", "Words.", timedelta(days=900)))
    assert any("nothing new since 2024" in problem for problem in (await looked(site, fetcher, "/old")).problems)
    site.pages["/empty"] = feed("Empty")
    assert "the feed lists no items" in (await looked(site, fetcher, "/empty")).problems
    site.pages["/part"] = (
        '{"version": "https://jsonfeed.org/version/1.1", "items": [3, {"title": "x", "content_text": "y", "date_published": "2026-11-20"}]}'
    )
    assert any(problem.startswith("1 of 2 items would be refused") for problem in (await looked(site, fetcher, "/part")).problems)


@pytest.mark.parametrize(
    ("answer", "problem", "advice"),
    [
        ((403, {}), "403", "refuses programs"),
        ((404, {}), "404", "the address is wrong"),
        ((410, {}), "gone (410)", "the address is wrong"),
        ((503, {}), "503", "try again later"),
        ((302, {"Location": "http://10.1.2.3/"}), "not a global address", "allow_hosts"),
        (b"", "empty", ""),
        ("just words", "neither RSS", ""),
        ("<opml version='1.0'><body/></opml>", "an OPML list", "sources import"),
        ('<!DOCTYPE rss [<!ENTITY x "y">]><rss/>', "declares entities", ""),
        ("{}", "no JSON Feed", ""),
    ],
)
async def test_what_can_not_be_read_has_a_reason(site: Site, fetcher: Fetcher, answer: bytes, problem: str, advice: str) -> None:
    site.pages["/f"] = answer
    report = await looked(site, fetcher, "/f")
    assert not report.readable
    assert problem in report.problems[0]
    assert advice in " ".join([*report.problems, *report.advice])


async def test_robots_and_moved(site: Site, fetcher: Fetcher) -> None:
    site.pages |= {"/robots.txt": "User-agent: *\nDisallow: /private/", "/private/f": feed("P", dated("1", "T", "Words."))}
    site.types["/robots.txt"] = "text/plain"
    report = await looked(site, fetcher, "/private/f")
    assert report.readable and any("robots.txt" in problem for problem in report.problems)
    site.pages |= {"/moved": (301, {"Location": "/f"}), "/f": feed("F", dated("1", "T", "Words."))}
    report = await looked(site, fetcher, "/moved")
    assert report.readable and report.moved == f"{site.url}/f" and "moved for good" in report.problems[0]


async def test_a_page_leads_to_what_it_announces(site: Site, fetcher: Fetcher) -> None:
    site.pages["/blog/"] = (
        "<html><head><base href='/x/'><link rel='Alternate stylesheet' type='text/css' href='s.css'>"
        "<link rel=alternate type=' application/rss+xml; charset=utf-8' href='main.xml'><link rel=alternate type=application/atom+xml href='../y/c.xml'>"
        "<link rel=alternate type=application/json href='/wp-json/'><link rel=alternate hreflang=de href='/de/'>"
        "<link rel=alternate type=application/rss+xml href='/gone.xml'><link rel=alternate type=application/rss+xml href='main.xml#again'></head>"
        "<body><a href='/rss'>feed</a></body></html>"
    )
    site.pages |= {"/x/main.xml": feed("Main", dated("1", "T", "Words.")), "/y/c.xml": feed("Comments", dated("1", "T", "Words."))}
    report = await looked(site, fetcher, "/blog/")
    assert not report.readable and "HTML page" in report.problems[0]
    assert [(found.url, found.title, found.items) for found in report.feeds] == [
        (f"{site.url}/x/main.xml", "Main", 1),
        (f"{site.url}/y/c.xml", "Comments", 1),
    ]
    assert any("/gone.xml" in problem and "404" in problem for problem in report.problems)
    assert "/rss" not in site.asked and "/wp-json/" not in site.asked


async def test_a_page_without_announcements_leads_over_its_links_and_the_usual_places(site: Site, fetcher: Fetcher) -> None:
    site.pages |= {
        "/": "<html><a href='/about.html'>a</a><a href='/news.rss?x=1'>RSS</a></html>",
        "/news.rss?x=1": feed("L", dated("1", "T", "Words.")),
    }
    assert [found.title for found in (await looked(site, fetcher, "/")).feeds] == ["L"]
    assert "/about.html" not in site.asked
    site.pages |= {"/deep/page": "<html>nothing</html>", "/atom.xml": feed("U", dated("1", "T", "Words."))}
    assert [found.url for found in (await looked(site, fetcher, "/deep/page")).feeds] == [f"{site.url}/atom.xml"]
    del site.pages["/atom.xml"]
    report = await looked(site, fetcher, "/deep/page")
    assert not report.feeds and "no feed was found" in report.advice[0]
    site.pages["/old"] = f"<html><link rel=alternate type=application/rss+xml href='feed:{site.url}/news.rss?x=1'></html>"
    assert [found.title for found in (await looked(site, fetcher, "/old")).feeds] == ["L"]


async def test_a_page_can_not_lead_inside(site: Site, fetcher: Fetcher) -> None:
    site.pages["/"] = (
        "<html><link rel=alternate type=application/rss+xml href='http://192.168.0.1/f'><link rel=feed href='file:///etc/passwd'></html>"
    )
    report = await looked(site, fetcher, "/")
    assert not report.feeds
    assert any("192.168.0.1" in problem and "not a global address" in problem for problem in report.problems)


async def test_a_page_of_ten_thousand_announcements_is_bounded(site: Site, fetcher: Fetcher) -> None:
    site.pages["/"] = "<html>" + "".join(f"<link rel=alternate type=application/rss+xml href='/{n}.xml'>" for n in range(10_000)) + "</html>"
    report = await looked(site, fetcher, "/")
    assert not report.feeds
    assert len(site.asked) < 50


async def test_a_search_that_hangs_ends(site: Site, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.ingest.discovery.DEADLINE_S", 0.5)
    site.pages["/"] = "<html><link rel=alternate type=application/rss+xml href='/hangs'></html>"
    report = await looked(site, fetcher, "/")
    assert any("given up" in problem for problem in report.problems)


@pytest.mark.parametrize("page", [b"", b"\x00\xff<", b"<link rel=alternate type=application/rss+xml href='http://[bad'>", b"<a>" * 50_000])
def test_odd_pages_have_no_feeds(page: bytes) -> None:
    assert announced(page, "text/html; charset=nonsense", "http://a.example/") == []
    assert linked(page, "", "http://a.example/") == []


def test_own_links_come_first_and_usual_places_are_few() -> None:
    page = b"<html><a href='http://b.example/feed'>b</a><a href='/feed/'>a</a><a href='/feedback'>no</a><a href='/rss.html'>no</a></html>"
    assert linked(page, "", "http://a.example/x") == ["http://a.example/feed/", "http://b.example/feed"]
    assert len(usual("http://a.example/x")) <= 20 and "http://a.example/feed" in usual("http://a.example/x")


async def test_a_login_in_an_address_is_not_shown(site: Site, fetcher: Fetcher) -> None:
    site.pages["/f"] = feed("Desk", dated("1", "One", "Words."))
    address = site.url.replace("http://", "http://ana:s3cret@")
    for path, readable in (("/f", True), ("/none", False)):
        report = await check(address + path, fetcher, lambda: NOW)
        assert report.readable is readable and "s3cret" not in report.model_dump_json()
