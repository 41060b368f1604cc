"""Micro-batches for the bundled model. A document is read once and asked many things: the prompt's first part (system and document) stands once in
a row, and after it several branches (task, answer), each of which sees the document and itself, never another branch. In use every question is a
prompt of its own; positions and the mask make the branches just that, at a third of the cost. Rows are filled with several such trees, which do not
see one another either.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

NONE, PROMPT, LABEL, TEXT, PROSE = range(5)  # what a token counts as
UNFIT, FITS = 1, 2  # a token of a listed label: a wrong one's, the right one's
WEIGHTS = np.array([0.0, 0.3, 10.0, 1.0, 1.0], dtype=np.float32)
SHAPES = {"short": (6, 384), "long": (3, 768)}  # rows x tokens
ASKED = 896  # positions of a micro-batch of tasks at which the vocabulary is scored: all answers, and as many of the documents' tokens as fit
KINDS = ("prose", "repeat", "label", "copy", "long")
LOOKS = 12  # items that are tried for what is left of a row


class Batch(NamedTuple):
    """Tensors of one micro-batch: [rows, width], but `at`, `targets` and `weights`, which are for the scored positions of the flattened rows."""

    inputs: torch.Tensor
    positions: torch.Tensor
    trees: torch.Tensor  # which tree a token belongs to; 0 is padding
    branches: torch.Tensor  # 0 for what all branches see
    fits: torch.Tensor  # UNFIT or FITS where labels are listed
    at: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor


class Batches:
    """Micro-batches of one kind each, drawn from shuffled queues. `part`: which of how many equal parts of the examples to draw from."""

    def __init__(self, cache: Path, pad: int, scale: int, seed: int, part: tuple[int, int] = (0, 1)) -> None:
        with np.load(cache / "examples.npz") as found:
            self.inputs, self.targets, self.branches, self.codes, self.fits, self.starts, kinds = (
                found[name] for name in ("inputs", "targets", "branches", "codes", "fits", "starts", "kinds")
            )
        self.pad, self.scale, self.random = pad, scale, np.random.default_rng(seed)
        self.members = {name: np.flatnonzero(kinds == n)[part[0] :: part[1]] for n, name in enumerate(KINDS) if n != KINDS.index("repeat")}
        self.prose = np.concatenate([self.inputs[self.starts[n] : self.starts[n + 1]] for n in self.members["prose"]])
        self.queues: dict[str, list[int]] = {name: [] for name in self.members}
        self.names = ["prose", "prose-long", "repeat", "label", "copy", "long"]

    def sizes(self) -> dict[str, int]:
        """How many items (of prose: tokens) there are of each kind, in this part."""
        return {name: len(members) for name, members in self.members.items()} | {"prose": len(self.prose)}

    def text(self) -> Any:
        """Tokens to count which stand near which: the documents of the label tasks, and prose, a piece of each in turn."""
        chosen = [self.inputs[self.starts[n] : self.starts[n + 1]] for n in self.members["label"]]
        documents = [ids[self.branches[self.starts[n] : self.starts[n + 1]] == 0] for ids, n in zip(chosen, self.members["label"], strict=True)]
        one, other = documents[0], documents[-1]
        shorter = min(len(one), len(other))
        system = int(np.argmax(one[:shorter] != other[:shorter]))  # what every prompt begins with says nothing of words
        documents = [ids[system:] for ids in documents]
        pieces = np.array_split(self.prose, max(1, len(self.prose) // 400))
        blocks = [*documents, *pieces]
        self.random.shuffle(blocks)
        return np.concatenate(blocks)

    def kind(self, progress: float) -> str:
        """Which kind comes next. Copying is learnt first, from repeats and short documents; prose gives way to tasks."""
        early = max(0.0, 1 - progress / 0.35)
        shares = {
            "prose": 0.10 + 0.10 * early,
            "prose-long": 0.04 + 0.04 * early,
            "repeat": 0.01 + 0.14 * early,
            "copy": 0.20,
            "long": 0.17 - 0.12 * early,
        }
        shares["label"] = 1 - sum(shares.values())
        return str(self.random.choice(list(shares), p=list(shares.values())))

    def draw(self, name: str) -> Batch:
        """One micro-batch."""
        rows, width = SHAPES["long" if name in ("long", "prose-long") else "short"]
        rows *= self.scale
        if name in ("prose", "prose-long", "repeat"):
            return self._plain(rows, width, repeat=name == "repeat")
        return self._tasks(rows, width, name)

    def _plain(self, rows: int, width: int, *, repeat: bool) -> Batch:
        ids = np.empty((rows, width + 1), dtype=np.int64)
        weights = np.ones((rows, width), dtype=np.float32)
        for row in range(rows):
            if repeat:
                ids[row], weights[row] = self._repeated(width + 1)
            else:
                at = self.random.integers(len(self.prose) - width - 1)
                ids[row] = self.prose[at : at + width + 1]
        positions = np.broadcast_to(np.arange(width), (rows, width))
        one, none = np.ones((rows, width), dtype=np.int32), np.zeros((rows, width), dtype=np.int32)
        where = np.arange(rows * width)
        return _tensors(ids[:, :-1], positions, one, none, none, where, ids[:, 1:].ravel(), weights.ravel())

    def _repeated(self, length: int) -> tuple[Any, Any]:
        """A piece of random tokens or of prose, again and again: what makes attention learn to copy (induction heads, Olsson et al. 2022)."""
        size = int(self.random.integers(12, length // 2))
        if self.random.random() < 0.5:
            piece = self.random.integers(5, int(self.prose.max()) + 1, size)
        else:
            at = self.random.integers(len(self.prose) - size)
            piece = self.prose[at : at + size].astype(np.int64)
        ids = np.resize(piece, length)
        weights = np.ones(length - 1, dtype=np.float32)
        weights[: size - 1] = 0.0
        return ids, weights

    def _next(self, name: str) -> int:
        if not self.queues[name]:
            self.queues[name] = self.random.permutation(self.members[name]).tolist()
        return self.queues[name].pop()

    def _tasks(self, rows: int, width: int, name: str) -> Batch:
        shape = (rows, width)
        inputs, targets = np.full(shape, self.pad, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        positions, trees = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int32)
        branches, fits, codes = np.zeros(shape, dtype=np.int32), np.zeros(shape, dtype=np.int32), np.zeros(shape, dtype=np.int64)
        for row in range(rows):
            used = tree = 0
            later: list[int] = []
            for _ in range(LOOKS):
                n = self._next(name)
                start, length = int(self.starts[n]), int(self.starts[n + 1] - self.starts[n])
                if used and used + length > width:
                    later.append(n)
                    continue
                length, tree = min(length, width), tree + 1
                here, there = slice(used, used + length), slice(start, start + length)
                own = self.branches[there].astype(np.int32)
                inputs[row, here], targets[row, here] = self.inputs[there], self.targets[there]
                branches[row, here], codes[row, here], trees[row, here] = own, self.codes[there], tree
                fits[row, here] = self.fits[there]
                positions[row, here] = positions_of(own)
                used += length
                if width - used < 48:
                    break
            self.queues[name].extend(later)
        flat = codes.ravel()
        answers = np.flatnonzero(flat >= LABEL)
        prompts = np.flatnonzero(flat == PROMPT)
        asked = ASKED * self.scale
        answers = answers if len(answers) <= asked else self.random.choice(answers, asked, replace=False)
        room = min(asked - len(answers), len(prompts))
        chosen = self.random.choice(prompts, room, replace=False)
        where, weights = np.zeros(asked, dtype=np.int64), np.zeros(asked, dtype=np.float32)
        where[: len(answers)], weights[: len(answers)] = answers, WEIGHTS[flat[answers]]
        where[len(answers) : len(answers) + room] = chosen
        weights[len(answers) : len(answers) + room] = WEIGHTS[PROMPT] * len(prompts) / max(1, room)  # those scored stand for the others
        return _tensors(inputs, positions, trees, branches, fits, where, targets.ravel()[where], weights)


def positions_of(branches: Any) -> Any:
    """Position of each token of a tree: the trunk counts from 0, and every branch goes on where the trunk ends."""
    trunk = int((branches == 0).sum())
    places = np.arange(len(branches))
    starts = np.flatnonzero(np.diff(branches, prepend=-1))
    first = starts[np.searchsorted(starts, places, side="right") - 1]
    return np.where(branches == 0, places, places - first + trunk)


def mask_of(trees: torch.Tensor, branches: torch.Tensor) -> torch.Tensor:
    """What each token sees, [rows, 1, width, width]: earlier tokens of its tree that are the trunk's or its own branch's."""
    width = trees.shape[1]
    earlier = torch.ones(width, width, dtype=torch.bool, device=trees.device).tril()
    same = trees[:, :, None] == trees[:, None, :]
    open_to = (branches[:, None, :] == 0) | (branches[:, :, None] == branches[:, None, :])
    return (earlier & same & open_to)[:, None]


def _tensors(*arrays: Any) -> Batch:
    return Batch(*(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays))
