"""Texts made to keep a reader busy, or to be misread: each was found by reading the code or by `make fuzz`, and is read in time now, or refused by name."""

from email.message import EmailMessage
from pathlib import Path

import pytest

from services.ingest import css
from services.ingest.feeds import parse_feed
from services.ingest.items import RawItem, Unusable
from services.ingest.mail import read_mail
from services.ingest.markup import read_html
from services.ingest.mime import MAX_LINES
from services.ingest.opml import NotOpml, read_opml
from services.ingest.readers.imapfetch import _bodies
from services.ingest.readers.imapresponses import Response
from services.ingest.readers.mboxparts import read_part
from services.ingest.text import clean, decode
from services.ingest.urls import canonical
from tests.fuzz.running import limited

CPU_S = 10.0  # each took minutes, or would with a text of some megabytes
K = 1000


def mail(body: bytes = b"words", head: bytes = b"Subject: s") -> bytes:
    return head + b"\n\n" + body


@pytest.mark.parametrize(
    "html",
    [
        "<style>" + "a" * 100 * K + "</style><p>seen",
        "<style>" + "@a" * 50 * K + "</style><p>seen",
        "<style>" + "/*" * 50 * K + "</style><p>seen",
        "<p style='opacity:" + "0" * 200 * K + "x'>seen",
        "<p style='color:rgba(" + "," * 200 * K + "'>seen",
        "<p style='overflow:x;height:0" + " " * 200 * K + "x'>seen",
        "<p>seen</p>" + "<b style='font-size:0'>x" * 20 * K,
        "<p>seen</p>" + "<font color=#fff>x" * 20 * K,
        "<p>seen</p>" + "<!-- -->x" * 200 * K,
        "<p>seen</p>" + "<a href=x><div>" * 20 * K,
    ],
    ids=["sheet", "at-rules", "comments in a sheet", "opacity", "rgba", "height", "tiny", "white", "comments", "links in links"],
)
def test_html_is_read_in_time(html: str) -> None:
    with limited(CPU_S):
        assert read_html(html, "https://e.org/", mail=True).text.startswith("seen")


@pytest.mark.parametrize(
    "data",
    [
        mail(b"begin 644 a\n" * 40 * K),
        mail(b"sent from my " + b"a" * 2 * K + b"!\n"),
        mail(b"on wrote:\n" * 2 * K),
        mail(head=b"Subject: " + b"=?a?q?x?= " * 200 * K),
        mail(head=b"From: " + b"<" * 300 * K),
        mail(head=b"Subject: s\nList-Unsubscribe: <" + b" " * 300 * K + b"\nContent-Type: text/html"),
        mail(head=b"List-Id: " + b"a." * 200 * K + b"<\nSubject: s"),
        mail(head=b"Subject: s\nContent-Type: text/plain; " + b"a*0=x; " * 100 * K),
        mail(b"a" + "\u0301\u0327".encode() * 200 * K),
        mail(b"https://urldefense.com/v3/" + b"/v3/__" * 2 * K + b"\n"),
    ],
    ids=["uuencode", "device", "replies", "encoded words", "addresses", "unsubscribe", "list id", "parameters", "marks", "proofpoint"],
)
def test_mails_are_read_in_time(data: bytes) -> None:
    with limited(CPU_S):
        assert isinstance(read_mail(data), RawItem)


def test_lists_boxes_and_servers_are_read_in_time(tmp_path: Path) -> None:
    box = tmp_path / "box"
    box.write_bytes(b"From a@b Fri Nov 20 10:00:00 2026\nSubject: s\n\nFrom " + b"@" * 900 * K + b" x\n")
    with limited(CPU_S):
        with pytest.raises(NotOpml):
            read_opml(b"<?xml " + b"encoding='a' " * 300 * K)
        with box.open("rb") as file:
            assert len(read_part(file, 0, 0, box.stat().st_size).mails) == 1
        assert _bodies([Response(b"* 1 FETCH (UID 1" + b" BODY[] " * 30 * K)]) == {}
        assert _bodies([Response(b'* 1 FETCH (UID 1 BODY[]<0> "a \\"quoted\\" word")')]) == {1: b'a "quoted" word'}


def test_a_feed_that_is_made_to_keep_feedparser_busy_is_refused() -> None:
    for data in (b"<?xml version='1.0'?>" + b"\n" * 200 * K + b"<rss/>", ("\n" * 200 * K + "<rss/>").encode("utf-16")):
        with limited(CPU_S), pytest.raises(Unusable, match="a thousand spaces"):
            parse_feed(data)
    assert parse_feed(b"\n" * 500 + b"<rss version='2.0'><channel><item><title>One</title></item></channel></rss>").items


def test_a_mail_beyond_all_measure_is_refused() -> None:
    with limited(CPU_S), pytest.raises(Unusable, match="more than 1000000 lines"):
        read_mail(mail(b"\n" * (2 * MAX_LINES + 1)))
    nested = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(30))
    with pytest.raises(Unusable, match="nests deeper than 20"):
        read_mail(mail(head=b"Subject: s\n" + nested + b"x"))
    assert read_mail(mail(head=b"From: " + b"(" * 5 * K + b" a@e.org\nSubject: s")).author == "a@e.org"


def test_a_style_hides_what_it_hides_and_no_more() -> None:
    def of(style: str) -> list[css.Declaration]:
        return css.declarations(style)

    assert all(
        map(css.hides, map(of, ("DISPLAY : none !important", "visibility:collapse", "opacity:.0", "left:-9999px", "overflow:hidden;max-height:0 px")))
    )
    assert not any(
        map(css.hides, map(of, ("display:block", "opacity:0.5", "opacity:10", "left:-9px", "height:0", "overflow:hidden;height:10px", "")))
    )
    assert all(map(css.is_tiny, map(of, ("font-size:0", "font-size: 1px", "font-size:0.5px;color:red", "font-size:.05em", "font-size:2%"))))
    # 0.9em was taken for nothing once, because it begins with a nought
    assert not any(map(css.is_tiny, map(of, ("font-size:0.9em", "font-size:0.875rem", "font-size:12px", "font-size:80%", "font-size:small"))))
    assert css.is_white("rgba(1, 2, 3, 0.0)") and css.is_white("#FFF") and not css.is_white("#fff000") and not css.is_white("rgba(1,2,3,.5)")
    sheet = "@import 'x'; .a{display:none} @media print{.b{display:none}} /* .c{display:none} */ .d,#e {opacity:0} .f{color:red}"
    assert [(selectors, css.hides(css.declarations(body))) for selectors, body in css.rules(sheet)] == [(".a", True), (".d,#e", True), (".f", False)]


def test_small_letters_are_read() -> None:
    assert read_html("<p style='font-size:0.9em'>Small print</p><p style='font-size:0'>hidden</p>").text == "Small print"


def test_characters_that_are_none() -> None:
    assert clean("a" + "\u0301\u0327" * 100) == clean("a" + "\u0301\u0327" * 15) != clean("a\u0301")
    assert clean("Ha\u0301ček, हिन्दी, עִבְרִית") == "Háček, हिन्दी, עִבְרִית"
    assert decode(b"a\\u0041b", "unicode escape") == decode(b"a\\u0041b", "unicode_escape") == "a\\u0041b"
    item = read_mail(mail(head=b"From: a\x1b[31m@e.org\nSubject: =?utf-7?Q?+2AA-x?=\nMessage-ID: <=?utf-7?Q?a+2AA-b?=>"))
    assert item.channel == "31m@e.org" and item.author.isprintable() and item.title.endswith("x") and item.key == "a b"
    (found,) = parse_feed(b'{"version": "https://jsonfeed.org/version/1.1", "items": [{"id": "\\ud800", "url": "https://e.org/\\udfff"}]}').items
    assert isinstance(found, RawItem) and found.key == "?" and found.url == "https://e.org/?"


@pytest.mark.parametrize(
    ("given", "canonical_is"),
    [
        ("https://www.google.com/amp/s/e.org/a b.html", "https://e.org/a%20b.html"),  # a space once hid what was in it, until it was read again
        ("https://e.org/a?q=x\x1b[1m y", "https://e.org/a?q=x%1B[1m%20y"),
        ("https://e or/a", ""),
        ("https://<b>e.org/a", ""),
        ("https://bücher.example/ä", "https://bücher.example/%C3%A4"),
        ("http://[::1]:8080/a", "http://[::1]:8080/a"),
    ],
)
def test_a_canonical_address_stays_as_it_is(given: str, canonical_is: str) -> None:
    assert canonical(given) == canonical_is == canonical(canonical_is)


def test_an_address_that_no_list_can_hold_is_no_source() -> None:
    found = read_opml(b"<opml><body><outline text='a' xmlUrl='http://e.org/&#1;\x1b'></body></opml>")
    assert not found.feeds and "must be an http or https address" in found.refused[0]


def test_the_mails_of_a_digest_keep_their_letters() -> None:
    """They were taken through ASCII once, and a dash came out as \\u2014."""
    message = EmailMessage()
    message["Subject"], message["From"] = "Digest, Vol 1", "list@e.org"
    parts = [
        "Topics",
        *(
            f"Date: Fri, 20 Nov 2026 10:00:00 +0000\nFrom: Zoë <z@e.org>\nSubject: Café {n}\nContent-Type: text/plain; charset=koi8-r\n\nTea — {n} €"
            for n in (1, 2)
        ),
    ]
    message.set_content("\n\n------------------------------\n\n".join(parts))
    held = [inner for inner in read_mail(message.as_bytes()).items if isinstance(inner, RawItem)]
    assert [(inner.title, inner.body, inner.author) for inner in held] == [("Café 1", "Tea — 1 €", "Zoë"), ("Café 2", "Tea — 2 €", "Zoë")]
