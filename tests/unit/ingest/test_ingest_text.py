"""HTML, characters and addresses: only what a person reads comes through."""

import time

import pytest

from services.ingest.headers import header
from services.ingest.markup import read_html
from services.ingest.mime import message_of
from services.ingest.text import clean, decode, first_sentence, plain_title, resolved
from services.ingest.urls import canonical


@pytest.mark.parametrize(
    "hidden",
    [
        "<div style='display:none'>OBEY</div>",
        "<div style='DISPLAY : NONE !important'><p>x <b>OBEY</b></p></div>",
        "<span style='font-size:0'>OBEY</span>",
        "<span style='font-size: 0px; color:red'><i>OBEY</i></span>",
        "<span style='font-size:0'><i style='font-size:2em'>OBEY</i></span>",
        "<p style='color:#ffffff'>OBEY</p>",
        "<p style='color: white'><b>OBEY</b></p>",
        "<font color='#fff'>OBEY</font>",
        "<p hidden>OBEY</p>",
        "<p style='visibility:hidden'>OBEY</p>",
        "<p style='opacity:0'>OBEY</p>",
        "<p style='position:absolute;left:-9999px'>OBEY</p>",
        "<div style='max-height:0;overflow:hidden'>OBEY</div>",
        "<style>.ph{display:none}</style><div class='a ph'>OBEY</div>",
        "<style>#ph, td.x { display : none }</style><div id='ph'>OBEY</div>",
        "<!-- OBEY -->",
        "<script>OBEY</script>",
        "<style>OBEY</style>",
        "<template>OBEY</template>",
        "<noscript>OBEY</noscript>",
        "<svg><text>OBEY</text></svg>",
        "<textarea>OBEY</textarea>",
        "<select><option>OBEY</option></select>",
        "\U000e004f\U000e0042",
    ],
)
def test_what_nobody_sees_is_gone_and_the_rest_stays(hidden: str) -> None:
    text = read_html(f"<p>The dam was opened on Friday.</p>{hidden}<p>No one was hurt.</p>").text
    assert "OBEY" not in text
    assert not any(ord(character) >= 0xE0000 for character in text)
    assert text == "The dam was opened on Friday.\n\nNo one was hurt."


@pytest.mark.parametrize(
    "shown",
    [
        "<td style='font-size:0px'><div style='font-size:13px'>SEEN</div></td>",
        "<a style='background:#0055aa;color:#ffffff' href='https://e.org/'>SEEN</a>",
        "<table bgcolor='#000000'><tr><td style='color:#fff'>SEEN</td></tr></table>",
        "<style>@media (max-width:400px){.m{display:none}}</style><p class='m'>SEEN</p>",
        "<p style='font-size:10px'>SEEN</p>",
        "<p style='opacity:0.9'>SEEN</p>",
        "<p style='background-color:white'>SEEN</p>",
    ],
)
def test_what_is_seen_stays(shown: str) -> None:
    assert "SEEN" in read_html(f"<p>Before.</p>{shown}").text


def test_no_tag_or_handler_survives() -> None:
    page = read_html(
        "<p onclick='evil()'>One &lt;b&gt; two</p><img src=x onerror=evil()><a href='javascript:evil()'>three</a><iframe src='//e'></iframe>"
    )
    assert page.text == "One <b> two\n\nthree"
    assert page.links == ()


def test_links_keep_their_words_and_lose_their_trackers() -> None:
    page = read_html("<p><a href='/a?utm_source=n&amp;id=1#x'>The <b>report</b></a> <a href='ftp://e.org/'>f</a></p>", "https://e.org/feed")
    assert [(link.url, link.text) for link in page.links] == [("https://e.org/a?id=1", "The report")]


def test_a_long_page_loses_its_menu_but_no_paragraph() -> None:
    body = "".join(f"<p>Paragraph {n} tells how the council of the harbour town voted on its budget, and why.</p>" for n in range(40))
    text = read_html(f"<html><body><nav><a href='/'>Home</a><a href='/n'>News</a></nav><article>{body}</article></body></html>").text
    assert all(f"Paragraph {n} " in text for n in range(40))


def test_deep_nesting_and_junk_end_without_an_error() -> None:
    assert read_html("<p>start</p>" + "<div>" * 5000 + "end" + "</div>" * 5000).text.startswith("start")
    assert "x" in read_html("<<<>>><p> x </b></i>").text
    assert read_html("\x00 ").text == ""


def test_charsets_that_lie() -> None:
    assert decode("Zürich – ok".encode(), "iso-8859-1") == "Zürich – ok"
    assert decode("Zürich – ok".encode("cp1252"), "utf-8") == "Zürich – ok"
    assert decode("Zürich".encode("latin-1"), "no-such-charset") == "Zürich"
    assert decode("まみむ".encode("iso-2022-jp"), "iso-2022-jp") == "まみむ"
    assert decode(b"\x81\x8d\xff", "utf-8")


@pytest.mark.parametrize("charset", ["iso-8859-1", "latin-1", "us-ascii", "l1", "ISO_8859-1", '"windows-1252"', ""])
def test_the_names_of_western_charsets_mean_windows_1252(charset: str) -> None:
    assert decode(b"It\x92s a fine day today", charset) == "It’s a fine day today"


@pytest.mark.parametrize("charset", ["utf-8", "", "iso-8859-1", "us-ascii", "no-such-charset"])
def test_one_bad_byte_does_not_spoil_a_text_in_utf_8(charset: str) -> None:
    assert decode("Die Größe …".encode() + b"\xe2\x80", charset) == "Die Größe …\ufffd"
    assert decode("Größe: 5 €".encode("cp1252"), charset) == "Größe: 5 €"


@pytest.mark.parametrize("charset", ["iso-2022-jp", "us-ascii", "utf-8", "", "iso-8859-1"])
def test_japanese_of_seven_bits_is_known_by_its_escapes(charset: str) -> None:
    nec, ibm = b"\x1b$B-!\x1b(B", b"\x1b$B|b\x1b(B"
    assert decode(b"abc " + nec + ibm + "日本語".encode("iso-2022-jp") + b" def", charset) == "abc ①髙日本語 def"
    assert decode("ﾊﾝｶｸ 丂".encode("iso2022_jp_ext"), charset) == "ﾊﾝｶｸ 丂"
    assert decode("日本".encode("iso-2022-jp")[:-3] + b"\nplain", charset) == "日本\nplain"
    assert decode(b"\x1b$B" + b"\x20\x00\xff7" * 3, charset) is not None


def test_nothing_but_escapes_ends_in_time() -> None:
    began = time.monotonic()
    for junk in (b"\x1b$B" * 2_000_000, b"\x1b$(D!!" * 1_000_000, b"\x1b$B!" * 190_000):
        decode(junk, "iso-2022-jp")
    assert time.monotonic() - began < 20


def test_a_subject_in_raw_japanese() -> None:
    assert header(message_of(b"Subject: " + "会議のお知らせ".encode("iso-2022-jp") + b"\n\nx"), "subject") == "会議のお知らせ"


def test_clean_characters() -> None:
    assert clean("a\u200bb\u202ec\ufeff\x00 d\r\n\r\n\r\n\r\ne\u00a0 f") == "abc d\n\ne f"
    assert clean("e\u0301") == "\u00e9"
    assert "\ud800" not in clean("x\ud800y")


def test_the_padding_of_a_preview_goes_and_the_joiners_of_scripts_stay() -> None:
    padding = "\u00a0\u200c\u200b\u034f\u00ad " * 80 + "\u3164" * 20
    assert clean(f"Storm closes harbour{padding}\nMore inside.") == "Storm closes harbour\nMore inside."
    assert clean("می\u200cخواهم") == "می\u200cخواهم"
    assert clean("\U0001f468\u200d\U0001f469\u200d\U0001f467 family") == "\U0001f468\u200d\U0001f469\u200d\U0001f467 family"


def test_titles() -> None:
    assert plain_title("A &amp; B <b>bold</b>\n next") == "A & B bold next"
    assert plain_title("1 < 2 and 3 > 2") == "1 < 2 and 3 > 2"
    assert plain_title("std::vector<int> in <b>C++</b>") == "std::vector<int> in C++"
    assert resolved("It&#8217;s &eacute; Q&A R&copy") == "It’s é Q&A R&copy"
    assert first_sentence("It rained. Then not.") == "It rained."
    assert len(first_sentence("word " * 100)) <= 120


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("HTTPS://Example.ORG:443/A?b=1&utm_medium=x&fbclid=2#frag", "https://example.org/A?b=1"),
        ("http://e.org", "http://e.org/"),
        ("http://user:pw@e.org/x", "http://e.org/x"),
        ("http://e.org/?gclid=1&mc_cid=2&mc_eid=3", "http://e.org/"),
        ("http://e.org/a b", "http://e.org/a%20b"),
        ("http://e.org/?q=%E4&utm_medium=rss&n=a+b", "http://e.org/?q=%E4&n=a+b"),
        ("http://e.org/?article&utm_source=r", "http://e.org/?article"),
        ("http://e.org/?utm%5Fsource=r&x=1;2", "http://e.org/?x=1;2"),
        ("javascript:alert(1)", ""),
        ("mailto:a@b.org", ""),
        ("http://[bad", ""),
        ("http://e.org:99999/", ""),
        ("", ""),
    ],
)
def test_canonical(url: str, expected: str) -> None:
    assert canonical(url) == expected
    assert canonical(expected) == expected
