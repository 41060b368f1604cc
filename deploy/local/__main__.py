"""python -m deploy.local: fetches what can be fetched before the first start (the broker's jars) and checks Java. For `make setup`."""

import asyncio
import sys

from deploy.local.errors import LocalError
from deploy.local.jars import ensure_jars, find_java
from deploy.local.state import cache_folder


async def fetch() -> None:
    await find_java()
    await ensure_jars(cache_folder(), print)


if __name__ == "__main__":
    try:
        asyncio.run(fetch())
    except LocalError as error:
        sys.exit(f"feedloop: {error}")
