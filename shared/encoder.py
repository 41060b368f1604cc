"""The sentence encoder (all-MiniLM-L6-v2 as int8 ONNX): text in, unit vectors out. No torch; onnxruntime is imported at the first use.

It is two graphs, one after the other: the embedding of the word pieces, and the six layers. A fine-tuned head has layers of its own and takes the place of
the second one, so that its texts are read once and not twice.
"""

import hashlib
import json
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from shared.errors import ConfigError
from shared.onnx import session

if TYPE_CHECKING:
    import numpy as np

DIMS = 384
MAX_TOKENS = 256  # word pieces: what the encoder was trained for; the rest of a text is not read
SORTED = 4096  # texts put in order of length at a time
MOST_TOKENS = 512  # in one batch, filling included: what the layers hold between them stays in the cache. At 8192 three times as slow a token
EMBEDDING, LAYERS, TOKENIZER = "embedding.onnx", "layers.onnx", "tokenizer.json"
T = TypeVar("T")
_FILES = (EMBEDDING, LAYERS, TOKENIZER, "manifest.json")


@dataclass(frozen=True)
class Read:
    """One batch as the encoder read it: `places` are the texts' places in what was given, `ids` the word pieces [n, length], `embedded` a vector a word
    piece [n, length, DIMS] before any layer, and `mask` [n, length] 1 where there is a word piece and 0 where the batch was filled up. `tokens`, the
    vectors after the layers, and `pooled` are made when they are asked for."""

    places: list[int]
    ids: "np.ndarray"
    embedded: "np.ndarray"
    mask: "np.ndarray"
    layers: "Callable[[np.ndarray, np.ndarray], np.ndarray]"
    _made: "dict[str, np.ndarray]" = field(default_factory=dict, repr=False, compare=False)

    def only(self, rows: "np.ndarray") -> "Read":
        """The batch without the other rows, filled up no further than its own longest text. `rows`: one at least."""
        longest = int(self.mask[rows].sum(axis=1).max())
        ids, embedded, mask = (every[rows, :longest] for every in (self.ids, self.embedded, self.mask))
        return Read([self.places[row] for row in rows], ids, embedded, mask, self.layers)

    # functools.cached_property holds one lock for all instances before Python 3.12: batches that are read side by side would wait for one another

    @property
    def tokens(self) -> "np.ndarray":
        """A vector a word piece [n, length, DIMS]."""
        if "tokens" not in self._made:
            self._made["tokens"] = self.layers(self.embedded, self.mask)
        return self._made["tokens"]

    @property
    def pooled(self) -> "np.ndarray":
        """One unit vector a text [n, DIMS]: the mean over its tokens."""
        import numpy as np

        if "pooled" not in self._made:
            mean = np.einsum("ntd,nt->nd", self.tokens, self.mask) / self.mask.sum(axis=1, keepdims=True)
            self._made["pooled"] = np.asarray(mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12))
        return self._made["pooled"]


class Vectors(Protocol):
    """The encoder, or anything that reads texts like it. `digest` names what makes the vectors."""

    @property
    def digest(self) -> str: ...

    def read(self, texts: Sequence[str], batch: int = ...) -> Iterator[Read]: ...


class Encoder:
    """`folder` is what services.trainer.runs.export_encoder wrote; `threads` bounds the cores of one call, which reads so many batches side by side: a batch
    alone is too small to be shared out. Safe to share between threads.

    The scales of the int8 graph are fixed, so a text has the same vector, bit for bit, whatever texts are read beside it.
    """

    def __init__(self, folder: Path, threads: int = 1) -> None:
        self.folder, self.threads = folder, threads
        self._lock = threading.Lock()
        self._loaded: tuple[Any, Any, Any] | None = None

    def load(self) -> None:
        """Read the model now rather than at the first text (about 0.3 s, 90 MB). Raises ConfigError where it is missing or damaged."""
        self._parts()

    @property
    def digest(self) -> str:
        """What a head must have been trained on: the weights that were exported and the recipe, not the file, whose bytes are one exporter's."""
        manifest = self._manifest()
        return hashlib.sha256(f"{manifest.get('source_sha256')}/{manifest.get('recipe')}".encode()).hexdigest()

    def tokenizer(self) -> Any:
        """What takes texts apart into word pieces; a copy, so that what is set of it moves nothing here. Raises ConfigError like `load`."""
        from tokenizers import Tokenizer

        return Tokenizer.from_str(self._parts()[2].to_str())

    def encode(self, texts: Sequence[str], batch: int = 32) -> "np.ndarray":
        """One unit vector a text, in the order given: float32, n x 384, the mean over the tokens. Blocking. Raises ConfigError like `load`."""
        import numpy as np

        result = np.zeros((len(texts), DIMS), dtype=np.float32)
        for places, pooled in side_by_side(self.read(texts, batch), lambda read: (read.places, read.pooled), self.threads):
            result[places] = pooled
        return result

    def read(self, texts: Sequence[str], batch: int = 32) -> Iterator[Read]:
        """The texts at most `batch` at a time, neighbours in length together. Blocking. Raises ConfigError like `load`."""
        import numpy as np

        embedding, layers, tokenizer = self._parts()
        for start in range(0, len(texts), SORTED):
            tokens = [one.ids for one in tokenizer.encode_batch(list(texts[start : start + SORTED]))]
            order = sorted(range(len(tokens)), key=lambda n: len(tokens[n]))  # texts of one length need no filling up
            for portion in _portions(order, [len(one) for one in tokens], batch):
                shape = (len(portion), len(tokens[portion[-1]]))
                ids, mask = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.float32)
                for row, place in enumerate(portion):
                    ids[row, : len(tokens[place])] = tokens[place]
                    mask[row, : len(tokens[place])] = 1
                yield Read([start + place for place in portion], ids, embedding.run(None, {"ids": ids})[0], mask, partial(_through, layers))

    def _parts(self) -> tuple[Any, Any, Any]:
        with self._lock:
            if self._loaded is None:
                self._loaded = self._read()
            return self._loaded

    def _read(self) -> tuple[Any, Any, Any]:
        self._check()
        from tokenizers import Tokenizer

        try:
            embedding, layers = (session(str(self.folder / name), log_level=3) for name in (EMBEDDING, LAYERS))
            tokenizer = Tokenizer.from_file(str(self.folder / TOKENIZER))
        except Exception as error:  # both raise bare classes of their own; whatever it is, the files are of no use
            raise ConfigError(f"the sentence encoder at {self.folder} can't be read: `make setup` exports it again") from error
        tokenizer.enable_truncation(MAX_TOKENS)
        tokenizer.no_padding()  # each batch is filled up by itself
        return embedding, layers, tokenizer

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


def side_by_side(reads: Iterable[Read], work: Callable[[Read], T], threads: int) -> Iterator[T]:
    """What `work` makes of each batch, in their order, on so many threads; a batch alone, or one thread, on the caller's own."""
    left = iter(reads)
    first = list(islice(left, 1 if threads == 1 else 2))
    if len(first) < 2:
        yield from map(work, chain(first, left))
        return
    with ThreadPoolExecutor(threads, "encoder") as pool:
        waiting = deque[Future[T]]()
        for read in chain(first, left):
            waiting.append(pool.submit(work, read))
            if len(waiting) > threads:  # so that few batches are held at a time
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _through(layers: Any, embedded: "np.ndarray", mask: "np.ndarray") -> "np.ndarray":
    tokens: np.ndarray = layers.run(None, {"embedded": embedded, "mask": mask})[0]
    return tokens


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
