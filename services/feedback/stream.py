"""Server-sent events (WHATWG HTML, 9.2) for the page: items and the loop's state as they change."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import StreamingResponse

from shared.service import Json

BEAT_S = 20.0  # a comment now and then, so that proxies keep the connection
GATHER_S = 0.5  # changes within this time go out together: a document is told once, not once a stage
LONGEST = 500  # changes a slow reader may be behind; past it, it is sent away and reads the page anew


class Stream:
    """Tells every listening page what has changed. `render` turns a document's id into what the page shows; `loop` the loop's state."""

    def __init__(self, render: Callable[[str], dict[str, Any] | None], loop: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        self._render, self._loop = render, loop
        self._readers: set[asyncio.Queue[tuple[str, str]]] = set()

    def changed(self, kind: str, data: Any) -> None:
        for reader in list(self._readers):
            try:
                reader.put_nowait((kind, data or ""))
            except asyncio.QueueFull:
                self._readers.discard(reader)

    async def serve(self, _: Request) -> StreamingResponse:
        return StreamingResponse(self._events(), media_type="text/event-stream", headers={"cache-control": "no-store", "x-accel-buffering": "no"})

    async def _events(self) -> AsyncIterator[bytes]:
        reader: asyncio.Queue[tuple[str, str]] = asyncio.Queue(LONGEST)
        self._readers.add(reader)
        try:
            yield b": welcome\n\n"
            while reader in self._readers:
                try:
                    async with asyncio.timeout(BEAT_S):
                        first = await reader.get()
                except TimeoutError:
                    yield b": beat\n\n"
                    continue
                await asyncio.sleep(GATHER_S)
                changes = dict.fromkeys([first, *(reader.get_nowait() for _ in range(reader.qsize()))])
                for kind, data in changes:
                    shown = self._render(data) if kind == "item" else await self._loop()
                    if shown is not None:
                        yield b"event: " + kind.encode() + b"\ndata: " + Json(None).render(shown) + b"\n\n"
        finally:
            self._readers.discard(reader)
