"""Characters: decoding bytes whose charset is unsure, and cleaning text of what nobody sees."""

import html
import re
import unicodedata

_LONE = re.compile("[\ud800-\udfff]")
# Zero-width, bidirectional and tag characters can hide words from a reader that a model would obey; U+200C and U+200D stay: scripts need them.
_INVISIBLE = re.compile("[\u00ad\u034f\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_SPACES = re.compile(r"[^\S\n]+")
_BLANK_LINES = re.compile(r"\n\s*\n\s*")
_SENTENCE = re.compile(r"(?<=[.!?。！？])\s")
_WESTERN = {"", "ascii", "us-ascii", "iso-8859-1", "iso8859-1", "latin-1", "latin1", "windows-1252", "cp1252", "iso-8859-15"}


def is_noise(text: str) -> bool:
    """Whether decoding gave what no writing has: more than one character in twenty a control code or a replacement."""
    strange = sum((unicodedata.category(c) == "Cc" and c not in "\t\n\r\f\v\x1b\x85") or c == "\ufffd" for c in text)
    return len(text) > 40 and strange > len(text) / 20


def decode(data: bytes, charset: str = "") -> str:
    """Text of bytes that say they are `charset`, which is often untrue: never raises, replaces what has no meaning."""
    charset = charset.strip().strip("\"'").lower()
    for candidate in ("utf-8", charset) if charset in _WESTERN else (charset, "utf-8"):
        try:
            return data.decode(candidate)
        except (UnicodeError, LookupError, ValueError):  # ValueError: a charset name with a null character
            continue
    return data.decode("cp1252", "replace")


def clean(text: str) -> str:
    """Normal form C, without invisible and control characters, single spaces, at most one blank line between paragraphs."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n").replace("\u2029", "\n\n")
    text = _INVISIBLE.sub("", _CONTROL.sub(" ", _LONE.sub("\ufffd", text)))
    lines = (line.strip() for line in _SPACES.sub(" ", unicodedata.normalize("NFC", text)).split("\n"))
    return _BLANK_LINES.sub("\n\n", "\n".join(lines)).strip()


def one_line(text: str, limit: int) -> str:
    """Cleaned, on one line, cut at a word's end with an ellipsis."""
    text = " ".join(clean(text).split())
    if len(text) <= limit:
        return text
    cut = text[: limit - 1]
    return (cut.rsplit(" ", 1)[0] if " " in cut[limit // 2 :] else cut) + "…"


def plain_title(text: str, limit: int = 300) -> str:
    """A title without markup: entities resolved, tags dropped."""
    if "<" in text or "&" in text:
        text = re.sub(r"</?[A-Za-z!][^<>]*>", " ", text) if "<" in text else text
        text = html.unescape(text)
    return one_line(text, limit)


def first_sentence(text: str, limit: int = 120) -> str:
    """The first sentence of a text, for a title where there is none."""
    first = next((line for line in text.split("\n") if any(c.isalnum() for c in line)), text)
    return one_line(_SENTENCE.split(first, maxsplit=1)[0], limit)
