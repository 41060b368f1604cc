"""Feeds as they come: formats, broken ones, hostile ones."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.ingest.dates import read_date
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


def test_an_item_that_is_cut_off_waits_for_the_next_poll() -> None:
    whole = rss(item("1", "A", "a"), item("2", "B", "b, as long as it is"))
    cut = parse_feed(whole[: whole.index(b"as long")])
    assert [entry.title for entry in cut.items if isinstance(entry, RawItem)] == [
        "A"
    ] and "1 items could be read, and one that is cut off" in cut.note
    for kept in (
        whole.replace(b"</item></channel>", b"</channel>"),
        whole[: whole.index(b"</channel>")],
    ):  # a publisher's slip; nothing of it is missing
        broken = parse_feed(kept)
        assert len(broken.items) == 2 and "broken" in broken.note and "cut off" not in broken.note


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


def titles(parsed: Parsed) -> list[str]:
    return [entry.title for entry in parsed.items if isinstance(entry, RawItem)]


def atom(entries: str) -> Parsed:
    return parse_feed(f"<feed xmlns='http://www.w3.org/2005/Atom'><title>A</title>{entries}</feed>".encode(), url="http://a.example/f")


@pytest.mark.parametrize(
    "content_type", ["", "text/xml", "text/xml; charset=us-ascii", "application/rss+xml", "text/html", "text/plain; charset=utf-8"]
)
def test_the_declared_charset_counts_whatever_text_xml_once_meant(content_type: str) -> None:
    parsed = parse_feed(rss(item("1", "Zürich wählt – heute", "x")), content_type)
    assert only(parsed).title == "Zürich wählt – heute" and not parsed.note


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig", "cp037"])
def test_marks_say_more_than_the_declaration(codec: str) -> None:
    parsed = parse_feed(rss(item("1", "Zürich", "x"), head='<?xml version="1.0" encoding="utf-8"?>').decode().encode(codec), "text/xml")
    assert only(parsed).title == "Zürich" and not parsed.note


def test_a_wide_charset_that_the_bytes_do_not_have_is_passed_over() -> None:
    for text in ("x", "xy"):  # of even and of odd length
        assert only(parse_feed(rss(item("1", "Zürich", text), head='<?xml version="1.0" encoding="utf-16"?>'))).title == "Zürich"


def test_one_bad_byte_costs_one_letter() -> None:
    data = rss(item("1", "Die Größe der Stadt Zürich", "x")).replace(b"Stadt", b"Sta\xe2\x80dt")
    parsed = parse_feed(data)
    assert only(parsed).title == "Die Größe der Sta\ufffddt Zürich" and "declared as utf-8" in parsed.note


def test_japanese_feeds() -> None:
    head = '<?xml version="1.0" encoding="shift_jis"?>'
    assert only(parse_feed(rss(item("1", "①髙 日本", "x"), head=head).decode().encode("cp932"))).title == "①髙 日本"
    raw = rss(item("1", "TITLE", "x"), head="").replace(b"TITLE", b"\x1b$B-!\x1b(B " + "日本".encode("iso-2022-jp"))
    assert only(parse_feed(raw)).title == "① 日本"


def test_declarations_are_refused_in_every_charset() -> None:
    bomb = '<?xml version="1.0" encoding="CHARSET"?><!DOCTYPE lolz [<!ENTITY a "aaaa">]>'
    for codec in ("utf-7", "cp037", "utf-16"):
        text = rss(item("1", "&a;", "x"), head=bomb.replace("CHARSET", codec)).decode()
        data = text.encode(codec) if codec != "utf-7" else text.replace("<!ENTITY", "+ADwAIQ-ENTITY").replace("<!DOCTYPE", "+ADwAIQ-DOCTYPE").encode()
        with pytest.raises(Unusable) as error:
            parse_feed(data)
        assert error.value.reason == "entities", codec


@pytest.mark.parametrize(
    "doctype", ["", '<!DOCTYPE rss PUBLIC "-//Netscape Communications//DTD RSS 0.91//EN" "http://my.netscape.com/rss-0.91.dtd">']
)
def test_named_characters_are_read_without_a_dtd(doctype: str) -> None:
    parsed = parse_feed(rss("<item><guid>1</guid><title>Caf&eacute; &amp; Bar &lt;3</title></item>", item("2", "T", "a &eacute; b"), head=doctype))
    assert titles(parsed) == ["Café & Bar <3", "T"] and not parsed.note
    second = parsed.items[1]
    assert isinstance(second, RawItem) and second.body in ("a &eacute; b", "a é b")


def test_a_thousand_openings_of_cdata_take_no_square_time() -> None:
    began = time.monotonic()
    parse_feed(rss("&eacute;" + "<![CDATA[" * 200_000))
    assert time.monotonic() - began < 30


def test_titles_lose_their_markup_only_where_it_is_markup() -> None:
    def of_atom(title: str, kind: str) -> str:
        return only(atom(f"<entry><id>1</id><title type='{kind}'>{title}</title></entry>")).title

    assert of_atom("Vec&lt;T&gt; vs &lt;script&gt; &amp; more", "text") == "Vec<T> vs <script> & more"
    assert of_atom("It&amp;#8217;s AT&amp;T", "text") == "It’s AT&T"
    assert of_atom("&lt;b&gt;Vec&lt;/b&gt;&amp;lt;T&amp;gt; &lt;script&gt;x&lt;/script&gt; more", "html").split() == ["Vec<T>", "more"]
    for title, kept in (
        ("Using List<String> in Java, <script> tags", "Using List<String> in Java, <script> tags"),
        ("<b>One</b> of two<br>", "One of two"),
        ("Tom &amp; Ann", "Tom & Ann"),
    ):
        assert " ".join(only(parse_feed(rss(f"<item><title><![CDATA[{title}]]></title></item>"))).title.split()) == kept
    feed = {"version": "https://jsonfeed.org/version/1", "items": [{"id": "1", "title": "Map<K,V> <b>", "content_text": "a <b>tag</b>"}]}
    entry = only(parse_feed(json.dumps(feed).encode()))
    assert (entry.title, entry.plain) == ("Map<K,V> <b>", True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024/01/01 10:00:00", "2024-01-01T10:00"),
        ("2024年1月1日", "2024-01-01T00:00"),
        ("20240101T100000Z", "2024-01-01T10:00"),
        ("Mon, 01 Jan 2024 10:00:00 JST", "2024-01-01T01:00"),
        ("Mon, 01 Jan 2024 10:00:00 CET", "2024-01-01T09:00"),
        ("Mon, 01 Jul 2024 10:00:00 CEST", "2024-07-01T08:00"),
        ("Mon, 01 Jan 2024 10:00:00 MSK", "2024-01-01T07:00"),
        ("Mon, 01 Jan 2024 10:00:00 AEST", "2024-01-01T00:00"),
        ("Mon, 01 Jan 2024 10:00:00 IST", "2024-01-01T04:30"),
        ("Mon, 01 Jul 2024 10:00:00 BST", "2024-07-01T09:00"),
        ("Mon, 01 Jan 2024 10:00:00 UTC+3", "2024-01-01T07:00"),
        ("Mo, 01 Jan 2024 10:00:00 +0100", "2024-01-01T09:00"),
        ("lun, 01 janv. 2024 10:00:00 +0100", "2024-01-01T09:00"),
        ("January 1, 2024", "2024-01-01T00:00"),
        ("January 1st, 2024 at 3:05 pm", "2024-01-01T15:05"),
        ("Mon, 01 Jan 2024 10:00", "2024-01-01T10:00"),
        ("1 de enero de 2024", "2024-01-01T00:00"),
        ("14 července 2024 08:00", "2024-07-14T08:00"),
        ("14 июня 2024 г. 08:00", "2024-06-14T08:00"),
        ("Mon Jan  1 10:00:00 JST 2024", "2024-01-01T01:00"),
        ("Mon, 1 Jan 2024 10:00:00 -0800 PST", "2024-01-01T18:00"),
        ("31.12.2024 12:00", "2024-12-31T12:00"),
        ("Sun, 31 Dec 2023 24:00:00 GMT", "2024-01-01T00:00"),
        ("2024", "2024-01-01T00:00"),
        ("01/02/2024", ""),
        ("Tue, 30 Feb 2024 10:00:00 GMT", ""),
    ],
)
def test_dates_as_they_are_written(text: str, expected: str) -> None:
    published = only(parse_feed(rss(item("1", "T", "x", f"<pubDate>{text}</pubDate>")))).published
    assert published == (datetime.fromisoformat(expected).replace(tzinfo=UTC) if expected else None)


@pytest.mark.parametrize("junk", ["1" * 100, "a " * 50, "2024-01-01" + " " * 89, "1 " * 50, "aa, " * 25, "2024-01-01 " + "(" * 80, "a." * 50])
def test_dates_that_are_none_end_at_once(junk: str) -> None:
    began = time.monotonic()
    read_date(junk)
    read_date(junk * 100_000)
    assert time.monotonic() - began < 2


def test_the_body_that_says_most_is_kept() -> None:
    encoded = "<content:encoded xmlns:content='http://purl.org/rss/1.0/modules/content/'><![CDATA[{}]]></content:encoded>"
    picture = "<img src='http://e.org/1.jpg' srcset='" + "http://e.org/1.jpg 100w, " * 40 + "'>"
    assert only(parse_feed(rss(item("1", "T", "A short true caption.", encoded.format(picture))))).body == "A short true caption."
    assert (
        only(parse_feed(rss(item("1", "T", "A short one.", encoded.format("<p>The long and whole text.</p>"))))).body
        == "<p>The long and whole text.</p>"
    )
    entry = only(
        atom("<entry><id>1</id><title>T</title><summary>Words.</summary><content type='image/png'>iVBORw0KGgoAAAANSUhEUgAA</content></entry>")
    )
    assert entry.body == "Words."
    feed = {"version": "https://jsonfeed.org/version/1", "items": [{"id": "1", "content_html": "<img>", "summary": "A true summary."}]}
    found = only(parse_feed(json.dumps(feed).encode()))
    assert (found.body, found.markup) == ("A true summary.", False)


def test_html_that_was_escaped_twice() -> None:
    twice = only(parse_feed(rss("<item><title>T</title><description>&amp;lt;p&amp;gt;It rained.&amp;lt;/p&amp;gt;</description></item>")))
    assert twice.body == "<p>It rained.</p>"
    about = only(parse_feed(rss("<item><title>T</title><description>Write &amp;lt;b&amp;gt; for bold.</description></item>")))
    assert about.body == "Write &lt;b&gt; for bold."


def test_an_atom_entry_that_is_there_again_is_one_and_the_newest() -> None:
    def entry(title: str, day: int, link: str) -> str:
        return f"<entry><id>i</id><title>{title}</title><updated>2024-01-0{day}T00:00:00Z</updated><link href='{link}'/></entry>"

    one = atom(entry("Old", 1, "http://e.org/1") + entry("New", 3, "http://e.org/1?utm_source=x") + entry("Middle", 2, "http://e.org/1"))
    assert (titles(one), only(one).key) == (["New"], "i")
    two = atom(entry("A", 1, "http://e.org/1") + entry("B", 1, "http://e.org/2"))
    assert len({found.key for found in two.items if isinstance(found, RawItem)}) == 2


def test_items_without_an_id_on_one_page_stay_apart() -> None:
    def keys(*links: str) -> list[str]:
        parsed = parse_feed(rss(*(f"<item><title>T{number}</title><link>{link}</link></item>" for number, link in enumerate(links))))
        return [found.key for found in parsed.items if isinstance(found, RawItem)]

    page = "http://e.org/changes"
    assert keys(f"{page}#1.2", f"{page}#1.1") == [f"{page}#1.2", f"{page}#1.1"]
    assert keys(f"{page}#new", f"{page}#new") == [f"{page}#new\nT0", f"{page}#new\nT1"]
    assert keys(f"{page}?utm_source=a", "http://e.org/other") == ["", ""], "an address of one item names it, as in any feed"


def test_authors() -> None:
    people = "<author><name>Ann</name><email>a@e.org</email></author><author><name>Bob</name></author><author><name>Ann</name></author>"
    assert only(atom(f"<entry><id>1</id><title>T</title>{people}</entry>")).author == "Ann, Bob"
    for given, name in (
        ("bob@ex.org (Bob Smith)", "Bob Smith"),
        ("Bob Smith &lt;bob@ex.org&gt;", "Bob Smith"),
        ("&lt;a href='http://e.org/bob'&gt;Bob Smith&lt;/a&gt;", "Bob Smith"),
        ("bob@ex.org", "bob@ex.org"),
    ):
        assert only(parse_feed(rss(item("1", "T", "x", f"<author>{given}</author>")))).author == name


def test_what_podcasts_and_feedburner_call_it() -> None:
    head = (
        "<rss version='2.0' xmlns:itunes='http://www.itunes.com/DTDs/PodCast-1.0.dtd' xmlns:feedburner='http://rssnamespace.org/feedburner/ext/1.0'>"
    )
    item_of = (
        "<item><guid>1</guid><itunes:title>Episode 1</itunes:title><link>http://feeds.e.org/~r/1</link><feedburner:origLink>http://e.org/1"
        "</feedburner:origLink></item>"
    )
    entry = only(parse_feed(f"{head}<channel>{item_of}</channel></rss>".encode()))
    assert (entry.title, entry.url) == ("Episode 1", "http://e.org/1")


def test_files_of_an_item_are_listed_and_linked() -> None:
    files = (
        "<enclosure url='https://e.org/a%20b.mp3?utm_source=x' length='123' type='audio/mpeg'/><enclosure url='/p.jpg' length='x' type='image/jpeg'/>"
    )
    entry = only(parse_feed(rss(item("1", "Episode", "Words.", files)), url="https://e.org/feed"))
    assert [(file.name, file.type, file.size) for file in entry.attachments] == [("a b.mp3", "audio/mpeg", 123), ("p.jpg", "image/jpeg", 0)]
    assert [(link.url, link.text) for link in entry.links] == [("https://e.org/a%20b.mp3", "a b.mp3")]
    given = [{"url": "https://e.org/a.pdf", "mime_type": "Application/PDF", "size_in_bytes": 5.5}, {"url": "javascript:x"}, {"url": ["x"]}, 7]
    feed = {"version": "https://jsonfeed.org/version/1", "items": [{"id": "1", "content_text": "Words.", "attachments": given}, {"attachments": {}}]}
    first, second = parse_feed(json.dumps(feed).encode()).items
    assert isinstance(first, RawItem) and isinstance(second, RawItem) and not second.attachments
    assert [(file.name, file.type, file.size) for file in first.attachments] == [("a.pdf", "application/pdf", 0)]
    atom = ATOM.replace(b"<updated>", b"<link rel='enclosure' href='http://e.org/v.webm' type='video/webm' length='9'/><updated>")
    assert [file.size for file in only(parse_feed(atom)).attachments] == [9] and only(parse_feed(atom)).url == "http://e.org/1"
