"""Measure the classifier's verdicts, and write the figures to docs/classifier.md: `make bench-classifier`.

    python -m tests.bench.classifier [--size 0.25] [--only sets,messages,robustness] [--sets ag_news,dreaddit]
        [--tuned dreaddit [--start FOLDER]] [--llm] [--adapter 200] [--keep-page | --update-page]

Half an hour on two idle cores at size 0.5 with --llm and a fine-tuned encoder for four sets, as `make` has it. --llm starts the engine and asks the bundled
model too; --adapter N teaches it N corrections of each set by the trainer's own program first, minutes a set. Without the data folder the hand-written
messages and the noise are measured alone, and docs/classifier.md stays as it is. What was missed is listed in build/bench/classifier-misses.jsonl.
"""

import argparse
import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import structlog
from rich.console import Console

from deploy.local.environment import BUNDLED_MODEL
from deploy.local.errors import LocalError
from services.inference.enrich import Enricher
from services.trainer.runs.gather import data_folder
from shared.clock import utc_now
from shared.errors import ConfigError, TransientError
from shared.registry import base_id
from tests.bench.__main__ import machine
from tests.bench.classifier import parts, sets
from tests.bench.classifier.llm import Asker
from tests.bench.classifier.run import BUILD, MISSES, ROOT, WORK, Bench
from tests.bench.model.engine import running
from tests.bench.model.tables import as_json, markdown
from tests.bench.page import read_between, with_newer, write_between

DOCS = ROOT / "docs"
PAGE, OUT = DOCS / "classifier.md", BUILD / "classifier.json"
MARKS = "bench-classifier"  # on the page
PARTS = ("sets", "messages", "robustness")
LEAST_SIZE = 0.2  # of a run whose figures may stand on the page


async def run(args: argparse.Namespace, console: Console) -> Bench:
    """The whole measurement. Raises LocalError, ConfigError or TransientError where a part of it can't be had."""
    bench = Bench(args, console)
    if not args.llm:
        await bench.measure(None)
        bench.about.append("The language model was not asked (--llm)")
        return bench
    log = BUILD / "engine.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    async with running(args.model, log, bench.say) as client:
        base = base_id(str(args.model))
        asker = Asker(client, base, args.model, Enricher(client, utc_now, base))
        await bench.measure(asker)
        silent = ", ".join(f"{count} of {what}" for what, count in asker.silent.items())
        bench.about.append(f"Language model: `{base}` through vLLM{'; it gave no label to ' + silent if silent else ''}")
    return bench


def heading(bench: Bench, args: argparse.Namespace, seconds: float) -> str:
    """One paragraph: what was measured, where, when and how."""
    return (
        f"Measured on {datetime.now(UTC):%d %B %Y} by `make bench-classifier` (size {args.size:g}, {seconds / 60:.0f} minutes, {args.threads} "
        f"thread{'s' if args.threads > 1 else ''}) on {machine()}. {'. '.join(bench.about)}."
    )


def options(argv: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.classifier", description="Measure the classifier's verdicts.")
    parser.add_argument("--size", type=float, default=1.0, help="how many texts, as a multiple of the usual")
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts, with commas: {','.join(PARTS)}")
    parser.add_argument("--sets", default="", help="names of sets, with commas; without it all that the data folder holds")
    parser.add_argument("--heads", default=",".join(parts.KINDS), help=f"kinds of head, with commas: {','.join(parts.KINDS)}")
    parser.add_argument("--tuned", default="", help="names of sets, with commas, that a fine-tuned encoder is trained for too: many minutes each")
    parser.add_argument("--start", type=Path, help="with --tuned: also one that begins with the layers of the tuned head in this folder")
    parser.add_argument("--data", help="the data folder (else FEEDLOOP_DATA, else ../shared/data)")
    parser.add_argument("--llm", action="store_true", help="ask the language model too: starts the engine, or takes the one at FEEDLOOP_ENGINE_URL")
    parser.add_argument(
        "--adapter", type=int, default=0, metavar="N", help="with --llm: also with an adapter that was taught N corrections of each set"
    )
    parser.add_argument("--model", type=Path, default=BUNDLED_MODEL, help="a model's folder, in place of the bundled one")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--keep-vectors", action="store_true", help="keep what the encoder read in build/bench/classifier, for the next time (GBs)")
    parser.add_argument(
        "--update-page", action="store_true", help="with --only: put these parts in the place of the older ones on the page, and say so"
    )
    parser.add_argument("--keep-page", action="store_true", help="leave docs/ as it is; the plots go to build/bench")
    args = parser.parse_args(argv)
    args.only, args.heads = args.only.split(","), args.heads.split(",")
    args.sets, args.tuned = (names.split(",") if names else [] for names in (args.sets, args.tuned))
    names = [source.folder for source in sets.SOURCES]
    for given, known in ((args.only, PARTS), (args.heads, parts.KINDS), (args.sets, names), (args.tuned, names)):
        if unknown := set(given) - set(known):
            parser.error(f"no {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    if not 0 < args.size <= 20:
        parser.error("--size must be above 0, and at most 20")
    if args.adapter and not args.llm:
        parser.error("--adapter teaches the language model, so it needs --llm")
    if args.start and not args.tuned:
        parser.error("--start is for the sets of --tuned")
    if args.start and parts.TUNED not in args.heads:
        parser.error(f"--start is for heads of the kind {parts.TUNED}: name it in --heads")
    if args.adapter < 0 or args.threads < 1:
        parser.error("--adapter and --threads must not be negative")
    return args


def data(named: str | None, console: Console) -> Path | None:
    """The data folder; None, with a line that says what is skipped, where there is none and none was named."""
    try:
        folder = data_folder(named)
        if not sets.there(folder):
            raise SystemExit(f"no labelled sets under {folder}")
    except SystemExit as error:
        if named:
            raise
        console.print(f"{error}; skipped are the labelled sets, and docs/classifier.md stays as it is.")
        return None
    return folder


def main(argv: Sequence[str] | None = None) -> None:
    """Command line; see the module's docstring."""
    import torch

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))  # parts are broken on purpose
    args, console = options(sys.argv[1:] if argv is None else argv), Console(width=None if sys.stdout.isatty() else 240)
    args.data_found = data(args.data, console)
    torch.set_num_threads(args.threads)
    began = time.perf_counter()
    try:
        bench = asyncio.run(run(args, console))
    except (LocalError, ConfigError, TransientError, RuntimeError, ValueError) as error:
        sys.exit(f"bench-classifier: {error}")
    seconds = time.perf_counter() - began
    head = heading(bench, args, seconds)
    whole = bool(bench.found) and not args.sets and set(args.only) == set(PARTS) and args.size >= LEAST_SIZE and args.model == BUNDLED_MODEL
    writes = whole and not args.keep_page
    updates = args.update_page and not writes and args.model == BUNDLED_MODEL
    BUILD.mkdir(parents=True, exist_ok=True)
    bench.plots(DOCS if writes or updates else WORK)
    OUT.write_text(
        json.dumps({"about": head, "size": args.size, "seconds": round(seconds), "sections": as_json(bench.sections)}, indent=1, ensure_ascii=False)
    )
    console.print(f"{head}\nAll figures: {OUT.relative_to(ROOT)}; what was missed: {MISSES.relative_to(ROOT)}", highlight=False)
    if writes:
        write_between(PAGE, MARKS, markdown(head, bench.sections))
        console.print(f"Written into {PAGE.relative_to(ROOT)}, with its plots.")
    elif updates:
        write_between(PAGE, MARKS, with_newer(read_between(PAGE, MARKS), markdown(head, bench.sections)))
        console.print(f"Put into {PAGE.relative_to(ROOT)}, in the place of the same parts.")
    else:
        console.print(
            f"{PAGE.relative_to(ROOT)} stays as it is: it holds the figures of a whole run, of size {LEAST_SIZE:g} or more, on the data folder."
        )


if __name__ == "__main__":
    main()
