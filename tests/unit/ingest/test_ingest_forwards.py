"""Mails that forward another: that other is the news. And what looks like a quote, a footer or a signature, but is news too."""

import time

import pytest

from services.ingest.mail import read_mail
from services.ingest.markup import read_html
from services.ingest.quotes import cut
from tests.unit.ingest.test_ingest_mail import mail

HEAD = "From: Bob <b@e.org>\nDate: Mon, 1 Jan 2024 at 10:00\nSubject: The harbour\nTo: Ann <a@e.org>"
NEWS = "The harbour is closed until Monday.\n\nThe ferries sail again on Tuesday."
OUTLOOK = f"FYI\n\n________________________________\nFrom: Bob\nSent: Monday, January 1, 2024 10:00\nTo: Ann\nSubject: The harbour\n\n{NEWS}"
GERMAN = (
    "Von: Bob <b@e.org>\nGesendet: Montag\nAn: Ann\nBetreff: WG: Hafen\n\nFür euch.\n\nVon: Zoe <z@e.org>\nGesendet: Sonntag\nAn: Bob\nBetreff: Hafen"
)


@pytest.mark.parametrize(
    "text",
    [
        f"FYI\n\n---------- Forwarded message ---------\n{HEAD}\n\n\n{NEWS}",
        f"FYI\n\n-------- Weitergeleitete Nachricht --------\n{HEAD}\n\n{NEWS}",
        f"FYI\n\nBegin forwarded message:\n\n{HEAD}\n\n{NEWS}",
        "FYI\n\nBegin forwarded message:\n\n" + "\n".join(f"> {line}" for line in f"{HEAD}\n\n{NEWS}".split("\n")),
        f"FYI\n\n-- \nAnn\n\n----- Forwarded by Ann Lee/ACME on 01.01.2024 10:00 -----\n\n{NEWS}\n\n-- \nBob\nDesk",
        f"FYI\n\n----- Forwarded Message -----\n\nFrom: Bob\n\nSent: Monday\n\nTo: Ann\n\n{NEWS}\n\nOn Sun, 31 Dec 2023, Zoe <z@e.org> wrote:\n> old",
    ],
    ids=["gmail", "thunderbird", "apple", "apple, quoted", "notes, with signatures", "yahoo, with a reply in it"],
)
def test_what_is_forwarded_stays_without_its_head(text: str) -> None:
    assert cut(text, "Ann Lee") == f"FYI\n\n{NEWS}"


def test_a_subject_tells_a_forward_from_a_reply() -> None:
    for subject in ("FW: The harbour", "[talk] Fwd: The harbour", "WG: Hafen", "TR: Le port"):
        assert cut(OUTLOOK, subject=subject) == f"FYI\n\n{NEWS}"
        assert cut(f"FYI\n\nOn Mon, 1 Jan 2024, Bob wrote:\n\n> {NEWS.replace(chr(10), chr(10) + '> ')}", subject=subject) == f"FYI\n\n{NEWS}"
    for subject in ("RE: The harbour", "Re: Fwd: The harbour", "The harbour"):
        assert cut(OUTLOOK, subject=subject) == "FYI"
    assert cut(f"{GERMAN}\n\n{NEWS}", subject="WG: Hafen") == f"Für euch.\n\n{NEWS}", "a forward of a forward, as its own subject says"
    assert cut(f"{GERMAN.replace('WG: ', 'AW: ')}\n\n{NEWS}", subject="WG: Hafen") == "Für euch.", "a forward of a reply"
    assert cut(f"Thanks!\n\nOn Mon, 1 Jan 2024, Ann wrote:\n\nFYI\n\n---------- Forwarded message ---------\n{HEAD}\n\n{NEWS}") == "Thanks!"
    assert cut(f"---------- Forwarded message ---------\n{HEAD}") != "", "never nothing"


WORDS = "The harbour is closed until Monday, the port said after the storm that took the roof of the terminal."
GMAIL = (
    "<div>FYI</div><div class='gmail_quote'><div class='gmail_attr'>---------- Forwarded message ---------<br>From: <b>Bob</b> &lt;b@e.org&gt;<br>"
    f"Date: Mon, 1 Jan 2024<br>Subject: The harbour<br>To: &lt;a@e.org&gt;<br></div><br><br><p>{WORDS}</p>"
    "<div class='gmail_quote'><div class='gmail_attr'>On Sun, 31 Dec 2023, Zoe &lt;z@e.org&gt; wrote:<br></div><blockquote>old</blockquote></div></div>"
)
APPLE_HEAD = "<div><b>From: </b>Bob &lt;b@e.org&gt;</div><div><b>Subject: </b>The harbour</div><div><b>Date: </b>1 January 2024</div><br>"
APPLE = f"<div>FYI</div><blockquote type='cite'><div>Begin forwarded message:</div><br>{APPLE_HEAD}<p>{WORDS}</p></blockquote>"
APPLE_BEFORE = f"<div>FYI</div><div>Begin forwarded message:</div><br><blockquote type='cite'>{APPLE_HEAD}<p>{WORDS}</p></blockquote>"
OUTLOOK_HEAD = "<b>From:</b> Bob &lt;b@e.org&gt;<br><b>Sent:</b> Monday<br><b>To:</b> Ann<br><b>Subject:</b> The harbour"
WEB = f"<p>FYI</p><div id='appendonsend'></div><hr><div id='divRplyFwdMsg'><font>{OUTLOOK_HEAD}</font></div><div><p>{WORDS}</p></div>"
MAC = f"<p>FYI</p><span id='OLK_SRC_BODY_SECTION'><div>{OUTLOOK_HEAD}</div><br><p>{WORDS}</p></span>"


@pytest.mark.parametrize("html", [GMAIL, APPLE, APPLE_BEFORE, WEB, MAC], ids=["gmail", "apple", "apple, before", "outlook web", "outlook for mac"])
def test_what_is_forwarded_in_html_stays(html: str) -> None:
    assert read_mail(mail(html=html, Subject="FW: The harbour").as_bytes()).body == f"FYI\n\n{WORDS}"


@pytest.mark.parametrize(
    "html", [WEB, MAC, GMAIL.replace("- Forwarded message -", "On Mon, Bob wrote:")], ids=["outlook web", "outlook for mac", "gmail"]
)
@pytest.mark.parametrize("times", [1, 40], ids=["short", "long"])
def test_what_a_reply_quotes_in_html_goes(html: str, times: int) -> None:
    assert read_mail(mail(html=html.replace(WORDS, f"{WORDS} " * times), Subject="RE: The harbour").as_bytes()).body == "FYI"


@pytest.mark.parametrize(
    "text",
    [
        "Story one\n\nApple lets users opt out of Siri grading.\n\nStory three",
        "Story one\n\nApple lets users opt out of Siri grading: https://e.org/siri\n\nStory three: https://e.org/3",
        "Story one\n\nGmail tells you how to leave lists.\n\nThe law on unsubscribe links\n\nStory four",
        "Upcoming trips\n\nFrom: Berlin Hbf\nDate: 5 May\nTrain: ICE 5\n\nSecond story",
        "Upcoming trips\n\nFrom: Berlin Hbf\nTo: Hamburg\nDate: 5 May\n\nSecond story",
        "Python news\n\n>>> import os\n>>> os.name\n'posix'\n\nMore",
        "Quote of the week\n\n> Simple is better than complex.\n\nMore",
        "Films of the year\n\nBest\nInception\nDune\nHeat",
        "Story one is told.\n\n—\n\nStory two is told.\n\n—\n\nStory three is told.",
        "Story one is told.\n--\nStory two is told.\n--\nStory three is told.",
        f"Story one is told.\n--\n{WORDS}",
        "Story one is told.\n--\n" + "A line of story two.\n" * 20 + "End.",
    ],
)
def test_news_that_looks_like_a_quote_a_footer_or_a_signature_stays(text: str) -> None:
    assert cut(text) == text


@pytest.mark.parametrize(
    ("foot", "name"),
    [
        ("Unsubscribe", ""),
        ("Unsubscribe | Manage preferences | View online", ""),
        ("If you no longer wish to receive this, you can unsubscribe.", ""),
        ("To unsubscribe, click here: https://t.e.org/abc", ""),
        ("Opt out: talk-leave@e.org", ""),
        (
            "You are receiving this email because you signed up.\nOur mailing address is:\nAcme\n12 High Street\n\nYou can update your preferences.",
            "",
        ),
        ("This email and any attachments are confidential.", ""),
        ("--\nAnn\nSent from my iPad", "Ann Lee"),
        ("Thanks\nAnn", "Ann Lee"),
        ("--\nAnn Lee\nDesk\n--", ""),
    ],
)
def test_footers_and_signatures_go(foot: str, name: str) -> None:
    assert cut(f"Apple lets users opt out of Siri grading.\n\nSecond story.\n\nThird.\n\nLast story of the day.\n\n{foot}", name).endswith(
        "Last story of the day."
    )


def test_quotes_go_with_an_attribution_or_a_reply() -> None:
    between = "> question\nanswer\n> question two\nanswer two"
    assert cut(between) == between
    assert cut(between, subject="Re: questions") == "answer\nanswer two"
    assert cut("Hello\n\n> Subject: Test\n> From: b@e.org\n> To: a@e.org\n>\n> Hi") == "Hello"
    assert cut("Yes.\n\nOn Mon, 1 Jan 2024, Bob wrote:\n>> old\n>>> older\n\n>>> import os") == "Yes.\n\n>>> import os"


def test_hostile_forwards_take_no_time() -> None:
    began = time.process_time()
    cut("- forwarded by " + "-" * 300_000 + "x")
    cut("---------- Forwarded message ---------\nFrom: a\n" * 20_000)
    cut("> on 1 Jan wrote:\n" * 20_000)
    cut(("a@" * 240 + "unsubscribe\n") * 1_000)
    cut("From: a@b\nSent: x\nTo: y\nSubject: Fwd: x\n" * 20_000, subject="Fwd: x")
    read_html("<div class=gmail_quote>" * 20_000, mail=True)
    read_html("<p>x" + "<blockquote type=cite></blockquote>" * 20_000 + "<p id=divRplyFwdMsg>" * 20_000, mail=True)
    assert time.process_time() - began < 20
