"""Headers of a mail as text, whatever is wrong with them: encoded words (RFC 2047), bytes above 127 (RFC 6532, or older habits), dates."""

import re
from datetime import UTC, datetime
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from email.utils import getaddresses, parsedate_to_datetime

from services.ingest.dates import read_date
from services.ingest.text import decode

_FOLD = re.compile(r"\r?\n[ \t]*|\r")
_ODD = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_ADDRESS = re.compile(r"[^\s@<>()\[\],;:\"]{1,64}@[^\s@<>()\[\],;:\"]{1,255}")
_VEILED = re.compile(r"(^|[<,;] ?)([^\s@<>()\[\],;:\"]{1,64}) at ([\w-]{1,63}(?:\.[\w-]{1,63})+)(?=\s*(?:$|[>(,;]))")
_DATE_WORDS = re.compile(r"\d{1,2} [A-Za-z]{3,9} \d{2,4}.*")


def header(message: Message, name: str) -> str:
    """The first header of that name, decoded; empty where it is missing. Control characters and half characters, which a charset can smuggle in, are
    spaces."""
    return _ODD.sub(" ", words(raw_header(message, name)))


def raw_header(message: Message, name: str) -> str:
    """The first header of that name on one line, its encoded words as they are."""
    found = next((value for key, value in message.raw_items() if key.lower() == name), "")  # type: ignore[attr-defined]
    return _FOLD.sub(" ", decode(str(found).encode("utf-8", "surrogateescape"))).strip()


def words(raw: str) -> str:
    """Encoded words decoded, by their charset where it is true and by a better guess where it is not."""
    if "=?" not in raw:
        return raw
    try:
        chunks = decode_header(raw)
    except (HeaderParseError, ValueError):
        return raw
    text = ""
    for chunk, charset in chunks:
        if isinstance(chunk, str):
            text += chunk
        else:
            text += decode(chunk, charset.split("*")[0]) if charset else chunk.decode("raw-unicode-escape", "replace")
    return text


def people(message: Message, name: str) -> list[tuple[str, str]]:
    """(name, address) of each in an address header."""
    # parsed before it is decoded: a comma in an encoded name parts nobody
    raw = raw_header(message, name)
    if "@" not in raw:
        raw = _VEILED.sub(r"\1\2@\3", raw)  # as the archives of lists write addresses, against those who gather them
    try:
        found = getaddresses([raw])
    except (RecursionError, ValueError, IndexError):  # comments in comments, and what else Python's parser stumbles on
        found = [("", match[0])] if (match := _ADDRESS.search(raw)) else []
    return [(_ODD.sub(" ", words(name)).strip(" \"'"), _ODD.sub("", address).strip()) for name, address in found]


def date_of(message: Message) -> datetime | None:
    """When the mail was written, else when the last server took it in (the topmost Received). None where neither can be read."""
    return date(header(message, "date")) or date(header(message, "received").rpartition(";")[2])


def date(value: str) -> datetime | None:
    """A date of a header in UTC; one without a zone, or with one that nobody knows, is in UTC. None for what is none."""
    match = _DATE_WORDS.search(value)
    for candidate in (value, match[0] if match else ""):
        try:
            parsed = parsedate_to_datetime(candidate)
            if parsed.tzinfo:
                return parsed.astimezone(UTC)
        except (ValueError, TypeError, IndexError, OverflowError):
            parsed = None
        # what the RFC does not know: zones by other names than those of North America, ISO 8601
        if found := read_date(candidate) or (parsed and parsed.replace(tzinfo=UTC)):
            return found
    return None
