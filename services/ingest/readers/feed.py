"""A feed at an address. The cursor holds ETag and Last-Modified of the answer that was read last."""

import asyncio
from collections.abc import AsyncIterator, Mapping

from services.ingest.feeds import parse_feed
from services.ingest.fetch import Fetcher
from services.ingest.items import Batch, Refused, SourceProblem, Unusable

MAX_EVIDENCE = 1_000_000  # bytes of a refused feed that are kept


class FeedReader:
    def __init__(self, url: str, fetcher: Fetcher) -> None:
        self._url, self._fetcher = url, fetcher

    async def read(self, cursor: Mapping[str, str]) -> AsyncIterator[Batch]:
        """One batch: all that the feed lists. Raises SourceProblem, with the evidence where the feed itself is refused."""
        same = cursor.get("url") == self._url
        fetched = await self._fetcher.get(self._url, cursor.get("etag", "") if same else "", cursor.get("modified", "") if same else "")
        if fetched.body is None:
            yield Batch((), cursor, cursor.get("note", ""), unchanged=True)
            return
        try:
            parsed = await asyncio.to_thread(parse_feed, fetched.body, fetched.content_type, fetched.url)
        except Unusable as error:
            raise SourceProblem(str(error), evidence=Refused(error.reason, str(error), fetched.body[:MAX_EVIDENCE])) from error
        after = {"url": self._url, "etag": fetched.etag, "modified": fetched.modified, "note": parsed.note}
        yield Batch(parsed.items, {name: value for name, value in after.items() if value}, parsed.note)
