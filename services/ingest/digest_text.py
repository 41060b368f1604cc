"""Digests in plain text: the mails of a list in one (RFC 1153), and newsletters whose items are a title, a text and an address."""

import re
from email.message import Message

from services.ingest.digest import Section
from services.ingest.mime import message_of
from services.ingest.text import clean, one_line
from services.ingest.urls import canonical
from shared.events import Link

_RULE = re.compile(r"\n-{30,70}[ \t]*\n")  # RFC 1153: 70 hyphens after the preamble, 30 between mails
_HEAD = re.compile(
    r"(?:(?:Date|From|To|Cc|Subject|Message-ID|Message|Reply-To|Sender|Keywords|Content-Type|Organization|In-Reply-To|References)\s*:[^\n]*\n(?:[ \t][^\n]*\n)*){2,}",
    re.I,
)
_CHARSET = re.compile(r"charset\s*=\s*\"?[\w.:-]+\"?", re.I)
_URL = re.compile(r"https?://[^\s<>\"'\])}]+", re.I)
_ALONE = re.compile(r"^\W{0,4}(?:\w+:\s*)?<?(https?://\S+?)>?\W{0,2}$", re.I)
_LEAST_MAILS, _LEAST_ITEMS = 2, 4
_MOST = 500
_COVERED = 0.5


def mails_of(text: str) -> tuple[str, list[Message]]:
    """What stands before the mails of a digest after RFC 1153, and these: parts between lines of hyphens, each with a head. ("", []) for no digest.

    The text is one that was not cleaned: the lines that go on a header's are told by their indent.
    """
    parts = _RULE.split(text)
    if len(parts) < _LEAST_MAILS + 1 or len(parts) > _MOST:
        return "", []
    mails: list[list[str]] = []  # pieces of each
    for part in parts[1:]:
        part = part.strip("\n")
        if match := _HEAD.match(part + "\n"):
            # the text is decoded already, whatever charset a head names
            mails.append([f"{_CHARSET.sub('charset=utf-8', match[0]).rstrip()}\n", part[match.end() :].lstrip()])
        elif not re.match(r"(End of|_{20,}|Subject: Digest Footer)", part) and mails:
            mails[-1].append(f"\n{part}")  # a line of hyphens in a mail itself
        elif not mails:
            return "", []
    if len(mails) < _LEAST_MAILS:
        return "", []
    return clean(parts[0]), [message_of("\n".join(pieces).encode("utf-8", "replace")) for pieces in mails]


def sections_of(text: str) -> tuple[str, list[Section]]:
    """Items that are a title line, a text and a line that is nothing but an address: the text with each as one line, and they. ("", []) for no digest."""
    found: list[Section] = []
    outline: list[str] = []
    pending: list[str] = []
    held = 0
    for paragraph in text.split("\n\n"):
        lines = [line.strip() for line in paragraph.split("\n") if line.strip()]
        if not lines:
            continue
        match = _ALONE.match(lines[-1])
        url = canonical(match[1]) if match else ""
        if not url:
            outline += [*pending, ""]
            pending = lines
            continue
        alone = len(lines) == 1
        told = pending if alone else lines[:-1]
        outline += [] if alone else [*pending, ""]
        pending = []
        title = re.sub(r"^\W+|^\d+[.)]\s+", "", told[0]) if told else ""
        if not (8 <= len(title) <= 150) or len(title.split()) < 2 or len(told) > 12 or _URL.search(title):
            outline += [*told, lines[-1], ""]
            continue
        body = clean("\n".join(told[1:]))
        outline.append(f"• {title}")
        found.append(Section(one_line(title, 300), body, url, (Link(url=url),)))
        held += len(title) + len(body) + len(lines[-1])
    urls = {section.url for section in found}
    if not (_LEAST_ITEMS <= len(found) <= _MOST) or len(urls) < len(found) or held < _COVERED * len(text):
        return "", []
    return clean("\n".join([*outline, *pending])), found
