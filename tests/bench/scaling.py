"""What a larger bundled model brings, and a longer training: `make bench-scaling`.

    python -m tests.bench.scaling [--minutes 8] [--data ../shared/data] [--keep-page]

Trains two smaller presets and the shipped one in the same way for the same time (three runs, one after the other), and measures them and the shipped
model on the same held-out texts: loss on prose, category, and label sets by names that were never taught. Labels are chosen by their first token, so the
figures lie a little under those of `make bench-model`. Finished runs are found again in build/scaling. Writes docs/scaling.png and its table in docs/model.md
and in the model's card.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from services.trainer.runs import measure
from services.trainer.runs.gather import data_folder
from services.trainer.runs.prepare import prepare
from services.trainer.runs.pretrain import PRESETS
from shared.prompts import label_messages
from tests.bench.__main__ import machine
from tests.bench.model import sets
from tests.bench.page import write_between
from tests.bench.pretraining import TABLE, rows_of, tokens_by

ROOT = Path(__file__).resolve().parents[2]
PAGE, PICTURE, OUT, SHIPPED = ROOT / "docs" / "model.md", ROOT / "docs" / "scaling.png", ROOT / "build" / "scaling", ROOT / "deploy" / "model"
CARD = SHIPPED / "README.md"
RUNS = ("third", "half", "cpu")
MOST, NAMED = 400, 100  # held-out rows of each task; texts of each foreign set
Row = dict[str, Any]


def trained(preset: str, minutes: float, data: Path) -> Path:
    """The folder of a model of this preset after so many minutes, trained now where it is not there."""
    folder = OUT / f"{preset}-{minutes:g}"
    if not (folder / "finished").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (folder / name).write_bytes((SHIPPED / name).read_bytes())
        command = [sys.executable, "-m", "services.trainer.runs.pretrain", "--preset", preset, "--minutes", str(minutes)]
        subprocess.run([*command, "--data", str(data), "--out", str(folder), "--state", str(folder)], check=True, cwd=ROOT)
        (folder / "finished").touch()
    return folder


def tokens_of(folder: Path) -> float | None:
    """How many tokens a run has read, by its log; None where there is no log (the shipped model's is not kept)."""
    log = folder / "log.jsonl"
    if not log.is_file():
        return None
    return sum(tokens_by([row for row in rows_of(log) if "tokens_per_s" in row])[-1:])


def measured(name: str, folder: Path, held: list[Row], quizzes: list[sets.Quiz]) -> Row:
    """Weights, held-out loss, accuracy of category, and mean accuracy over the foreign sets."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
    right = {}
    with torch.inference_mode():
        for quiz in quizzes:
            labels = list(quiz.task.labels)
            answers = [measure.choose(model, tokenizer, label_messages(quiz.task, item.head, item.text), labels) for item in quiz.items]
            right[quiz.name] = sum(quiz.classes.get(a, a) in (item.gold, *item.right) for a, item in zip(answers, quiz.items, strict=True)) / len(
                answers
            )
    tasks = measure.labels(model, tokenizer, held, MOST)
    return {
        "name": name,
        "tokens": tokens_of(folder),
        "weights": sum(p.numel() for p in model.parameters()),
        "prose": measure.prose_loss(model, tokenizer, held, 150),
        "category": tasks["category"]["accuracy"],
        "named": sum(right.values()) / len(right),
        "sets": right,
    }


def table(rows: list[Row], elsewhere: str) -> str:
    """Row by row; `elsewhere` says where the tokens stand that the shipped model has read."""
    told = [
        "| model | weights | tokens read | loss on held-out prose, nats a token | category, held out | label sets by name |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        read = f"{row['tokens'] / 1e6:.2f} M" if row["tokens"] else elsewhere
        told.append(f"| {row['name']} | {row['weights'] / 1e6:.1f} M | {read} | {row['prose']:.2f} | {row['category']:.0%} | {row['named']:.0%} |")
    return "\n".join(told)


def page(rows: list[Row], minutes: float, chance: float) -> str:
    """The table of the page, with how it was measured."""
    return (
        f"Measured on {datetime.now(UTC):%d %B %Y} by `make bench-scaling` on {machine()}: {minutes:g} minutes of training each, and the shipped model. Labels"
        f" chosen by their first token. By name: mean over the sets of others in `make bench-model`, of which chance is {chance:.0%}. The clock ends"
        " a run, so what else uses the machine takes tokens away from it: read the column of tokens along with the others.\n\n"
        f"![Loss and accuracy by the number of weights](scaling.png)\n\n{table(rows, 'four parts, see above')}"
    )


def card(rows: list[Row], minutes: float, chance: float) -> str:
    """The table of the model's card."""
    read = f"{rows_of(TABLE)[-1]['tokens'] / 1e6:.1f} M, in four parts"
    return (
        f"{minutes:g} minutes of training each on {machine()}, and the shipped model; label sets of others by name, of which chance is {chance:.0%}"
        " ([picture](../../docs/scaling.png), [how it was measured](../../docs/model.md#what-size-and-time-bring)).\n\n"
        f"{table(rows, read)}"
    )


def plot(rows: list[Row], path: Path) -> None:
    """Loss and accuracies by weights; the shipped model apart."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.4))
    alike, shipped = rows[:-1], rows[-1]
    for axes, names in ((left, ("prose",)), (right, ("category", "named"))):
        for name, colour in zip(names, ("tab:blue", "tab:orange"), strict=False):
            said = {"prose": "prose, nats a token", "category": "category", "named": "sets by name"}[name]
            axes.plot([r["weights"] / 1e6 for r in alike], [r[name] for r in alike], "o-", color=colour, label=said)
            axes.plot([shipped["weights"] / 1e6], [shipped[name]], "*", color=colour, markersize=12, label=f"{said}, shipped")
        axes.set_xlabel("weights, millions")
        axes.legend(fontsize=8)
    left.set_ylabel("held-out loss")
    right.set_ylabel("accuracy")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main(argv: Sequence[str] | None = None) -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8.0, help="of training, each")
    parser.add_argument("--data", help="the data folder; without it FEEDLOOP_DATA or ../shared/data")
    parser.add_argument("--keep-page", action="store_true", help="leave docs/ as it is")
    args = parser.parse_args(argv)
    data = data_folder(args.data)
    found = [(f"`{preset}`, {args.minutes:g} minutes", trained(preset, args.minutes, data)) for preset in RUNS]
    held = measure.read_held(prepare(data, SHIPPED, PRESETS["cpu"]["size"]) / "held.jsonl")
    quizzes = sets.unseen(data, NAMED)
    rows = [measured(name, folder, held, quizzes) for name, folder in (*found, ("shipped", SHIPPED))]
    chance = sum(1 / len(quiz.task.labels) for quiz in quizzes) / len(quizzes)
    told = page(rows, args.minutes, chance)
    (OUT / "scaling.json").write_text(json.dumps({"machine": machine(), "minutes": args.minutes, "rows": rows}, indent=1) + "\n")
    print(told)
    if not args.keep_page:
        plot(rows, PICTURE)
        write_between(PAGE, "bench-scaling", told)
        write_between(CARD, "bench-scaling", card(rows, args.minutes, chance))


if __name__ == "__main__":
    main()
