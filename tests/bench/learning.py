"""How many corrections teach the bundled model a label convention that it was never taught: `make bench-learning`.

    python -m tests.bench.learning [--only sample,ag_news] [--counts 20,60] [--seeds 1] [--base deploy/model] [--data ../shared/data] [--keep-page]

For each convention (tests/bench/learning_conventions.py), each of three seeds and 20, 60 and 200 corrections: a LoRA by the trainer's own program and
recipe, on one thread, and its accuracy on 100 held-out items (36 of the sample). Beside it a linear head on the sentence encoder, which says how much
the corrections hold. Finished points are kept in build/bench/learning and found again while data, base model, recipe and code are the same, so that a
run that was broken off goes on. Writes build/bench/learning.json, docs/learning-curve.png and the figures of docs/model.md.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from shared.encoder import Encoder
from tests.bench.learning_conventions import HELD_OUT, conventions
from tests.bench.learning_report import page, plot, verdicts
from tests.bench.learning_runs import ROOT, Point, point, recipe

OUT = ROOT / "build" / "bench"
PAGE, PICTURE = ROOT / "docs" / "model.md", ROOT / "docs" / "learning-curve.png"


def main(argv: Sequence[str] | None = None) -> None:
    """Command line; see the module's docstring."""
    from tests.bench.__main__ import machine
    from tests.bench.page import write_between

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="names of conventions, with commas; without it all that are there")
    parser.add_argument("--counts", default="", help="numbers of corrections, with commas; without it 20, 60 and 200 (or all there are)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--base", type=Path, default=ROOT / "deploy" / "model")
    parser.add_argument("--data", help="the data folder; without it FEEDLOOP_DATA or ../shared/data, and without that the sample alone")
    parser.add_argument("--keep-page", action="store_true", help="leave docs/ as it is")
    args = parser.parse_args(argv)
    found = conventions(_data(args.data))
    if args.only:
        wanted = args.only.split(",")
        if unknown := set(wanted) - {c.name for c in found}:
            sys.exit(f"no convention {', '.join(sorted(unknown))} here; there are {', '.join(c.name for c in found)}")
        found = [c for c in found if c.name in wanted]
    console, encoder = Console(stderr=True), Encoder(ROOT / "build" / "encoder")
    points: list[Point] = []
    for convention in found:
        counts = [int(n) for n in args.counts.split(",")] if args.counts else convention.counts()
        for seed in range(args.seeds):
            for corrections in counts:
                made = point(convention, seed, corrections, args.base, encoder, OUT / "learning")
                points.append(made)
                console.print(
                    f"{convention.name}, seed {seed}, {corrections} corrections: {made.base:.0%} to {made.accuracy:.0%}"
                    f" (MiniLM head {made.minilm:.0%}), {made.training_cpu_s:.0f} s of processor to train ({made.training_wall_s:.0f} s by the clock),"
                    f" {made.run_cpu_s:.0f} s in all, {made.kept:.0%} of {made.asked} other answers kept",
                    highlight=False,
                )
    steps = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in recipe().items())
    about = (
        f"Measured on {datetime.now(UTC):%d %B %Y} by `make bench-learning` on {machine()}, one thread: LoRA by the trainer's own program ({steps}),"
        f" accuracy on {HELD_OUT} held-out items (36 of the sample), mean and range of {args.seeds} seed{'s' if args.seeds > 1 else ''}. Labels come equally often, but for the sample."
        " No set here has taught the base model; the head is logistic regression on the sentence encoder, trained on the same corrections."
    )
    told = page(found, points, about)
    OUT.mkdir(parents=True, exist_ok=True)
    report = {"machine": machine(), "recipe": recipe(), "target": verdicts(points), "points": [p.model_dump() for p in points]}
    (OUT / "learning.json").write_text(json.dumps(report, indent=1) + "\n")
    picture = OUT / "learning-curve.png" if args.keep_page else PICTURE
    plot(found, points, picture)
    print(told)
    if not args.keep_page:
        write_between(PAGE, "bench-learning", told)
        console.print(f"written to {PAGE.name}, {picture.name} and build/bench/learning.json")


def _data(named: str | None) -> Path | None:
    """The data folder; None where none was named and none is there. Raises SystemExit where the one that was named is missing."""
    from services.trainer.runs.prepare import data_folder

    try:
        return data_folder(named)
    except SystemExit:
        if named:
            raise
        print("no data folder: the sample's convention alone", file=sys.stderr)
        return None


if __name__ == "__main__":
    main()
