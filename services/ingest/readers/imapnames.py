"""Names of folders on a mail server: written in modified UTF-7 (RFC 3501, 5.1.3), listed by LIST, chosen by patterns."""

import base64
import fnmatch
import re
from collections.abc import Iterable, Sequence

from services.ingest.readers.imapresponses import Response

_SHIFTED = re.compile(r"&([A-Za-z0-9+,]*)-")
_BEYOND = re.compile(r"[^\x20-\x7e]+")
_LISTED = re.compile(rb'\* LIST \(([^)]*)\) (?:NIL|"(?:[^"\\]|\\.)*") (.*)', re.I | re.S)


def encoded(name: str) -> str:
    """A folder's name as it goes over the wire, quoted."""

    def shift(found: re.Match[str]) -> str:
        return "&" + base64.b64encode(found[0].encode("utf-16-be")).decode().rstrip("=").replace("/", ",") + "-"

    wire = _BEYOND.sub(shift, name.replace("&", "&-"))
    return quoted(wire)


def quoted(text: str) -> str:
    """An IMAP quoted string (RFC 3501, 4.3)."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def decoded(wire: bytes) -> str:
    """A folder's name as people read it; one that is not modified UTF-7 as it stands."""

    def unshift(found: re.Match[str]) -> str:
        if not found[1]:
            return "&"
        packed = found[1].replace(",", "/")
        return base64.b64decode(packed + "=" * (-len(packed) % 4)).decode("utf-16-be")

    text = wire.decode("utf-8", "replace")
    try:
        return _SHIFTED.sub(unshift, text)
    except ValueError:  # bad base64, or half a character
        return text


def listed(responses: Iterable[Response]) -> list[str]:
    """The folders of an answer to LIST that can be opened."""
    names = []
    for response in responses:
        if not (found := _LISTED.match(response.text)):
            continue
        flags, name = found[1].lower().split(), found[2]
        if rb"\noselect" in flags or rb"\nonexistent" in flags:
            continue
        if response.literals:
            name = response.literals[-1]
        elif name.startswith(b'"'):
            name = re.sub(rb"\\(.)", rb"\1", name.strip()[1:-1])
        names.append(decoded(name))
    return names


def is_pattern(name: str) -> bool:
    return any(character in name for character in "*?[")


def chosen(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """The folders that the patterns name, in the order of the patterns. INBOX is INBOX in any case (RFC 3501, 5.1)."""
    found: dict[str, None] = {}
    for pattern in patterns:
        for name in names if is_pattern(pattern) else (pattern,):
            if not is_pattern(pattern) or fnmatch.fnmatchcase(_inbox(name), _inbox(pattern)):
                found[_inbox(name)] = None
    return list(found)


def _inbox(name: str) -> str:
    return "INBOX" if name.upper() == "INBOX" else name
