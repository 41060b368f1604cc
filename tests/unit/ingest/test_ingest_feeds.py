"""Feeds as they come: formats, broken ones, hostile ones."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.ingest.feeds import Parsed, parse_feed
from services.ingest.items import RawItem, Refused, Unusable
from services.ingest.text import plain_title
from tests.unit.ingest.conftest import item, rss

ATOM = b"""<?xml version="1.0"?><feed xmlns="http://www.w3.org/2005/Atom"><title>A</title><author><name>Desk</name></author>
<entry><id>tag:e.org,1</id><title type="html">One &amp;amp; two</title><link rel="alternate" href="http://e.org/1"/>
<updated>2026-11-01T10:00:00+02:00</updated><summary>short</summary><content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml"><p>The long one.</p></div>
</content></entry></feed>"""
RDF = b"""<?xml version="1.0"?><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/"
xmlns:dc="http://purl.org/dc/elements/1.1/"><channel rdf:about="http://e.org/"><title>R</title></channel><item rdf:about="http://e.org/1">
<title>T</title><link>http://e.org/1</link><description>D</description><dc:date>2026-11-01T10:00:00Z</dc:date></item></rdf:RDF>"""


def only(parsed: Parsed) -> RawItem:
    assert len(parsed.items) == 1 and isinstance(parsed.items[0], RawItem)
    return parsed.items[0]


def test_atom() -> None:
    entry = only(parse_feed(ATOM))
    assert (entry.key, entry.url, entry.author) == ("tag:e.org,1", "http://e.org/1", "Desk")
    assert entry.published == datetime(2026, 11, 1, 8, tzinfo=UTC)
    assert "The long one." in entry.body


def test_rdf_and_rss() -> None:
    assert only(parse_feed(RDF)).published == datetime(2026, 11, 1, 10, tzinfo=UTC)
    entry = only(parse_feed(rss(item("g1", "T", "<p>x</p>", "<pubDate>Sat, 21 Nov 2026 10:00:00 +0100</pubDate>"))))
    assert (entry.key, entry.title, entry.published) == ("g1", "T", datetime(2026, 11, 21, 9, tzinfo=UTC))


def test_json_feed() -> None:
    feed = {
        "version": "https://jsonfeed.org/version/1.1",
        "title": "J",
        "authors": [{"name": "Desk"}],
        "items": [
            {"id": 7, "content_text": "plain <b>", "url": "http://e.org/7", "date_published": "2026-11-01T10:00:00+01:00"},
            {"id": "8", "content_html": "<p>rich</p>", "author": {"name": "Ann"}, "date_published": "nonsense", "title": None},
            "not an object",
        ],
    }
    parsed = parse_feed(json.dumps(feed).encode(), "application/feed+json")
    first, second, third = parsed.items
    assert isinstance(first, RawItem) and isinstance(second, RawItem) and isinstance(third, Refused)
    assert (first.key, first.markup, first.author, first.published) == ("7", False, "Desk", datetime(2026, 11, 1, 9, tzinfo=UTC))
    assert (second.markup, second.author, second.published, second.title) == (True, "Ann", None, "")


def test_entity_bomb_is_refused() -> None:
    bomb = '<!DOCTYPE lolz [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;"><!ENTITY c "&b;&b;&b;">]>'
    for data in (
        rss(item("1", "&c;", "x"), head=f'<?xml version="1.0"?>{bomb}'),
        rss(
            item("1", "T", "x"),
            head='<?xml version="1.0"?><!-- <rss> --><!DOCTYPE rss SYSTEM "a>b" [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
        ),
        rss(item("1", "T", "x"), head=f'<?xml version="1.0" encoding="utf-16"?>{bomb}').decode().encode("utf-16"),
    ):
        with pytest.raises(Unusable, match="entities") as error:
            parse_feed(data)
        assert error.value.reason == "entities"


def test_a_plain_doctype_and_an_article_on_entities_pass() -> None:
    doctype = '<!DOCTYPE rss PUBLIC "-//Netscape Communications//DTD RSS 0.91//EN" "http://my.netscape.com/publish/formats/rss-0.91.dtd">'
    assert only(parse_feed(rss(item("1", "T", "About <!DOCTYPE x [<!ENTITY y 'z'>]> attacks"), head=doctype))).title == "T"


def test_broken_xml_is_salvaged_and_said() -> None:
    parsed = parse_feed(rss(item("1", "First", "text & more <p>unclosed"), "<item><title>Second & last</title><guid>2</guid>"))
    assert [entry.title for entry in parsed.items if isinstance(entry, RawItem)] == ["First", "Second & last"]
    assert "broken" in parsed.note and "2 items" in parsed.note


def test_wrong_charset() -> None:
    data = rss(item("1", "Zürich wählt", "x")).decode().encode("cp1252")
    assert only(parse_feed(data)).title == "Zürich wählt"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"<html><body>hello</body></html>", "HTML page"),
        (b"<opml version='1.0'><body/></opml>", "OPML list"),
        (b" \n", "empty"),
        (b"", "neither"),
        (b'{"items": []}', "jsonfeed.org"),
        (b'{"a": ', "broken JSON"),
        (b'{"a":' * 100_000, "broken JSON"),
        (b"\x00\xff\xfe\x00", "neither"),
    ],
)
def test_what_is_no_feed(data: bytes, words: str) -> None:
    with pytest.raises(Unusable, match=words):
        parse_feed(data)


def test_one_id_for_all_items_names_none_of_them() -> None:
    parsed = parse_feed(rss(item("same", "A", "a", "<link>http://e.org/a</link>"), item("same", "B", "b", "<link>http://e.org/b</link>")))
    assert len({entry.key for entry in parsed.items if isinstance(entry, RawItem)}) == 2


def test_cdf() -> None:
    cdf = (
        b"<CHANNEL HREF='http://e.org/'><TITLE>C</TITLE><ITEM HREF='http://e.org/1' LASTMOD='2026-11-01T10:00:00Z'><TITLE>T</TITLE></ITEM></CHANNEL>"
    )
    parsed = parse_feed(cdf)
    entry = only(parsed)
    assert (parsed.version, parsed.title, entry.title, entry.url) == ("cdf", "C", "T", "http://e.org/1")
    assert parse_feed(b"<channel><title>C</title></channel>").note == "the feed lists no items"


def test_an_answer_is_never_taken_for_the_name_of_a_file(tmp_path: Path) -> None:
    """feedparser opens what it is given as bytes, where there is such a file: a server could have our files read."""
    (tmp_path / "private.xml").write_bytes(rss(item("1", "Private", "x")))
    for name in (str(tmp_path / "private.xml"), "/dev/zero", "/etc/passwd"):
        with pytest.raises(Unusable, match="neither"):
            parse_feed(name.encode())


def test_an_id_stays_where_the_feed_moves() -> None:
    data = rss("<item><guid>12345</guid><title>T</title></item>", "<item><guid>/posts/1</guid><title>U</title></item>")
    here, there = parse_feed(data, url="http://a.example/feed").items, parse_feed(data, url="https://b.example/x/feed").items
    keys = [[entry.key for entry in items if isinstance(entry, RawItem)] for items in (here, there)]
    assert keys == [["12345", "/posts/1"]] * 2
    # a guid counts as a permalink unless it is told otherwise, but 12345 is no address
    assert [entry.url for entry in here if isinstance(entry, RawItem)] == ["", "http://a.example/posts/1"]
    absolute = only(parse_feed(rss("<item><guid>HTTP://e.example/A</guid><title>T</title></item>"), url="http://a.example/"))
    assert (absolute.key, absolute.url) == ("HTTP://e.example/A", "HTTP://e.example/A")


def test_relative_addresses() -> None:
    atom = b"<feed xmlns='http://www.w3.org/2005/Atom' xml:base='http://e.example/x/'><entry><id>1</id><title>T</title><link href='1.html'/></entry></feed>"
    assert only(parse_feed(atom, url="http://a.example/")).url == "http://e.example/x/1.html"
    assert only(parse_feed(rss("<item><title>T</title><link>/1</link></item>"), url="http://a.example/f")).url == "http://a.example/1"
    feed = {
        "version": "https://jsonfeed.org/version/1",
        "items": [{"id": "1", "title": "T", "url": "/1"}, {"id": "2", "title": "U", "url": "http://["}],
    }
    found = parse_feed(json.dumps(feed).encode(), url="http://a.example/f").items
    assert [entry.url for entry in found if isinstance(entry, RawItem)] == ["http://a.example/1", ""]


@pytest.mark.parametrize(
    ("title", "kept"),
    [
        ("safe<script>alert(1)</script> words", "safe words"),
        ("sa<!-- -- odd >fe<style>p{}</style>", "safe"),
        ("safe<!-- no end", "safe"),
        ("<b>a</b> < b & c", "a < b & c"),
    ],
)
def test_scripts_and_comments_are_no_part_of_a_title(title: str, kept: str) -> None:
    parsed = parse_feed(rss(f"<item><title><![CDATA[{title}]]></title></item>"))
    assert plain_title(only(parsed).title) == kept


def test_dates_come_in_many_fields() -> None:
    def date(fields: str) -> datetime | None:
        head = (
            "<rss version='2.0' xmlns:dcterms='http://purl.org/dc/terms/' xmlns:dc='http://purl.org/dc/elements/1.1/'><channel><item><title>T</title>"
        )
        return only(parse_feed(f"{head}{fields}</item></channel></rss>".encode())).published

    expected = datetime(2026, 11, 1, 10, tzinfo=UTC)
    assert date("<pubDate>Sun, 01 Nov 2026 10:00:00 GMT</pubDate><dc:date>2026-11-05</dc:date>") == expected
    assert date("<dcterms:created>2026-11-01T10:00:00Z</dcterms:created>") == expected
    assert date("<pubDate>yesterday, I think</pubDate><dcterms:modified>2026-11-01T10:00:00Z</dcterms:modified>") == expected
    assert date("<pubDate>never</pubDate>") is None


def test_broken_feeds_say_whether_anything_was_lost() -> None:
    with pytest.raises(Unusable, match="no item of it can be read"):
        parse_feed(b"<rss version='2.0'><channel><title>T</title><!-- <item><title>lost</title></item></channel></rss>")
    empty = parse_feed(b"<rss version='2.0'><channel><title>Fish & Chips</title></channel></rss>")
    assert "broken" in empty.note and not empty.items and empty.title


@pytest.mark.parametrize(
    "junk",
    [b"<!--" * 200_000, b"<?" * 300_000, b'<!DOCTYPE "' * 60_000, b"<" * 300_000, b"<a>" * 1_000_000, b"<item/>" * 60_000, b'{"a":' * 200_000],
)
def test_junk_is_refused_in_time(junk: bytes) -> None:
    began = time.monotonic()
    with pytest.raises(Unusable):
        parse_feed(junk)
    assert time.monotonic() - began < 30


def test_too_many_items_of_a_json_feed() -> None:
    with pytest.raises(Unusable, match="more than 50000"):
        parse_feed(json.dumps({"version": "https://jsonfeed.org/version/1", "items": [0] * 50_001}).encode())
