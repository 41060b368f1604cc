"""Measure the bundled model through the real engine, as use asks it, and write the figures to docs/model.md: `make bench-model`.

    python -m tests.bench.model [--size 0.2] [--only labels,speed] [--data ../shared/data] [--keep-page]

Ten minutes on two idle cores at size 1. Without the data folder it measures on the project's own sample alone, and leaves docs/model.md as it is.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from deploy.local.environment import BUNDLED_MODEL
from deploy.local.errors import LocalError
from services.classifier.head import Head
from services.inference.enrich import Enricher
from services.trainer.runs.gather import data_folder
from shared.clock import utc_now
from shared.encoder import Encoder
from shared.errors import ConfigError, TransientError
from shared.registry import base_id
from tests.bench.__main__ import machine
from tests.bench.model import answers, labels, reading, sets, speed, summaries, unbound
from tests.bench.model.engine import AT_ONCE, Watched, running
from tests.bench.model.tables import Section, as_json, markdown, show
from tests.bench.model.texts import Text, elsewhere, held, of_sample
from tests.bench.page import write_between

ROOT = Path(__file__).resolve().parents[3]
PAGE, OUT, ENCODER = ROOT / "docs" / "model.md", ROOT / "build" / "bench" / "model.json", ROOT / "build" / "encoder"
MARKS = "bench-model"  # on the page
PARTS = ("speed", "metadata", "summaries", "labels", "names", "answers")
# how many of each at size 1
SIZES = {"speed": 30, "short": 16, "held": 45, "elsewhere": 30, "sample": 20, "unbound": 12, "summaries": 30, "labels": 100, "authored": 120,
         "names": 90, "answers": 50}  # fmt: skip


class Bench:
    """One run: what is measured on, with what sizes, and what was left out and why."""

    def __init__(self, data: Path | None, size: float, console: Console) -> None:
        self.data, self.size, self.console = data, size, console
        self.about: list[str] = []
        self.sections: list[Section] = []
        self.sample = of_sample()
        self.held, self.kind = self.sample, "own sample"
        if data is not None:
            self.say("reading the corpora for what was held out …")
            (self.held, told), self.kind = held(data), "long documents"
            self.about.append(told)

    def many(self, what: str) -> int:
        return max(4, round(SIZES[what] * self.size))

    def say(self, line: str) -> None:
        self.console.print(f"[dim]{time.strftime('%H:%M:%S')} {line}[/dim]")

    def add(self, section: Section) -> None:
        self.sections.append(section)
        show(self.console, section)

    def apart(self) -> tuple[list[Text], list[Text], list[Text]]:
        """Long and short texts for the timing, and others for the rest: the engine remembers what it has read."""
        timed = self.many("speed")
        return self.held[:timed], self.sample[timed : timed + self.many("short")], self.held[timed:]

    async def measure(self, client: Watched, base: str, adapter: Path, work: Path, wanted: Sequence[str]) -> None:
        """All parts that are wanted, one after the other."""
        enricher = Enricher(client, utc_now, base)
        asking = labels.Parts(enricher, Encoder(ENCODER), Head.load(BUNDLED_MODEL / "heads" / "news"))
        timed, short, rest = self.apart()
        if "speed" in wanted:
            self.say("speed …")
            self.add(speed.section(await speed.measured((self.kind, timed), ("own sample", short), client, enricher, adapter)))
        if "metadata" in wanted:
            self.say("metadata …")
            self.add(await self._metadata(rest, enricher, client))
        if "summaries" in wanted:
            self.say("summaries …")
            self.add(await self._summaries(rest, enricher))
        if "labels" in wanted:
            self.say("category, sentiment, urgency …")
            quizzes = sets.automatic(self.held, self.many("labels")) if self.data else []
            quizzes += sets.authored(self.many("authored"))
            quizzes += sets.foreign(self.data, self.many("labels")) if self.data else []
            self.add(await labels.known_tasks(quizzes, asking))
        if "names" in wanted and self.data:
            self.say("labels by names of their own …")
            self.add(await labels.own_names(sets.unseen(self.data, self.many("names")), asking))
        if "answers" in wanted:
            self.say("answers …")
            made = answers.questions(rest, self.many("answers"))
            async with answers.door(client, enricher, work) as door:
                name = "held-out passages" if self.data else "own sample"
                self.add(answers.section(await answers.judged(name, made, door, asking.encoder)))

    async def _metadata(self, rest: list[Text], enricher: Enricher, client: Watched) -> Section:
        groups = [("own sample", self.sample[-self.many("sample") :])]
        if self.data:
            groups = [("held-out documents", rest[: self.many("held")]), *groups, ("from elsewhere", elsewhere(self.data, self.many("elsewhere")))]
        rows = [reading.judged(name, (await reading.read(texts, enricher, AT_ONCE))[0]) for name, texts in groups]
        rows.append(await unbound.judged(f"{groups[0][0]}, without the grammar", groups[0][1][: self.many("unbound")], client))
        return reading.section(rows)

    async def _summaries(self, rest: list[Text], enricher: Enricher) -> Section:
        most = self.many("summaries")
        found = [("titles of held-out documents" if self.data else "titles of the own sample", summaries.titled(rest, most))]
        if self.data:
            for name, folder in (("Newsroom", "summ_human_newsroom"), ("CNN/DM highlights (REALSumm)", "summ_human_realsumm")):
                found.append((name, summaries.referenced(self.data, folder, most)))
        rows = []
        for name, pairs in found:
            if pairs:
                readings, _ = await reading.read([text for text, _ in pairs], enricher, AT_ONCE)
                rows += summaries.judged(name, readings, [reference for _, reference in pairs])
        return summaries.section(rows)


def folder_of_data(named: str | None, console: Console) -> Path | None:
    """The data folder; None, with a line that says what is skipped, where there is none and none was named."""
    try:
        folder = data_folder(named)
        if not any((folder / "pretrain").glob("*.jsonl.xz")):
            raise SystemExit(f"no corpora under {folder / 'pretrain'}")
    except SystemExit as error:
        if named:
            raise
        console.print(f"{error}; measuring on the project's own sample alone: skipped are held-out documents, labels and summaries of others.")
        return None
    return folder


async def run(args: argparse.Namespace, console: Console) -> Bench:
    """The whole measurement. Raises LocalError, ConfigError or TransientError where a part of it can't be had."""
    bench = Bench(folder_of_data(args.data, console), args.size, console)
    base = base_id(str(args.model))
    with tempfile.TemporaryDirectory(prefix="feedloop-bench-") as made:
        work = Path(made)
        adapter = speed.make_adapter(args.model, work / "adapter") if "speed" in args.only else work
        log = OUT.parent / "engine.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        async with running(args.model, log, bench.say) as client:
            await bench.measure(client, base, adapter, work, args.only)
    return bench


def heading(bench: Bench, args: argparse.Namespace, seconds: float) -> str:
    """One paragraph: what was measured, where, when and how."""
    return (
        f"Measured on {datetime.now(UTC):%d %B %Y} by `make bench-model` (size {args.size:g}, {seconds / 60:.0f} minutes) on {machine()}: model "
        f"`{base_id(str(args.model))}` through vLLM with LoRA enabled. {'. '.join(bench.about)}{'.' if bench.about else ''}"
    )


def options(argv: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.model", description="Measure the bundled model through the real engine.")
    parser.add_argument("--size", type=float, default=1.0, help="how many texts, as a multiple of the usual")
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts, with commas: {','.join(PARTS)}")
    parser.add_argument("--data", help="the data folder (else FEEDLOOP_DATA, else ../shared/data)")
    parser.add_argument("--model", type=Path, default=BUNDLED_MODEL, help="a model's folder, in place of the bundled one")
    parser.add_argument("--keep-page", action="store_true", help="leave docs/model.md as it is")
    args = parser.parse_args(argv)
    args.only = args.only.split(",")
    if unknown := set(args.only) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    if not 0 < args.size <= 100:
        parser.error("--size must be above 0, and at most 100")
    return args


def main() -> None:
    """Command line; see the module's docstring."""
    args, console, began = options(sys.argv[1:]), Console(width=None if sys.stdout.isatty() else 220), time.perf_counter()
    try:
        bench = asyncio.run(run(args, console))
    except (LocalError, ConfigError, TransientError, RuntimeError) as error:
        sys.exit(f"bench-model: {error}")
    seconds = time.perf_counter() - began
    head = heading(bench, args, seconds)
    OUT.write_text(json.dumps({"about": head, "model": base_id(str(args.model)), "size": args.size, "seconds": round(seconds),
                               "sections": as_json(bench.sections)}, indent=1, ensure_ascii=False))  # fmt: skip
    console.print(f"{head}\nAll figures: {OUT.relative_to(ROOT)}")
    whole = bench.data is not None and set(args.only) == set(PARTS) and args.model == BUNDLED_MODEL
    if whole and not args.keep_page:
        write_between(PAGE, MARKS, markdown(head, bench.sections))
        console.print(f"Written into {PAGE.relative_to(ROOT)}.")
    else:
        console.print(f"{PAGE.relative_to(ROOT)} stays as it is: it holds the figures of a whole run on the bundled model and the data folder.")


if __name__ == "__main__":
    main()
