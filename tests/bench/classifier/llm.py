"""What the language model says of the sets and the messages, through the real engine, as inference asks: with the base weights, and with an adapter that
the trainer's own program has taught so many corrections of the set."""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psutil

from services.inference.enrich import Enricher
from services.ingest.text import first_sentence
from shared.errors import PermanentError
from shared.events import LabelScore
from shared.pooling import spread
from shared.taxonomy import Task, label_set
from tests.bench.classifier.costs import Spent
from tests.bench.classifier.parts import Voice
from tests.bench.classifier.rows import Heard
from tests.bench.classifier.screen import COLLECTION
from tests.bench.classifier.sets import Item, Split
from tests.bench.learning_conventions import Convention
from tests.bench.learning_conventions import Item as Given
from tests.bench.learning_runs import ROOT, dataset
from tests.bench.model.engine import AT_ONCE, NAME, Watched, each

BASE, TAUGHT = "LLM only", "LLM + adapter"
TRAINING_S = 1800  # an adapter that takes longer is given up


@dataclass
class Asker:
    """The engine's client as inference holds it. `silent` counts the questions that it answered with no label of the task."""

    client: Watched
    base: str
    model: Path
    enricher: Enricher
    silent: dict[str, int] = field(default_factory=dict)

    async def heard(self, split: Split, name: str = NAME) -> Heard:
        """What the model served under `name` says of the held-out and of the test texts of a set."""
        held = await each(split.held, partial(self._voice, split, name), 3 * AT_ONCE)
        began, ticks = time.perf_counter(), engine_cpu_s()
        test = await each(split.test, partial(self._voice, split, name), 3 * AT_ONCE)
        seconds, after = time.perf_counter() - began, engine_cpu_s()
        cost = None if ticks is None or after is None else 1000 * (after - ticks) / len(test)
        return Heard(held, test, Spent(None, cost, len(test) / seconds))

    async def messages(self, texts: Sequence[str]) -> list[dict[str, LabelScore]]:
        """Task -> what the base weights say, of each message; a task without an answer is left out, as one that the engine failed at."""
        tasks = label_set(COLLECTION).asked_of("llm")

        async def one(text: str) -> dict[str, LabelScore]:
            found = [(task.name, await self.asked(task, text, NAME, "messages")) for task in tasks]
            return {name: score for name, score in found if score}

        return await each(texts, one, AT_ONCE)

    async def taught(self, split: Split, corrections: int, work: Path) -> Heard | None:
        """The same with an adapter for the set, loaded for as long as it is asked; None for a set of several labels, whose corrections are of another form."""
        if split.multi:
            return None
        adapter = train_adapter(split, corrections, self.model, work)
        name = f"bench-{split.name}"
        await self.client.load(name, str(adapter.resolve()))
        try:
            return await self.heard(split, name)
        finally:
            await self.client.unload(name)

    async def _voice(self, split: Split, name: str, item: Item) -> Voice:
        return voice(split.task, await self.asked(split.task, item.text, name, split.name))

    async def asked(self, task: Task, text: str, name: str, what: str, title: str = "") -> LabelScore | None:
        """What the model served under `name` says of one text; None, and counted under `what`, where that is no label of the task. Without a title it is
        the text's first sentence, as ingest has it."""
        try:
            return await self.enricher.label(task, title or first_sentence(text) or "(untitled)", text, name)
        except PermanentError:
            self.silent[what] = self.silent.get(what, 0) + 1
            return None


def voice(task: Task, score: LabelScore | None) -> dict[str, float]:
    """A probability of every label, as services.classifier.said makes it; all alike where no label was answered."""
    told = {} if score is None else score.probabilities or {score.label: score.probability}
    return spread(list(task.labels), told)


def engine_cpu_s() -> float | None:
    """Processor seconds of everything that this process has started and that runs: the engine. None where it runs elsewhere."""
    total, found = 0.0, False
    for child in psutil.Process().children(recursive=True):
        try:
            times = child.cpu_times()
        except psutil.Error:
            continue  # it has just ended
        total, found = total + times.user + times.system, True
    return total if found else None


def train_adapter(split: Split, corrections: int, base: Path, work: Path) -> Path:
    """A LoRA of the set by the trainer's own program and recipe, from so many corrections of its training texts, the labels in turn. Blocking, minutes.
    Raises RuntimeError with the reason where it fails."""
    out = work / f"adapter-{split.name}"
    out.mkdir(parents=True, exist_ok=True)
    convention = as_convention(split, corrections)
    snapshot = dataset(convention, 0, corrections)
    (out / "snapshot.json").write_text(snapshot.model_dump_json())
    argv = [sys.executable, "-m", "services.trainer.runs.train_adapter", "--snapshot", str(out / "snapshot.json"), "--base", str(base)]
    argv += ["--out", str(out), "--labels", str(convention.write(out)), "--threads", "1"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=TRAINING_S, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"})
    if done.returncode or not (out / "adapter").is_dir():
        raise RuntimeError(f"no adapter for {split.name}: {done.stderr[-600:]}")
    return out / "adapter"


def as_convention(split: Split, corrections: int) -> Convention:
    """The set as a label set that a user declares, with the news' other tasks beside it, which an adapter must not forget. The trainer judges by a few of
    the held-out texts; the test texts are not shown to it."""
    tasks = {split.task.name: {"meaning": split.task.meaning, "labels": {label: meaning or label for label, meaning in split.task.labels.items()}}}
    for other in label_set().asked_of("llm"):
        tasks.setdefault(other.name, {"meaning": other.meaning, "labels": dict(other.labels)})
    given = [Given(first_sentence(item.text), item.text, next(iter(item.gold))) for item in in_turn(split.train, corrections)]
    held = [Given(first_sentence(item.text), item.text, next(iter(item.gold))) for item in split.held[:20]]
    declared = json.loads(json.dumps({"collection": f"bench-{split.name.replace('_', '-')}", "tasks": tasks}))
    return Convention(split.name, split.task.name, declared, given, held, "")


def in_turn(items: Sequence[Item], most: int) -> list[Item]:
    """The first so many, one of each label in turn, so that rare labels are among few corrections too; in a fixed order."""
    of_label: dict[str, list[Item]] = {}
    for item in items:
        of_label.setdefault(next(iter(item.gold)), []).append(item)
    order = [found[n] for n in range(len(items)) for _, found in sorted(of_label.items()) if n < len(found)]
    chosen = order[:most]
    random.Random(20).shuffle(chosen)
    return chosen
