"""Another service over HTTP: one session with the token, opened in the running loop and closed at the end."""

import aiohttp


class Peer:
    """`url` is the service's base address, empty where there is none; `timeout_s` bounds a whole answer."""

    def __init__(self, url: str = "", token: str = "", timeout_s: float = 60.0) -> None:
        self.url, self._token, self._timeout_s = url.rstrip("/"), token, timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        self._session = aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=self._timeout_s))

    async def close(self) -> None:
        if self._session:
            await self._session.close()
