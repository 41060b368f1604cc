"""Tiny neural heads, trained in a second on some of the sample's labelled texts with the real encoder."""

import json
from functools import cache
from pathlib import Path

from services.trainer.runs import train_head
from services.trainer.runs.heads.examples import Example
from shared.encoder import Encoder
from shared.taxonomy import label_set

ENCODER = Path("build/encoder")
SEED = Path("deploy/sample/seed_labels.jsonl")


@cache
def lines(start: int, most: int = 90) -> list[dict[str, str]]:
    """Every third of the sample's texts that have a label for each task, from the first, second or third on (start 0 to 2): at most so many."""
    rows = [json.loads(line) for line in SEED.read_text(encoding="utf-8").splitlines()]
    whole = [row for row in rows if {"category", "sentiment", "urgency"} <= row.keys()][start::3]
    return whole[:: -(-len(whole) // most)]


def head(folder: Path, wrong: bool = False) -> Path:
    """A head for the news in `folder`; a `wrong` one has learned each label as the next one of its task."""
    tasks = label_set().tasks
    examples = []
    for row in lines(0):
        labels = {task: row[task] for task in ("category", "sentiment", "urgency")}
        if wrong:
            labels = {
                task: _next([name for name in tasks[task].labels if name not in ("security", "economy")], label) for task, label in labels.items()
            }
        examples.append(Example(row["text"], labels))
    train_head.train(examples, label_set(), Encoder(ENCODER, 1), folder, measure=False)
    return folder


def _next(labels: list[str], label: str) -> str:
    return labels[(labels.index(label) + 1) % len(labels)]
