"""Train a neural head of a label set on the corrections that people gave, and gather what the gate judges it by.

    python -m services.trainer.runs.train_own_head --snapshot snapshot.json --encoder build/encoder --out run/ [--incumbent DIR] [--labels PLACE]

Logistic regression on the encoder's vectors (heads/logistic.py), of the tasks that have enough corrections (services/trainer/own_heads.py). The fit begins
at what the labels' names tell and is held to it as far as that serves the texts it leaves out. People correct what was wrong, so a label that was always
right has no corrections, and a fit from zero would learn that it never holds; this one still says it. Reads a dataset.Snapshot; writes out/head and
out/judgement.json (as judge_head does), and prints a JSON line a phase.
One thread and nothing drawn: the same snapshot gives the same bytes, and so the same digest. Nothing here knows Kafka.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from services.trainer import own_heads
from services.trainer.dataset import Example, Snapshot
from services.trainer.runs.heads import export, logistic, training, vectors
from services.trainer.runs.heads.examples import NOTHING, Targets, dealt
from services.trainer.runs.heads.examples import Example as Text
from services.trainer.runs.heads.examples import Task as Learned
from services.trainer.runs.heads.probes import known_answers
from services.trainer.runs.judge_head import judgement, say
from shared.by_name import TEMPERATURE, ByName, speaks_of
from shared.encoder import Encoder
from shared.heads import collection_of, head_text
from shared.taxonomy import LabelSet, Task, label_set, use

CLEARLY = 1.0  # in log odds: by how much nearer than the mean text
THREADS = 1  # more would add up in another order, and so give other bytes


def train(examples: Sequence[Example], labels: LabelSet, encoder: Encoder, out: Path) -> dict[str, Any]:
    """Train on the examples of the tasks that have enough of them, and write the head's folder; returns its card. Raises ConfigError like
    services.trainer.runs.heads.export."""
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(True)
    tasks = own_heads.enough(labels, examples)
    given = [one for one in examples if one.task in tasks]
    texts = list(dict.fromkeys(head_text(one.title, one.text) for one in given))
    store = vectors.store(encoder, texts)
    names = ByName.of(encoder, [task for task in tasks.values() if speaks_of(task)])
    target = targets(texts, given, list(tasks.values()), names)
    everything = np.arange(len(texts))
    held = everything[dealt(target, everything, training.HELD, training.SEED) == 0]
    network = logistic.train(store, target, np.setdiff1d(everything, held), held, start=start(names, store))
    card = {
        "collection": labels.collection,
        "kind": "logistic",
        "encoder": encoder.digest,
        "texts": {"corrections": len(texts)},
        "probes": known_answers([Text(text, {}) for text in texts], target, network, store),
    }
    return export.write(out, network, card)


def targets(texts: Sequence[str], examples: Sequence[Example], tasks: Sequence[Task], names: ByName) -> Targets:
    """What is said of each text. A task by whose names nothing can be told has the labels that somebody named; the others have all of theirs."""
    place = {text: n for n, text in enumerate(texts)}
    learned, of = [], {}
    for task in tasks:
        given = [(place[head_text(one.title, one.text)], task.chosen(one.label)) for one in examples if one.task == task.name]
        kept = [label for label in task.labels if task.name in names.vectors or any(label in chosen for _, chosen in given)]
        said = np.full((len(texts), len(kept)) if task.kind == "multi" else len(texts), NOTHING, dtype=np.int64)
        for n, chosen in given:
            said[n] = [label in chosen for label in kept] if task.kind == "multi" else kept.index(chosen[0])
        learned.append(Learned(task.name, task.kind, kept))
        of[task.name] = said
    return Targets(learned, of, np.ones(len(texts), dtype=bool), np.ones(len(texts), dtype=np.float32))


def start(names: ByName, store: vectors.Store) -> logistic.Start:
    """What the names tell, as weights: of one label that holds exactly what the encoder says by name. Where any number hold, each counts from how near its
    name is to these texts on the mean, and holds where a text is clearly nearer."""
    found = {}
    for name, vectors_of in names.vectors.items():
        weights = (vectors_of / TEMPERATURE).astype(np.float32)
        bias = np.zeros(len(weights), dtype=np.float32)
        if names.tasks[name].kind == "multi":
            bias = (-(store.pooled @ weights.T).mean(axis=0) - CLEARLY).astype(np.float32)
        found[name] = (weights, bias)
    return found


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--snapshot", type=Path, required=True)
    parser.add_argument("--encoder", type=Path, required=True)
    parser.add_argument("--incumbent", type=Path, help="the head in use; without it the encoder goes by the labels' names")
    parser.add_argument("--labels", type=Path, help="your own label sets: a folder, or a YAML file with `label_sets:`")
    parser.add_argument("--threads", type=int, default=THREADS, help="of no effect: it is one")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    use(args.labels)
    say("preparing")
    snapshot = Snapshot.model_validate_json(args.snapshot.read_text())
    encoder = Encoder(args.encoder, THREADS)
    encoder.load()
    say("training")
    taught = snapshot.part("train")
    train(taught, label_set(collection_of(snapshot.role)), encoder, args.out / "head")
    say("judging")
    found = judgement(snapshot, args.out / "head", args.incumbent, encoder)
    (args.out / "judgement.json").write_text(json.dumps(found | {"training_examples": len(taught)}, ensure_ascii=False, indent=1))


if __name__ == "__main__":
    main()
