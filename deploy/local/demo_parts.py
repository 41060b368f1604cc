"""Pieces of the demo: the sample served over loopback, a load on the gateway, a spoilt adapter."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import yaml
from aiohttp import web

from deploy.sample.build import Manifest, build

SAMPLE = Path(__file__).resolve().parent.parent / "sample"


@asynccontextmanager
async def sample_served(folder: Path) -> AsyncIterator[tuple[Manifest, Path]]:
    """Build the sample, serve its feeds on a free loopback port, and write a feedloop.yaml that names them all."""
    manifest = await asyncio.to_thread(build, folder)
    app = web.Application()
    app.router.add_static("/", folder / "feeds")
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    sources = [{"id": name, "kind": "feed", "url": f"http://127.0.0.1:{port}/{name}", "title": name} for name in manifest.feeds]
    mailbox = {"id": "newsletters", "kind": "mbox", "path": str(manifest.mailbox.path), "title": "newsletters.mbox"}
    config = folder / "feedloop.yaml"
    config.write_text(yaml.safe_dump({"sources": [*sources, mailbox], "allow_hosts": ["127.0.0.1"]}))
    try:
        yield manifest, config
    finally:
        await runner.cleanup()


@dataclass
class Load:
    """Requests that run against the gateway all the while: none of them may fail when adapters are swapped."""

    url: str
    bodies: Sequence[dict[str, object]]
    at_once: int = 2
    sent: int = 0
    failed: int = 0
    models: set[str] = field(default_factory=set)
    reasons: list[str] = field(default_factory=list)
    slowest_s: float = 0.0

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Load"]:
        stop = asyncio.Event()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
            tasks = [asyncio.create_task(self._send(session, stop)) for _ in range(self.at_once)]
            try:
                yield self
            finally:
                stop.set()
                await asyncio.gather(*tasks)

    async def _send(self, session: aiohttp.ClientSession, stop: asyncio.Event) -> None:
        while not stop.is_set():
            body = self.bodies[self.sent % len(self.bodies)]
            self.sent += 1
            began = time.monotonic()
            try:
                async with session.post(f"{self.url}/v1/chat/completions", json=body) as response:
                    answer = await response.json()
                    if response.status == 200:
                        self.models.add(answer["model"])
                    else:
                        self._note(str(answer))
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                self._note(repr(error))
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            await asyncio.sleep(0.05)

    def _note(self, reason: str) -> None:
        self.failed += 1
        self.reasons.append(reason[:200])


def spoil(adapter: Path, into: Path) -> Path:
    """A deliberately bad adapter: the good one with the sign of its update turned round, so that it pushes away from what it learned."""
    from safetensors.numpy import load_file, save_file

    into.mkdir(parents=True, exist_ok=True)
    weights = load_file(adapter / "adapter_model.safetensors")
    save_file({name: -2 * weight if "lora_B" in name else weight for name, weight in weights.items()}, into / "adapter_model.safetensors")
    (into / "adapter_config.json").write_text((adapter / "adapter_config.json").read_text())
    return into


def corrections() -> list[dict[str, str]]:
    """What the desk's editor corrects in the demo."""
    return [json.loads(line) for line in (SAMPLE / "feedback.jsonl").read_text().splitlines()]


def held_out() -> list[dict[str, str]]:
    """The items that no correction touches, with their right labels."""
    return [json.loads(line) for line in (SAMPLE / "heldout.jsonl").read_text().splitlines()]
