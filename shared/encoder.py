"""The sentence encoder (all-MiniLM-L6-v2 as int8 ONNX): text in, unit vectors out. No torch; onnxruntime is imported at the first use."""

import hashlib
import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

DIMS = 384
EARLY_LAYER = 4  # of six: what a fine-tuned head puts its own layers on
LATE, EARLY = "last_hidden_state", f"layer_{EARLY_LAYER}"  # outputs of the graph
MAX_TOKENS = 256  # word pieces: what the encoder was trained for; the rest of a text is not read
SORTED = 4096  # texts put in order of length at a time
MOST_TOKENS = 8192  # in one batch, filling included: 13 MB of token vectors, and some 100 MB inside the graph
_FILES = ("model.onnx", "tokenizer.json", "manifest.json")


@dataclass(frozen=True)
class Read:
    """One batch as the encoder read it: `places` are the texts' places in what was given, `tokens` a vector a word piece [n, length, DIMS] and `mask`
    [n, length] 1 where there is a word piece and 0 where the batch was filled up. `early`: the tokens as they were after layer EARLY_LAYER."""

    places: list[int]
    tokens: "np.ndarray"
    mask: "np.ndarray"
    early: "np.ndarray"

    @property
    def pooled(self) -> "np.ndarray":
        """One unit vector a text [n, DIMS]: the mean over its tokens."""
        import numpy as np

        mean = np.einsum("ntd,nt->nd", self.tokens, self.mask) / self.mask.sum(axis=1, keepdims=True)
        return np.asarray(mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12))


class Encoder:
    """`folder` is what services.trainer.runs.export_encoder wrote; `threads` bounds the cores of one call. Safe to share between threads.

    The scales of the int8 graph are fixed, so a text has the same vector, bit for bit, whatever texts are read beside it.
    """

    def __init__(self, folder: Path, threads: int = 1) -> None:
        self.folder, self.threads = folder, threads
        self._lock = threading.Lock()
        self._loaded: tuple[Any, Any] | None = None

    def load(self) -> None:
        """Read the model now rather than at the first text (about 0.3 s, 90 MB). Raises ConfigError where it is missing or damaged."""
        self._parts()

    @property
    def digest(self) -> str:
        """What a head must have been trained on: the weights that were exported and the recipe, not the file, whose bytes are one exporter's."""
        manifest = self._manifest()
        return hashlib.sha256(f"{manifest.get('source_sha256')}/{manifest.get('recipe')}".encode()).hexdigest()

    def encode(self, texts: Sequence[str], batch: int = 32) -> "np.ndarray":
        """One unit vector a text, in the order given: float32, n x 384, the mean over the tokens. Blocking. Raises ConfigError like `load`."""
        import numpy as np

        result = np.zeros((len(texts), DIMS), dtype=np.float32)
        for read in self.read(texts, batch):
            result[read.places] = read.pooled
        return result

    def read(self, texts: Sequence[str], batch: int = 32) -> Iterator[Read]:
        """The token vectors, at most `batch` texts at a time, neighbours in length together. Blocking. Raises ConfigError like `load`."""
        import numpy as np

        session, tokenizer = self._parts()
        for start in range(0, len(texts), SORTED):
            tokens = [one.ids for one in tokenizer.encode_batch(list(texts[start : start + SORTED]))]
            order = sorted(range(len(tokens)), key=lambda n: len(tokens[n]))  # texts of one length need no filling up
            for portion in _portions(order, [len(one) for one in tokens], batch):
                ids, mask = (np.zeros((len(portion), len(tokens[portion[-1]])), dtype=np.int64) for _ in range(2))
                for row, place in enumerate(portion):
                    ids[row, : len(tokens[place])] = tokens[place]
                    mask[row, : len(tokens[place])] = 1
                feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
                late, early = session.run([LATE, EARLY], feed)
                yield Read([start + place for place in portion], late, mask.astype(np.float32), early)

    def _parts(self) -> tuple[Any, Any]:
        with self._lock:
            if self._loaded is None:
                self._loaded = self._read()
            return self._loaded

    def _read(self) -> tuple[Any, Any]:
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
        if {one.name for one in session.get_outputs()} != {LATE, EARLY}:
            raise ConfigError(f"the sentence encoder at {self.folder} is of an older recipe: `make setup` exports it again")
        tokenizer.enable_truncation(MAX_TOKENS)
        tokenizer.no_padding()  # each batch is filled up by itself
        return session, tokenizer

    def _manifest(self) -> dict[str, Any]:
        if any(not (self.folder / name).is_file() for name in _FILES):
            raise ConfigError(f"the sentence encoder is missing at {self.folder}: `make setup` exports it, or set FEEDLOOP_ENCODER to its folder")
        try:
            manifest = json.loads((self.folder / "manifest.json").read_text())
            if not isinstance(manifest["sha256"], dict):
                raise TypeError("sha256")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"the sentence encoder at {self.folder} has no sound manifest.json: `make setup` exports it again") from error
        return dict(manifest)

    def _check(self) -> None:
        for name, digest in self._manifest()["sha256"].items():
            path = self.folder / name
            if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
                raise ConfigError(f"the sentence encoder at {self.folder} is damaged ({name}): `make setup` exports it again")


def _portions(order: Sequence[int], lengths: Sequence[int], batch: int) -> Iterator[list[int]]:
    """`order` (the shortest text first) in runs of at most `batch` texts and MOST_TOKENS tokens, filling included."""
    portion: list[int] = []
    for place in order:
        if portion and (len(portion) == batch or (len(portion) + 1) * lengths[place] > MOST_TOKENS):
            yield portion
            portion = []
        portion.append(place)
    if portion:
        yield portion
