"""The sentence encoder (all-MiniLM-L6-v2 as int8 ONNX): text in, unit vectors out. No torch; onnxruntime is imported at the first use."""

import hashlib
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

DIMS = 384
MAX_TOKENS = 256  # word pieces: what the encoder was trained for; the rest of a text is not read
_FILES = ("model.onnx", "tokenizer.json", "manifest.json")


class Encoder:
    """`folder` is what services.trainer.runs.export_encoder wrote; `threads` bounds the cores of one call. Safe to share between threads.

    The int8 weights are scaled by batch, so the vector of a text moves by about 0.01 (cosine) with the texts beside it: compare, never equate.
    """

    def __init__(self, folder: Path, threads: int = 1) -> None:
        self.folder, self.threads = folder, threads
        self._lock = threading.Lock()
        self._loaded: tuple[Any, Any] | None = None

    def load(self) -> None:
        """Read the model now rather than at the first text (about 0.3 s, 90 MB). Raises ConfigError where it is missing or damaged."""
        self._parts()

    def encode(self, texts: Sequence[str], batch: int = 32) -> "np.ndarray":
        """One unit vector a text, in the order given: float32, n x 384, the mean over the tokens. Blocking. Raises ConfigError like `load`."""
        import numpy as np

        session, tokenizer = self._parts()
        result = np.zeros((len(texts), DIMS), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda n: len(texts[n]))  # neighbours of one length need little padding
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            tokens = tokenizer.encode_batch([texts[n] for n in chosen])
            mask = np.array([t.attention_mask for t in tokens], dtype=np.int64)
            feed = {
                "input_ids": np.array([t.ids for t in tokens], dtype=np.int64),
                "attention_mask": mask,
                "token_type_ids": np.array([t.type_ids for t in tokens], dtype=np.int64),
            }
            hidden = session.run(["last_hidden_state"], feed)[0]
            weights = mask[..., None].astype(np.float32)
            mean = (hidden * weights).sum(axis=1) / weights.sum(axis=1)
            result[chosen] = mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12)
        return result

    def _parts(self) -> tuple[Any, Any]:
        with self._lock:
            if self._loaded is None:
                self._loaded = self._read()
            return self._loaded

    def _read(self) -> tuple[Any, Any]:
        if any(not (self.folder / name).is_file() for name in _FILES):
            raise ConfigError(f"the sentence encoder is missing at {self.folder}: `make setup` exports it, or set FEEDLOOP_ENCODER to its folder")
        self._check()
        import onnxruntime
        from tokenizers import Tokenizer

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # an idle service must not burn a core
        options.enable_cpu_mem_arena = False  # the arena keeps the largest batch's memory for ever
        options.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(str(self.folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
            tokenizer = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
        except Exception as error:  # both raise bare classes of their own; whatever it is, the files are of no use
            raise ConfigError(f"the sentence encoder at {self.folder} can't be read: `make setup` exports it again") from error
        tokenizer.enable_truncation(MAX_TOKENS)
        tokenizer.enable_padding()
        return session, tokenizer

    def _check(self) -> None:
        try:
            wanted = json.loads((self.folder / "manifest.json").read_text())["sha256"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"the sentence encoder at {self.folder} has no sound manifest.json: `make setup` exports it again") from error
        for name, digest in wanted.items():
            path = self.folder / name
            if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
                raise ConfigError(f"the sentence encoder at {self.folder} is damaged ({name}): `make setup` exports it again")
