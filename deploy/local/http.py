"""One question to a server on this machine: is it there? Without a client library, which would cost a command its start-up time."""

import asyncio
from contextlib import suppress
from urllib.parse import urlsplit


async def status_of(url: str, timeout: float = 2.0) -> int | None:
    """The HTTP status of GET `url` (http:// only), or None if nothing answers within `timeout` seconds."""
    parts = urlsplit(url)
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
            try:
                writer.write(f"GET {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode())
                words = (await reader.readline()).split()
                return int(words[1]) if len(words) > 1 and words[1].isdigit() else None
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()
    except (OSError, TimeoutError):
        return None
