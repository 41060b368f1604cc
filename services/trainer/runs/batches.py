"""Micro-batches for the bundled model: rows of one kind and one of three lengths, with a weight for each token. Never two examples in one row."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

SHAPES = ((16, 128), (6, 320), (3, 768))  # rows x tokens of the micro-batches, about 2,000 tokens each
LABEL_WEIGHT, PROMPT_WEIGHT = 12.0, 0.3  # of a token in the loss; prose and JSON answers weigh 1


class Batches:
    """Micro-batches of one kind and shape each, drawn from shuffled queues."""

    def __init__(self, cache: Path, pad: int, scale: int, seed: int, part: tuple[int, int] = (0, 1)) -> None:
        """`part`: which of how many equal parts of the examples to draw from."""
        with np.load(cache / "examples.npz") as found:
            self.tokens, starts, self.answers, kinds = (found[name] for name in ("tokens", "starts", "answers", "kinds"))
        self.pad, self.scale, self.random = pad, scale, np.random.default_rng(seed)
        lengths = np.diff(starts)
        labels = (kinds == 1) | (kinds == 4)
        self.quiet = kinds == 4
        self.starts, self.lengths, self.kinds = starts, lengths, kinds
        self.pools: dict[str, tuple[int, Any]] = {
            "label-short": (0, np.flatnonzero(labels & (lengths <= SHAPES[0][1]))),
            "label": (1, np.flatnonzero(labels & (lengths > SHAPES[0][1]))),
            "metadata": (2, np.flatnonzero(kinds == 2)),
            "answer": (2, np.flatnonzero(kinds == 3)),
        }
        prose = np.concatenate([self.tokens[starts[n] : starts[n + 1]] for n in np.flatnonzero(kinds == 0)])
        self.prose = {f"prose-{width}": prose[: len(prose) // (width + 1) * (width + 1)].reshape(-1, width + 1) for _, width in SHAPES[1:]}
        for n, rows in enumerate(self.prose):
            self.pools[rows] = (n + 1, np.arange(len(self.prose[rows])))
        self.pools = {name: (shape, members[part[0] :: part[1]]) for name, (shape, members) in self.pools.items()}
        self.queues: dict[str, list[int]] = {name: [] for name in self.pools}

    def text(self, begin: int, stop: int) -> Any:
        """Tokens to count: prose, in shuffled blocks, and the documents inside short label prompts (from token `begin` to the first `stop`)."""
        shown = [self.tokens[self.starts[n] + begin : self.starts[n + 1]] for n in np.flatnonzero((self.kinds == 1) & (self.lengths <= SHAPES[0][1]))]
        blocks = [ids[: int(np.argmax(ids == stop))] for ids in shown] + list(self.prose["prose-768"])
        self.random.shuffle(blocks)
        return np.concatenate(blocks)

    def kind(self, progress: float) -> str:
        """Which kind comes next: prose 40 % at first, 20 % from six tenths on."""
        prose = 0.4 if progress < 0.6 else 0.2
        shares = {"prose-320": prose / 2, "prose-768": prose / 2}
        shares |= {name: (1 - prose) * part for name, part in (("label-short", 0.24), ("label", 0.36), ("metadata", 0.26), ("answer", 0.14))}
        return str(self.random.choice(list(shares), p=list(shares.values())))

    def draw(self, name: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Inputs, targets and weights of one micro-batch."""
        shape, members = self.pools[name]
        rows, width = SHAPES[shape][0] * self.scale, SHAPES[shape][1]
        ids = np.full((rows, width + 1), self.pad, dtype=np.int64)
        weights = np.zeros((rows, width), dtype=np.float32)
        for row in range(rows):
            if not self.queues[name]:
                self.queues[name] = self.random.permutation(members).tolist()
            n = self.queues[name].pop()
            if name in self.prose:
                ids[row], weights[row] = self.prose[name][n], 1.0
                continue
            length, answer = min(self.lengths[n], width + 1), self.answers[n]
            ids[row, :length] = self.tokens[self.starts[n] : self.starts[n] + length]
            weights[row, : answer - 1] = 0.0 if self.quiet[n] else PROMPT_WEIGHT
            weights[row, answer - 1 : length - 1] = 1.0 if shape == 2 else LABEL_WEIGHT
        return torch.from_numpy(ids[:, :-1].copy()), torch.from_numpy(ids[:, 1:].copy()), torch.from_numpy(weights)
