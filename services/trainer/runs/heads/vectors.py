"""The encoder's vectors of many texts, read once and kept on disk: what a head is trained on."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from shared.encoder import DIMS, Encoder
from shared.heads import READ_CHARS

BATCH = 32


@dataclass(frozen=True)
class Store:
    """Pooled vectors [n, DIMS] (0 where they were not asked for), and for a network that reads `tokens` or `embedded` (shared.encoder.Read) those, end to end (float16), text n from `begins[n]`
    to `begins[n + 1]`."""

    pooled: NDArray[np.float32]
    tokens: NDArray[np.float16] | None = None
    begins: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.pooled)

    def inputs(self, reads: str, places: NDArray[np.int64]) -> tuple[torch.Tensor, ...]:
        """What a network that reads `pooled` is given of these texts, (pooled,), or one that reads tokens: (tokens, mask), filled up to the longest."""
        if reads == "pooled":
            return (torch.from_numpy(self.pooled[places]),)
        assert self.tokens is not None and self.begins is not None, "the token vectors were not asked for"
        lengths = self.begins[places + 1] - self.begins[places]
        tokens = np.zeros((len(places), int(lengths.max()), DIMS), dtype=np.float32)
        for row, (place, length) in enumerate(zip(places, lengths, strict=True)):
            tokens[row, :length] = self.tokens[self.begins[place] : self.begins[place] + length]
        mask = (np.arange(tokens.shape[1]) < lengths[:, None]).astype(np.float32)
        return torch.from_numpy(tokens), torch.from_numpy(mask)

    def sample(self, reads: str, texts: int = 128, batch: int = 16) -> list[dict[str, NDArray[np.float32]]]:
        """What a graph that reads tokens is fed of some of the texts, evenly drawn, those of one length together."""
        chosen = np.unique(np.linspace(0, len(self) - 1, texts).astype(np.int64))
        chosen = chosen[np.argsort(self.lengths()[chosen], kind="stable")]
        batches = [self.inputs(reads, chosen[start : start + batch]) for start in range(0, len(chosen), batch)]
        return [{reads: tokens.numpy(), "mask": mask.numpy()} for tokens, mask in batches]

    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each text; all 1 where only the pooled vectors are here."""
        return np.ones(len(self), dtype=np.int64) if self.begins is None else np.diff(self.begins)


def store(encoder: Encoder, texts: Sequence[str], reads: str = "pooled", keep: Path | None = None, with_pooled: bool = True) -> Store:
    """Read the texts (their first READ_CHARS characters). `keep` is a folder where the vectors are looked for first, and put. `with_pooled`: False spares a
    network with layers of its own the encoder's, which are nearly all of the work; nothing is kept then."""
    shown = [text.strip()[:READ_CHARS] for text in texts]
    if keep is None or not with_pooled:
        return _read(encoder, shown, reads, with_pooled)
    name = hashlib.sha256("\x00".join([encoder.digest, *shown]).encode("utf-8", "surrogatepass")).hexdigest()[:24]
    parts = ("pooled",) if reads == "pooled" else ("pooled", "tokens", "begins")
    places = {part: keep / f"{name}.{reads if part == 'tokens' else part}.npy" for part in parts}
    if all(path.exists() for path in places.values()):
        return Store(**{part: np.load(path) for part, path in places.items()})
    made = _read(encoder, shown, reads, True)
    keep.mkdir(parents=True, exist_ok=True)
    for part, path in places.items():
        beside = path.with_suffix(".part.npy")
        np.save(beside, getattr(made, part))
        beside.replace(path)
    return made


def _read(encoder: Encoder, texts: Sequence[str], reads: str, with_pooled: bool) -> Store:
    pooled = np.zeros((len(texts), DIMS), dtype=np.float32)
    pieces: list[NDArray[np.float16]] = [np.zeros((0, DIMS), dtype=np.float16)] * len(texts)
    for read in encoder.read(texts, BATCH):
        if with_pooled:
            pooled[read.places] = read.pooled
        if reads != "pooled":
            for place, row, length in zip(read.places, getattr(read, reads), read.mask.sum(axis=1).astype(int), strict=True):
                pieces[place] = row[:length].astype(np.float16)
    if reads == "pooled":
        return Store(pooled)
    begins = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces])]).astype(np.int64)
    return Store(pooled, np.concatenate(pieces), begins)
