"""Fetching a feed politely and safely: conditional, with a deadline over everything, limits on size, and addresses judged at each hop."""

import asyncio
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urljoin, urlsplit

import aiohttp

from services.ingest.addresses import Allowed
from services.ingest.items import SourceProblem
from shared.clock import Clock, utc_now

MAX_BYTES = 10_000_000  # after decompression
MAX_REDIRECTS = 5
DEADLINE_S = 30.0
AGENT = "Feedloop/0.1 (feed reader)"
ACCEPT = (
    "application/rss+xml, application/atom+xml, application/feed+json, application/rdf+xml, application/json;q=0.8, application/xml;q=0.8, */*;q=0.5"
)


@dataclass(frozen=True)
class Fetched:
    """An answer: `body` is None where the server said that nothing changed (304)."""

    body: bytes | None
    content_type: str = ""
    url: str = ""
    etag: str = ""
    modified: str = ""


class Fetcher:
    """HTTP sessions shared by all feeds. `allow` may be changed while it runs: the next connection is judged by it."""

    def __init__(self, allowed: Allowed, *, deadline_s: float = DEADLINE_S, max_bytes: int = MAX_BYTES, clock: Clock = utc_now) -> None:
        self.allowed, self._deadline_s, self._max_bytes, self._clock = allowed, deadline_s, max_bytes, clock
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    def allow(self, allowed: Allowed) -> None:
        self.allowed = allowed

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()

    async def get(self, url: str, etag: str = "", modified: str = "") -> Fetched:
        """Raises SourceProblem, in words, for everything that is not a feed's body or "not modified"."""
        conditions = {name: value for name, value in (("If-None-Match", etag), ("If-Modified-Since", modified)) if value}
        try:
            async with asyncio.timeout(self._deadline_s):
                return await self._follow(url, conditions)
        except TimeoutError as error:
            raise SourceProblem(f"no whole answer within {self._deadline_s:g} seconds") from error
        except (aiohttp.ClientError, OSError, ValueError, UnicodeError) as error:  # ValueError: an address that is none
            raise SourceProblem(f"can't be fetched: {_words(error)}") from error
        except zlib.error as error:
            raise SourceProblem("what came is not compressed as the server says") from error

    async def _follow(self, url: str, conditions: Mapping[str, str]) -> Fetched:
        for _ in range(MAX_REDIRECTS + 1):
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise SourceProblem(f"led to {url[:200]!r}, which is no http or https address")
            session = self._session(self.allowed.trusts(parts.hostname))
            async with session.get(url, headers=conditions, allow_redirects=False) as response:
                if response.status in (301, 302, 303, 307, 308) and (place := response.headers.get("Location")):
                    url = urljoin(url, place)
                    continue
                return replace(await self._read(response), url=url)
        raise SourceProblem(f"more than {MAX_REDIRECTS} redirects")

    async def _read(self, response: aiohttp.ClientResponse) -> Fetched:
        if response.status == 304:
            return Fetched(None)
        if response.status == 410:
            raise SourceProblem("the server says that the feed is gone (410): remove it, or give its new address", gone=True)
        if response.status != 200:
            wait = self._retry_after(response.headers.get("Retry-After", ""))
            raise SourceProblem(f"the server answers {response.status} {response.reason or ''}".strip(), retry_after=wait)
        body = await self._body(response)
        head = response.headers
        return Fetched(body, head.get("Content-Type", ""), etag=head.get("ETag", "")[:500], modified=head.get("Last-Modified", "")[:100])

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        inflate = _inflater(response.headers.get("Content-Encoding", ""))
        out = bytearray()
        async for chunk in response.content.iter_chunked(65_536):
            # at most one byte over the limit is ever unpacked: a bomb stays small
            out += inflate.decompress(chunk, self._max_bytes + 1 - len(out)) if inflate else chunk
            if len(out) > self._max_bytes:
                raise SourceProblem(f"larger than {self._max_bytes // 1_000_000 or self._max_bytes} MB")
        return bytes(out)

    def _session(self, trusted: bool) -> aiohttp.ClientSession:
        if trusted not in self._sessions:
            factory = None if trusted else lambda info: self.allowed.open_socket(info)
            # no limit over all hosts: connections that hang would hold up other sources
            connector = aiohttp.TCPConnector(socket_factory=factory, limit=0, limit_per_host=4, keepalive_timeout=5)
            headers = {"User-Agent": AGENT, "Accept": ACCEPT, "Accept-Encoding": "gzip, deflate"}
            self._sessions[trusted] = aiohttp.ClientSession(
                connector=connector, headers=headers, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._sessions[trusted]

    def _retry_after(self, value: str) -> float | None:
        """Seconds of a Retry-After header (a number or a date), at most a day; None where there is none."""
        try:
            wait = float(value) if value.strip().isdigit() else (_aware(parsedate_to_datetime(value)) - self._clock()).total_seconds()
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
        return min(max(wait, 0.0), 86_400.0)


class _Deflate:
    """`deflate` means zlib or, from some servers, the bare stream: the first byte tells."""

    def __init__(self) -> None:
        self._inner: zlib._Decompress | None = None

    def decompress(self, data: bytes, limit: int) -> bytes:
        if self._inner is None:
            self._inner = zlib.decompressobj(zlib.MAX_WBITS if data[:1] and data[0] & 0x0F == 8 else -zlib.MAX_WBITS)
        return self._inner.decompress(data, limit)


class _Gzip:
    def __init__(self) -> None:
        self._inner = zlib.decompressobj(16 + zlib.MAX_WBITS)

    def decompress(self, data: bytes, limit: int) -> bytes:
        return self._inner.decompress(data, limit)


def _words(error: Exception) -> str:
    """What went wrong with a connection; aiohttp's own text hides the reason where a host has several addresses."""
    inner = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    words = inner.strerror if isinstance(inner, OSError) and inner.strerror else str(inner)
    return " ".join(words.split())[:300] or type(error).__name__


def _inflater(encoding: str) -> _Deflate | _Gzip | None:
    match encoding.strip().lower():
        case "gzip" | "x-gzip":
            return _Gzip()
        case "deflate":
            return _Deflate()
        case "" | "identity":
            return None
    raise SourceProblem(f"the server sends the encoding {encoding!r}, which was not asked for")


def _aware(value: datetime) -> datetime:
    return value if value.tzinfo else value.replace(tzinfo=UTC)
