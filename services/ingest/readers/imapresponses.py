"""What a mail server says (RFC 3501, 7), response by response: bounded in bytes, and in words where the network fails."""

import asyncio
import contextlib
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

from services.ingest.items import SourceProblem

_EACH = 100  # bytes that a response costs besides its text: a flood of empty lines is a flood
_LITERAL = re.compile(rb"\{(\d{1,15})\}$")


@dataclass(frozen=True)
class Response:
    """One response: its line, in which a literal stands as its {size}, and the literals."""

    text: bytes
    literals: tuple[bytes, ...] = ()


class Refused(SourceProblem):
    """The server answers a command with NO or BAD; `text` is what it says of it, with its response code (RFC 5530) if it has one."""

    def __init__(self, host: str, text: bytes) -> None:
        self.text = words(text)
        super().__init__(f"the mail server {host} refuses: {self.text}")


class Budget:
    """Bytes that are left to an answer."""

    def __init__(self, host: str, most: int) -> None:
        self._host, self._left, self._most = host, most, most

    def take(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise SourceProblem(f"the mail server {self._host} answers with more than the {self._most} bytes that were to be expected: not read on")


class Responses:
    """The responses of one connection. `bye` is the reason with which the server said that it ends it, where it did."""

    def __init__(self, host: str, reader: asyncio.StreamReader) -> None:
        self._host, self._reader = host, reader
        self.bye = b""

    async def read(self, budget: Budget) -> Response:
        """The next one. Raises SourceProblem where the connection ends or the budget does."""
        pieces: list[bytes] = []
        literals: list[bytes] = []
        try:
            while True:
                pieces.append(await self._line(budget))
                if not (literal := _LITERAL.search(pieces[-1])):
                    return Response(b"".join(pieces), tuple(literals))
                budget.take(size := int(literal[1]))
                literals.append(await self._reader.readexactly(size))
        except asyncio.IncompleteReadError as error:
            why = f": {words(self.bye)}" if self.bye else ""
            raise SourceProblem(f"the mail server {self._host} closed the connection{why}") from error

    async def _line(self, budget: Budget) -> bytes:
        pieces: list[bytes] = []
        budget.take(_EACH)
        while True:
            try:
                piece = await self._reader.readuntil(b"\n")
            except asyncio.LimitOverrunError as error:  # a long line, such as SEARCH in a large folder gives: in pieces
                piece = await self._reader.readexactly(error.consumed)
            budget.take(len(piece))
            pieces.append(piece)
            if piece.endswith(b"\n"):
                return b"".join(pieces).rstrip(b"\r\n")


@contextlib.contextmanager
def told(host: str) -> Iterator[None]:
    """Say in words what the network did."""
    try:
        yield
    except TimeoutError as error:
        raise SourceProblem(f"the mail server {host} gives no whole answer in time") from error
    except ssl.SSLCertVerificationError as error:
        reason = f"its certificate is not good ({error.verify_message or error.reason}); `ca_file` names an authority of your own"
        raise SourceProblem(f"no safe connection to the mail server {host}: {reason}") from error
    except ssl.SSLError as error:
        raise SourceProblem(f"no safe connection to the mail server {host}: {error.reason or error}") from error
    except OSError as error:
        raise SourceProblem(f"the mail server {host} can't be reached: {error or type(error).__name__}") from error


def words(text: bytes) -> str:
    return " ".join(text[:300].decode("utf-8", "replace").split())
