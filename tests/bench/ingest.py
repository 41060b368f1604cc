"""What reading costs, in one run: `python -m tests.bench.ingest` (`make bench-ingest`) prints one table and writes it into docs/ingest.md.

From parsed bytes to Kafka's door: the reader's parsing and services.ingest.intake as the service runs them (cleaning, language, ids, near-duplicates,
the quarantine on disk), each document in JSON as it would be sent; Kafka itself is a list. Beside it, on the same files in the same run, feedparser and
Python's email alone, which end where our work begins. Then the memory of a large mbox and the lag of ten thousand sources, each in a process of its own.

Rates are per second of CPU time, so that what else the machine does changes them little; the clock's are beside them.
"""

import argparse
import asyncio
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes
from pathlib import Path
from random import Random
from typing import Any

from rich.console import Console
from rich.table import Table

from services.ingest.feeds import parse_feed
from services.ingest.intake import Intake
from services.ingest.items import RawItem, Refused, Unusable
from services.ingest.known import Known
from services.ingest.quarantine import Quarantine
from services.ingest.readers.mails import MAX_BATCH, item_of
from services.ingest.stories import Stories
from services.trainer.runs.gather import data_folder
from shared import logs
from shared.clock import utc_now
from shared.events import Event, SourceRef
from shared.objects import ObjectStore
from tests.bench import mbox
from tests.bench.__main__ import machine
from tests.bench.page import write_between

ROOT = Path(__file__).resolve().parents[2]
PAGE, OUT = ROOT / "docs" / "ingest.md", ROOT / "build" / "bench" / "ingest.json"
MARKS = "bench-ingest"
LEAST_S = 3.0  # of CPU that each rate is measured over
MOST_FILES, WARM_UP = 400, 20
WORDS = mbox.WORDS


@dataclass(frozen=True)
class Rate:
    """Things done, and what they took."""

    things: int
    files: int
    cpu_s: float
    clock_s: float

    @property
    def a_second(self) -> float:
        return self.things / self.cpu_s


@dataclass(frozen=True)
class Row:
    what: str
    figure: str
    beside: str = ""


def measured(work: Callable[[Sequence[bytes]], int], files: Sequence[bytes]) -> Rate:
    """`work` on all files, again and again until it has had LEAST_S of CPU, after some of them to warm up; it says how many things it did."""
    work(files[:WARM_UP])
    things = rounds = 0
    clock, cpu = time.perf_counter(), time.process_time()
    while time.process_time() - cpu < LEAST_S:
        things += work(files)
        rounds += 1
    return Rate(things, len(files) * rounds, time.process_time() - cpu, time.perf_counter() - clock)


async def through(batches: Sequence[Sequence[RawItem | Refused]], kind: SourceRef) -> int:
    """All batches through a new intake; how many documents it published."""
    sent = 0

    async def publish(*events: Event) -> None:
        nonlocal sent
        for event in events:
            sent += bool(event.model_dump_json())

    with tempfile.TemporaryDirectory() as folder:
        intake = Intake(publish, ObjectStore(folder), Known(Stories()), Quarantine(folder, utc_now), utc_now)
        for items in batches:
            await intake.take(items, kind, "news")
    return sent


def feeds(files: Sequence[bytes]) -> tuple[Rate, Rate]:
    """(ours, feedparser alone)."""
    import feedparser

    def ours(files: Sequence[bytes]) -> int:
        batches = []
        for data in files:
            try:
                batches.append(parse_feed(data, "", "https://bench.example/feed").items)
            except Unusable as error:
                batches.append((Refused(error.reason, str(error), data),))
        return asyncio.run(through(batches, SourceRef(id="bench", kind="feed", title="bench")))

    return measured(ours, files), measured(lambda files: sum(len(feedparser.parse(io.BytesIO(data)).entries) for data in files), files)


def mails(files: Sequence[bytes]) -> tuple[Rate, Rate]:
    """(ours, Python's email alone: parsed, and its text parts decoded)."""

    def ours(files: Sequence[bytes]) -> int:
        batches = [[item_of(data) for data in files[start : start + MAX_BATCH]] for start in range(0, len(files), MAX_BATCH)]
        return asyncio.run(through(batches, SourceRef(id="bench", kind="mail", title="bench")))

    def alone(files: Sequence[bytes]) -> int:
        for data in files:
            for part in message_from_bytes(data).walk():
                if part.get_content_maintype() == "text":
                    part.get_payload(decode=True)
        return len(files)

    return measured(ours, files), measured(alone, files)


def full_text_feed(items: int = 50) -> bytes:
    """A feed as a newspaper has it: 400 words of HTML an item."""
    chance = Random(5)

    def item(n: int) -> str:
        text = "".join(f"<p>{' '.join(chance.choices(WORDS, k=80))} <a href='https://desk.example/{n}?utm_source=rss'>more</a></p>" for _ in range(5))
        return (
            f"<item><guid isPermaLink='false'>{n}</guid><title>Item {n} of the desk</title><link>https://desk.example/{n}</link>"
            f"<pubDate>Fri, 20 Nov 2026 10:00:00 GMT</pubDate><description><![CDATA[{text}]]></description></item>"
        )

    return f"<rss version='2.0'><channel><title>Desk</title>{''.join(map(item, range(items)))}</channel></rss>".encode()


def read_rows(data: Path | None, console: Console) -> list[Row]:
    """Both rates of each set of files."""
    chance = Random(5)
    sets: list[tuple[str, list[bytes], bool]] = [("a full-text feed of 50 items", [full_text_feed()], True)]
    sets.append(("letters of the mbox below", [mbox.one(n, chance) for n in range(60)], False))
    if data is not None:
        found = some(path for path in sorted((data / "feeds").rglob("*")) if path.suffix in (".xml", ".json", ".rss", ".atom"))
        sets.append((f"{len(found):,} feeds of other projects' tests", found, True))
        found = some(path for path in sorted((data / "mail").rglob("*")) if path.suffix in (".eml", ".msg"))
        sets.append((f"{len(found):,} mails of other projects' tests", found, False))
    rows = []
    for name, files, is_feed in sets:
        console.print(f"[dim]{name} …[/dim]")
        ours, alone = feeds(files) if is_feed else mails(files)
        each, theirs = ours.cpu_s / ours.files, alone.cpu_s / alone.files
        size = sum(map(len, files)) / 1e6
        figure = f"{ours.a_second:,.0f} documents/s, {size * ours.files / len(files) / ours.cpu_s:.1f} MB/s ({ours.things / ours.clock_s:,.0f} by the clock)"
        other = "feedparser" if is_feed else "email"
        unit = "items" if is_feed else "mails"
        rows.append(Row(f"{name}, {size:.2g} MB", figure, f"{other} alone {alone.a_second:,.0f} {unit}/s: {each / theirs:.1f} times its work a file"))
    return rows


def some(paths: Iterable[Path]) -> list[bytes]:
    """At most MOST_FILES of them, evenly taken."""
    found = list(paths)
    return [path.read_bytes() for path in found[:: max(1, -(-len(found) // MOST_FILES))]]


def mbox_rows(megabytes: int, console: Console) -> list[Row]:
    rows = []
    for size in dict.fromkeys((max(20, megabytes // 4), megabytes)):
        console.print(f"[dim]an mbox of {size} MB …[/dim]")
        found = run("tests.bench.mbox", "--mb", str(size))
        memory = f"peak {found['mb_resident_peak']} MB, {found['mb_resident_peak'] - found['mb_resident_before']} above what was there before"
        speed = f"{found['megabytes_a_cpu_second']} MB/s of CPU, {found['megabytes_a_second']} by the clock"
        rows.append(Row(f"an mbox of {size} MB: memory", memory, f"{speed}; only split {found['megabytes_a_second_only_split']}"))
    return rows


def source_rows(count: int, seconds: int, console: Console) -> list[Row]:
    hanging = max(1, count // 100)
    console.print(f"[dim]{count:,} sources for {seconds} s …[/dim]")
    found = run("tests.bench.sources", "--sources", str(count), "--hanging", str(hanging), "--seconds", str(seconds))
    lag = f"p50 {found['lag p50 (ms)']:,} ms, p99 {found['lag p99 (ms)']:,}, most {found['lag most (ms)']:,}"
    beside = f"the loop itself late p99 {found['the loop itself late p99 (ms)']:,} ms; {found['CPU (% of a core)']} % of a core, {found['memory (MB)']:.0f} MB"
    return [Row(f"{count:,} feeds every {seconds // 2} s, and {hanging} that hang: lag", lag, beside)]


def run(module: str, *words: str) -> dict[str, Any]:
    """A benchmark in a process of its own; its last line is its figures. Raises SystemExit with what it said where it fails."""
    done = subprocess.run([sys.executable, "-m", module, *words], cwd=ROOT, capture_output=True, text=True, timeout=1_800)
    if done.returncode:
        raise SystemExit(f"{module} failed: {done.stderr.strip()[-2000:]}")
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def markdown(rows: Sequence[Row], about: str) -> str:
    lines = [about, "", "| what | figure | beside it |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {row.what} | {row.figure} | {row.beside} |" for row in rows)])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.ingest", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="the folder with feeds/ and mail/, if not FEEDLOOP_DATA or ../shared/data")
    parser.add_argument("--mb", type=int, default=200, help="of the mbox; 1000 takes four minutes more")
    parser.add_argument("--sources", type=int, default=10_000)
    parser.add_argument("--seconds", type=int, default=120, help="that the sources are polled for; half of it is their interval")
    parser.add_argument("--only", choices=("reading", "mbox", "sources"), help="leaves docs/ingest.md as it is")
    parser.add_argument("--keep-page", action="store_true", help="leave docs/ingest.md as it is")
    given = parser.parse_args()
    logs.configure("ingest", "error")
    console, began = Console(), time.monotonic()
    try:
        data: Path | None = data_folder(given.data)
    except SystemExit:
        if given.data:
            raise
        data = None
        console.print("no data folder (--data, FEEDLOOP_DATA): other projects' files are left out, and docs/ingest.md stays as it is")
    rows: list[Row] = []
    if given.only in (None, "reading"):
        rows += read_rows(data, console)
    if given.only in (None, "mbox"):
        rows += mbox_rows(given.mb, console)
    if given.only in (None, "sources"):
        rows += source_rows(given.sources, given.seconds, console)
    about = f"{machine()}; {datetime.now(UTC):%d %B %Y}; {time.monotonic() - began:.0f} s in all. Rates are per second of CPU."
    table = Table("what", "figure", "beside it", title=about)
    for row in rows:
        table.add_row(row.what, row.figure, row.beside)
    console.print(table)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps({"about": about, "rows": [vars(row) for row in rows]}, indent=1))
    if data is not None and not given.only and not given.keep_page:
        write_between(PAGE, MARKS, markdown(rows, about))
        console.print(f"written to {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
