"""Embeddings to begin with, from which tokens stand near which: half a minute of counting and linear algebra that spares the small model the
part of its hour in which it would find out that `hospital` and `doctor` have to do with each other (Levy & Goldberg 2014: PPMI, factorised).
"""

from typing import Any

import numpy as np
import torch

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


def embeddings(tokens: Any, pieces: list[str], dims: int) -> torch.Tensor:
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
