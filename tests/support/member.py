"""A service of one handler, for tests that kill it: it says on standard output when it begins and what it has read.

python -m tests.support.member BOOTSTRAP SERVICE
"""

import asyncio
import sys

from shared.bus import Bus
from shared.events import DocumentIngested, Event


async def main(bootstrap: str, service: str) -> None:
    bus = Bus(bootstrap, service)

    async def heard(document: DocumentIngested) -> list[Event]:
        print(document.id, flush=True)
        return []

    bus.handle(DocumentIngested, heard)
    print("begins", flush=True)
    await bus.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
