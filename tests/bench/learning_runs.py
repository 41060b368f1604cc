"""One point of a learning curve: a snapshot of corrections, the trainer's own program on it in a process of its own, and what that process took."""

import json
import os
import subprocess
import sys
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from services.trainer.dataset import Snapshot, effective, snapshot
from services.trainer.settings import Settings
from shared.encoder import Encoder
from shared.registry import base_id
from tests.bench.learning_conventions import Convention, Item, feedback

ROOT = Path(__file__).resolve().parents[2]
CODE = ("train_adapter.py", "tune.py", "halves.py", "precision.py", "asked.py", "choose.py", "spelling.py")


class Point(BaseModel):
    """What came of one run. Accuracies and shares from 0 to 1; seconds."""

    convention: str
    seed: int
    corrections: int
    base: float  # accuracy of the base model on the held-out items
    accuracy: float
    minilm: float  # of a linear head on the sentence encoder, trained on the same corrections
    kept: float  # share of the answers to tasks that nobody corrected which stayed what they were
    asked: int  # how many such answers there were
    training_cpu_s: float
    training_wall_s: float
    run_cpu_s: float  # of the whole process: imports, the base model's answers and the candidate's with it
    run_wall_s: float


def recipe() -> dict[str, float]:
    """As the trainer's handlers take it from its settings."""
    settings = Settings()
    return {"epochs": settings.epochs, "learning_rate": settings.learning_rate, "rank": settings.rank}


def dataset(convention: Convention, seed: int, corrections: int) -> Snapshot:
    """The trainer's snapshot of the first so many corrections, with the convention's held-out items as the part that is never trained on."""
    given, held = convention.drawn(seed)
    taught = snapshot(effective(feedback(convention, given[:corrections], seed)), role="adapter", base="bench", share=0.0, recipe=recipe())
    kept = snapshot(effective(feedback(convention, held, seed, "held")), role="adapter", base="bench", share=1.0, recipe=recipe())
    assert {e.split for e in taught.examples} == {"train"} and {e.split for e in kept.examples} == {"held_out"}
    return taught.model_copy(update={"examples": [*taught.examples, *kept.examples]})


def point(convention: Convention, seed: int, corrections: int, base: Path, encoder: Encoder, cache: Path) -> Point:
    """Train and measure, or take what an earlier call of the same data, base, recipe and code found. Raises RuntimeError where the program fails."""
    made = dataset(convention, seed, corrections)
    name = sha256(f"{made.digest()} {base_id(str(base))} {[_digest(_program(code)) for code in CODE]}".encode()).hexdigest()[:24]
    known = cache / f"{convention.name}-{seed}-{corrections}-{name}.json"
    if not known.exists():
        cache.mkdir(parents=True, exist_ok=True)
        known.write_text(_run(convention, made, seed, corrections, base, encoder).model_dump_json())
    return Point.model_validate_json(known.read_text())


def _run(convention: Convention, made: Snapshot, seed: int, corrections: int, base: Path, encoder: Encoder) -> Point:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        (out / "snapshot.json").write_text(made.model_dump_json())
        labels = convention.write(out)
        argv = [sys.executable, "-m", "services.trainer.runs.train_adapter", "--snapshot", str(out / "snapshot.json"), "--base", str(base)]
        argv += ["--out", folder, "--labels", str(labels), "--threads", "1"]
        took = _timed(argv, out)
        judgement = json.loads((out / "judgement.json").read_text())
    rows, untouched, training = judgement["held_out"], judgement["untouched"], judgement["spent"]["training"]
    return Point(
        convention=convention.name, seed=seed, corrections=corrections, **took, minilm=_head(convention, seed, corrections, encoder),
        base=_share(row["incumbent"] == row["gold"] for row in rows), accuracy=_share(row["candidate"] == row["gold"] for row in rows),
        kept=_share(before == after for before, after, _ in untouched), asked=len(untouched),
        training_cpu_s=training["cpu_s"], training_wall_s=training["wall_s"],
    )  # fmt: skip


def _timed(argv: list[str], folder: Path) -> dict[str, float]:
    """Run the program on one thread; seconds of processor and clock that it took."""
    with (folder / "out").open("w") as told, (folder / "err").open("w") as words:
        began = os.times()
        done = subprocess.run(argv, cwd=ROOT, stdout=told, stderr=words, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False)
        ended = os.times()
    if done.returncode:
        raise RuntimeError(f"train_adapter ended with {done.returncode}: {(folder / 'err').read_text()[-600:]}")
    cpu = ended.children_user + ended.children_system - began.children_user - began.children_system
    return {"run_cpu_s": round(cpu, 1), "run_wall_s": round(ended.elapsed - began.elapsed, 1)}


def _head(convention: Convention, seed: int, corrections: int, encoder: Encoder) -> float:
    """Accuracy of the classifier's kind of head (services.trainer.runs.heads.logistic) on the same split: what the corrections hold for a good reader."""
    from services.trainer.runs.heads.logistic import fit

    given, held = convention.drawn(seed)
    names = list(convention.labels().tasks[convention.task].labels)
    taught = given[:corrections]

    def vectors(items: list[Item]) -> Any:
        return encoder.encode([f"{item.title}. {item.text}"[:900] for item in items]).astype(np.float64)

    weight, bias = fit(vectors(taught), np.array([names.index(item.label) for item in taught]), len(names))
    answers = (vectors(held) @ weight.T + bias).argmax(axis=1)
    return _share(names[int(n)] == item.label for n, item in zip(answers, held, strict=True))


def _share(found: Any) -> float:
    values = [bool(value) for value in found]
    return round(sum(values) / max(1, len(values)), 4)


def _program(name: str) -> Path:
    return ROOT / "services" / "trainer" / "runs" / name


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()
