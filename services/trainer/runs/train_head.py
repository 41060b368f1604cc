"""Train the neural head of a collection on labelled texts and write it as the classifier reads it: head.onnx and head.json.

    python -m services.trainer.runs.train_head --collection news --out deploy/model/heads/news
    python -m services.trainer.runs.train_head --collection wellbeing --kind tuned --out deploy/model/heads/wellbeing
    python -m services.trainer.runs.train_head --collection mine --data my.jsonl --kind tuned --start deploy/model/heads/wellbeing --out mine

--data: JSON lines, {"text": …} and a label for each task (of a multi task several, between commas); for wellbeing also a folder of YAML files; by default
the texts that come with Feedloop. --kind: logistic and mlp read the sentence vector, textcnn the token vectors, and tuned has all of the encoder's
layers for its own (on a few thousand texts some ten minutes). --start: a tuned head begins with the layers of the one in that folder, in place of the
published ones, for few texts on what that one knows; figures on texts that it has learnt are too good, so give it others. head.json holds the labels, the
encoder's digest, that of the head it began with, the figures on texts that were not trained on, and some known answers, so that `feedloop models offer`
can have it judged and published. The same data give the same bytes on the same machine.

The shipped news seed has no text labelled security or economy, on purpose: they are this desk's own labels, which the demo teaches by corrections. Texts
on vulnerabilities stand under technology there, and texts on inflation and interest rates under business.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from services.trainer.runs.gather import data_folder
from services.trainer.runs.heads import export, start, training, vectors, wellbeing
from services.trainer.runs.heads.examples import Example, Targets, read, targets
from services.trainer.runs.heads.probes import known_answers
from shared.encoder import Encoder
from shared.errors import ConfigError
from shared.taxonomy import LabelSet, label_set, use

OWN_TEXTS = {
    "news": [Path("deploy/sample/seed_labels.jsonl"), *sorted(Path("services/trainer/news").glob("*.jsonl"))],
    "wellbeing": [Path("services/trainer/wellbeing"), *(Path("services/trainer/wellbeing") / name for name in ("borders", "borders_2", "borders_3"))],
}


def gathered(data: Sequence[Path], labels: LabelSet) -> list[Example]:
    """The texts of files and folders. Raises ConfigError naming what is wrong."""
    found: list[Example] = []
    for path in data:
        found += wellbeing.read_folder(path, labels) if path.is_dir() else read(path, labels)
    return found


def train(
    examples: Sequence[Example],
    labels: LabelSet,
    encoder: Encoder,
    out: Path,
    kind: str = "logistic",
    keep: Path | None = None,
    measure: bool = True,
    said: Path | None = None,
    start_at: Path | None = None,
) -> dict[str, Any]:
    """Encode, measure, train on everything, write. Returns what head.json says. `said`: where to write what was said of the texts that it was measured on,
    as fit_fusion reads it. `start_at`: the folder of the head whose layers a tuned one begins with. Raises ConfigError where that or the texts don't do."""
    began = time.monotonic()
    if start_at and kind != "tuned":
        raise ConfigError(f"--start: a {kind} head has no layers of its own to begin with: only --kind tuned has")
    begun = start.read(start_at, encoder.digest) if start_at else None
    target = targets(examples, labels)
    store = vectors.store(encoder, [one.text for one in examples], training.KINDS[kind].READS, keep)
    trained = training.train(kind, store, target, measure=measure, start=begun)
    card = {
        "collection": labels.collection,
        "kind": kind,
        "encoder": encoder.digest,
        **({"start": begun.digest} if begun else {}),
        "texts": {"own": int(target.own.sum()), "others": int((~target.own).sum())},
        "measured": trained.measured + (known_before(begun, labels) if measure else ""),
        "figures": trained.figures,
        "probes": known_answers(examples, target, trained.network, store),
    }
    if said:
        said.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows_said(examples, target, trained)), encoding="utf-8")
    sample = store.sample(trained.network.reads) if kind == "tuned" else []
    written = export.write(out, trained.network, card, sample)
    return {**written, "seconds": round(time.monotonic() - began, 1)}


def known_before(begun: start.Start | None, labels: LabelSet) -> str:
    """What to say beside figures that may be too good: a head of the same collection, whose layers it began with, may have learnt what was left out."""
    same = begun is not None and begun.collection == labels.collection
    return ", which the head that it began with may have learnt" if same else ""


def rows_said(examples: Sequence[Example], target: Targets, trained: training.Trained) -> Iterator[dict[str, Any]]:
    """A row for each measured text and task: the text, its label, and the head's probabilities, of a head that had not seen it."""
    for task in target.tasks:
        for place, row in zip(trained.places, trained.said.get(task.name, ()), strict=True):
            if label := examples[place].labels.get(task.name):
                gold = [one.strip() for one in label.split(",")] if task.kind == "multi" else label
                chances = {name: round(float(p), 6) for name, p in zip(task.labels, row, strict=True)}
                yield {"task": task.name, "gold": gold, "group": f"text-{place}", "text": examples[place].text, "parts": {"neural": chances}}


def main(argv: Sequence[str] | None = None) -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--collection", default="news")
    parser.add_argument("--data", type=Path, nargs="*", default=[], help="JSON lines files, or folders of YAML files")
    parser.add_argument("--with", dest="others", choices=["goemotions"], nargs="*", default=[], help="also train on these sets of the data folder")
    parser.add_argument("--data-folder", default=None, help="where those sets are (FEEDLOOP_DATA, else ../shared/data)")
    parser.add_argument("--labels", type=Path, default=None, help="your own label sets: a folder, or a YAML file with `label_sets:`")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kind", choices=sorted(training.KINDS), default="logistic")
    parser.add_argument("--start", type=Path, default=None, help="with --kind tuned: the folder of a tuned head whose layers it begins with")
    parser.add_argument("--encoder", type=Path, default=Path("build/encoder"))
    parser.add_argument("--keep", type=Path, default=None, help="a folder to keep the vectors in, for the next time")
    parser.add_argument("--said", type=Path, default=None, help="JSON lines of what it said of the texts it was measured on: for fit_fusion")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args(argv)
    torch.set_num_threads(given.threads)
    try:
        use(given.labels)
        labels = label_set(given.collection)
        if labels.collection != given.collection:
            raise ConfigError(f"there is no label set for {given.collection!r}: give your own with --labels")
        paths = given.data or OWN_TEXTS.get(given.collection, [])
        if not paths:
            raise ConfigError(f"no texts come with Feedloop for {given.collection!r}: give them with --data")
        examples = gathered(paths, labels)
        if "goemotions" in given.others:
            if given.collection != "wellbeing":
                raise ConfigError("--with goemotions: its labels are carried over to those of wellbeing only")
            examples += wellbeing.goemotions(data_folder(given.data_folder))
        card = train(
            examples, labels, Encoder(given.encoder, given.threads), given.out, given.kind, given.keep, said=given.said, start_at=given.start
        )
    except (ConfigError, ValueError) as error:
        sys.exit(f"train_head: {error}")
    print(f"{given.out}: {card['kind']} head for {card['collection']}, {card['texts']['own']} own texts, {card['seconds']} s; {card['measured']}:")
    print("\n".join(training.summary(card["figures"])))


if __name__ == "__main__":
    main()
