"""What the demo sees of the running services, and how it waits for it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from deploy.local.client import Client
from deploy.local.demo_parts import held_out as sample_held_out
from deploy.local.errors import LocalError

POLL_S = 0.5


class World:
    """Asks the services; each method answers what is there now. `until` waits for it, with a deadline that says what did not come about."""

    def __init__(self, client: Client, logs: Path) -> None:
        self.client, self.logs = client, logs

    async def items(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        before = ""
        while True:
            page = await self.client.get("feedback", "/api/items", limit="200", before=before)
            found += page["items"]
            if not (before := page["next"]):
                return found

    async def quarantine(self) -> list[dict[str, Any]]:
        return list((await self.client.get("ingest", "/api/quarantine"))["quarantine"])

    async def held_out(self) -> list[dict[str, Any]]:
        gold = {entry["title"]: entry["label"] for entry in sample_held_out()}
        found = [{**item, "gold": gold[item["title"]]} for item in await self.items() if item["title"] in gold]
        return sorted(found, key=lambda item: (item["gold"], item["title"]))

    async def is_indexed(self, document: str) -> bool:
        try:
            await self.client.get("retriever", f"/api/documents/{document}")
        except LocalError:  # not yet
            return False
        return True

    async def is_corrected(self, document: str, said: dict[str, str]) -> bool:
        item = await self.client.get("feedback", f"/api/items/{document}")
        return item["stage"] == "corrected" and item["decision"][said["task"]]["label"] == said["correct"]

    async def activated(self, digest: str) -> dict[str, Any] | None:
        loop = await self.client.get("feedback", "/api/loop")
        found = [replica for replica in loop["replicas"] if replica["digest"] == digest]
        if found and found[0]["outcome"] == "refused":
            raise LocalError(f"inference refuses the adapter: {found[0]['reason']}")
        return found[0] if found else None

    async def serving(self, digest: str) -> bool:
        return bool((await self.client.get("inference", "/api/adapters"))["live"]["digest"] == digest)

    async def read_by(self, digest: str) -> bool:
        """Whether that adapter has read all held-out items."""
        return all(item["model"]["adapter"] == digest for item in await self.held_out())

    async def finished(self, run_id: str) -> dict[str, Any] | None:
        loop = await self.client.get("feedback", "/api/loop")
        return next((run for run in loop["runs"] if run["run_id"] == run_id), None)

    async def until(self, ask: Callable[[], Awaitable[Any]], seconds: float, otherwise: str, every: float = POLL_S) -> Any:
        async with self.deadline(seconds, otherwise):
            while not (answer := await ask()):
                await asyncio.sleep(every)
        return answer

    @asynccontextmanager
    async def deadline(self, seconds: float, otherwise: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError as error:
            raise LocalError(f"{otherwise} ({seconds:.0f} s): see the logs in {self.logs}") from error
