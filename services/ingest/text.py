"""Characters: decoding bytes whose charset is unsure, and cleaning text of what nobody sees."""

import codecs
import html
import re
import unicodedata
from collections.abc import Iterator
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
# Names that Python does not know, or reads as another charset than their writers.
_ALIASES = {
    "x-gbk": "gbk",
    "x-sjis": "shift_jis",
    "windows-31j": "cp932",
    "x-euc-jp": "euc_jp",
    "windows-874": "cp874",
    "unicode-1-1-utf-7": "utf-7",
    "unicode-1-1-utf-8": "utf-8",
    "iso-8859-8-i": "iso-8859-8",
    "x-mac-roman": "mac-roman",
    "x-cp1252": "cp1252",
}
# What writers call by the smaller name is mostly the larger set, as browsers read it (WHATWG, Encoding): by Python's names of the codecs.
_LARGER = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "euc_kr": "cp949",
    "shift_jis": "cp932",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "big5": "big5hkscs",
}
_WESTERN = {"", "cp1252", "iso8859-15"}
_JAPANESE = {"iso2022_jp", "iso2022_jp_1", "iso2022_jp_ext"}
_NONE = {"punycode", "idna", "unicode-escape", "raw-unicode-escape", "undefined"}  # Python's, not charsets; some are slow on long texts
_TAGS = (
    "a abbr acronym address applet article aside audio b big blink blockquote body br button caption center cite code col colgroup dd del details"
    " dfn div dl dt em embed fieldset figcaption figure font footer form frame frameset h[1-6] head header hr html i iframe img input ins kbd"
    " label legend li link main mark meta nav noscript object ol option p picture pre q rp rt ruby s samp script section select small source span"
    " strike strong style sub summary sup svg table tbody td textarea tfoot th thead time title tr tt u ul var video wbr"
)
_TAG = re.compile(f"</?(?:{_TAGS.replace(' ', '|')})(?:\\s[^<>]*)?/?>", re.I)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});")
_ASCII = bytes(range(128))
# RFC 3629, 4: one character above 127.
_UTF8 = re.compile(
    rb"[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xef][\x80-\xbf]{2}|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf4][\x80-\xbf]{3}"
)
_TO_JAPANESE = re.compile(rb"\x1b(?:\$[@B]|\$\(D|\(I)")
_SHIFTS = re.compile(rb"\x1b(\$[@B]|\$\(D|\([BJIH])")  # RFC 1468, RFC 2237, and half-width katakana
_MOST_ESCAPES = 200_000  # of one text: more is junk, on which no time is spent
_TO_EUC = bytes((code | 0x80) if 0x20 < code < 0x7F else code for code in range(256))
_OUTSIDE_JIS = bytes(range(0x21)) + bytes(range(0x7F, 256))
_HIGH = 0.25  # share of bytes above 127 from which a text is hardly written in Latin letters


def is_noise(text: str) -> bool:
    """Whether decoding gave what no writing has: more than one character in twenty a control code or a replacement."""
    strange = len(_STRANGE.findall(text))
    return len(text) > 40 and strange > len(text) / 20


def decode(data: bytes, charset: str = "") -> str:
    """Text of bytes that say they are `charset`, which is often untrue: never raises, replaces what has no meaning."""
    codec = _codec(charset)
    if (codec in _JAPANESE or data.isascii()) and _TO_JAPANESE.search(data):
        return _japanese(data)
    for candidate in ("utf-8",) if codec in _WESTERN else (codec, "utf-8"):
        try:
            return data.decode(candidate)
        except (UnicodeError, LookupError):  # LookupError: Python's codecs that give no text (base64, rot13)
            continue
    if _mostly_utf8(data):
        return data.decode("utf-8", "replace")
    if codec in _WESTERN and codec and not _hardly_latin(data):
        return data.decode(codec, "replace")
    return _guessed(data) or data.decode("cp1252", "replace")


def decodes(data: bytes, charset: str) -> bool:
    """Whether the bytes can be what they say they are, without a replacement."""
    try:
        data.decode("ascii" if _named(charset) == "ascii" else _codec(charset) or "ascii")
    except (UnicodeError, LookupError):
        return False
    return True


def _codec(charset: str) -> str:
    """Python's codec by which a text of this charset is read; empty where there is none."""
    name = _named(charset)
    return _LARGER.get(name, name)


def _named(charset: str) -> str:
    """Python's own name of a charset, under whichever of its names; empty for what is no charset of a text."""
    name = charset.strip().strip("\"'").lower()
    try:
        name = codecs.lookup(_ALIASES.get(name, name)).name if name else ""
    except (LookupError, ValueError):  # ValueError: with a null character
        return ""
    return "" if name.replace("_", "-") in _NONE else name


def _mostly_utf8(data: bytes) -> bool:
    """Whether most bytes above 127 make characters of UTF-8: it is UTF-8 then, cut or hurt in places. By chance they hardly do in any other charset."""
    return 2 * len(_UTF8.sub(b"", data).translate(None, _ASCII)) < len(data.translate(None, _ASCII))


def _japanese(data: bytes) -> str:
    """ISO-2022-JP as it is written: with the characters of NEC and IBM, which the standard lacks, and with half-width katakana (CP50221)."""
    if data.count(b"\x1b") > _MOST_ESCAPES:
        return data.decode("iso2022_jp_ext", "replace")
    text, shift_jis = [], bytearray()
    for escape, piece in _pieces(data):
        line, end, rest = piece.partition(b"\n")  # each line begins in ASCII, RFC 1468
        if escape == b"$(D":  # JIS X 0212, which Shift JIS can't hold
            text.append(shift_jis.decode("cp932", "replace"))
            text.append(b"".join(b"\x8f" + line[n : n + 2].translate(_TO_EUC) for n in range(0, len(line), 2)).decode("euc_jp", "replace"))
            shift_jis = bytearray()
        else:
            shift_jis += _shifted(line) if escape in (b"$@", b"$B") else line.translate(_TO_EUC) if escape == b"(I" else line
        shift_jis += end + rest
    return "".join(text) + shift_jis.decode("cp932", "replace")


def _pieces(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Each piece with the escape sequence before it."""
    escape, place = b"(B", 0
    for found in _SHIFTS.finditer(data):
        yield escape, data[place : found.start()]
        escape, place = found[1], found.end()
    yield escape, data[place:]


def _shifted(pairs: bytes) -> bytes:
    """JIS X 0208 in Shift JIS, whose larger set Python knows. What is outside of the table is left out: spaces that a mail program put in, control
    characters."""
    pairs = pairs.translate(None, _OUTSIDE_JIS)
    out = bytearray()
    for row, cell in zip(pairs[::2], pairs[1::2], strict=False):
        lead = (row - 0x21) // 2 + 0x81
        out.append(lead if lead < 0xA0 else lead + 0x40)
        out.append(cell + (0x1F if cell < 0x60 else 0x20) if row % 2 else cell + 0x7E)
    return bytes(out)


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
    """A title in HTML without its markup: entities resolved, HTML's own tags dropped (`Vec<T>` is none). In linear time."""
    if "<" in text:
        text = _TAG.sub(" ", without(text, "<!--", "-->"))
    return one_line(html.unescape(text), limit)


def resolved(text: str) -> str:
    """Plain text with the entities that somebody escaped once too often: `It&#8217;s`. An ampersand without its semicolon stays."""
    return _ENTITY.sub(lambda found: html.unescape(found[0]), text)


def first_sentence(text: str, limit: int = 120) -> str:
    """The first sentence of a text, for a title where there is none."""
    first = next((line for line in text.split("\n") if any(c.isalnum() for c in line)), text)
    return one_line(_SENTENCE.split(first, maxsplit=1)[0], limit)
