"""The classifier's own parts, as the bench uses them on the labelled sets: encoder, heads, pooling. The real ones, so that what is measured is what runs.

What the bench knows of services.classifier and of the trainer's runs stands here and in tests.bench.classifier.screen, and nowhere else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.classifier.head import Head
from services.trainer.runs.heads import export, training, vectors
from services.trainer.runs.heads.examples import Example as Labelled
from services.trainer.runs.heads.examples import targets
from services.trainer.runs.heads.start import Start, read
from services.trainer.runs.heads.vectors import Store
from services.trainer.runs.pool_fit import Example, fit
from shared.encoder import Encoder, side_by_side
from shared.heads import head_text
from shared.pooling import TaskFusion, chosen, hand_set, median, pool
from shared.taxonomy import LabelSet, Task
from tests.bench.classifier.scores import Answers, Flags, Floats
from tests.bench.classifier.sets import Item, Split

KINDS = tuple(training.KINDS)  # of heads
TUNED = "tuned"  # those with layers of an encoder of their own
POOLED = "pooled"  # what a head of a kind reads: the text's one vector, or vectors of its tokens
Voice = Mapping[str, float]  # label -> probability
Voices = Mapping[str, Sequence[Voice]]  # part -> one voice a text
Pooled = NDArray[np.float32]


class Reader:
    """The sentence encoder. `keep`: a folder where vectors are looked for first and put, or None; then the same set is read again the next time."""

    def __init__(self, encoder: Encoder, keep: Path | None = None) -> None:
        self.encoder, self._keep = encoder, keep

    def stores(self, items: Sequence[Item], kinds: Sequence[str]) -> dict[str, Store]:
        """What heads of these kinds are trained on or answer by, by what they read; the pooled vectors always."""
        texts = [head_text("", item.text) for item in items]
        found = {reads: vectors.store(self.encoder, texts, reads, self._keep) for reads in sorted({*map(reads_of, kinds)} - {POOLED})}
        spare = next(iter(found.values()), None)  # it holds the pooled vectors too
        found[POOLED] = Store(spare.pooled) if spare else vectors.store(self.encoder, texts, POOLED, self._keep)
        return found

    def read(self, texts: Sequence[str], batch: int) -> Pooled:
        """[texts, 384]: read now."""
        return np.asarray(self.encoder.encode([head_text("", text) for text in texts], batch))


@dataclass(frozen=True)
class Made:
    """A trained head: its answers to the held-out and the test texts; `live` is the exported graph as the classifier loads it."""

    kind: str
    held: Floats
    test: Floats
    live: Head


def begun(folder: Path | None, encoder: Encoder) -> Start | None:
    """The head in a folder, for others to begin with its layers. Raises ConfigError naming what does not fit."""
    return read(folder, encoder.digest) if folder else None


def begun_with(start: Start) -> str:
    """The name, beside the other kinds, of a tuned head that begins with the layers of another one."""
    return f"{TUNED}, from {start.collection}"


def plain(kind: str) -> str:
    """The trainer's kind, whatever it begins with."""
    return kind.partition(",")[0]


def heads(
    split: Split, kinds: Sequence[str], stores: Sequence[Mapping[str, Store]], reader: Reader, out: Path, start: Start | None = None
) -> list[Made]:
    """Heads of these kinds, trained as the trainer trains them on texts of one collection, and exported to `out` as the classifier loads them. `stores`: of the
    training, the held-out and the test texts; `start`: what those of the kind begun_with(start) begin with."""
    labels = LabelSet.model_validate({"collection": "bench", "tasks": {split.task.name: split.task.model_dump(exclude={"name"})}})
    joint = [Labelled(item.text, {split.task.name: ",".join(sorted(item.gold))}) for item in split.train]
    target = targets(joint, labels)
    taught = target.tasks[0].labels
    made = []
    for kind in kinds:
        train, held, test = (store[reads_of(kind)] for store in stores)
        network = training.once(plain(kind), train, target, np.arange(len(target)), start=start if kind != plain(kind) else None)
        folder = out / f"{split.name}-{kind}"
        export.write(folder, network, {"collection": "bench", "kind": plain(kind), "encoder": reader.encoder.digest})
        live = Head.load(folder)
        says = [network.probabilities(store, np.arange(len(store)))[split.task.name] for store in (held, test)]
        on_held, on_test = (columns(chances, taught, split.labels) for chances in says)
        made.append(Made(kind, on_held, on_test, live))
    return made


def ask(made: Sequence[Made], reader: Reader, texts: Sequence[str], batch: int) -> None:
    """Have heads answer texts, for timing: each batch is read once for all of them."""
    reads = reader.encoder.read([head_text("", text) for text in texts], batch)
    for _ in side_by_side(reads, lambda read: [head.live.answers(read) for head in made], reader.encoder.threads):
        pass


def columns(chances: Floats, taught: Sequence[str], labels: Sequence[str]) -> Floats:
    """Probabilities of the taught labels, as columns of all labels; 0 where one was never taught."""
    found = np.zeros((len(chances), len(labels)))
    for n, label in enumerate(taught):
        found[:, list(labels).index(label)] = chances[:, n]
    return np.clip(found, 0.0, 1.0)


def reads_of(kind: str) -> str:
    """What heads of a kind read. Where it is not the pooled vector, training takes minutes, and on long texts many."""
    return str(training.KINDS[plain(kind)].READS)


def voiced(labels: Sequence[str], chances: Floats) -> list[dict[str, float]]:
    """Rows of a matrix as voices; a label of probability 0 was never taught."""
    return [{label: float(p) for label, p in zip(labels, row, strict=True) if p > 0} for row in chances]


def learned(task: Task, voices: Voices, gold: Flags) -> TaskFusion:
    """Temperatures, weights, biases and thresholds from what the parts said of texts that none of them was trained on."""
    labels, parts = list(task.labels), list(voices)
    examples = [
        Example(frozenset(label for label, true in zip(labels, row, strict=True) if true), {part: voices[part][n] for part in parts})
        for n, row in enumerate(gold)
    ]
    return fit(labels, examples, parts, task.kind == "multi", task.kind == "ordinal")


def pooled(task: Task, voices: Voices, fusion: TaskFusion | None) -> Answers:
    """What the parts say together, as services.classifier.pooled has it; without learned weights by the hand-set ones."""
    labels, multi = list(task.labels), task.kind == "multi"
    number = len(next(iter(voices.values())))
    said, chances = np.zeros((number, len(labels)), dtype=np.bool_), np.zeros((number, len(labels)))
    least = fusion.thresholds if fusion and fusion.whole(list(voices)) else {}
    for n in range(number):
        found = pool(labels, {part: voices[part][n] for part in voices}, fusion or hand_set(task.name), multi=multi)
        chances[n] = [found.get(label, 0.0) for label in labels]
        if multi:
            holds = [label for label, p in found.items() if p >= least.get(label, task.threshold)]
        else:
            holds = [median(found) if task.kind == "ordinal" else chosen(found, least)]
        said[n] = [label in holds for label in labels]
    return Answers(said, chances)
