"""Mutations: bytes flipped, cut, spliced between files, repeated, and dangerous tokens put in. All of it follows from (seed, number)."""

import random
from collections.abc import Callable, Sequence

from tests.fuzz.seeds import MOST, Pool

# How often each kind is taken, about as often as it is met and as large as its parser is.
WEIGHTS = {"feed": 30, "mail": 30, "html": 10, "digest": 8, "json": 6, "opml": 5, "links": 4, "mbox": 3, "headers": 2, "imap": 2}
OTHER_KIND = 0.1  # share of splices with a file of another kind
TOKENS: tuple[bytes, ...] = (
    b'<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>', b"&b;", b"<!ENTITY % p SYSTEM 'file:///etc/passwd'>%p;", b"<!DOCTYPE",
    b"<![CDATA[", b"]]>", b"<!--", b"-->", b"<!--a>", b"<?xml version='1.0' encoding='utf-7'?>", b"<?", b"<a><div>", b"<b>", b"<table><tr><td>", b"</", b"<", b">",
    b"<style>", b"</style>", b"<style>@", b"@media{", b"/*", b"{", b"}", b"<p style='opacity:0", b"style='font-size:0'", b"<font color=#fff>", b"0000000000", b"rgba(,,",
    b"<script>", b"<svg><math>", b"<iframe srcdoc='", b"<base href='//[", b"<item>", b"<entry>", b"</item>", b"<content:encoded>", b"<li><a href=http://e.org/1>Some title here</a>",
    b"<h2>A heading of news</h2><p>", b"<blockquote type=cite>", b"<pre>", b"xmlns:a='", b"<title>", b"xml:base='http://[::1'",
    b"\r\n--outer\r\n", b"\n--inner--\n", b"\n--d\n", b"\nContent-Type: multipart/mixed; boundary=\"outer\"\n", b"\nContent-Type: message/rfc822\n\n",
    b"\nContent-Type: multipart/digest; boundary=d\n\n", b"\nContent-Transfer-Encoding: base64\n", b"\nContent-Transfer-Encoding: x-uuencode\n", b"\nMIME-Version: 1.0\n",
    b"=?utf-8?B?", b"=?a?q?", b"?=", b"=?utf-8?Q?=FF=FE?=", b"=\n", b"=ZZ", b"begin 644 x\n", b"\nend\n", b"From a@b.c Fri Nov 20 10:00:00 2026\n", b"\n\nFrom ", b"\n>From ",
    b"(((((", b")", b"<<<<", b'"""', b"@@@@", b",,,,", b";;;;", b"charset=utf-7", b"charset=idna", b"charset=\"unicode escape\"", b"charset=zlib", b"charset=\x00", b"charset=utf-16",
    b"charset=gb2312", b"filename*0*=utf-8''%", b"filename*=x'y'z", b"; a*999999999=1", b"On Monday wrote:\n", b"on wrote:\n", b"sent from my aaaa aaaa\n", b"-- \n", b"> ",
    b"------------------------------\n", b"Subject: x\nFrom: y\n", b"unsubscribe", b"List-Id: <", b"Date: Fri, 99 Nov 99999 99:99:99 +9999\n",
    b"99999999999999999999999999", b"-1", b"1e309", b"0x", b"NaN", b"4294967296", b"9" * 5000, b"0.0000000000000001",
    b"[[[[[[[[", b'{"a":', b'"\\ud800"', b"\\u0000", b'"items": [', b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf", b"\x00", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf",
    "\u202e".encode(), "\u0301\u0327".encode(), "\u200d".encode(), "\U000e0041".encode(), "\ufffe".encode(), "\u2028".encode(), "İ".encode(), b"\x1b$B", b"\x85",
    b"http://[", b"https://e.org:99999/", b"https://e.org/?u=https%253A%252F%252Fe.org%252F", b"https://urldefense.com/v3/__", b"__;!!", b"http://a.a.a.a.", b"data:text/html,",
    b"javascript:", b"file:///etc/passwd", b"%00", b"%", b"../", b"\t", b"   ", b"\r", b"\n", b"\n\n\n", b"{99999999999}", b"{10}\n", b"* ", b"\x0c", b"&#0;", b"&#x110000;", b"&#55296;", b"&amp;",
    b"&&&&", b"xmlUrl=\"", b"<outline ", b"&bogus;",
)  # fmt: skip
Change = Callable[[random.Random, bytearray, Sequence[bytes]], bytearray]


def pick(seed: int, number: int, pool: Pool) -> tuple[str, bytes]:
    """The kind and the input of a mutation. Its parser, and nothing else, decides what comes of it."""
    chance = random.Random(f"{seed} {number}")
    kinds = [kind for kind in WEIGHTS if pool.get(kind)]
    kind = chance.choices(kinds, [WEIGHTS[kind] for kind in kinds])[0]
    data = bytearray(chance.choice(pool[kind]))
    for _ in range(chance.choices((1, 2, 3, 6), (4, 3, 2, 1))[0]):
        other = chance.choice(kinds) if chance.random() < OTHER_KIND else kind
        data = chance.choices(CHANGES, _OFTEN)[0](chance, data, pool[other])[:MOST]
    return kind, bytes(data)


def _flip(chance: random.Random, data: bytearray, _: Sequence[bytes]) -> bytearray:
    for _ in range(chance.randint(1, 8)):
        if data:
            data[chance.randrange(len(data))] = chance.choice((chance.randrange(256), 0, 10, 32, 34, 38, 60, 62, 255))
    return data


def _cut(chance: random.Random, data: bytearray, _: Sequence[bytes]) -> bytearray:
    begin, end = _span(chance, data)
    return data[:begin] if chance.random() < 0.3 else data[:begin] + data[end:]


def _splice(chance: random.Random, data: bytearray, others: Sequence[bytes]) -> bytearray:
    other = bytearray(chance.choice(others))
    begin, end = _span(chance, other)
    at, rest = _span(chance, data)
    return data[:at] + other[begin:end] + data[rest if chance.random() < 0.5 else at :]


def _repeat(chance: random.Random, data: bytearray, _: Sequence[bytes]) -> bytearray:
    """A piece of the file again and again, at times to the brim."""
    begin, end = _span(chance, data, 200)
    piece = data[begin:end] or bytearray(b" ")
    return data[:end] + piece * _times(chance, len(piece)) + data[end:]


def _token(chance: random.Random, data: bytearray, _: Sequence[bytes]) -> bytearray:
    for _ in range(chance.randint(1, 4)):
        at = chance.randint(0, len(data))
        data = data[:at] + chance.choice(TOKENS) + data[at:]
    return data


def _tokens(chance: random.Random, data: bytearray, _: Sequence[bytes]) -> bytearray:
    """One or two tokens in turn, again and again: what takes square time in a parser shows it here."""
    piece = b"".join(chance.choices(TOKENS, k=chance.choice((1, 1, 2))))
    at = chance.randint(0, len(data))
    return data[:at] + piece * _times(chance, len(piece)) + data[at:]


def _swap(chance: random.Random, data: bytearray, _: Sequence[bytes]) -> bytearray:
    begin, end = _span(chance, data, 2_000)
    middle = (begin + end) // 2
    return data[:begin] + data[middle:end] + data[begin:middle] + data[end:]


def _recode(chance: random.Random, data: bytearray, _: Sequence[bytes]) -> bytearray:
    """The same words in another encoding than the file says."""
    text = data.decode("utf-8", "replace")
    return bytearray(text.encode(chance.choice(("utf-16", "utf-16-be", "utf-32", "utf-7", "cp1252", "gb18030", "shift_jis", "cp500")), "replace"))


def _span(chance: random.Random, data: bytearray, most: int = MOST) -> tuple[int, int]:
    begin = chance.randint(0, len(data))
    return begin, min(len(data), begin + chance.randint(0, chance.choice((8, 64, 512, most))))


def _times(chance: random.Random, size: int) -> int:
    return max(1, chance.choice((3, 30, 300, MOST // size)) if size else 1)


CHANGES: tuple[Change, ...] = (_flip, _cut, _splice, _repeat, _token, _tokens, _swap, _recode)
_OFTEN = (5, 4, 4, 2, 5, 2, 2, 1)
