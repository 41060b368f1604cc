"""What a mail came through: the list (RFC 2919), else the sender. One mailbox takes in many newsletters, and each is a channel of its own."""

import re
from collections.abc import Collection, Iterable
from email.message import Message

from services.ingest.headers import header, people
from services.ingest.text import one_line
from services.ingest.urls import canonical
from shared.events import Link

_ID = re.compile(r"<\s*([^<>\s]{1,255})\s*>")
_ANGLED = re.compile(r"<([^<>]+)>")
_BOILERPLATE = re.compile(
    r"unsubscri|opt-?out|(email|manage|update)[-_ ]?(your )?(preferences|subscription|profile)|manage_preferences|list-manage\.com/(profile|about|vcard)"
    r"|forward-to-friend|campaign-archive\d*\.com/home|abbestellen|désabonner|désinscri|darse de baja|afmelden",
    re.I,
)
_PIXEL = re.compile(r"/(open|pixel|beacon|o)\.(gif|png|aspx?)(\?|$)|/wf/open\?|/track/open|\bpixel\.", re.I)


def channel_of(message: Message) -> tuple[str, str]:
    """(id, name in words): the List-Id in lower case, or the sender's address. Empty where the mail names neither."""
    raw = header(message, "list-id")
    match = _ID.search(raw)
    bare = raw.strip().strip("<>").lower()
    identity = match[1].lower() if match else "" if re.search(r"[\s<>\"]", bare) or "." not in bare[1:-1] else bare
    name, address = sender_of(message)
    if not identity:
        return address.lower()[:255], one_line(name or address, 200)
    phrase = one_line((raw[: match.start()] if match else "").strip().strip('"'), 200)
    # a list of people is called by its own name, a newsletter that calls its list "12345 mc list" by its sender's
    machine = not phrase or bool(re.search(r"\d{5,}|\bmc list\b|^list\b", phrase, re.I))
    personal = header(message, "precedence").lower() == "list" or bool(header(message, "list-post").startswith("<mailto"))
    return identity[:255], phrase if not machine else one_line(identity if personal or not name else name, 200)


def sender_of(message: Message) -> tuple[str, str]:
    """(name, address) of who wrote the mail, else of who sent it, else of where answers go."""
    for field in ("from", "sender", "reply-to"):
        for name, address in people(message, field):
            if "@" in address or name:
                return name, address
    return "", ""


def page_of(message: Message) -> str:
    """The address under which the mail itself can be read (Archived-At, RFC 5064). Empty where there is none."""
    raw = header(message, "archived-at")
    match = _ANGLED.search(raw)
    return canonical(match[1] if match else raw)


def managing(message: Message) -> frozenset[str]:
    """The addresses that manage the subscription, as the mail names them (RFC 2369)."""
    names = ("list-unsubscribe", "list-subscribe", "list-help", "list-owner")
    return frozenset(canonical(found) for name in names for found in _ANGLED.findall(header(message, name)))


def readable(links: Iterable[Link], own: Collection[str]) -> tuple[Link, ...]:
    """The links that lead to something to read: not those that manage the subscription (`own` are some of them) or count openings."""
    kept: dict[str, Link] = {}
    for link in links:
        if link.url not in own and not _BOILERPLATE.search(f"{link.url} {link.text}") and not _PIXEL.search(link.url):
            kept.setdefault(link.url, link)
    return tuple(kept.values())
