"""Speed of the parts that a laptop feels: the bus, the encoder, the grounding. `make bench` prints the table."""

import argparse
import asyncio
import json
import os
import platform
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from shared.events import DocumentIngested, Event, SourceRef, digest_of

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = 2000


def machine() -> str:
    info = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def sample() -> list[DocumentIngested]:
    from deploy.sample.authored import items

    at = datetime(2026, 1, 1, tzinfo=UTC)
    source = SourceRef(id="bench", kind="api", title="bench")
    return [
        DocumentIngested(
            id=digest_of(i.key)[:24], version="1", source=source, title=i.title, text=i.plain, published_at=at, received_at=at, story=i.key
        )
        for i in items()
    ]


def rate(work: Callable[[], int], least_s: float = 3.0) -> float:
    """Things a second: `work` says how many it did; repeated for at least `least_s` after one warm-up."""
    work()
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < least_s:
        done += work()
    return done / (time.perf_counter() - began)


@asynccontextmanager
async def broker(folder: Path) -> AsyncIterator[str]:
    from deploy.local.kafka import KafkaProcess
    from deploy.local.state import cache_folder
    from shared.topics import create

    kafka = KafkaProcess(folder / "kafka", folder / "kafka.log", cache_folder(), lambda line: None)
    bootstrap = await kafka.start()
    try:
        await create(bootstrap)
        yield bootstrap
    finally:
        await kafka.stop()


async def through_the_bus(documents: list[DocumentIngested]) -> tuple[float, float]:
    """(published/s, handled/s) against a real single-node broker: acks=all, idempotent, committed after the handler."""
    from shared.bus import Bus

    with tempfile.TemporaryDirectory() as folder:
        async with broker(Path(folder)) as bootstrap:
            bus, seen, done = Bus(bootstrap, "classifier"), 0, asyncio.Event()

            async def on_document(_: DocumentIngested) -> list[Event]:
                nonlocal seen
                seen += 1
                if seen >= DOCUMENTS:
                    done.set()
                return []

            bus.handle(DocumentIngested, on_document, at_once=100, batch=500)
            await bus.start()
            many = [documents[n % len(documents)].model_copy(update={"id": f"{n:08}"}) for n in range(DOCUMENTS)]
            began = time.perf_counter()
            for start in range(0, DOCUMENTS, 200):
                await bus.publish(*many[start : start + 200])
            published = DOCUMENTS / (time.perf_counter() - began)
            await asyncio.wait_for(done.wait(), 120)
            handled = DOCUMENTS / (time.perf_counter() - began)
            await bus.stop()
            return published, handled


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    from shared.encoder import Encoder
    from shared.grounding import candidates, metadata_schema

    documents = sample()
    encoder = Encoder(ROOT / "build" / "encoder", threads=os.cpu_count() or 1)
    titles, texts = [d.title for d in documents], [f"{d.title}. {d.text}" for d in documents]
    table = Table("what", "a second", title=f"Feedloop on {machine()}")
    figures: dict[str, float] = {}

    def row(what: str, value: float) -> None:
        figures[what] = round(value, 1)
        table.add_row(what, f"{value:,.0f}")

    row("headlines encoded (ONNX int8)", rate(lambda: len(encoder.encode(titles))))
    row("items of 60 to 90 words encoded (ONNX int8)", rate(lambda: len(encoder.encode(texts))))
    row("schemas made for a document (grounding)", rate(lambda: len([metadata_schema(candidates(d.title, d.text, d.links), {}) for d in documents])))
    published, handled = asyncio.run(through_the_bus(documents))
    row("documents published (real Kafka, acks=all)", published)
    row("documents published, handled and committed", handled)
    Console().print(table)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
