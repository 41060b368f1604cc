"""The loss curve of the shipped model's training: docs/pretraining.jsonl, condensed from the logs of its four parts, and docs/pretraining.png.

    python -m tests.bench.pretraining                      # draw the picture from docs/pretraining.jsonl
    python -m tests.bench.pretraining --logs LOG LOG ...   # first condense the logs of pretrain.py, one for each part in order

A row is of a part: its step, the minutes since the part began, the tokens read so far in all parts, and the loss of each kind of batch (a running mean)
or the loss on held-out prose. A part ends with its last held-out figure: then the weights were kept that the next part began with.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TABLE, PICTURE = ROOT / "docs" / "pretraining.jsonl", ROOT / "docs" / "pretraining.png"
EVERY = 40  # steps between two rows
Row = dict[str, Any]


def rows_of(path: Path) -> list[Row]:
    """The lines of a JSON lines file. Raises OSError where there is none, ValueError for a line that is no JSON."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def tokens_by(steps: Sequence[Row]) -> list[float]:
    """How many tokens were read up to each line of a log, by the time since the line before it and the speed (time for exports counts as training)."""
    read, before, found = 0.0, 0.0, []
    for row in steps:
        read += 60 * (row["minutes"] - before) * row["tokens_per_s"]
        before = row["minutes"]
        found.append(read)
    return found


def condensed(logs: Sequence[Sequence[Row]]) -> list[Row]:
    """Some rows of each part's log. A held-out figure has the minutes and tokens of the line before it, since its own line says neither. Raises
    ValueError for a log without such a figure, and where one comes before any line."""
    made: list[Row] = []
    base = 0.0
    for part, log in enumerate(logs, 1):
        measured = [n for n, row in enumerate(log) if "held_out" in row]
        if not measured or "tokens_per_s" not in log[0]:
            raise ValueError(f"the log of part {part} is of no run that was kept: it has no held-out figure, or begins with one")
        log = log[: measured[-1] + 1]
        read = iter(tokens_by([row for row in log if "tokens_per_s" in row]))
        minutes, tokens = 0.0, base
        for row in log:
            if "tokens_per_s" in row:
                minutes, tokens = row["minutes"], base + next(read)
            about = {"part": part, "step": row["step"], "minutes": minutes, "tokens": round(tokens)}
            if "held_out" in row:
                made.append({**about, "held_out_prose": row["held_out"]["prose_loss"]})
            elif row["step"] % EVERY == 0:
                made.append({**about, "loss": row["loss"]})
        base = tokens
    return made


def plot(rows: Sequence[Row], path: Path) -> None:
    """Losses by the tokens read; a line where a part begins."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 3.8))
    colours = {"prose": "tab:blue", "label": "tab:orange", "copy": "tab:green", "long": "tab:red"}
    parts = sorted({row["part"] for row in rows})
    for part in parts:
        own = [row for row in rows if row["part"] == part]
        for kind, colour in colours.items():
            at = [(row["tokens"] / 1e6, row["loss"][kind]) for row in own if kind in row.get("loss", ())]
            axes.plot([x for x, _ in at], [y for _, y in at], color=colour, linewidth=1.2, label=kind if part == parts[0] else None)
        held = [(row["tokens"] / 1e6, row["held_out_prose"]) for row in own if "held_out_prose" in row]
        axes.plot([x for x, _ in held], [y for _, y in held], "ko", markersize=4, label="prose, held out" if part == parts[0] else None)
        axes.axvline(own[-1]["tokens"] / 1e6, color="grey", linewidth=0.6, linestyle=":")
        axes.text(own[0]["tokens"] / 1e6, 0.02, f" part {part}", fontsize=8, color="grey", transform=axes.get_xaxis_transform())
    axes.set_xlabel("tokens read, millions")
    axes.set_ylabel("loss")
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def main(argv: Sequence[str] | None = None) -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logs", type=Path, nargs="+", help="log.jsonl of each part, in order")
    args = parser.parse_args(argv)
    if args.logs:
        made = condensed([rows_of(log) for log in args.logs])
        TABLE.write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")
    rows = rows_of(TABLE)
    plot(rows, PICTURE)
    print(f"{len(rows)} rows, {rows[-1]['tokens'] / 1e6:.1f} M tokens: {PICTURE.name}")


if __name__ == "__main__":
    main()
