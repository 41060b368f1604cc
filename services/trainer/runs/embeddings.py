"""Embeddings to begin with, which spare the small model the part of its hour in which it would find out what words have to do with one another.

Two thirds of the dimensions say where the sentence encoder puts the piece as a word; one third, which pieces stand near it in the text to be learnt
(Levy & Goldberg 2014: PPMI, factorised). A minute of counting and linear algebra.
"""

from typing import Any

import numpy as np
import torch

from services.trainer.runs.teacher import word_vectors
from shared.encoder import Encoder

NEAR = 6  # tokens on either side
RARE = 200  # tokens seen less often take part in what their twins (other case, other space) mean
NORM = 0.32  # length of an embedding: 0.02 a dimension, the usual spread at the start
MOST = 8_000_000  # tokens to count


def pairs(tokens: Any, vocabulary: int) -> torch.Tensor:
    """How often each token stands near each other one (vocabulary x vocabulary, symmetric)."""
    ids = tokens[:MOST].astype(np.int64)
    counts = np.zeros(vocabulary * vocabulary, dtype=np.float32)
    for distance in range(1, NEAR + 1):
        found, times = np.unique(ids[:-distance] * vocabulary + ids[distance:], return_counts=True)
        counts[found] += times
    square = torch.from_numpy(counts).view(vocabulary, vocabulary)
    return square + square.T


def informative(counts: torch.Tensor) -> torch.Tensor:
    """Positive pointwise mutual information, frequent contexts smoothed (exponent 0.75); in place of the counts."""
    row = counts.sum(1).clamp(min=1)
    context = row**0.75
    counts.mul_(context.sum()).div_(row[:, None]).div_(context[None, :])
    return counts.clamp_(min=1).log_()


def factorised(matrix: torch.Tensor, dims: int) -> torch.Tensor:
    """The leading eigenvectors, each times the root of its value, by subspace iteration."""
    basis = torch.linalg.qr(torch.randn(matrix.shape[0], dims + 32))[0]
    for _ in range(5):
        basis = torch.linalg.qr(matrix @ basis)[0]
    small = basis.T @ (matrix @ basis)
    values, vectors = torch.linalg.eigh((small + small.T) / 2)
    order = values.abs().argsort(descending=True)[:dims]
    return basis @ vectors[:, order] * values[order].abs().sqrt()


def first(tokenizer: Any, tokens: Any, hidden: int, encoder: Encoder) -> torch.Tensor:
    """Embeddings [vocabulary, hidden] of length NORM for the tokenizer's pieces; `tokens` are what to count."""
    pieces = [str(piece) for piece in tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))]
    near = hidden // 3
    spelled = [tokenizer.decode([n]).strip() or "." for n in range(len(pieces))]
    far = torch.from_numpy(word_vectors(encoder, spelled, hidden - near)).float()
    both = torch.cat([far * (2 / 3) ** 0.5, counted(tokens, pieces, near) / NORM * (1 / 3) ** 0.5], dim=1)
    turn = torch.linalg.qr(torch.randn(hidden, hidden))[0]  # so that no head of attention begins with one kind alone
    return both @ turn * NORM


def counted(tokens: Any, pieces: list[str], dims: int) -> torch.Tensor:
    """An embedding for each of the tokenizer's `pieces` (by id), of length NORM; unknown ones are random."""
    counts = pairs(tokens, len(pieces))
    seen = counts.sum(1) / (2 * NEAR)
    vectors = factorised(informative(counts), dims)
    vectors = vectors - vectors[seen > 0].mean(0)
    twins: dict[str, list[int]] = {}
    for n, piece in enumerate(pieces):
        twins.setdefault(piece.lstrip("Ġ").lower(), []).append(n)
    result = vectors.clone()
    for group in twins.values():
        if len(group) > 1:
            weight = seen[group]
            mean = (vectors[group] * weight[:, None]).sum(0) / weight.sum().clamp(min=1)
            for n in group:
                own = min(1.0, float(seen[n]) / RARE)
                result[n] = own * vectors[n] + (1 - own) * mean
    noise = torch.randn_like(result)
    result = result / result.norm(dim=1, keepdim=True).clamp(min=1e-6) + 0.15 * noise / dims**0.5
    result[(result.norm(dim=1) < 0.5)] = noise[(result.norm(dim=1) < 0.5)] / dims**0.5
    return result / result.norm(dim=1, keepdim=True) * NORM
