"""XML as UTF-8 for a parser that is strict about it: its charset found out, and the named characters of HTML written as numbers."""

import re
from html.entities import html5

from services.ingest.text import decode, decodes

# Appendix F of XML 1.0: a byte order mark, or how `<?xm` looks.
_MARKS = (
    (b"\x00\x00\xfe\xff", "utf-32-be"),
    (b"\xff\xfe\x00\x00", "utf-32-le"),
    (b"\xfe\xff", "utf-16-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\x00\x00\x00<", "utf-32-be"),
    (b"<\x00\x00\x00", "utf-32-le"),
    (b"\x00<\x00?", "utf-16-be"),
    (b"<\x00?\x00", "utf-16-le"),
    (b"\x4c\x6f\xa7\x94", "cp037"),
)
_DECLARED = re.compile(rb"""\s*<\?xml\s[^>]{0,200}?\bencoding\s*=\s*["']([\w.:-]{1,40})["']""")
_CHARSET = re.compile(r""";\s*charset\s*=\s*["']?([\w.:-]{1,40})""", re.I)
_WIDE = re.compile(r"(utf|ucs)[_-]?(2|4|16|32)|iso-10646|csunicode|unicode$", re.I)
_NAMED = re.compile(r"&([A-Za-z][A-Za-z0-9]{1,30};)")
_OF_XML = frozenset(("lt;", "gt;", "amp;", "quot;", "apos;"))
_NUMBERS = {name: "".join(f"&#{ord(character)};" for character in characters) for name, characters in html5.items() if name not in _OF_XML}


def as_utf8(data: bytes, content_type: str = "") -> tuple[bytes, str]:
    """The document in UTF-8, and what of its charset is not as declared (empty: nothing).

    What counts is, in this order, a byte order mark, the charset of the Content-Type, and the declaration in the XML (RFC 7303, 3), the first of them
    that is true of the bytes. text/xml without a charset says nothing: it once meant US-ASCII (RFC 3023), and does not any more.
    """
    mark = next((codec for start, codec in _MARKS if data.startswith(start)), "")
    served, written = _CHARSET.search(content_type), _DECLARED.match(data)
    declared = [name for name in (served[1] if served else "", written[1].decode() if written else "") if name]
    declared = [name for name in declared if not _WIDE.match(name)]  # one of two or four bytes would have shown by its mark
    wrong = ""
    if mark:
        text = data.decode(mark, "replace") if mark != "utf-8" else decode(data, mark)
    else:
        true = next((name for name in declared or ["utf-8"] if decodes(data, name)), "")
        text = decode(data, true or (declared or [""])[0])
        wrong = "" if true else f"declared as {declared[0]}, which it is not" if declared else "no charset is declared, and it is not UTF-8"
    return _numbered(text.lstrip("\ufeff")).encode("utf-8", "replace"), wrong


def _numbered(text: str) -> str:
    """`&eacute;` as `&#233;`: XML knows five names only, and a parser that reads no DTD drops the others without a word. CDATA stays as it is."""
    if not _NAMED.search(text):
        return text
    first, *others = text.split("<![CDATA[")
    parts = [_NAMED.sub(_number, first)]
    for other in others:
        inside, end, after = other.partition("]]>")
        parts.append(inside + end + _NAMED.sub(_number, after))
    return "<![CDATA[".join(parts)


def _number(found: re.Match[str]) -> str:
    return _NUMBERS.get(found[1], found[0])
