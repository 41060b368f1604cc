"""Characters: decoding bytes whose charset is unsure, and cleaning text of what nobody sees."""

import codecs
import html
import re
import unicodedata
from functools import cache

_LONE = re.compile("[\ud800-\udfff]")
# Zero-width, bidirectional and tag characters can hide words from a reader that a model would obey; U+200C and U+200D stay: scripts need them.
_INVISIBLE = re.compile("[\u00ad\u034f\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
# U+200C and U+200D that join nothing, and fillers: newsletters pad the preview that mail programs show with hundreds of them.
_PADDING = re.compile("(?:(?<=\\s)|^)[\u200c\u200d]+|[\u3164\uffa0\u2800]{2,}", re.M)
_SPACES = re.compile(r"[^\S\n]+")
_STRANGE = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f-\x84\x86-\x9f\ufffd]")
_BLANK_LINES = re.compile(r"\n\s*\n\s*")
_SENTENCE = re.compile(r"(?<=[.!?。！？])\s")
_WESTERN = {"", "ascii", "us-ascii", "iso-8859-1", "iso8859-1", "latin-1", "latin1", "windows-1252", "cp1252", "iso-8859-15"}
# What writers call by the smaller name is mostly the larger set, as browsers read it (WHATWG, Encoding).
_LARGER = {
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "x-gbk": "gb18030",
    "ks_c_5601-1987": "cp949",
    "euc-kr": "cp949",
    "shift_jis": "cp932",
    "x-sjis": "cp932",
}
_LARGER |= {
    "shift-jis": "cp932",
    "iso-2022-jp": "iso2022_jp_ext",
    "iso-8859-9": "cp1254",
    "iso-8859-11": "cp874",
    "tis-620": "cp874",
    "big5": "big5hkscs",
}
_LARGER |= {
    "unicode-1-1-utf-7": "utf-7",
    "utf8": "utf-8",
    "unicode-1-1-utf-8": "utf-8",
    "iso-8859-8-i": "iso-8859-8",
    "x-mac-roman": "mac-roman",
    "macintosh": "mac-roman",
}
_NONE = {"punycode", "idna", "unicode-escape", "raw-unicode-escape", "undefined"}  # Python's, not charsets; some are slow on long texts
_ASCII = bytes(range(128))
_HIGH = 0.25  # share of bytes above 127 from which a text is hardly written in Latin letters


def is_noise(text: str) -> bool:
    """Whether decoding gave what no writing has: more than one character in twenty a control code or a replacement."""
    strange = len(_STRANGE.findall(text))
    return len(text) > 40 and strange > len(text) / 20


def decode(data: bytes, charset: str = "") -> str:
    """Text of bytes that say they are `charset`, which is often untrue: never raises, replaces what has no meaning."""
    charset = charset.strip().strip("\"'").lower()
    charset = "" if _is_no_charset(charset) else charset
    for candidate in ("utf-8", charset) if charset in _WESTERN else (_LARGER.get(charset, charset), charset, "utf-8"):
        try:
            found = data.decode(candidate)
        except (UnicodeError, LookupError, ValueError):  # ValueError: a charset name with a null character
            continue
        if not (charset in _WESTERN and candidate == charset and _hardly_latin(data)):
            return found
    return _guessed(data) or data.decode("cp1252", "replace")


def _is_no_charset(name: str) -> bool:
    """Whether it is a codec of Python's that is none of a text, under any of the names that Python takes for it."""
    try:
        return codecs.lookup(name).name.replace("_", "-") in _NONE
    except (LookupError, ValueError):  # unknown, or with a null character: found out when it is tried
        return False


def _hardly_latin(data: bytes) -> bool:
    return len(data.translate(None, _ASCII)) > _HIGH * len(data)


def _guessed(data: bytes) -> str:
    """By the frequency of its characters, where it is not Latin: a Western text is read rightly as windows-1252, a guess could only spoil it."""
    if not _hardly_latin(data) or len(data) < 16:
        return ""
    from charset_normalizer import from_bytes

    best = from_bytes(data[:20_000], steps=3, chunk_size=512).best()
    return data.decode(best.encoding, "replace") if best and best.encoding not in ("utf_16", "utf_16_le", "utf_16_be", "utf_32") else ""


def clean(text: str) -> str:
    """Normal form C, without invisible and control characters, single spaces, at most one blank line between paragraphs."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n").replace("\u2029", "\n\n")
    text = _INVISIBLE.sub("", _CONTROL.sub(" ", _LONE.sub("\ufffd", text)))
    if "\u200c" in text or "\u200d" in text or "\u3164" in text or "\u2800" in text:
        text = _PADDING.sub("", text)
    if not text.isascii():
        text = unicodedata.normalize("NFC", _marks().sub(r"\1", text))
    lines = (line.strip() for line in _SPACES.sub(" ", text).split("\n"))
    return _BLANK_LINES.sub("\n\n", "\n".join(lines)).strip()


def without(text: str, opening: str, closing: str) -> str:
    """The text without what stands between two marks, and without these; an opening that nothing closes stays. In linear time."""
    parts, place = [], 0
    while (start := text.find(opening, place)) >= 0 and (end := text.find(closing, start + len(opening))) >= 0:
        parts.append(text[place:start])
        place = end + len(closing)
    return "".join(parts) + text[place:]


@cache
def _marks() -> re.Pattern[str]:
    """More combining marks on a letter than any script has (UAX #15, Stream-Safe Text Format: 30): putting them in order takes square time."""
    marks = "".join(re.escape(chr(code)) for code in range(0x300, 0x1F000) if unicodedata.combining(chr(code)))
    return re.compile(f"([{marks}]{{30}})[{marks}]+")


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
