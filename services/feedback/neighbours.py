"""The other services over HTTP, for the page: search and answers (retriever), rollback and what waits (trainer), the quarantine (ingest), the words that
mattered (classifier)."""

from typing import Any

import aiohttp

from services.feedback.settings import Settings
from shared.errors import PermanentError, TransientError


class Neighbours:
    """Between `open` and `close`. Errors of a neighbour come through with its own words."""

    def __init__(self, settings: Settings) -> None:
        self.urls = {
            "retriever": settings.retriever_url,
            "trainer": settings.trainer_url,
            "ingest": settings.ingest_url,
            "classifier": settings.classifier_url,
        }
        self._headers = {"Authorization": f"Bearer {settings.token}"} if settings.token else {}
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        self._session = aiohttp.ClientSession(headers=self._headers, timeout=aiohttp.ClientTimeout(total=60))

    async def close(self) -> None:
        if self._session:
            await self._session.close()

    async def call(self, name: str, method: str, path: str, *, json: Any = None, params: dict[str, str] | None = None, timeout: float = 60) -> Any:
        """Raises TransientError where the neighbour is away, PermanentError where it refuses."""
        if self._session is None:
            raise RuntimeError("not open")
        limit = aiohttp.ClientTimeout(total=timeout)
        try:
            async with self._session.request(method, self.urls[name].rstrip("/") + path, json=json, params=params, timeout=limit) as response:
                answer = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise TransientError(f"the {name} does not answer; it may be starting") from error
        if response.status >= 500:
            raise TransientError(f"the {name}: {answer.get('error', response.status)}")
        if response.status >= 400:
            raise PermanentError(str(answer.get("error", response.status)))
        return answer

    async def glance(self, name: str, path: str) -> Any:
        """Like a GET by `call`, but None where the neighbour is away: for figures the page can do without."""
        try:
            return await self.call(name, "GET", path, timeout=2)
        except (TransientError, PermanentError):
            return None
