"""What a mail came through, and which of its links lead to something to read."""

import pytest

from services.ingest.items import RawItem
from services.ingest.mail import read_mail


def of(head: str, body: str = "Words of the day.") -> RawItem:
    return read_mail(f"{head}\n\n{body}\n".encode())


@pytest.mark.parametrize(
    ("head", "channel", "title"),
    [
        ("From: Desk <Desk@E.org>", "desk@e.org", "Desk"),
        ("From: desk@e.org", "desk@e.org", "desk@e.org"),
        ("From: =?utf-8?q?M=C3=BCller=2C_Desk?= <d@e.org>", "d@e.org", "Müller, Desk"),
        ('From: "Levine, Matt" <m@e.org>', "m@e.org", "Levine, Matt"),
        ("List-Id: Harbour talk <talk.e.org>\nFrom: Bob <b@f.org>", "talk.e.org", "Harbour talk"),
        ('List-ID: "Harbour talk"\n\t<Talk.E.org>\nFrom: Bob <b@f.org>', "talk.e.org", "Harbour talk"),
        ("List-Id: <talk.e.org>\nList-Post: <mailto:talk@e.org>\nFrom: Bob <b@f.org>", "talk.e.org", "talk.e.org"),
        ("List-Id: 0a1b2c mc list <0a1b2c.123456.list-id.mcsv.net>\nFrom: Desk <d@e.org>", "0a1b2c.123456.list-id.mcsv.net", "Desk"),
        ("List-Id: talk.e.org\nFrom: Bob <b@f.org>\nPrecedence: list", "talk.e.org", "talk.e.org"),
        ("List-Id: nonsense\nFrom: Bob <b@f.org>", "b@f.org", "Bob"),
        ("Sender: Relay <r@e.org>", "r@e.org", "Relay"),
        ("From: ann at ex.org (Ann Lee)", "ann@ex.org", "Ann Lee"),
        ("From: Ann Lee <ann.lee at ex.org>", "ann.lee@ex.org", "Ann Lee"),
        ("From: Ann at Work <a@e.org>", "a@e.org", "Ann at Work"),
        ("Subject: none", "", ""),
    ],
)
def test_the_channel_of_a_mail(head: str, channel: str, title: str) -> None:
    read = of(head)
    assert (read.channel, read.channel_title) == (channel, title)


def test_the_page_of_the_mail() -> None:
    assert of("From: a@e.org\nArchived-At: <https://e.org/m/1?utm_source=x>").url == "https://e.org/m/1"
    assert of("From: a@e.org\nArchived-At: <mailto:x@e.org>").url == ""


def test_links_that_manage_the_subscription_or_count_openings_are_left_out() -> None:
    html = (
        "<p><a href='https://e.org/story'>The story</a> <a href='https://e.org/u/77'>leave</a> <a href='https://e.org/prefs'>Manage preferences</a>"
        "<a href='https://t.e.org/o.gif?u=1'>.</a><a href='https://e.org/story#2'>again</a></p>"
    )
    read = of("List-Unsubscribe: <mailto:u@e.org>, <https://e.org/u/77>\nContent-Type: text/html", html)
    assert [link.url for link in read.links] == ["https://e.org/story"]
