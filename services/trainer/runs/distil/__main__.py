"""Make the head that ships learn from a large encoder, and put that beside it, in four steps, each of which leaves its files in --work.

    python -m services.trainer.runs.distil teach --large FOLDER     # the large encoder learns our labelled texts
    python -m services.trainer.runs.distil say --large FOLDER --apart tests/bench/texts    # … and says what it thinks of those and of unlabelled ones
    python -m services.trainer.runs.distil learn --out deploy/model/heads/wellbeing --said build/said.jsonl
    python -m services.trainer.runs.distil second --large FOLDER --out deploy/model/heads/wellbeing --kept-back build/kept.jsonl

The last step writes the large encoder itself, in int8, as the second head, which the first one asks where it is in doubt.

FOLDER: a model in the transformers' format (deploy/model/heads/README.md names the one that taught the heads that ship). One labelled text in twenty is
kept back for the temperatures, and one in twenty for the figures: neither the teacher nor a head that `learn` wrote has learnt them. --said has what the
small head says of them, for fit_fusion, where it is to go alone; --kept-back has them as they are, and tests.bench.classifier.said --texts asks both heads and
the language model of them, for fit_fusion. Each folder or file of texts is dealt out by itself, so that texts that are added in one move no others.

With --data, and --labels where the label set is your own: other texts than those that come with Feedloop. `say` needs GoEmotions (--data-folder), and
`learn` tasks with one label a text.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch

from services.trainer.heads import Head
from services.trainer.runs.distil import changed, pool, second, student, teacher
from services.trainer.runs.distil.labelled import PARTS, SEED, Labelled, drawn
from services.trainer.runs.export_encoder import sha256
from services.trainer.runs.gather import data_folder
from services.trainer.runs.heads import export, training, vectors
from services.trainer.runs.heads.examples import Targets
from services.trainer.runs.heads.figures import figures
from services.trainer.runs.heads.fitting import set_temperatures
from services.trainer.runs.heads.probes import known_answers
from services.trainer.runs.train_head import rows_said
from shared.encoder import Encoder
from shared.errors import ConfigError, PermanentError
from shared.events import digest_of
from shared.heads import READ_CHARS, SECOND
from shared.taxonomy import use

CALIBRATED = 160  # texts that the scales of the second head are measured on


def say(line: str) -> None:
    """As it comes."""
    print(line, flush=True)


def teach(
    labelled: Labelled, large: Path, work: Path, start: Path | None = None, passes: int = 0, twice: bool = False, kept: float = 0.0, older: int = 0
) -> None:
    """Train the large encoder, from the weights in `start` where one was trained before: teacher.pt. `twice`: the newest texts are shown twice a pass. `kept`: of
    `start`'s weights, so much stays in (see teacher.Large.mix). `older`: of the texts before the newest, so many at most (see drawn)."""
    before, newest = labelled.older_and_newest()
    taught = np.concatenate([drawn(labelled.target, before, older) if older else before, newest, newest if twice else newest[:0]])
    model = teacher.taught(large, labelled.texts, labelled.target, taught, SEED, say, start, passes)
    if start and kept:
        model.mix(model.begun(start), kept)
    torch.save(model.state_dict(), work / "teacher.pt")
    (work / "teacher.json").write_text(json.dumps(labelled.speaks_for) + "\n", encoding="utf-8")
    told = model.say([labelled.examples[n].text for n in labelled.measured]).chances
    found = figures(labelled.target, labelled.measured, {name: one.astype(np.float64) for name, one in told.items()})
    say("\n".join(training.summary(found)))


def say_all(labelled: Labelled, large: Path, work: Path, more: Sequence[tuple[str, str]]) -> None:
    """Ask the trained teacher of the labelled texts and of `more` (source, text), but for those that it has been asked of before; texts.jsonl and said.npz.
    Raises ConfigError where there is no teacher."""
    rows = [{"source": "own", "text": text} for text in labelled.texts] + [{"source": source, "text": text} for source, text in more]
    known, before = asked_before(work, labelled.target)
    new = list(dict.fromkeys(row["text"] for row in rows if row["text"] not in known))
    say(f"{len(rows)} texts, {len(new)} of them not asked of before")
    made = [before] if before else []
    if new:
        model = load_teacher(work, large, labelled)
        known |= {text: (len(before.vectors) if before else 0) + n for n, text in enumerate(new)}
        made.append(model.say(new))
    places = np.array([known[row["text"]] for row in rows])
    arrays: dict[str, Any] = {"vectors": np.concatenate([one.vectors for one in made])[places]}
    for task in labelled.target.tasks:
        arrays[f"of_{task.name}"] = np.concatenate([one.chances[task.name] for one in made])[places]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    # the digests say whose word it is and of which texts: the two files are of one run, or are not used
    arrays |= {"texts": digest_of(lines), "teacher": sha256(work / "teacher.pt")}
    np.savez(work / "said.part.npz", **arrays)
    (work / "texts.jsonl").write_text(lines, encoding="utf-8")
    (work / "said.part.npz").replace(work / "said.npz")


def asked_before(work: Path, target: Targets) -> tuple[dict[str, int], teacher.Said | None]:
    """Text -> its place in what this teacher has said already; nothing where there is nothing, or where that was another one."""
    try:
        texts, said = said_of(work, target)
    except ConfigError:
        return {}, None
    return {text: n for n, text in enumerate(texts)}, said


def said_of(work: Path, target: Targets) -> tuple[list[str], teacher.Said]:
    """What `say` left: the texts and the teacher's word on them. Raises ConfigError where it left nothing, or where texts or teacher are others by now."""
    try:
        kept, lines = np.load(work / "said.npz"), (work / "texts.jsonl").read_text(encoding="utf-8")
        same = str(kept["texts"]) == digest_of(lines) and str(kept["teacher"]) == sha256(work / "teacher.pt")
        said = teacher.Said({task.name: kept[f"of_{task.name}"] for task in target.tasks}, kept["vectors"])
    except (OSError, KeyError, ValueError, BadZipFile) as error:
        raise ConfigError(f"nothing that can be used in {work} was said by a teacher: run `say` first ({error})") from error
    if not same:
        raise ConfigError(f"what was said in {work} is of other texts, or by another teacher: run `say` again")
    return [json.loads(line)["text"] for line in lines.splitlines()], said


def learn(labelled: Labelled, work: Path, encoder: Encoder, out: Path, said_file: Path | None) -> None:
    """Train the small head, measure it and write it. Raises ConfigError where what was said is of other labelled texts."""
    began, target = time.monotonic(), labelled.target
    texts, said = said_of(work, target)
    if texts[: len(target)] != labelled.texts:
        raise ConfigError(f"what was said in {work} is of other labelled texts: run `say` again")
    store = vectors.store(encoder, texts, "embedded", with_pooled=False)
    network = student.learnt(store, target, labelled.taught, labelled.held, said, SEED, say)
    found = figures(target, labelled.measured, network.probabilities(store, labelled.measured))
    how = f"one text in {PARTS} held out, {len(target)} texts"
    card = {
        "collection": labelled.collection, "kind": "tuned", "encoder": encoder.digest,
        "texts": {"own": len(target), "others": len(texts) - len(target)}, "measured": how, "figures": found,
        "probes": known_answers(labelled.examples, target, network, store),
    }  # fmt: skip
    if said_file:
        kept_back = np.concatenate([labelled.held, labelled.measured])
        trained = training.Trained(network, found, how, kept_back, network.probabilities(store, kept_back))
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows_said(labelled.examples, target, trained))
        said_file.write_text("".join(lines), encoding="utf-8")
    export.write(out, network, card, store.sample(network.reads))
    say(f"{out}: {len(target)} own texts, {len(texts) - len(target)} others, {time.monotonic() - began:.0f} s; {how}:")
    say("\n".join(training.summary(found)))


def load_teacher(work: Path, large: Path, labelled: Labelled) -> teacher.Large:
    """The teacher that `teach` left. Raises ConfigError where there is none, or where it learned other tasks."""
    try:
        learned = json.loads((work / "teacher.json").read_text(encoding="utf-8"))
        weights = torch.load(work / "teacher.pt", weights_only=True)
    except (OSError, ValueError) as error:
        raise ConfigError(f"there is no trained teacher in {work}: run `teach` first ({error})") from error
    if learned != labelled.speaks_for:
        raise ConfigError(f"the teacher in {work} learned other tasks or labels: run `teach` again, or name another --work")
    model = teacher.Large(large, labelled.target.tasks)
    model.load_state_dict(weights)
    return model


def add_second(labelled: Labelled, large: Path, work: Path, encoder: Encoder, out: Path, asked_below: float, kept: Path | None) -> None:
    """Write the trained teacher as the second head of the head in `out`, and tell of how many texts it is asked, and what that gains, by how sure the first
    one must be. Raises ConfigError where there is no teacher, or no first head of these tasks on this encoder."""
    began, target = time.monotonic(), labelled.target
    try:
        first = Head(out, alone=True)
    except PermanentError as error:
        raise ConfigError(f"{out} holds no head that a second one could stand beside: {error}") from error
    of = {"collection": first.card.collection, "tasks": first.card.tasks}
    if of != labelled.speaks_for or first.card.encoder != encoder.digest:
        raise ConfigError(f"the head in {out} is of other tasks or labels, or of another encoder: a second one must be of the same")
    model = load_teacher(work, large, labelled)
    made = second.network(model, encoder.tokenizer().get_vocab())
    set_temperatures(made, target, labelled.held, model.all_logits([labelled.examples[n].text for n in labelled.held]))
    shown = [labelled.examples[n].text[:READ_CHARS] for n in labelled.taught[:: max(1, len(labelled.taught) // CALIBRATED)]]
    card: dict[str, Any] = {"collection": labelled.collection, "kind": "large", "encoder": encoder.digest, "asked_below": asked_below}
    card |= {"texts": {"own": len(target)}, "measured": f"with the first head; one text in {PARTS} held out, {len(target)} texts"}
    written = export.write(out / SECOND, made, card, [{"ids": read.ids, "mask": read.mask} for read in encoder.read(shown, 16)], by_token=True)
    say(f"{out / SECOND}: {time.monotonic() - began:.0f} s, int8 apart by {written['int8_apart']}")
    texts = [labelled.examples[n].text[:READ_CHARS] for n in labelled.measured]
    alone, other = (second.answers(head, encoder, texts) for head in (first, Head(out / SECOND)))
    both, _ = second.together(alone, other, first.card.kinds, asked_below)
    export.write_card(out / SECOND, written | {"figures": figures(target, labelled.measured, both)})
    say("\n".join(second.tradeoff(alone, other, target, labelled.measured)))
    if kept:
        rows = ({"text": one.text, **one.labels} for one in (labelled.examples[n] for n in (*labelled.held, *labelled.measured)))
        kept.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("step", choices=["teach", "say", "learn", "second"])
    parser.add_argument("--collection", default="wellbeing")
    parser.add_argument("--data", type=Path, nargs="*", default=[], help="your own labelled texts, as train_head reads them")
    parser.add_argument("--labels", type=Path, default=None, help="your own label sets: a folder, or a YAML file with `label_sets:`")
    parser.add_argument("--work", type=Path, default=Path("build/distil"))
    parser.add_argument("--large", type=Path, default=None, help="teach, say, second: the large encoder's folder")
    parser.add_argument(
        "--start", type=Path, default=None, help="teach: a teacher.pt, or a second head's folder, to go on from with texts that came since"
    )
    parser.add_argument(
        "--passes", type=int, default=0, help=f"teach: over all texts, {teacher.PASSES} if not given; of a few thousand texts five are better"
    )
    parser.add_argument(
        "--newest-twice",
        action="store_true",
        help="teach: show the texts of the last folder or file twice a pass, for a teacher that knows the others",
    )
    parser.add_argument(
        "--keep", type=float, default=0.0, help="teach: the share of the weights of --start that stays in those that are written, below 1"
    )
    parser.add_argument(
        "--older", type=int, default=0, help="teach: of the texts before the newest, so many at most; all if not given. For a --start that knows them"
    )
    parser.add_argument("--apart", type=Path, default=None, help="say: a folder of JSON lines; nothing nearly like their texts is learnt from")
    parser.add_argument("--times", type=int, default=2, help="say: how often each of our texts is shown with other words")
    parser.add_argument("--data-folder", default=None, help="say: where GoEmotions is (FEEDLOOP_DATA, else ../shared/data)")
    parser.add_argument("--encoder", type=Path, default=Path("build/encoder"), help="learn, second: the small one")
    parser.add_argument("--out", type=Path, default=None, help="learn, second: the head's folder")
    parser.add_argument(
        "--asked-below", type=float, default=0.8, help="second: it is asked where the first gives every label of a task less than this, at most 1"
    )
    parser.add_argument("--kept-back", type=Path, default=None, help="second: JSON lines of the labelled texts that neither head has learnt")
    parser.add_argument("--said", type=Path, default=None, help="learn: JSON lines of what the head says of the texts kept back, for fit_fusion")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args(argv)
    if not 0 < given.asked_below <= 1:
        parser.error("--asked-below must be above 0 and at most 1")
    if not 0 <= given.keep < 1 or (given.keep and not given.start):
        parser.error("--keep must be from 0 to below 1, and needs --start")
    for needed in {"teach": ["large"], "say": ["large", "apart"], "learn": ["out"], "second": ["large", "out"]}[given.step]:
        if getattr(given, needed) is None:
            parser.error(f"{given.step} needs --{needed}")
    torch.set_num_threads(given.threads)
    torch.use_deterministic_algorithms(True)
    given.work.mkdir(parents=True, exist_ok=True)
    try:
        use(given.labels)
        labelled = Labelled.of(given.collection, given.data)
        if given.step == "teach":
            teach(labelled, given.large, given.work, given.start, given.passes, given.newest_twice, given.keep, given.older)
        elif given.step == "say":
            taught = [labelled.examples[n] for n in labelled.taught]
            others = changed.changed([one.text for one in taught], changed.neighbours(given.large), given.times)
            files = sorted(given.apart.glob("*.jsonl"))
            if not files:
                raise ConfigError(f"there are no *.jsonl in {given.apart}: --apart names the texts that are measured with")
            apart = [json.loads(line)["text"] for path in files for line in path.read_text(encoding="utf-8").splitlines()]
            more = pool.gathered(labelled.examples, taught, data_folder(given.data_folder), others, apart)
            say_all(labelled, given.large, given.work, more)
        elif given.step == "second":
            small = Encoder(given.encoder, given.threads)
            add_second(labelled, given.large, given.work, small, given.out, given.asked_below, given.kept_back)
        else:
            learn(labelled, given.work, Encoder(given.encoder, given.threads), given.out, given.said)
    except (ConfigError, PermanentError, OSError, ValueError) as error:
        sys.exit(f"distil {given.step}: {error}")


if __name__ == "__main__":
    main()
