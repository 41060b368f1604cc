"""A feed at an address. The cursor holds ETag and Last-Modified of the answer that was read last, the address it has moved to for good, and what the
server and the feed said about when to ask again (services.ingest.cadence)."""

import asyncio
from collections.abc import AsyncIterator, Mapping

from services.ingest.cadence import FRESH, HINT
from services.ingest.feeds import parse_feed
from services.ingest.fetch import Fetched, Fetcher
from services.ingest.hosts import Turn
from services.ingest.items import Batch, Refused, SourceProblem, Unusable
from services.ingest.logins import origin, without_login

MAX_EVIDENCE = 1_000_000  # bytes of a refused feed that are kept
OF = "of"  # cursor: the address whose answer ETag and Last-Modified are of, where that is another server's than the user's address
MOVED = "moved"  # cursor: the new address; part of the state that people see


class FeedReader:
    def __init__(self, url: str, fetcher: Fetcher, turn: Turn | None = None) -> None:
        self._url, self._login = without_login(url)  # the cursor goes to Kafka: no password in it
        self._fetcher, self._turn = fetcher, turn

    async def read(self, cursor: Mapping[str, str]) -> AsyncIterator[Batch]:
        """One batch: all that the feed lists. Raises SourceProblem, with the evidence where the feed itself is refused."""
        known = cursor if cursor.get("url") == self._url else {}
        fetched, used = await self._fetch(known)
        moved = fetched.moved or used
        if fetched.body is None:
            # a 304 renews what the answer before it said of its age, where it says anything (RFC 9111, section 4.3.4)
            said = {} if fetched.fresh is None else {FRESH: _whole(fetched.fresh)}
            said[MOVED] = moved if moved != self._url else ""
            yield Batch((), _filled({**known, **said}), _note(known.get("note", ""), said[MOVED]), unchanged=True)
            return
        try:
            parsed = await asyncio.to_thread(parse_feed, fetched.body, fetched.content_type, fetched.url)
        except Unusable as error:
            raise SourceProblem(str(error), evidence=Refused(error.reason, str(error), fetched.body[:MAX_EVIDENCE])) from error
        after = {
            "url": self._url,
            "etag": fetched.etag,
            "modified": fetched.modified,
            OF: fetched.url if (fetched.etag or fetched.modified) and origin(fetched.url) != origin(self._url) else "",
            "note": parsed.note,
            MOVED: moved if moved != self._url else "",
        }
        after |= {FRESH: _whole(fetched.fresh), HINT: _whole(parsed.hint)}
        yield Batch(parsed.items, _filled(after), _note(parsed.note, after[MOVED]))

    async def _fetch(self, known: Mapping[str, str]) -> tuple[Fetched, str]:
        """From the address that it has moved to; where that is gone or not found, from the one that the user gave. And which of them it was."""
        moved = known.get(MOVED, "")
        if not moved:
            return await self._get(self._url, known), self._url
        try:
            return await self._get(moved, known), moved
        except SourceProblem as problem:
            if not (problem.gone or problem.missing):
                raise
        return await self._get(self._url, {}), self._url

    async def _get(self, url: str, known: Mapping[str, str]) -> Fetched:
        return await self._fetcher.get(
            url, known.get("etag", ""), known.get("modified", ""), of=known.get(OF, "") or self._url, turn=self._turn, login=self._login
        )


def _note(note: str, moved: str) -> str:
    return "; ".join(
        part for part in (note, f"moved for good to {moved}, which is used: put it into the file with the sources" if moved else "") if part
    )


def _whole(seconds: float | None) -> str:
    return f"{seconds:.0f}" if seconds else ""


def _filled(cursor: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in cursor.items() if value}
