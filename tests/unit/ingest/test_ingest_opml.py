"""Lists of feeds: as they are in the wild, hostile ones, and that what is exported comes back the same."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingest.opml import NotOpml, read_opml, write_opml, written
from services.ingest.sources import FeedSource
from services.ingest.text import one_line


def opml(body: str, head: str = '<?xml version="1.0" encoding="UTF-8"?>') -> bytes:
    return f"{head}\n<opml version='1.0'><head><title>L</title></head><body>{body}</body></opml>".encode()


def outline(url: str, title: str = "T") -> str:
    return f'<outline text="{title}" type="rss" xmlUrl="{url}"/>'


def test_nested_outlines_and_their_titles() -> None:
    body = f'<outline text="News"><outline text="Deep">{outline("http://a.example/f", "A &amp; B")}</outline></outline>'
    found = read_opml(opml(body + '<outline title="Two" text="2" xmlURL=" http://b.example/ "/>'))
    assert [(feed.url, feed.title) for feed in found.feeds] == [("http://a.example/f", "A & B"), ("http://b.example/", "Two")]
    assert not found.refused and not found.note


def test_folders_are_kept_and_come_back() -> None:
    body = f'<outline text="News">{outline("http://a.example/")}<outline text=" Deep / R&amp;D ">{outline("http://b.example/")}</outline></outline>'
    found = read_opml(opml(body + outline("http://c.example/") + f'<outline title="Two">{outline("http://d.example/")}</outline>'))
    assert [feed.folder for feed in found.feeds] == ["News", "News/Deep/R&D", "", "Two"]
    again = read_opml(write := write_opml(found.feeds))
    assert again == found and write.count(b'text="News"') == 1
    assert read_opml(write_opml([found.feeds[1], found.feeds[3], found.feeds[0]])).feeds == (found.feeds[1], found.feeds[0], found.feeds[3])
    assert written(found.feeds[1])["folder"] == "News/Deep/R&D" and "folder" not in written(found.feeds[2])
    deep = read_opml(opml("<outline text='folder'>" * 5_000 + outline("http://a.example/") + "</outline>" * 5_000))
    assert len(deep.feeds[0].folder) <= 200


def test_what_is_no_feed_is_named() -> None:
    body = (
        '<outline text="Empty folder"></outline><outline text="Page" htmlUrl="http://p.example/"/><outline text="File" xmlUrl="file:///etc/passwd"/>'
        '<outline xmlUrl="http://[bad/"/><outline text="Link" type="link" url="http://l.example/"/>'
    )
    found = read_opml(opml(body))
    assert not found.feeds
    assert len(found.refused) == 5
    for word, line in zip(
        ("Empty folder: has no xmlUrl", "sources add http://p.example/", "file:///", "[bad", "l.example"), found.refused, strict=True
    ):
        assert word in line


def test_feed_scheme_is_what_it_stands_for() -> None:
    found = read_opml(opml(outline("feed://a.example/f") + outline("feed:https://b.example/f") + outline("feed:http://[c")))
    assert [feed.url for feed in found.feeds] == ["http://a.example/f", "https://b.example/f"]
    assert len(found.refused) == 1 and "no http or https address" in found.refused[0]


def test_a_list_that_is_not_well_formed_is_salvaged_and_said_to_be_so() -> None:
    body = (
        '<outline text="R&D" xmlUrl="http://a.example/?x=1&copy=2&amp;y=3"/><!-- <outline text="off" xmlUrl="http://off.example/"/> -->'
        '<outline text="Folder & more"><outline text="He said "hi" <b> there" xmlUrl="http://b.example/" /></outline>'
        "<outline text='&#65;' xmlUrl='http://c.example/'></outline><outline text=\"none\"/>"
    )
    found = read_opml(opml(body))
    assert [(feed.url, feed.title) for feed in found.feeds] == [
        ("http://a.example/?x=1&copy=2&y=3", "R&D"),
        ("http://b.example/", 'He said "hi" <b> there'),
        ("http://c.example/", "A"),
    ]
    assert found.refused == ("none: has no xmlUrl",)
    assert {feed.folder for feed in found.feeds} == {""} and "without their folders" in found.note
    assert "not well-formed" in found.note and "3 feeds could be read" in found.note


@pytest.mark.parametrize(
    "data",
    [
        opml(outline("http://&c;.example/"), '<!DOCTYPE opml [<!ENTITY a "aaa"><!ENTITY b "&a;&a;"><!ENTITY c "&b;&b;">]>'),
        opml("&x;", '<!DOCTYPE opml [<!ENTITY x SYSTEM "file:///etc/passwd">]>'),
        opml("", '<!doctype opml SYSTEM "http://127.0.0.1/x.dtd">'),
        opml(outline("http://a.example/"), '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE opml [<!ENTITY x "y">]>').decode().encode("utf-16"),
        opml("", '<?xml version="1.0" encoding="utf-7"?>+ADwAIQ-DOCTYPE opml [+ADwAIQ-ENTITY x "y"+AD4AXQA+-'),
        b"<rss version='2.0'/>",
        b'{"opml": 1}',
        b"",
        b"\x00\xff",
    ],
)
def test_what_is_refused_whole(data: bytes) -> None:
    with pytest.raises(NotOpml):
        read_opml(data)


def test_charsets() -> None:
    for charset in ("utf-8", "iso-8859-1", "utf-16"):
        data = opml(outline("http://a.example/", "Zürich"), f'<?xml version="1.0" encoding="{charset}"?>').decode().encode(charset)
        assert read_opml(data).feeds[0].title == "Zürich", charset
    assert read_opml(b"\xef\xbb\xbf" + opml(outline("http://a.example/", "Zürich"))).feeds[0].title == "Zürich"


def test_ten_thousand_and_a_deep_one() -> None:
    began = time.monotonic()
    assert len(read_opml(opml("".join(outline(f"http://{n}.example/") for n in range(10_000)))).feeds) == 10_000
    broken = read_opml(opml("".join(outline(f"http://{n}.example/?a&b", "x & y") for n in range(10_000))))
    assert len(broken.feeds) == 10_000 and broken.note
    deep = read_opml(opml("<outline text='f'>" * 5_000 + outline("http://a.example/") + "</outline>" * 5_000))
    assert [feed.url for feed in deep.feeds] == ["http://a.example/"]
    assert time.monotonic() - began < 60


@pytest.mark.parametrize(
    "junk", ['<outline a="', "<outline " * 50_000, '<outline x="' + "a " * 200_000, "<!--" * 50_000, '"' * 200_000, "<outline a='\"" * 20_000]
)
def test_junk_takes_no_time(junk: str) -> None:
    began = time.monotonic()
    read_opml(b"<opml><body>" + junk.encode())
    assert time.monotonic() - began < 20


def test_a_login_is_not_passed_on() -> None:
    assert b"secret" not in write_opml([FeedSource(kind="feed", url="https://me:secret@a.example/f")])


FEEDS = st.builds(
    FeedSource,
    kind=st.just("feed"),
    url=st.from_regex(r"https?://[a-z]{1,8}\.example(:[1-9][0-9]{1,3})?/[a-zA-Z0-9/?=&%~;+'!-]{0,30}", fullmatch=True),
    title=st.text(st.characters(exclude_characters="\ufffe\uffff"), max_size=200).map(lambda text: one_line(text, 200)),
    id=st.from_regex(r"[A-Za-z0-9._-]{0,20}", fullmatch=True),
    collection=st.sampled_from(["news", "mail", "other-1"]),
    interval=st.sampled_from(["15m", "1h", 61, 90.5]),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(FEEDS, max_size=5))
def test_what_is_exported_comes_back_the_same(feeds: list[FeedSource]) -> None:
    found = read_opml(write_opml(feeds))
    assert list(found.feeds) == feeds and not found.refused and not found.note
