"""The parts of a mail: what is read, what is listed, what is put together again, whatever the mailer did."""

import base64
from datetime import UTC, datetime
from email.message import EmailMessage

import pytest

from services.ingest.flowed import unflow
from services.ingest.items import RawItem, Unusable
from services.ingest.mail import read_mail

HEAD = "From: Desk <desk@e.org>\nSubject: News\nMessage-ID: <1@e.org>\n"


def of(text: str) -> RawItem:
    return read_mail((HEAD + text).encode())


def test_files_are_listed_by_name_type_and_size_and_never_read() -> None:
    message = EmailMessage()
    message["Subject"] = "Minutes"
    message.set_content("See the files.")
    message.add_attachment(b"\x00" * 1000, maintype="application", subtype="pdf", filename="Übersicht.pdf")
    message.add_attachment("secret words", filename="notes.txt")
    message.add_attachment(b"x", maintype="application", subtype="ms-tnef", filename="winmail.dat")
    message.add_attachment(b"BEGIN:VCALENDAR", maintype="text", subtype="calendar", filename="meet.ics", params={"method": "REQUEST"})
    read = read_mail(message.as_bytes())
    assert read.body == "See the files."
    assert [(a.name, a.type, a.size) for a in read.attachments] == [
        ("Übersicht.pdf", "application/pdf", 1000),
        ("notes.txt", "text/plain", 13),
        ("winmail.dat", "application/ms-tnef", 1),
        ("meet.ics", "text/calendar", 15),
    ]
    assert "TNEF" in read.attachments[2].note and read.attachments[3].note == "calendar entry (request)"


@pytest.mark.parametrize(
    "head",
    [
        'Content-Disposition: attachment; filename="Grüße.pdf"',
        "Content-Disposition: attachment; filename==?utf-8?q?Gr=C3=BC=C3=9Fe=2Epdf?=",
        "Content-Disposition: attachment; filename*0*=utf-8''Gr%C3%BC;\n filename*1*=%C3%9Fe.pdf",
    ],
)
def test_the_name_of_a_file(head: str) -> None:
    part = f"--b\nContent-Type: text/plain\n\nWords.\n--b\nContent-Type: application/pdf\n{head}\n\nx\n--b--\n"
    (file,) = of(f"Content-Type: multipart/mixed; boundary=b\n\n{part}").attachments
    assert file.name == "Grüße.pdf"
    latin = f"{HEAD}Content-Type: multipart/mixed; boundary=b\n\n{part}".encode("latin-1")
    assert read_mail(latin).attachments[0].name == "Grüße.pdf"


@pytest.mark.parametrize("disposition", ["", 'Content-Disposition: inline; filename="index.html"\n'])
@pytest.mark.parametrize("kind", ["text/plain", "text/html"])
def test_the_text_of_a_mail_is_read_though_it_has_a_name(kind: str, disposition: str) -> None:
    text = f'Content-Type: {kind}; name="body.txt"\n{disposition}\nThe words.\n'
    assert (of(text).body, of(text).attachments) == ("The words.", ())
    two = f"Content-Type: multipart/mixed; boundary=b\n\n--b\n{text}\n--b\nContent-Type: text/plain; name=notes.txt\n\nA file.\n--b--\n"
    assert (of(two).body, [file.name for file in of(two).attachments]) == ("The words.", ["notes.txt"])
    assert of(text.replace("inline", "attachment")).body == ("" if disposition else "The words.")


def test_an_address_is_no_text() -> None:
    """A plain part that only leads to the page, at whatever length, does not stand for the words of the HTML part."""
    plain, words = f"To read this issue please open it online: https://e.org/{'a' * 240}", "The storm closed the harbour of Pellara. " * 15
    read = of(
        f"Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/plain\n\n{plain}\n"
        f"--b\nContent-Type: text/html\n\n<p>{words}</p>\n--b--\n"
    )
    assert read.body == words.strip()


def test_a_text_that_is_signed_in_the_clear() -> None:
    signed = (
        "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nThe update is out:\n- - one fix\n- -- \nDebian\n"
        "-----BEGIN PGP SIGNATURE-----\n\niQIz\n=AbCd\n-----END PGP SIGNATURE-----\n"
    )
    assert of(f"Content-Type: text/plain\n\n{signed}").body == "The update is out:\n- one fix"
    below = "A story that stands below what was signed, and is too long for a line of a signature, is told."
    crlf = f"{signed}\n{below}\n".replace("\n", "\r\n")
    assert of(f"\n{crlf}").body == f"The update is out:\n- one fix\n--\nDebian\n\n{below}"
    unsigned = "-----BEGIN PGP SIGNED MESSAGE-----\n\n- one\n"
    assert of(f"\n{unsigned}").body == unsigned.strip()


def test_a_mail_that_is_only_a_winmail_dat_says_so() -> None:
    data = b"From: a@e.org\nContent-Type: application/ms-tnef; name=winmail.dat\nContent-Transfer-Encoding: base64\n\neJ8+Ig==\n"
    with pytest.raises(Unusable, match=r"winmail\.dat") as error:
        read_mail(data)
    assert error.value.reason == "no-text"


def test_a_calendar_entry_among_alternatives_is_named() -> None:
    read = of(
        "Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/plain\n\nWe meet on Friday.\n"
        "--b\nContent-Type: text/calendar; method=REQUEST\n\nBEGIN:VCALENDAR\nEND:VCALENDAR\n--b--\n"
    )
    assert read.body == "We meet on Friday."
    assert [a.note for a in read.attachments] == ["calendar entry (request)"]


@pytest.mark.parametrize(
    "kind", ["multipart/mixed", "multipart/mixed; boundary=", "multipart/mixed; boundary=other", 'multipart/related; boundary="un"closed"']
)
def test_a_boundary_that_was_lost_is_found_in_the_text(kind: str) -> None:
    read = of(
        f"Content-Type: {kind}\n\n--real-one\nContent-Type: text/plain; charset=utf-8\n\nThe first part.\n"
        "--real-one\nContent-Type: application/zip; name=a.zip\nContent-Transfer-Encoding: base64\n\nUEsDBA==\n--real-one--\n"
    )
    assert read.body == "The first part."
    assert [(a.name, a.size) for a in read.attachments] == [("a.zip", 4)]


def test_a_multipart_without_any_boundary_is_read_as_text() -> None:
    assert of("Content-Type: multipart/mixed\n\nJust words, no parts.\n").body == "Just words, no parts."


def test_a_mail_in_a_mail_is_read_in_base64_too() -> None:
    inner = "Subject: Inner\n\nThe forwarded words.\n"
    plain = f"Content-Type: multipart/mixed; boundary=b\n\n--b\n\nFor you.\n--b\nContent-Type: message/rfc822\n\n{inner}--b--\n"
    assert of(plain).body == "For you.\n\nThe forwarded words."
    packed = base64.b64encode(inner.encode()).decode()
    coded = f"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n{packed}\n--b--\n"
    assert of(coded).body == "The forwarded words."


@pytest.mark.parametrize(
    "footer", ["_______________________________________________\nlist mailing list\nlist@e.org\n", "\n--\nYou got this from a list.\n"]
)
def test_what_a_list_appends_in_clear_is_no_base64(footer: str) -> None:
    words = "Words of the mail, as many as fill more than one line of base64 each"
    lines = base64.encodebytes(words.encode() + b".").decode()
    head = "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n"
    assert len(words) % 3 == 2 and of(head + lines + footer).body == f"{words}."
    assert of(head + lines.replace("\n", "!\n ") + footer).body == f"{words}.", "a long line that a server has cut"
    assert of(head + lines.rstrip()).body == f"{words}."


@pytest.mark.parametrize("before", [b"\xef\xbb\xbf", b"\r\n\n"])
def test_what_programs_write_before_the_headers(before: bytes) -> None:
    read = read_mail(before + HEAD.encode() + b"\nWords.")
    assert (read.key, read.title, read.body) == ("1@e.org", "News", "Words.")


def test_one_part_that_no_charset_reads_does_not_take_the_others_with_it() -> None:
    noise = bytes(range(128, 160)) * 8
    part = b"--b\nContent-Type: text/plain; charset=x-none\n\n" + noise + b"\n--b\nContent-Type: text/plain\n\nGood words.\n--b--\n"
    assert read_mail(HEAD.encode() + b"Content-Type: multipart/mixed; boundary=b\n\n" + part).body.endswith("Good words.")


@pytest.mark.parametrize(
    ("flowed", "delsp", "text"),
    [
        ("One long \nline.\nNext.", False, "One long line.\nNext."),
        ("One lo \nng.", True, "One long."),
        ("> quoted \n> on.\nOwn.", False, "> quoted on.\nOwn."),
        ("> a \n>> b", False, "> a \n>> b"),
        (" From here", False, "From here"),
        ("Text \n-- \nBob", False, "Text \n-- \nBob"),
        ("a\r\nb \r\nc", False, "a\nb c"),
    ],
)
def test_flowed_text(flowed: str, delsp: bool, text: str) -> None:
    assert unflow(flowed, delsp) == text


def test_a_flowed_mail() -> None:
    read = of("Content-Type: text/plain; format=flowed\n\nThe harbour is closed until \nMonday, the port said.\n\n-- \nDesk\n")
    assert read.body == "The harbour is closed until Monday, the port said."


@pytest.mark.parametrize(
    ("charset", "real", "text"),
    [
        ("gb2312", "gb18030", "港口因暴风雨关闭至星期一，港务局表示，没有人受伤。镕"),
        ("ks_c_5601-1987", "cp949", "항구는 폭풍 때문에 월요일까지 폐쇄된다고 항만청이 말했다. 똠"),
        ("shift_jis", "cp932", "港は嵐のため月曜日まで閉鎖される。①"),
        ("iso-2022-jp", "iso-2022-jp", "港は嵐のため閉鎖される。"),
        ("koi8-r", "koi8-r", "Порт закрыт до понедельника из-за шторма."),
        ("", "koi8-r", "Порт закрыт до понедельника из-за шторма, сообщила администрация. Никто не пострадал, но терминал остался без света."),
        (
            "us-ascii",
            "cp1251",
            "Порт закрыт до понедельника из-за шторма, сообщила администрация. Никто не пострадал, но терминал остался без света.",
        ),
        ("punycode", "utf-8", "Zürich wählt am Sonntag"),
    ],
)
def test_charsets(charset: str, real: str, text: str) -> None:
    named = f"; charset={charset}" if charset else ""
    head = f"{HEAD}Content-Type: text/plain{named}\nContent-Transfer-Encoding: 8bit\n\n"
    assert read_mail(head.encode() + text.encode(real)).body == text


def test_the_charset_of_the_html_itself() -> None:
    html = '<html><head><meta charset="koi8-r"></head><body><p>Порт закрыт</p></body></html>'.encode("koi8-r")
    assert read_mail(f"{HEAD}Content-Type: text/html\n\n".encode() + html).body == "Порт закрыт"


@pytest.mark.parametrize(
    ("subject", "read"),
    [
        (b"=?utf-8?q?Z=C3=BCrich?=", "Zürich"),
        ("Zürich wählt".encode(), "Zürich wählt"),
        ("Zürich wählt".encode("latin-1"), "Zürich wählt"),
        (b"=?utf-8?b?5riv5Y+j?=\n =?utf-8?b?5YWz6Zet?=", "港口关闭"),
        (b"=?utf-8?b?////?=", "ÿÿÿ"),
        (b"=?no-such?q?plain?=", "plain"),
        (b"=?utf-8?b?not base64!?=", "=?utf-8?b?not base64!?="),
        (b"Re: =?iso-8859-1?Q?caf=E9?= news", "Re: café news"),
    ],
)
def test_subjects(subject: bytes, read: str) -> None:
    assert read_mail(b"Subject: " + subject + b"\n\nbody").title == read


def test_the_date_of_arrival_where_the_mail_has_none_of_its_own() -> None:
    received = "Received: from a by b\n with ESMTP id 1; Fri, 20 Nov 2026 10:00:00 +0100 (CET)\n"
    assert read_mail(f"{received}Date: yesterday\n\nx".encode()).published == datetime(2026, 11, 20, 9, tzinfo=UTC)
    assert read_mail(f"{received}Date: Thu, 19 Nov 2026 08:00:00 GMT\n\nx".encode()).published == datetime(2026, 11, 19, 8, tzinfo=UTC)
    assert read_mail(b"Date: \n\nx").published is None


@pytest.mark.parametrize(
    ("date", "hour"),
    [
        ("Fri, 20 Nov 2026 20:00:00 JST", 11),
        ("Fri, 20 Nov 2026 12:00:00 CET", 11),
        ("Fri, 20 Nov 2026 13:00:00 CEST", 11),
        ("Fri, 20 Nov 2026 14:00:00 MSK", 11),
        ("Fri, 20 Nov 2026 21:00:00 AEST", 11),
        ("Fri, 20 Nov 2026 12:00:00 BST", 11),
        ("Fri, 20 Nov 2026 20:00:00 +0900 (JST)", 11),
        ("Fri, 20 Nov 2026 06:00:00 EST", 11),
        ("Fri, 20 Nov 2026 11:00:00 -0000", 11),
        ("Fri, 20 Nov 2026 11:00:00 XYZ", 11),
        ("2026-11-20T12:00:00+01:00", 11),
        ("2026-11-20 12:00:00 +0100", 11),
        ("2026-11-20T11:00:00Z", 11),
    ],
)
def test_dates(date: str, hour: int) -> None:
    assert read_mail(f"Date: {date}\n\nx".encode()).published == datetime(2026, 11, 20, hour, tzinfo=UTC)
