"""An mbox's bytes to mails, a batch at a time. Where one ends is told by the next From line, and by Content-Length where that leads to one."""

import os
import re
from dataclasses import dataclass, field
from typing import BinaryIO

from services.ingest.readers import mails

_FROM = re.compile(rb"From (\S.*\d\d:\d\d|\S+@\S+\s*$)")  # after an empty line
_WHOLE_FROM = re.compile(rb"From \S+ +(Mon|Tue|Wed|Thu|Fri|Sat|Sun) +[A-Z][a-z]{2} +\d{1,2} +\d\d:\d\d(:\d\d)? .*\d{4}")  # without one
_QUOTED_FROM = re.compile(rb"^>(>*From )", re.M)
_LENGTH = re.compile(rb"content-length:\s*(\d{1,15})\s*$", re.I)
_EMPTY = (b"\n", b"\r\n")
_LONGEST_FROM = 1_000  # bytes
_LINE = 1_000_000  # bytes; a longer line is read in pieces


class NotMbox(ValueError):
    """The file does not begin with a From line."""


@dataclass(frozen=True)
class Part:
    """Mails, as they were before mboxrd quoted them, and the offset behind them; `last` is where the last of them begins. `waits`: behind them is a mail
    that has perhaps not ended."""

    mails: list[bytes]
    end: int
    last: int
    waits: bool = False


@dataclass
class _Mail:
    """A mail that is being read, from its From line on."""

    begin: int
    held: bytearray = field(default_factory=bytearray)
    header: bool = True
    length: int | None = None
    until: int = 0  # by its Content-Length: no From line before this offset is one

    def add(self, line: bytes) -> None:
        if len(self.held) <= mails.MAX_MAIL:  # of a mail that is too large only the beginning is held
            self.held += line
        if self.header and self.length is None and (length := _LENGTH.match(line)):
            self.length = int(length[1])

    def data(self) -> bytes:
        return _QUOTED_FROM.sub(rb"\1", self.held)


def read_part(file: BinaryIO, offset: int, last: int, end: int, *, settled: bool = True, certain: bool = True) -> Part:
    """Mails from `offset` on, up to a batch or to `end`. Where no mail begins there the one at `last` has grown, and is read again whole; where none
    begins there either, all. `settled` says that the file is not being written to: a last mail that looks ended has ended. `certain`: it has in any case.
    Raises NotMbox.
    """
    file.seek(offset)
    found: list[bytes] = []
    mail: _Mail | None = None
    position, begun, total, blank, whole_line = offset, last, 0, True, True
    while position < end and (line := file.readline(min(_LINE, end - position))):
        begins = whole_line and line[:5] == b"From " and _begins(line, mail, position, blank)
        if begins:
            if mail is not None:
                found.append(mail.data())
                total, begun = total + len(mail.held), mail.begin
                if len(found) >= mails.MAX_BATCH or total >= mails.MAX_BATCH_BYTES:
                    return Part(found, position, begun)
            mail = _Mail(position)
        elif mail is not None:
            mail.add(line)
        elif line.strip():
            if offset == 0:
                raise NotMbox
            return read_part(file, last if last < offset else 0, 0, end, settled=settled, certain=certain)
        position += len(line)
        blank, whole_line = whole_line and line in _EMPTY, line[-1:] == b"\n"
        if mail is not None and mail.header and blank:
            mail.header = False
            if mail.length is not None:
                until = position + mail.length
                # one that leads beyond the end: the rest may not be there yet; where it has not come in a while the length was wrong
                mail.until = until if (not certain if until > end else _leads_to_end(file, until)) else 0
    if mail is None:
        return Part(found, position, begun)
    ended = whole_line and not mail.header and mail.until <= position
    if not certain and not (settled and ended):
        return Part(found, mail.begin, begun, waits=True)
    return Part([*found, mail.data()], position, mail.begin)


def _begins(line: bytes, mail: _Mail | None, position: int, blank: bool) -> bool:
    if mail is None:
        return True
    return position >= mail.until and len(line) <= _LONGEST_FROM and bool(_FROM.match(line) if blank else _WHOLE_FROM.match(line))


def _leads_to_end(file: BinaryIO, offset: int) -> bool:
    """Whether a mail can end at this offset: behind it is the next From line, or nothing."""
    behind = os.pread(file.fileno(), 16, offset).lstrip(b"\r\n")
    return behind.startswith(b"From ") or not behind
