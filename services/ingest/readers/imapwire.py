"""IMAP4rev1 (RFC 3501) on the wire, as far as reading wants it: commands out, responses in, everything bounded in bytes and in time.

Why no library: docs/decisions/0004-an-imap-client-of-our-own.md.
"""

import asyncio
import contextlib
import re
import ssl
from collections.abc import Callable

from services.ingest.items import SourceProblem
from services.ingest.readers.imapresponses import Budget, Refused, Response, Responses, told, words

TIMEOUT_S = 30.0  # of each exchange with the server, in whole: a byte now and then does not prolong it
ANSWER = 256_000  # bytes that an answer may have where nothing else is said
_BUFFER = 128_000  # bytes read ahead of what is asked for
_LOGOUT_S = 2.0
_ROUNDS = 5  # continuation requests that one command may meet
_NEWS = re.compile(rb"\* \d+ EXISTS", re.I)


class Wire:
    """One connection. Every method raises SourceProblem in words; after one that is not Refused, close it. Commands go one after the other."""

    def __init__(self, host: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.host, self._reader, self._writer = host, reader, writer
        self.capabilities: frozenset[str] = frozenset()
        self.preauthenticated = False
        self._responses = Responses(host, reader)
        self._count = 0

    @classmethod
    async def connect(cls, host: str, port: int, context: ssl.SSLContext | None, starttls: bool) -> "Wire":
        """Connected and greeted, under TLS where a context is given: from the first byte on, or by STARTTLS, never less than was asked for."""
        with told(host):
            async with asyncio.timeout(TIMEOUT_S):
                reader, writer = await asyncio.open_connection(host, port, ssl=None if starttls else context, limit=_BUFFER)
        wire = cls(host, reader, writer)
        try:
            await wire._greeting()
            if context is not None and starttls:
                await wire._starttls(context)
            await wire.ask_capabilities()
        except BaseException:
            wire.abort()
            raise
        return wire

    async def command(
        self, text: str | bytes, most: int = ANSWER, seconds: float = TIMEOUT_S, answer: Callable[[bytes], bytes] | None = None
    ) -> list[Response]:
        """The untagged responses to a command, and its own last. `answer` makes the reply to a continuation request (RFC 3501, 7.5)."""
        with told(self.host):
            async with asyncio.timeout(seconds):
                tag = self._send(text)
                return await self._until(tag, Budget(self.host, most), answer)

    async def ask_capabilities(self) -> None:
        """Ask what the server can do: it may say another thing before TLS, under TLS and after the login."""
        said = [response.text for response in await self.command("CAPABILITY")]
        found = [text.split()[2:] for text in said if text.upper().startswith(b"* CAPABILITY ")]
        self.capabilities = frozenset(word.decode("ascii", "replace").upper() for words in found for word in words)

    async def idle(self, seconds: float) -> bool:
        """IDLE (RFC 2177) for at most so long. True as soon as the server tells of mail that is new."""
        budget = Budget(self.host, ANSWER)
        news = False
        with told(self.host):
            async with asyncio.timeout(TIMEOUT_S):
                tag = self._send("IDLE")
                while not (response := await self._responses.read(budget)).text.startswith(b"+"):
                    self._check(response, tag)
                    news = news or bool(_NEWS.match(response.text))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    while not news:
                        response = await self._responses.read(budget)
                        self._check(response, tag)
                        news = bool(_NEWS.match(response.text))
            async with asyncio.timeout(TIMEOUT_S):
                self._writer.write(b"DONE\r\n")
                rest = await self._until(tag, budget, None)
        return news or any(_NEWS.match(response.text) for response in rest)

    async def close(self) -> None:
        """Log out, shortly, and close."""
        with contextlib.suppress(SourceProblem):
            await self.command("LOGOUT", seconds=_LOGOUT_S)
        self.abort()

    def abort(self) -> None:
        """Close without a word."""
        self._writer.transport.abort()

    async def _greeting(self) -> None:
        with told(self.host):
            async with asyncio.timeout(TIMEOUT_S):
                greeting = (await self._responses.read(Budget(self.host, ANSWER))).text
        if greeting.upper().startswith(b"* BYE"):
            raise SourceProblem(f"the mail server {self.host} takes no connection: {words(greeting[5:])}")
        self.preauthenticated = greeting.upper().startswith(b"* PREAUTH")
        if not self.preauthenticated and not greeting.upper().startswith(b"* OK"):
            raise SourceProblem(f"{self.host} is no IMAP server: it greets with {words(greeting)!r}")

    async def _starttls(self, context: ssl.SSLContext) -> None:
        if self.preauthenticated:  # somebody in between may have said so: RFC 9051, 11.2
            raise SourceProblem(f"the mail server {self.host} leaves no room for STARTTLS (PREAUTH): not read without TLS")
        try:
            await self.command("STARTTLS")
        except Refused as error:
            raise SourceProblem(f"the mail server {self.host} has no STARTTLS ({error.text}): set `tls: true` for TLS from the start") from error
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.01):  # what came in clear beside the answer would later pass for said under TLS
                if await self._reader.read(1):
                    raise SourceProblem(f"the mail server {self.host} goes on in clear after STARTTLS: somebody may be in between; not read")
        with told(self.host):
            async with asyncio.timeout(TIMEOUT_S):
                await self._writer.start_tls(context, server_hostname=self.host)

    def _send(self, text: str | bytes) -> bytes:
        line = text.encode() if isinstance(text, str) else text
        if b"\r" in line or b"\n" in line or b"\0" in line:
            raise SourceProblem("a name for the mail server holds a line end")
        self._count += 1
        tag = b"f%d" % self._count
        self._writer.write(tag + b" " + line + b"\r\n")
        return tag

    async def _until(self, tag: bytes, budget: Budget, answer: Callable[[bytes], bytes] | None) -> list[Response]:
        responses: list[Response] = []
        rounds = 0
        while True:
            response = await self._responses.read(budget)
            if response.text.startswith(b"+"):
                rounds += 1
                if answer is None or rounds > _ROUNDS:
                    raise SourceProblem(f"the mail server {self.host} waits for what it was not promised: {words(response.text)!r}")
                self._writer.write(answer(response.text[1:].strip()) + b"\r\n")
                continue
            responses.append(response)
            if response.text.upper().startswith(b"* BYE"):
                self._responses.bye = response.text[5:]
            if response.text.startswith(tag + b" "):
                if not response.text[len(tag) + 1 :].upper().startswith(b"OK"):
                    raise Refused(self.host, response.text[len(tag) + 1 :])
                return responses

    def _check(self, response: Response, tag: bytes) -> None:
        """Whether IDLE still runs."""
        if response.text.upper().startswith(b"* BYE"):
            raise SourceProblem(f"the mail server {self.host} ends the connection: {words(response.text[5:])}")
        if response.text.startswith(tag + b" "):
            raise Refused(self.host, response.text[len(tag) + 1 :])
