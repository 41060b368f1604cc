"""Newsletters that tell many things: split where their structure shows it, whole where it does not; nothing of them is lost."""

import time
from email.message import EmailMessage

import pytest

from services.ingest.feeds import parse_feed
from services.ingest.items import RawItem, Refused
from services.ingest.mail import read_mail
from services.ingest.readers.mails import mail_batch
from shared.events import DocumentIngested, SourceRef
from tests.fuzz.samples import FOOT, NEWS
from tests.unit.ingest.conftest import World

MAIL = SourceRef(id="box", kind="mail", title="me at e.org")
ROUNDUP = (
    "<ul>"
    + "".join(f"<li><a href='https://e.org/{n}?utm_source=m'>{title}</a> by Ana<br>{text}</li>" for n, (title, text) in enumerate(NEWS))
    + "</ul>"
)
HEADINGS = "".join(f"<h2>{title}</h2><p>{text} <a href='https://e.org/{n}'>Read more</a></p>" for n, (title, text) in enumerate(NEWS))
LEADS = "".join(f"<p><b>{title}.</b> {text.replace('the', f'<a href=https://e.org/{n}>the</a>', 1)}</p>" for n, (title, text) in enumerate(NEWS))
TABLE = "<table>" + "".join(
    f"<tr><td><h3><a href='https://e.org/{n}'>{title}</a></h3></td></tr><tr><td>{text}</td></tr>" for n, (title, text) in enumerate(NEWS)
) + "</table>"  # fmt: skip


def letter(html: str = "", plain: str = "") -> bytes:
    message = EmailMessage()
    message["From"], message["Subject"], message["Message-ID"] = "The Desk <desk@e.org>", "Five things", "<d1@e.org>"
    message["List-Id"], message["Date"] = "The Daily Desk <daily.e.org>", "Fri, 20 Nov 2026 10:00:00 +0000"
    if html:
        message.set_content(f"<html><body><p>Good morning from the desk.</p>{html}{FOOT}</body></html>", subtype="html")
    else:
        message.set_content(plain)
    return message.as_bytes()


def held(item: RawItem) -> list[RawItem]:
    assert not any(isinstance(inner, Refused) for inner in item.items)
    return [inner for inner in item.items if isinstance(inner, RawItem)]


@pytest.mark.parametrize("html", [ROUNDUP, HEADINGS, LEADS, TABLE], ids=["roundup", "headings", "leads", "table"])
def test_a_digest_is_split_into_title_text_and_address(html: str) -> None:
    read = read_mail(letter(html))
    assert [inner.title for inner in held(read)] == [title for title, _ in NEWS]
    assert [inner.url for inner in held(read)] == [f"https://e.org/{n}" for n in range(5)]
    for inner, (_, text) in zip(held(read), NEWS, strict=True):
        assert text.split(",")[0] in inner.body
        assert "unsubscribe" not in inner.body.lower()
    assert read.body.startswith("Good morning from the desk.")
    assert all(f"• {title}" in read.body for title, _ in NEWS)
    assert "nsubscribe" not in read.body and NEWS[0][1] not in read.body


PLAIN = "Good morning from the desk.\n\n" + "\n\n".join(
    f"{n}. {title}\n{text}\nhttps://e.org/{n}?utm_source=m" for n, (title, text) in enumerate(NEWS)
)


def test_a_digest_in_plain_text() -> None:
    read = read_mail(letter(plain=PLAIN))
    assert [(inner.title, inner.url) for inner in held(read)] == [(title, f"https://e.org/{n}") for n, (title, _) in enumerate(NEWS)]
    assert held(read)[0].body == NEWS[0][1]
    assert read.body.startswith("Good morning from the desk.") and "• Tea tariffs return" in read.body


ARTICLE = "".join(f"<p>{text * 3} As <a href='https://e.org/{n}'>we wrote</a> before.</p>" for n, (_, text) in enumerate(NEWS))
CHAPTERS = "".join(
    f"<h2>{title}</h2><p>{NEWS[n][1] * 4} See <a href='https://e.org/{n}'>the paper</a>.</p>"
    for n, title in enumerate(["Introduction", "Background", "What we did", "Results", "Conclusion"])
)
LONG = "".join(f"<h2>{title}</h2>" + f"<p>{text}</p>" * 30 + f"<a href='https://e.org/{n}'>source</a>" for n, (title, text) in enumerate(NEWS))
REFERENCES = f"<p>{'The harbour was the subject of a long dispute between the town and the port authority. ' * 40}</p>{ROUNDUP}"
SPEECH = "".join(f"<p><b>{name}:</b> {NEWS[n][1]}</p>" for n, name in enumerate(["Ana", "Bob", "Ana", "Bob", "Ana"]))


@pytest.mark.parametrize(
    "html", [ARTICLE, CHAPTERS, LONG, REFERENCES, SPEECH, ROUNDUP[:250]], ids=["links", "chapters", "long", "references", "speech", "few"]
)
def test_what_is_one_text_stays_one(html: str) -> None:
    read = read_mail(letter(html))
    assert read.items == ()
    assert read.body


@pytest.mark.parametrize(
    "html",
    ["<p>" + "<b>x</b> y " * 100_000, "<div>" * 20_000 + "x", "<ul>" + "<li><a href='https://e.org/1'>The same item</a></li>" * 20_000],
    ids=["inline", "deep", "many"],
)
def test_hostile_structure_ends_soon(html: str) -> None:
    began = time.process_time()
    read = read_mail(letter(html))
    assert read.body and read.items == ()
    assert time.process_time() - began < 20


def test_lists_of_mails_in_plain_text() -> None:
    """RFC 1153: 70 hyphens after the preamble, 30 between the mails."""
    rule, foot = "-" * 30, "End of Talk Digest\n******************"
    mails = f"\n\n{rule}\n\n".join(
        f"Date: Fri, 20 Nov 2026 0{n}:00:00 +0000\nFrom: Ana <a@e.org>\nSubject: {title}\nMessage-ID: <t{n}@e.org>\n\n{text}"
        for n, (title, text) in enumerate(NEWS)
    )
    read = read_mail(letter(plain=f"Today's Topics:\n\n   1. Storm\n\n{'-' * 70}\n\n{mails}\n\n{rule}\n\n{foot}\n"))
    assert [(inner.title, inner.key, inner.body) for inner in held(read)] == [(title, f"t{n}@e.org", text) for n, (title, text) in enumerate(NEWS)]
    assert held(read)[2].published is not None and held(read)[2].published.hour == 2
    assert read.body.startswith("Today's Topics:") and "• Tea tariffs return" in read.body


def test_the_mails_of_a_plain_digest_keep_their_folded_heads_and_their_list() -> None:
    """As Mailman writes digests: a long subject goes on in an indented line, and what follows that is head too."""
    rule = "-" * 30
    mails = f"\n\n{rule}\n\n".join(
        f"Message: {n}\n{date}From: ann at ex.org (Ann Lee)\nTo: talk at e.org\nSubject: [Talk] A subject that is so long that it\n\tgoes on below {n}\n"
        f'Message-ID: <t{n}@e.org>\nContent-Type: text/plain; charset="utf-8"\n\nThe text of mail {n}.\n  * indented'
        for n, date in enumerate(["Date: Thu, 19 Nov 2026 08:00:00 +0000\n", ""])
    )
    for end in ("\n", "\r\n"):
        text = f"Today's Topics:\n\n   1. A subject\n\n\n{'-' * 70}\n\n{mails}\n\n{rule}\n\nEnd of Talk Digest\n".replace("\n", end)
        head = f"From: talk-request@e.org\nSubject: Talk Digest, Vol 1\nList-Id: Talk <talk.e.org>\nDate: Fri, 20 Nov 2026 10:00:00 +0000\n\n{text}"
        one, two = held(read := read_mail(head.encode()))
        assert (one.title, two.key) == ("[Talk] A subject that is so long that it goes on below 0", "t1@e.org")
        assert one.body == "The text of mail 0.\n* indented" and read.body.startswith("Today's Topics:\n\n1. A subject")
        assert {(inner.author, inner.channel, inner.channel_title) for inner in (one, two)} == {("Ann Lee", "talk.e.org", "Talk")}
        assert one.published and one.published.day == 19 and two.published == read.published is not None


MIME = (
    b"From: list@e.org\nSubject: Digest 7\nMessage-ID: <d7@e.org>\nContent-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: text/plain\n\nTopics of today.\n"
    b"--o\nContent-Type: multipart/digest; boundary=b\n\n--b\n\nFrom: Ana <a@e.org>\nSubject: One\nMessage-ID: <m1@e.org>\n\nThe first mail.\n"
    b"--b\n\nFrom: Bob <b@e.org>\nSubject: Two\n\nThe second mail.\n--b\n\n\n--b--\n--o--\n"
)


async def documents(world: World, data: bytes) -> list[DocumentIngested]:
    batch = await mail_batch([data], {})
    return (await world.intake.take(batch.items, MAIL, "news")).published


async def test_a_mime_digest_becomes_a_parent_and_its_children(world: World) -> None:
    parent, one, two = await documents(world, MIME)
    assert (parent.title, one.title, two.title) == ("Digest 7", "One", "Two")
    assert parent.children == [one.id, two.id] and one.parent == two.parent == parent.id and not parent.parent
    assert (one.text, one.author, one.channel) == ("The first mail.", "Ana", "list@e.org")
    assert parent.text == "Topics of today.\n\n• One\n• Two"
    (entry,) = world.quarantine.last()  # the third, empty one: told, and it takes nothing with it
    assert entry.reason == "no-text" and "Digest 7" in entry.detail
    (alone,) = await documents(world, b"From: Ana <a@e.org>\nSubject: One\nMessage-ID: <m1@e.org>\n\nThe first mail, longer.\n")
    assert alone.id == one.id, "the same mail in a digest and by itself is one document"


def test_the_mails_of_a_digest_came_through_its_list_unless_they_name_another() -> None:
    data = MIME.replace(b"Subject: Digest 7", b"List-Id: Talk <talk.e.org>\nDate: Fri, 20 Nov 2026 10:00:00 +0000\nSubject: Digest 7")
    read = read_mail(data.replace(b"Subject: Two", b"List-Id: Other <other.e.org>\nSubject: Two"))
    one, two = [inner for inner in read.items if isinstance(inner, RawItem)][:2]
    assert [(inner.channel, inner.channel_title) for inner in (one, two)] == [("talk.e.org", "Talk"), ("other.e.org", "Other")]
    assert one.published == two.published == read.published is not None


async def test_a_mail_that_bears_the_name_of_the_digest_around_it_is_its_child_all_the_same(world: World) -> None:
    parent, one, two = await documents(world, MIME.replace(b"<m1@e.org>", b"<d7@e.org>"))
    assert parent.children == [one.id, two.id] and parent.id not in parent.children and one.parent == parent.id


async def test_a_newsletters_items_keep_their_ids_and_its_name(world: World) -> None:
    first = await documents(world, letter(ROUNDUP))
    assert len(first) == 6 and first[0].children == [document.id for document in first[1:]]
    assert {document.source.id for document in first} == {"box"} and {document.source.title for document in first} == {"The Daily Desk"}
    assert {document.channel for document in first} == {"daily.e.org"}
    assert all(document.language == "en" for document in first[1:])
    assert await documents(world, letter(ROUNDUP)) == [], "nothing twice"
    edited = await documents(world, letter(ROUNDUP.replace("for one crown", "for two crowns")))
    assert [(document.id, document.title) for document in edited] == [(first[3].id, "Choir saves its hall")]
    assert edited[0].version != first[3].version


async def test_two_items_of_one_name_are_two(world: World) -> None:
    twice = MIME.replace(b"Message-ID: <m1@e.org>\n", b"").replace(b"Subject: Two", b"Subject: One")
    parent, one, two = await documents(world, twice)
    assert one.id != two.id and parent.children == [one.id, two.id]


FEED = SourceRef(id="weekly", kind="feed", title="The Weekly")
READ_ON = "".join(f"<h2>{title}</h2><p>{text} <a href='https://e.org/{n}'>Read more</a></p>" for n, (title, text) in enumerate(NEWS))


async def of_feed(world: World, html: str, url: str = "https://weekly.example/7") -> list[DocumentIngested]:
    feed = f"<rss version='2.0'><channel><item><guid>w7</guid><link>{url}</link><title>Week 7</title><description><![CDATA[{html}]]></description></item>"
    return (await world.intake.take(parse_feed(f"{feed}</channel></rss>".encode()).items, FEED, "news")).published


@pytest.mark.parametrize("html", [ROUNDUP, TABLE, READ_ON], ids=["roundup", "table", "read on"])
async def test_a_digest_in_a_feed_becomes_a_parent_and_its_children(world: World, html: str) -> None:
    parent, *children = await of_feed(world, f"<p>Good morning.</p>{html}")
    assert [child.title for child in children] == [title for title, _ in NEWS] and parent.children == [child.id for child in children]
    assert [child.url for child in children] == [f"https://e.org/{n}" for n in range(5)] and {child.parent for child in children} == {parent.id}
    assert parent.title == "Week 7" and parent.text.startswith("Good morning.") and "• Tea tariffs return" in parent.text
    assert NEWS[0][1] not in parent.text and NEWS[0][1] in children[0].text
    assert {(child.source.id, child.published_at) for child in children} == {("weekly", parent.published_at)}
    assert await of_feed(world, f"<p>Good morning.</p>{html}") == [], "nothing twice"


@pytest.mark.parametrize(
    "html", [HEADINGS.replace("Read more", "a source"), LEADS, ARTICLE, CHAPTERS, LONG], ids=["sources", "leads", "links", "chapters", "long"]
)
async def test_an_article_in_a_feed_stays_one(world: World, html: str) -> None:
    """What a mail may be split at, headings with some link below, is how articles are written: only what leads on is a digest there."""
    (document,) = await of_feed(world, html)
    assert not document.children and not document.parent


@pytest.mark.parametrize("page", ["", "https://weekly.example/7"])
async def test_items_that_lead_back_to_the_page_are_its_chapters(world: World, page: str) -> None:
    html = "".join(f"<h2><a href='{page}#part{n}'>{title}</a></h2><p>{text}</p>" for n, (title, text) in enumerate(NEWS))
    assert len(await of_feed(world, html)) == 1


async def test_a_text_handed_in_is_not_split(world: World) -> None:
    pushed = RawItem(key="p", title="Five things", body=ROUNDUP, markup=True)
    assert len((await world.intake.take([pushed], SourceRef(id="api", kind="api"), "news")).published) == 1
