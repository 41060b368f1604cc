"""Bytes to a message by Python's email, with limits that it has not: on nesting, lines and the length of a header.

It asks of every line whether each multipart that is open ends there, recurses into each, and looks for parameters in headers of any length: a mail of
32 MB could be hours of work.
"""

from email.feedparser import BufferedSubFile, BytesFeedParser  # type: ignore[attr-defined]
from email.message import Message
from email.policy import Compat32
from typing import Any

from services.ingest.items import Unusable

MAX_DEPTH = 20  # multiparts and mails within one another
MAX_LINES = 1_000_000  # of a mail: one of 32 MB of base64 has 440,000
MAX_HEADER = 20_000  # characters of a header that are read: RFC 5322 has lines of 998, and folding


class _Bounded(Compat32):
    """The policy that leaves headers as they are, but for their length."""

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        name, value = super().header_source_parse(sourcelines)
        return name, value[:MAX_HEADER]


class _Lines(BufferedSubFile):
    """The lines of a mail; raises Unusable where more parts are open than MAX_DEPTH."""

    def push_eof_matcher(self, pred: Any) -> None:
        if len(self._eofstack) >= MAX_DEPTH:
            raise Unusable("broken-mail", f"the mail nests deeper than {MAX_DEPTH}")
        super().push_eof_matcher(pred)


_POLICY = _Bounded()


def message_of(data: bytes) -> Message:
    """The mail, bytes above 127 as surrogates. Raises Unusable for one beyond the limits; else it takes whatever comes."""
    if data.count(b"\n") + data.count(b"\r") > 2 * MAX_LINES:
        raise Unusable("too-large", f"the mail has more than {MAX_LINES} lines")
    parser = BytesFeedParser(policy=_POLICY)
    parser._input = _Lines()  # type: ignore[attr-defined]
    parser.feed(data)
    return parser.close()
