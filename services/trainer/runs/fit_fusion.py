"""Learn how the parts of the classifier are pooled, from what they said of labelled texts that none of them was trained on.

    python -m services.trainer.runs.fit_fusion --rows said.jsonl --collection news --out deploy/model/fusion/news.json

One JSON object a line: {"task", "gold", "parts": {"llm": {label: p, …}, "neural": {label: p, …}}}, `gold` a list in a multi task, and a `group` (the story,
say) where texts belong together: a group is never split. Half of the groups are fitted on, a quarter gives the scores for what is unsure, a quarter
the figures that are printed; with --test all of the figures come from that second file. The same rows give the same bytes.
"""

import argparse
import json
import math
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from services.trainer.runs.pool_figures import Coverage, Figures, coverage, figures
from services.trainer.runs.pool_fit import Example, fit
from shared import conformal
from shared.errors import ConfigError
from shared.events import digest_of
from shared.pooling import FusionFile, TaskFusion, Voices, hand_set, pool, spread
from shared.taxonomy import LabelSet, Task, label_set, use

PARTS = ("llm", "neural")
LEAST_FITTED, LEAST_CONFORMAL = 40, 20
Rows = dict[str, list[Example]]


def read_rows(path: Path, labels: LabelSet) -> Rows:
    """Task -> examples. Raises ConfigError naming the line that is wrong."""
    found: Rows = {}
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    try:
                        task, example = _example(json.loads(line), labels, f"line {number}")
                    except (ValueError, TypeError, KeyError, AttributeError) as error:
                        said = f"it has no {error}" if isinstance(error, KeyError) else str(error)
                        raise ConfigError(f"{path.name} line {number}: {said}") from error
                    found.setdefault(task, []).append(example)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} can't be read: {error}") from error
    return found


def _example(row: dict[str, Any], labels: LabelSet, group: str) -> tuple[str, Example]:
    gold = row["gold"] if isinstance(row["gold"], list) else [row["gold"]]
    task = labels.tasks.get(row["task"])
    for label in gold or [next(iter(task.labels)) if task else ""]:
        labels.check(row["task"], label)
    assert task
    if task.kind != "multi" and len(gold) != 1:
        raise ValueError(f"task {task.name!r} takes one label, and gold holds {len(gold)}")
    voices = {part: _voice(task, part, said) for part, said in row["parts"].items() if said}
    if not voices:
        raise ValueError("no part said anything")
    return task.name, Example(frozenset(gold), voices, str(row.get("group", group)))


def _voice(task: Task, part: str, said: dict[str, float]) -> dict[str, float]:
    if part not in PARTS or part not in task.parts:
        raise ValueError(f"{part!r} does not answer task {task.name!r}: its parts are {', '.join(p for p in PARTS if p in task.parts)}")
    for label, p in said.items():
        if label not in task.labels:
            raise ValueError(f"{part} speaks of {label!r}, which is no label of task {task.name!r}")
        if isinstance(p, bool) or not isinstance(p, int | float) or not 0 <= p <= 1:  # False for NaN too
            raise ValueError(f"{part} gives {label!r} {p!r}, which is no probability")
    # as in the classifier: the model speaks of all labels, the head of those that it was taught
    return spread(list(task.labels), said) if part == "llm" else {label: said[label] for label in task.labels if label in said}


def deal(examples: Sequence[Example], shares: Sequence[float], seed: str = "fusion") -> list[list[Example]]:
    """The examples in parts of about these shares; a group stays together, and where it goes depends on its name alone."""
    dealt: list[list[Example]] = [[] for _ in shares]
    for example in examples:
        place, rest = 0, int(digest_of(seed, example.group)[:13], 16) / 16**13
        while place < len(shares) - 1 and rest >= shares[place]:
            rest -= shares[place]
            place += 1
        dealt[place].append(example)
    return dealt


def learn(task: Task, fitted: Sequence[Example], held: Sequence[Example]) -> TaskFusion:
    """Weights from `fitted`, scores of what is strange from `held`. Raises ConfigError where there are too few examples."""
    parts = [part for part in PARTS if sum(part in e.voices for e in fitted) >= LEAST_FITTED]
    together = [e for e in fitted if parts and all(part in e.voices for part in parts)]
    if len(together) < LEAST_FITTED or len(held) < LEAST_CONFORMAL:
        raise ConfigError(
            f"{len(together)} texts to fit on of which all parts spoke, and {len(held)} held out: at least {LEAST_FITTED} and {LEAST_CONFORMAL} are needed"
        )
    multi = task.kind == "multi"
    found = fit(list(task.labels), fitted, parts, multi, task.kind == "ordinal")
    scores = {}
    for heard in subsets(parts):
        usable = [e for e in held if all(part in e.voices for part in heard)]
        if len(usable) >= LEAST_CONFORMAL:
            strange = [conformal.score(pool(list(task.labels), hear(e, heard), found, multi=multi), e.gold, task.kind) for e in usable]
            scores["+".join(sorted(heard))] = conformal.kept(strange)
    return found.model_copy(update={"scores": scores, "rows": {"fitted": len(together), "conformal": len(held)}})


def subsets(parts: Sequence[str]) -> list[tuple[str, ...]]:
    return [chosen for size in range(1, len(parts) + 1) for chosen in combinations(parts, size)]


def hear(example: Example, parts: Sequence[str]) -> Voices:
    return {part: example.voices[part] for part in parts}


def report(task: Task, learned: TaskFusion, tests: Sequence[Example], error_rate: float) -> Iterator[tuple[str, Figures, Coverage | None]]:
    """Before and after for each part and for the pool, on texts on which nothing was fitted."""
    multi, labels = task.kind == "multi", list(task.labels)
    for heard in subsets(learned.parts):
        rows = [e for e in tests if all(part in e.voices for part in heard)]
        if not rows:
            continue
        golds = [e.gold for e in rows]
        name = " + ".join(heard)
        before = [pool(labels, hear(e, heard), hand_set(task.name), multi=multi) for e in rows]
        after = [pool(labels, hear(e, heard), learned, multi=multi) for e in rows]
        scores = learned.scores.get("+".join(sorted(heard)), [])
        cover = coverage(golds, after, labels, task.kind, conformal.limit(scores, error_rate)) if scores else None
        yield f"{name}, before", figures(golds, before, labels, task.kind, {}, task.threshold), None
        yield f"{name}, after", figures(golds, after, labels, task.kind, learned.thresholds if learned.whole(heard) else {}, task.threshold), cover


def write(out: Path, file: FusionFile) -> None:
    """Beside its place, then renamed: the classifier may be reading."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=out.parent, prefix=f".{out.name}", suffix=".part", delete=False, encoding="utf-8") as beside:
        beside.write(file.model_dump_json(indent=1) + "\n")
    os.chmod(beside.name, 0o644)
    os.replace(beside.name, out)


def show(task: Task, learned: TaskFusion, tests: Sequence[Example], error_rate: float) -> list[dict[str, Any]]:
    """Print the table of a task; the same as data."""
    rows = learned.rows
    print(f"\n{task.name}: {rows['fitted']} texts fitted, {rows['conformal']} for the doubt, {len(tests)} for these figures")
    print(f"temperatures: {', '.join(f'{part} {t:.2f}' for part, t in learned.temperatures.items())}")
    print(f"{'':24}{'texts':>7}{'accuracy':>10}{'macro-F1':>10}{'log loss':>10}{'ECE':>8}{'covered':>9}{'unsure':>8}{'right if sure':>15}")
    found = []
    for name, figure, cover in report(task, learned, tests, error_rate):
        more = f"{cover.covered:9.3f}{cover.unsure:8.3f}{cover.right_when_sure:15.3f}" if cover else ""
        print(f"{name:24}{figure.texts:7}{figure.accuracy:10.3f}{figure.macro_f1:10.3f}{figure.log_loss:10.3f}{figure.ece:8.3f}{more}")
        found.append({"task": task.name, "voices": name, **vars(figure), **(vars(cover) if cover else {})})
    return found


def run(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Returns what the tables show."""
    labels = label_set(given.collection)
    if labels.collection != given.collection:
        raise ConfigError(f"there is no label set {given.collection!r}: --labels names a folder of them, or a file with `label_sets:`")
    rows, tests = read_rows(given.rows, labels), read_rows(given.test, labels) if given.test else {}
    shares = (2 / 3, 1 / 3) if given.test else (0.5, 0.25, 0.25)
    tasks: dict[str, TaskFusion] = {}
    table: list[dict[str, Any]] = []
    for name, task in labels.tasks.items():
        if name not in rows:
            continue
        fitted, held, *test = deal(rows[name], shares)
        try:
            tasks[name] = learn(task, fitted, held)
        except ConfigError as error:
            print(f"\n{name}: left out: {error}")
            continue
        table += show(task, tasks[name], tests.get(name, []) if given.test else test[0], labels.error_rate)
    if not tasks:
        raise ConfigError(f"{given.rows.name}: no task has enough texts to learn from, so nothing is written")
    learned_with = dict(pair.split("=", 1) for pair in given.learned_with)
    file = FusionFile(collection=given.collection, learned_with=learned_with, until_taught=given.until_taught, tasks=tasks).signed()
    write(given.out, file)
    print(f"\n{given.out}: {', '.join(tasks)}; digest {file.digest[:12]}")
    return table


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=Path, required=True, help="what the parts said of labelled texts, JSON Lines")
    parser.add_argument("--test", type=Path, help="the same form: the figures are of these; else of a quarter of the rows")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--collection", default="news")
    parser.add_argument("--labels", type=Path, help="your own label sets: a folder, or a YAML file with `label_sets:`")
    parser.add_argument(
        "--until-taught",
        action="store_true",
        help="not for a language model that has learned from corrections of the collection: then the hand-set ones hold",
    )
    parser.add_argument("--report", type=Path, help="the tables as JSON")
    parser.add_argument(
        "--learned-with",
        action="append",
        default=[],
        metavar="PART=DIGEST",
        help="the adapter (llm) and head (neural) that spoke in the rows, and the id of the language model (base)",
    )
    given = parser.parse_args(words)
    if wrong := [pair for pair in given.learned_with if pair.partition("=")[0] not in (*PARTS, "base") or not pair.partition("=")[2]]:
        parser.error(f"--learned-with {wrong[0]}: write llm=DIGEST, neural=DIGEST or base=ID")
    return given


def main() -> None:
    given = arguments()
    try:
        use(given.labels)
        table = run(given)
    except ConfigError as error:
        sys.exit(f"fit_fusion: {error}")
    if given.report:
        given.report.write_text(json.dumps(table, indent=1, default=lambda value: None if math.isnan(value) else value) + "\n")


if __name__ == "__main__":
    main()
