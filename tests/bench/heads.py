"""The classifier's heads: how right each kind is on public sets, and how many texts a second it reads against sentence-transformers in torch.

    python -m tests.bench.heads quality [--data ../shared/data] [--sets dreaddit …] [--kinds logistic …] [--start FOLDER] [--large FOLDER] [--threads 2]
    python -m tests.bench.heads speed [--threads 2] [--rounds 5]

quality: each head is trained on a set's own train split and measured on its test split; where that is not in the data folder on its validation split, and
where there is none on a fifth of the train split that was left out. Texts of the measured part that stand in the taught one too are left out. --start: also
a tuned head that begins with the layers of the tuned head in that folder. --large: also the large encoder at that folder, trained as for a second head
(services.trainer.runs.distil), from the weights of --large-start where they are given. --most bounds the taught texts. The vectors are kept in
build/heads. speed: in turns in one process (as tests.bench.encoder), encoder and head together. Both write build/bench/heads-*.json.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
OUT, KEEP = ROOT / "build" / "bench", ROOT / "build" / "heads"
SETS = {"tweeteval_emotion": 0.78, "dreaddit": 0.82, "reuters_r8": 0.97, "ag_news": 0.92}  # and what is to be reached, of FIGURE
FIGURE = {"tweeteval_emotion": "macro_f1", "dreaddit": "f1", "reuters_r8": "accuracy", "ag_news": "accuracy"}
POSITIVE = {"dreaddit": "stress"}  # the label whose F1 is meant
KINDS = ("logistic", "mlp", "textcnn", "tuned")
SHORT = 2000  # so many short texts: with a few batches alone a core would wait for the other


def rows(folder: Path, name: str) -> tuple[list[dict[str, str]], list[dict[str, str]], str]:
    """Taught and measured texts of a set, and what the measured ones are. Raises SystemExit where the set is not there."""
    place = folder / name
    if not (place / "train.jsonl").exists():
        sys.exit(f"heads: {place} has no train.jsonl: name the data folder with --data")
    taught = _lines(place / "train.jsonl")
    for part in ("test", "val", "dev"):
        if (place / f"{part}.jsonl").exists():
            return taught, unseen(taught, _lines(place / f"{part}.jsonl")), f"its {part} split"
    chosen = set(np.random.default_rng(5).permutation(len(taught))[: len(taught) // 5].tolist())
    held = [row for n, row in enumerate(taught) if n in chosen]
    taught = [row for n, row in enumerate(taught) if n not in chosen]
    return taught, unseen(taught, held), "a fifth of its train split"


def unseen(taught: Sequence[dict[str, str]], measured: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """The measured texts that are not among the taught ones, small differences of case and spaces aside."""
    known = {" ".join(row["text"].lower().split()) for row in taught}
    return [row for row in measured if " ".join(row["text"].lower().split()) not in known]


def _lines(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def quality(
    folder: Path,
    name: str,
    kinds: Sequence[str],
    threads: int,
    begin: Path | None = None,
    large: "Large | None" = None,
    most: int = 0,
) -> dict[str, Any]:
    """Kind -> its figures on a set, and the seconds of its training, without those of the vectors, which are told apart. `begin`: the folder of a head, for
    one that begins with its layers; `large`: a large encoder to train too; `most`: taught texts at most, drawn at random. Raises
    ConfigError where one does not fit."""
    from services.trainer.runs.heads import start, training, vectors
    from services.trainer.runs.heads.examples import Example, targets
    from services.trainer.runs.heads.figures import figures
    from shared.encoder import Encoder
    from shared.taxonomy import LabelSet

    taught, measured, how = rows(folder, name)
    if most and len(taught) > most:
        taught = [taught[n] for n in np.random.default_rng(3).permutation(len(taught))[:most]]
    names = sorted({row["label"] for row in taught})
    labels = LabelSet.model_validate({"collection": name, "tasks": {"label": {"meaning": name, "labels": dict.fromkeys(names, "")}}})
    measured = [row for row in measured if row["label"] in names]
    examples = [Example(row["text"], {"label": row["label"]}) for row in [*taught, *measured]]
    target, encoder = targets(examples, labels), Encoder(ROOT / "build" / "encoder", threads)
    report: dict[str, Any] = {"measured_on": how, "taught": len(taught), "measured": len(measured)}
    begun = start.read(begin, encoder.digest) if begin else None
    asked = [(kind, kind, None) for kind in kinds] + ([(f"tuned, from {begun.collection}", "tuned", begun)] if begun else [])
    for row, kind, layers in asked:
        began = time.monotonic()
        store = vectors.store(encoder, [one.text for one in examples], training.KINDS[kind].READS, KEEP)
        read_s = time.monotonic() - began
        began = time.monotonic()
        network = training.once(kind, store, target, np.arange(len(taught)), start=layers)
        train_s = time.monotonic() - began
        places = np.arange(len(taught), len(examples))
        one = figures(target, places, network.probabilities(store, places))["label"]
        report[row] = noted(name, row, one, read_s, train_s)
    if large:
        one, train_s = large.figures(examples, target, len(taught))
        report[large.name] = noted(name, large.name, one["label"], 0.0, train_s)
    return report


def noted(name: str, row: str, one: dict[str, Any], read_s: float, train_s: float) -> dict[str, Any]:
    """The figures with what they cost, which are told at once: a later set may fail."""
    found = {**one, "vectors_s": round(read_s, 1), "training_s": round(train_s, 1)}
    if name in POSITIVE:
        found["f1_of"] = one["f1"][POSITIVE[name]]
    print(f"{name} {row}: {told(name, found)}", flush=True)
    return found


@dataclass(frozen=True)
class Large:
    """A large encoder in the transformers' format, the weights it begins with (teacher.pt of services.trainer.runs.distil), and its passes over the texts."""

    folder: Path
    start: Path | None
    passes: int

    @property
    def name(self) -> str:
        return f"{self.folder.name}, from a teacher" if self.start else self.folder.name

    def figures(self, examples: Sequence[Any], target: Any, taught: int) -> tuple[dict[str, Any], float]:
        """Its figures on the examples after the first `taught`, from which it learned, and the seconds of its training."""
        import torch

        from services.trainer.runs.distil import teacher
        from services.trainer.runs.heads import training
        from services.trainer.runs.heads.examples import dealt
        from services.trainer.runs.heads.figures import figures
        from services.trainer.runs.heads.fitting import temperatures
        from services.trainer.runs.heads.network import chances

        torch.use_deterministic_algorithms(True)
        began, own, texts = time.monotonic(), np.arange(taught), [one.text for one in examples]
        held = own[dealt(target, own, training.HELD, training.SEED) == 0]
        model = teacher.taught(self.folder, texts, target, np.setdiff1d(own, held), training.SEED, print, self.start, self.passes)
        fitted = temperatures(target, held, model.all_logits([texts[n] for n in held]))
        seconds = time.monotonic() - began
        scored = zip(target.tasks, model.all_logits(texts[taught:]), fitted, strict=True)
        said = {task.name: chances(task.kind, logits.double() / t).numpy() for task, logits, t in scored}
        return figures(target, np.arange(taught, len(texts)), said), seconds


def told(name: str, one: dict[str, Any]) -> str:
    """One line of a kind on a set."""
    f1 = f", F1 of {POSITIVE[name]} {one['f1_of']:.3f}" if "f1_of" in one else ""
    return f"accuracy {one['accuracy']:.3f}, macro-F1 {one['macro_f1']:.3f}{f1}, ECE {one['ece']:.3f}, trained in {one['training_s']:.0f} s"


def table(report: dict[str, Any]) -> str:
    """The figures, and for each set whether the best kind reaches what is asked."""
    lines = ["| set | measured on | kind | accuracy | macro-F1 | ECE | training |", "|---|---|---|---|---|---|---|"]
    for name, found in report.items():
        kinds = [kind for kind, one in found.items() if isinstance(one, dict)]
        best = max(value(name, found[kind]) for kind in kinds)
        wanted = f"{best:.3f} of the {SETS[name]} that are asked" if name in SETS else ""
        for kind in kinds:
            one, where = found[kind], f"{found['measured_on']}, {found['measured']} texts; {wanted}"
            lines.append(
                f"| {name} | {where} | {kind} | {one['accuracy']:.3f} | {one['macro_f1']:.3f} | {one['ece']:.3f} | {one['training_s']:.0f} s |"
            )
    return "\n".join(lines)


def value(name: str, one: dict[str, Any]) -> float:
    """The figure that is asked of a set."""
    wanted = FIGURE.get(name, "macro_f1")
    return float(one["f1_of"] if wanted == "f1" else one[wanted])


def racers(threads: int) -> dict[str, Callable[[Sequence[str]], Any]]:
    """The shipped logistic head, batched and a text a call, and the same weights' worth of work behind sentence-transformers."""
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    from services.classifier.head import Head
    from services.trainer.runs.export_encoder import source_folder
    from shared.encoder import Encoder
    from tests.bench.encoder import TORCH

    logging.disable_progress_bar()
    torch.set_num_threads(threads)
    original = SentenceTransformer(str(source_folder()), device="cpu")
    encoder, head = Encoder(ROOT / "build" / "encoder", threads), Head.load(ROOT / "deploy" / "model" / "heads" / "news")
    linear = torch.nn.Linear(384, sum(len(labels) for labels in head.card.tasks.values()))

    def in_torch(texts: Sequence[str]) -> Any:
        with torch.inference_mode():
            vectors = original.encode(list(texts), batch_size=64, normalize_embeddings=True, show_progress_bar=False, convert_to_tensor=True)
            return linear(vectors).softmax(dim=1).tolist()

    return {
        "encoder and head, batches of 64": lambda texts: head.scores(encoder, texts, batch=64),
        "encoder and head, a text a call": lambda texts: [head.scores(encoder, [text]) for text in texts],
        "encoder alone, batches of 64": lambda texts: encoder.encode(texts, batch=64),
        TORCH: in_torch,
    }


def beginnings() -> list[str]:
    """SHORT texts of six words: how the messages begin that the wellbeing head has learned."""
    from services.trainer.runs.heads.wellbeing import read_folder
    from shared.taxonomy import label_set

    texts = [one.text for one in read_folder(ROOT / "services" / "trainer" / "wellbeing", label_set("wellbeing"))]
    return [" ".join(text.split()[:6]) for text in texts[:: len(texts) // SHORT][:SHORT]]


def speed(threads: int, rounds: int) -> dict[str, Any]:
    """Texts a second on headlines, on short texts and on texts of 128 tokens."""
    from tokenizers import Tokenizer

    from tests.bench.encoder import headlines, of_128_tokens, race, summary

    tokenizer = Tokenizer.from_file(str(ROOT / "build" / "encoder" / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    titles, short = headlines(), beginnings()
    runners = racers(threads)
    report: dict[str, Any] = {"threads": threads, "rounds": rounds}
    for kind, texts in (("short", short), ("headlines", titles), ("tokens_128", of_128_tokens(tokenizer))):
        tokens = float(np.mean([len(tokenizer.encode(text).ids) for text in texts]))
        report[kind] = {"texts": len(texts), "tokens": round(tokens, 1), **summary(race(runners, texts, rounds))}
    return report


def main(argv: Sequence[str] | None = None) -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["quality", "speed"])
    parser.add_argument("--data", default=None)
    parser.add_argument("--sets", nargs="*", default=list(SETS))
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument("--start", type=Path, default=None, help="the folder of a tuned head, for one that begins with its layers")
    parser.add_argument("--large", type=Path, default=None, help="the folder of a large encoder in the transformers' format")
    parser.add_argument("--large-start", type=Path, default=None, help="a teacher.pt that it begins with")
    parser.add_argument("--passes", type=int, default=5, help="of the large encoder")
    parser.add_argument("--most", type=int, default=0, help="taught texts of a set at most; 0: all")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args(argv)
    if args.large_start and not args.large:
        parser.error("--large-start is what --large begins with: name its folder")
    OUT.mkdir(parents=True, exist_ok=True)
    if args.what == "speed":
        report = speed(args.threads, args.rounds)
        for kind in ("short", "headlines", "tokens_128"):
            print(f"{kind}: {report[kind]['texts']} texts of {report[kind]['tokens']} tokens, {args.threads} threads")
            for name, one in report[kind].items():
                if isinstance(one, dict):
                    print(f"  {name}: {one['texts_per_s']:,.0f} texts/s ({one['least']:,.0f} to {one['most']:,.0f}), {one['ratio']:.2f} times")
        (OUT / "heads-speed.json").write_text(json.dumps(report, indent=1) + "\n")
        return
    import torch

    from services.trainer.runs.gather import data_folder
    from shared.errors import ConfigError

    torch.set_num_threads(args.threads)
    try:
        large = Large(args.large, args.large_start, args.passes) if args.large else None
        found = {name: quality(data_folder(args.data), name, args.kinds, args.threads, args.start, large, args.most) for name in args.sets}
    except (ConfigError, OSError) as error:
        sys.exit(f"heads: {error}")
    (OUT / "heads-quality.json").write_text(json.dumps(found, indent=1) + "\n")
    print(table(found))


if __name__ == "__main__":
    main()
