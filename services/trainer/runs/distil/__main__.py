"""Make the head that ships learn from a large encoder, in three steps, each of which leaves its files in --work.

    python -m services.trainer.runs.distil teach --large FOLDER     # the large encoder learns our labelled texts
    python -m services.trainer.runs.distil say --large FOLDER --apart tests/bench/texts    # … and says what it thinks of those and of unlabelled ones
    python -m services.trainer.runs.distil learn --out deploy/model/heads/wellbeing --said build/said.jsonl

FOLDER: a model in the transformers' format (docs/classifier.md names those of the head that ships). One labelled text in twenty is kept back for the
temperatures, and one in twenty for the figures; --said has both, for fit_fusion. Neither the teacher nor the head has learnt them.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from services.trainer.runs.distil import changed, pool, student, teacher
from services.trainer.runs.gather import data_folder
from services.trainer.runs.heads import export, training, vectors
from services.trainer.runs.heads.examples import Targets, dealt, targets
from services.trainer.runs.heads.figures import figures
from services.trainer.runs.heads.probes import known_answers
from services.trainer.runs.train_head import OWN_TEXTS, gathered, rows_said
from shared.encoder import Encoder
from shared.errors import ConfigError
from shared.taxonomy import label_set

PARTS, HELD, MEASURED = 20, 0, 10
SEED = training.SEED


def split(target: Targets) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The places of what is taught, of what the temperatures are fitted on, and of what is measured."""
    own = np.arange(len(target))
    part = dealt(target, own, PARTS, SEED + 1)
    return own[(part != HELD) & (part != MEASURED)], own[part == HELD], own[part == MEASURED]


def say_all(work: Path, large: Path, labelled: Sequence[str], target: Targets, more: Sequence[tuple[str, str]], say: Callable[[str], None]) -> None:
    """Ask the trained teacher of all texts, but for those that it has been asked of before; texts.jsonl and said.npz."""
    rows = [{"source": "own", "text": text} for text in labelled] + [{"source": source, "text": text} for source, text in more]
    known, before = asked_before(work, target)
    new = [row["text"] for row in rows if row["text"] not in known]
    say(f"{len(rows)} texts, {len(rows) - len(new)} of them asked of before")
    model = teacher.Large(large, target.tasks)
    model.load_state_dict(torch.load(work / "teacher.pt", weights_only=True))
    said = model.say(new)
    known |= {text: len(known) + n for n, text in enumerate(new)}
    places = np.array([known[row["text"]] for row in rows])
    arrays: dict[str, Any] = {"vectors": np.concatenate([before.vectors, said.vectors] if before else [said.vectors])[places]}
    for name, chances in said.chances.items():
        arrays[f"of_{name}"] = np.concatenate([before.chances[name], chances] if before else [chances])[places]
    (work / "texts.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    np.savez(work / "said.npz", **arrays)


def asked_before(work: Path, target: Targets) -> tuple[dict[str, int], teacher.Said | None]:
    """Text -> its place in what this teacher has said already; nothing where that was another one."""
    made = work / "said.npz"
    if not made.exists() or made.stat().st_mtime < (work / "teacher.pt").stat().st_mtime:
        return {}, None
    texts = [json.loads(line)["text"] for line in (work / "texts.jsonl").read_text(encoding="utf-8").splitlines()]
    return {text: n for n, text in enumerate(texts)}, said_of(work, target)


def said_of(work: Path, target: Targets) -> teacher.Said:
    """What `say` left."""
    kept = np.load(work / "said.npz")
    return teacher.Said({task.name: kept[f"of_{task.name}"] for task in target.tasks}, kept["vectors"])


def main(argv: Sequence[str] | None = None) -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("step", choices=["teach", "say", "learn"])
    parser.add_argument("--collection", default="wellbeing")
    parser.add_argument("--work", type=Path, default=Path("build/distil"))
    parser.add_argument("--large", type=Path, default=None, help="teach, say: an encoder")
    parser.add_argument("--apart", type=Path, default=None, help="say: a folder of JSON lines; nothing nearly like their texts is learnt from")
    parser.add_argument("--times", type=int, default=2, help="say: how often each of our texts is shown with other words")
    parser.add_argument("--data-folder", default=None, help="say: where GoEmotions and the books are (FEEDLOOP_DATA, else ../shared/data)")
    parser.add_argument("--encoder", type=Path, default=Path("build/encoder"))
    parser.add_argument("--out", type=Path, default=None, help="learn: the head's folder")
    parser.add_argument("--said", type=Path, default=None, help="learn: JSON lines of what the head says of the measured texts, for fit_fusion")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args(argv)
    torch.set_num_threads(given.threads)
    labels = label_set(given.collection)
    examples = gathered(OWN_TEXTS.get(given.collection, []), labels)
    target = targets(examples, labels)
    texts = [one.text for one in examples]
    taught, held, measured = split(target)
    given.work.mkdir(parents=True, exist_ok=True)
    if (
        (given.step in ("teach", "say") and given.large is None)
        or (given.step == "write" and given.writer is None)
        or (given.step == "learn" and given.out is None)
    ):
        sys.exit(f"distil {given.step}: see --help for the folder that it needs")
    if given.step == "teach":
        model = teacher.taught(given.large, texts, target, taught, SEED, lambda line: print(line, flush=True))
        torch.save(model.state_dict(), given.work / "teacher.pt")
        told = model.say([texts[n] for n in measured])
        print("\n".join(training.summary(figures(target, measured, {name: one.astype(np.float64) for name, one in told.chances.items()}))))
    elif given.step == "say":
        others = changed.changed([texts[n] for n in taught], changed.neighbours(given.large), given.times)
        apart = (
            [json.loads(line)["text"] for path in sorted(given.apart.glob("*.jsonl")) for line in path.open(encoding="utf-8")] if given.apart else []
        )
        more = pool.gathered(examples, [examples[n] for n in taught], data_folder(given.data_folder), others, apart)
        say_all(given.work, given.large, texts, target, more, lambda line: print(line, flush=True))
        print(f"{given.work}: {len(texts)} labelled texts and {len(more)} others")
    else:
        began = time.monotonic()
        rows = [json.loads(line) for line in (given.work / "texts.jsonl").read_text(encoding="utf-8").splitlines()]
        if [row["text"] for row in rows[: len(texts)]] != texts:
            raise ConfigError(f"{given.work} is of other labelled texts: run `say` again")
        said = said_of(given.work, target)
        encoder = Encoder(given.encoder, given.threads)
        store = vectors.store(encoder, [row["text"] for row in rows], "embedded", with_pooled=False)
        network = student.learnt(store, target, taught, held, said, SEED, lambda line: print(line, flush=True))
        chances = network.probabilities(store, measured)
        found = figures(target, measured, chances)
        how = f"one text in {PARTS} held out, {len(target)} texts"
        card = {
            "collection": given.collection, "kind": "tuned", "encoder": encoder.digest,
            "texts": {"own": len(target), "others": len(rows) - len(target)}, "measured": how, "figures": found,
            "probes": known_answers(examples, target, network, store),
        }  # fmt: skip
        if given.said:
            kept_back = np.concatenate([held, measured])
            trained = training.Trained(network, found, how, kept_back, network.probabilities(store, kept_back))
            lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows_said(examples, target, trained))
            given.said.write_text("".join(lines), encoding="utf-8")
        torch.save(network.state_dict(), given.work / "student.pt")
        export.write(given.out, network, card, store.sample(network.reads))
        print(f"{given.out}: {len(target)} own texts, {len(rows) - len(target)} others, {time.monotonic() - began:.0f} s; {how}:")
        print("\n".join(training.summary(found)))


if __name__ == "__main__":
    main()
