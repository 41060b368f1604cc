"""The sentence encoder against what it was made of: texts a second of int8 ONNX (what the services use), fp32 ONNX and sentence-transformers in torch.

    python -m tests.bench.encoder [--threads 1] [--rounds 5]

One process, the same number of threads, the same texts in the same batches of 32, in turns (A B C A B C …), so that whatever else the machine does meets
all three alike; ratios are taken within a round. Writes build/bench/encoder.json and the figures of docs/model.md.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "build" / "bench"
BATCH, TOKENS = 32, 128
OURS, FULL, TORCH = "ONNX int8 (shared/encoder.py)", "ONNX fp32, the same code", "sentence-transformers, torch fp32"
Encode = Callable[[Sequence[str]], Any]


def headlines() -> list[str]:
    """192 titles of the sample."""
    return [row["title"] for row in _sample()][:192]


def of_128_tokens(tokenizer: Any) -> list[str]:
    """64 texts of 126 word pieces, and the two that frame every text: the sample's prose, joined and cut."""
    prose = " ".join(row["text"] for row in _sample())
    spans = tokenizer.encode(prose, add_special_tokens=False).offsets
    width = TOKENS - 2
    starts = range(0, len(spans) - width, width)
    found = [prose[spans[n][0] : spans[n + width - 1][1]] for n in starts]
    return [text for text in found if len(tokenizer.encode(text).ids) == TOKENS][:64]


def _sample() -> list[dict[str, str]]:
    """Title and text of the sample's items and corrections."""
    from deploy.sample.authored import extras, items

    return [{"title": one.title, "text": one.plain} for one in items()] + [{"title": one.title, "text": one.text} for one in extras()]


def contenders(threads: int) -> dict[str, Encode]:
    """The three, loaded. The fp32 graph is exported into build/bench/encoder-fp32 at the first call (20 s)."""
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    from services.trainer.runs.export_encoder import source_folder
    from shared.encoder import Encoder

    logging.disable_progress_bar()
    torch.set_num_threads(threads)
    original = SentenceTransformer(str(source_folder()), device="cpu")
    int8, fp32 = Encoder(ROOT / "build" / "encoder", threads), Encoder(full_precision(), threads)

    def torch_encode(texts: Sequence[str]) -> Any:
        return original.encode(list(texts), batch_size=BATCH, normalize_embeddings=True, show_progress_bar=False)

    return {OURS: lambda texts: int8.encode(texts, BATCH), FULL: lambda texts: fp32.encode(texts, BATCH), TORCH: torch_encode}


def full_precision() -> Path:
    """A folder that shared.encoder reads, with the graphs as they are before quantisation."""
    import shutil

    from services.trainer.runs.export_encoder import export_full, sha256, source_folder
    from shared.encoder import EMBEDDING, LAYERS, TOKENIZER

    folder = OUT / "encoder-fp32-parts"
    if not (folder / "manifest.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for path, name in zip(export_full(source_folder(), folder), (EMBEDDING, LAYERS), strict=True):
            path.rename(folder / name)
        shutil.copy(ROOT / "build" / "encoder" / TOKENIZER, folder)
        digests = {name: sha256(folder / name) for name in (EMBEDDING, LAYERS, TOKENIZER)}
        (folder / "manifest.json").write_text(json.dumps({"sha256": digests}))
    return folder


def race(racers: dict[str, Encode], texts: Sequence[str], rounds: int, least_s: float = 1.0) -> dict[str, list[float]]:
    """Texts a second of each, a figure a round, in turns, after one warm-up; a turn lasts at least `least_s`."""
    for encode in racers.values():
        encode(texts)
    rates: dict[str, list[float]] = {name: [] for name in racers}
    for _ in range(rounds):
        for name, encode in racers.items():
            began, done, elapsed = time.perf_counter(), 0, 0.0
            while not done or elapsed < least_s:
                encode(texts)
                done += len(texts)
                elapsed = time.perf_counter() - began
            rates[name].append(done / elapsed)
    return rates


def summary(rates: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Per contender the median rate, its least and most, and the median over the rounds of its ratio to sentence-transformers in that round."""
    return {
        name: {
            "texts_per_s": round(statistics.median(found), 1),
            "least": round(min(found), 1),
            "most": round(max(found), 1),
            "ratio": round(statistics.median(a / b for a, b in zip(found, rates[TORCH], strict=True)), 2),
        }
        for name, found in rates.items()
    }


def nearness(racers: dict[str, Encode]) -> dict[str, float]:
    """Cosine of each ONNX graph to sentence-transformers on the sample's items: mean and least. Batches as in use."""
    texts = [f"{row['title']}. {row['text']}" for row in _sample()]
    wanted = racers[TORCH](texts)
    found: dict[str, float] = {"texts": len(texts)}
    for name, key in ((OURS, "int8"), (FULL, "fp32")):
        cosine = (racers[name](texts) * wanted).sum(axis=1)
        found |= {f"{key}_mean": round(float(cosine.mean()), 4), f"{key}_least": round(float(cosine.min()), 4)}
    return found


def page(report: dict[str, Any]) -> str:
    """The figures as they stand in docs/model.md."""
    lines = [
        f"Texts a second, {report['threads']} thread{'s' if report['threads'] > 1 else ''}, batches of {BATCH}, in turns, median of {report['rounds']} rounds"
        f" (least to most), on {report['machine']} (`make bench-encoder`):",
        "",
        f"| | headlines | | texts of {TOKENS} tokens | |",
        "|---|---|---|---|---|",
    ]
    for name in (OURS, FULL, TORCH):
        cells = []
        for kind in ("headlines", "tokens_128"):
            one = report[kind][name]
            cells += [f"{one['texts_per_s']:,.0f} ({one['least']:,.0f} to {one['most']:,.0f})", f"{one['ratio']:.2f} times"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    made, here = report["export"], report["nearness"]
    lines += [
        "",
        f"Cosine of the int8 vectors to the fp32 ones: {made['mean']:.4f} mean, {made['least']:.4f} worst over {made['texts']} texts of the export"
        f" (build/encoder/manifest.json); {here['int8_mean']:.4f} and {here['int8_least']:.4f} over the sample's {here['texts']} items, where the fp32 graph"
        f" has {here['fp32_mean']:.4f} and {here['fp32_least']:.4f}.",
    ]
    return "\n".join(lines)


def measure(threads: int, rounds: int) -> dict[str, Any]:
    """All of it. Raises ConfigError where the encoder was not exported."""
    from tokenizers import Tokenizer

    from tests.bench.__main__ import machine

    racers = contenders(threads)
    tokenizer = Tokenizer.from_file(str(ROOT / "build" / "encoder" / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return {
        "machine": machine(),
        "threads": threads,
        "rounds": rounds,
        "headlines": summary(race(racers, headlines(), rounds)),
        "tokens_128": summary(race(racers, of_128_tokens(tokenizer), rounds)),
        "nearness": nearness(racers),
        "export": json.loads((ROOT / "build" / "encoder" / "manifest.json").read_text())["cosine_to_fp32"],
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Command line; see the module's docstring."""
    from tests.bench.page import write_between

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="of each contender; a service encodes on one")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep-page", action="store_true", help="print the figures and leave docs/model.md as it is")
    args = parser.parse_args(argv)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false" if args.threads == 1 else "true")
    report = measure(args.threads, args.rounds)
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "encoder.json").write_text(json.dumps(report, indent=1) + "\n")
    print(page(report))
    if not args.keep_page:
        write_between(ROOT / "docs" / "model.md", "bench-encoder", page(report))
        print("written to docs/model.md and build/bench/encoder.json", file=sys.stderr)


if __name__ == "__main__":
    main()
