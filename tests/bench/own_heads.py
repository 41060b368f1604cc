"""How many corrections teach the loop's own head a new convention, beside what the labels' names tell:

    python -m tests.bench.own_heads [--data DIR] [--seeds 3]

Accuracy on the held-out items of tests/bench/learning_conventions.py, by the trainer's own training function, given corrections in turn of each label.
Then all corrections of one label are left out of 60, because people do not correct what the names had right: the share of that label's held-out items that
get it by name, and by the head, which must not lose it. Writes nothing; the table goes to standard output.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from services.trainer.dataset import Example
from services.trainer.heads import Head, ask, likeliest
from services.trainer.runs.gather import data_folder
from services.trainer.runs.judge_head import by_name
from services.trainer.runs.train_own_head import train
from shared.encoder import Encoder
from shared.heads import head_text
from shared.taxonomy import LabelSet
from tests.bench.learning_conventions import ROOT, Convention, Item, conventions

COUNTS = (20, 60, 200)


def right(head: Path, encoder: Encoder, held_out: Sequence[Item], task: str) -> float:
    """The share of the held-out items that the head labels right."""
    said = ask(Head(head), encoder, [head_text(item.title, item.text) for item in held_out])
    return sum(likeliest(scores, task) == item.label for scores, item in zip(said, held_out, strict=True)) / max(len(held_out), 1)


def measured(convention: Convention, seed: int, encoder: Encoder, folder: Path) -> list[float]:
    """By name, after each number of corrections, of one label without corrections by name and by the head, and the seconds of the largest training."""
    labels = LabelSet.model_validate({**convention.declared, "collection": "desk"})
    given, held_out = convention.drawn(seed)
    task = convention.task
    named = by_name(encoder, labels, [head_text(item.title, item.text) for item in held_out])
    hits = [(item.label, likeliest(scores, task) == item.label) for scores, item in zip(named, held_out, strict=True)]
    found = [sum(hit for _, hit in hits) / len(hits)]
    taken = 0.0
    for count in COUNTS:
        began = time.perf_counter()
        train(_examples(given[:count], task), labels, encoder, folder / str(count))
        taken = time.perf_counter() - began
        found.append(right(folder / str(count), encoder, held_out, task))
    counts = {label: sum(item.label == label for item in held_out) for label in labels.tasks[task].labels}
    left = max(counts, key=counts.__getitem__)
    train(_examples([item for item in given[:60] if item.label != left], task), labels, encoder, folder / "left")
    found.append(sum(hit for label, hit in hits if label == left) / counts[left])
    return [*found, right(folder / "left", encoder, [item for item in held_out if item.label == left], task), taken]


def _examples(items: Sequence[Item], task: str) -> list[Example]:
    return [
        Example(task=task, title=item.title, text=item.text, label=item.label, feedback_id=str(n), collection="desk") for n, item in enumerate(items)
    ]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=None, help="the data folder (FEEDLOOP_DATA, else ../shared/data)")
    parser.add_argument("--seeds", type=int, default=1)
    args = parser.parse_args(argv)
    encoder = Encoder(ROOT / "build" / "encoder", 1)
    print(
        "| convention | by name | 20 corrections | 60 | 200 | a label without corrections: by name | by the head | training at the most, s |\n|---|---|---|---|---|---|---|---|"
    )
    for convention in conventions(data_folder(args.data)):
        with tempfile.TemporaryDirectory() as folder:
            rows = [measured(convention, seed, encoder, Path(folder)) for seed in range(args.seeds)]
        *shares, seconds = (sum(column) / len(rows) for column in zip(*rows, strict=True))
        print(f"| {convention.name} | " + " | ".join(f"{share:.0%}" for share in shares) + f" | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
