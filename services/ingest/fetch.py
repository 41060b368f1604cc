"""Fetching a feed politely and safely: conditional, with a deadline over everything, limits on size, and addresses judged at each hop."""

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urldefrag, urljoin, urlsplit

import aiohttp

from services.ingest.addresses import Allowed
from services.ingest.freshness import fresh_seconds, retry_seconds
from services.ingest.hosts import Turn
from services.ingest.inflate import ASKED_FOR, Inflater
from services.ingest.items import SourceProblem
from services.ingest.logins import Login, authority, origin, without_login
from services.ingest.names import Names
from shared.clock import Clock, utc_now

MAX_BYTES = 10_000_000  # after decompression, and before
MAX_REDIRECTS = 5
MAX_URL = 2_000
MAX_HEADER = 65_536  # bytes of one header line; some servers send long policies
DEADLINE_S = 30.0
AGENT = "Feedloop/0.1 (feed reader)"
ACCEPT = (
    "application/rss+xml, application/atom+xml, application/feed+json, application/rdf+xml, application/json;q=0.8, application/xml;q=0.8, */*;q=0.5"
)


@dataclass(frozen=True)
class Fetched:
    """An answer: `body` is None where the server said that nothing changed (304). `url` is where it came from, without a login; `moved` the same where
    only permanent redirects (301, 308) led there and the old address is to be forgotten; `fresh` the seconds for which the server says that nobody
    needs to ask again (None: it says nothing)."""

    body: bytes | None
    content_type: str = ""
    url: str = ""
    etag: str = ""
    modified: str = ""
    moved: str = ""
    fresh: float | None = None


class Fetcher:
    """HTTP sessions shared by all feeds. `allow` may be changed while it runs: the next connection is judged by it."""

    def __init__(self, allowed: Allowed, *, deadline_s: float = DEADLINE_S, max_bytes: int = MAX_BYTES, clock: Clock = utc_now) -> None:
        self.allowed, self._deadline_s, self._max_bytes, self._clock = allowed, deadline_s, max_bytes, clock
        self._sessions: dict[bool, aiohttp.ClientSession] = {}
        self._names = Names()

    def allow(self, allowed: Allowed) -> None:
        self.allowed = allowed

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()
        await self._names.close()

    async def get(
        self, url: str, etag: str = "", modified: str = "", *, of: str = "", turn: Turn | None = None, login: Login | None = None
    ) -> Fetched:
        """Raises SourceProblem, in words, for everything that is not a feed's body or "not modified".

        `etag` and `modified` are those of an earlier answer, and go only to the server that gave it: that of the address `of`, if it is given, else of `url`.
        `turn` is asked for each server on the way; the deadline does not run while it waits. `login` is for its own server only; without one, the user
        and password that stand in `url` are.
        """
        conditions = {name: value for name, value in (("If-None-Match", etag), ("If-Modified-Since", modified)) if value}
        try:
            bare, own = without_login(url)
            return await self._follow(bare, conditions, origin(of or bare), login or own, turn)
        except TimeoutError as error:
            raise SourceProblem(f"no whole answer within {self._deadline_s:g} seconds") from error
        except (aiohttp.ClientError, OSError, ValueError, UnicodeError) as error:  # ValueError: an address that is none
            raise SourceProblem(f"can't be fetched: {_words(error)}", missing=_unknown_name(error)) from error

    async def _follow(self, url: str, conditions: Mapping[str, str], theirs: tuple[str, str, int], login: Login | None, turn: Turn | None) -> Fetched:
        loop = asyncio.get_running_loop()
        first, permanent, left_s = url, True, self._deadline_s
        for _ in range(MAX_REDIRECTS + 1):
            session = self._session(url)
            if turn is not None:
                await turn.at(authority(url))
            began = loop.time()
            headers = {**(conditions if origin(url) == theirs else {}), **(login.headers(url) if login else {})}
            async with asyncio.timeout(left_s), session.get(url, headers=headers, allow_redirects=False) as response:
                place = response.headers.get("Location", "") if response.status in (301, 302, 303, 307, 308) else ""
                if not place:
                    found = await self._read(response, turn)
                    return replace(found, url=url, moved=url if permanent and url != first else "")
            left_s -= loop.time() - began
            target, _ = without_login(urldefrag(urljoin(url, place)).url)  # whoever redirects can't tell us to log in
            # for good only where no hop is for now, and never from https back to http
            permanent = permanent and response.status in (301, 308) and not (url.startswith("https:") and target.startswith("http:"))
            url = target
        raise SourceProblem(f"more than {MAX_REDIRECTS} redirects")

    async def _read(self, response: aiohttp.ClientResponse, turn: Turn | None) -> Fetched:
        head, now = response.headers, self._clock()
        fresh = fresh_seconds(head, now)
        if response.status == 304:
            return Fetched(None, fresh=fresh)
        if response.status == 410:
            raise SourceProblem("the server says that the feed is gone (410)", gone=True)
        if response.status != 200:
            wait = retry_seconds(head.get("Retry-After", ""), now)
            if response.status == 429 and wait and turn is not None:
                turn.pause(wait)
            said = f"the server answers {response.status} {response.reason or ''}".strip()
            raise SourceProblem(said, retry_after=wait, missing=response.status == 404)
        inflater = Inflater(head.get("Content-Encoding", ""), self._max_bytes)
        async for chunk in response.content.iter_chunked(65_536):
            inflater.feed(chunk)  # bounded, and a thread for each chunk costs more than most take
        kind, etag, modified = head.get("Content-Type", ""), head.get("ETag", ""), head.get("Last-Modified", "")
        return Fetched(inflater.finish(), kind, etag=etag if len(etag) <= 500 else "", modified=modified if len(modified) <= 100 else "", fresh=fresh)

    def _session(self, url: str) -> aiohttp.ClientSession:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or len(url) > MAX_URL:
            raise SourceProblem(f"led to {url[:200]!r}, which is no http or https address of at most {MAX_URL} characters")
        trusted = self.allowed.trusts(parts.hostname)
        if trusted not in self._sessions:
            factory = None if trusted else lambda info: self.allowed.open_socket(info)
            # no limits here: connections that hang would hold up other sources. Turns (services.ingest.hosts) see to it.
            connector = aiohttp.TCPConnector(resolver=self._names, socket_factory=factory, limit=0, limit_per_host=0, keepalive_timeout=5)
            headers = {"User-Agent": AGENT, "Accept": ACCEPT, "Accept-Encoding": ASKED_FOR}
            self._sessions[trusted] = aiohttp.ClientSession(
                connector=connector,
                headers=headers,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                max_line_size=MAX_HEADER,
                max_field_size=MAX_HEADER,
            )
        return self._sessions[trusted]


def _words(error: Exception) -> str:
    """What went wrong with a connection; aiohttp's own text hides the reason where a host has several addresses."""
    inner = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    words = inner.strerror if isinstance(inner, OSError) and inner.strerror else str(inner)
    return " ".join(words.split())[:300] or type(error).__name__


def _unknown_name(error: Exception) -> bool:
    """Whether a name server said that there is no such host (and not only that it does not answer)."""
    inner = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    return isinstance(inner, socket.gaierror) and inner.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", None))
