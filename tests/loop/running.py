"""A service as it runs, but for its socket: its ASGI lifespan (prepare, bus, background work), and a client that calls its routes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from shared.service import Service


@asynccontextmanager
async def running(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """Started, and caught up where its bus lets it; stopped at the end. Raises what the start raised."""
    to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    from_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    task = asyncio.ensure_future(service.app({"type": "lifespan", "state": {}}, to_app.get, from_app.put))
    await to_app.put({"type": "lifespan.startup"})
    said = await from_app.get()
    if said["type"] != "lifespan.startup.complete":
        raise RuntimeError(said.get("message", "the service did not start"))
    try:
        for _ in range(20):  # the views of a past that is there already are read within this
            if service._started.is_set():
                break
            await asyncio.sleep(0.01)
        transport = httpx.ASGITransport(app=service.app)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{service.name}") as client:
            yield client
    finally:
        await to_app.put({"type": "lifespan.shutdown"})
        await from_app.get()
        await task
