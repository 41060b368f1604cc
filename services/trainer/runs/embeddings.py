"""Embeddings to begin with, which spare the small model the part of its hour in which it would find out what words mean.

Most dimensions hold what a piece means: vectors learnt so that their weighted mean over a text is where the sentence encoder puts the text (static
embeddings distilled from an encoder, as in Tulkens & van Dongen's Model2Vec). The others hold which pieces stand near it in the text to be learnt
(Levy & Goldberg 2014: PPMI, factorised), how much it says about a text, a constant, and one that is empty. A minute of counting and two of learning.
"""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import embedding_bag, normalize

from services.trainer.runs.make_tokenizer import SPACE
from shared.prompts import label_messages
from shared.taxonomy import Task

NEAR = 6  # tokens on either side
RARE = 200  # tokens seen less often take part in what their twins (other case, other space) mean
NORM = 0.32  # length of an embedding: 0.02 a dimension, the usual spread at the start
MOST = 8_000_000  # tokens to count
CONSTANT = 0.35  # share of every embedding's length that points one way, so that a head can ask by position alone
WEIGHED = 0.08  # share of the length for each nat of the logarithm of a piece's weight in a text
SPAN = 4.0  # nats: the weight of a piece lies between exp(-SPAN) and exp(SPAN)
NEARNESS = 0.5  # length of what stands near a piece, where what it means has 1
FIT = -3  # the dimension that says of a listed label whether it fits: empty here, for the layers to fill
SHARP = 20.0  # of the shares that are to agree: cosines times this
ROUNDS, TEXTS, NAMES, RATE = 8, 400, 200, 2e-3


def meanings(
    texts: Sequence[Sequence[int]], vectors: Any, names: int, words: Any, frequency: Any, rounds: int = ROUNDS
) -> tuple[torch.Tensor, torch.Tensor]:
    """What each piece means, [vocabulary, 384] by falling importance, unit length, and the logarithm of its weight, [vocabulary], within SPAN.

    `texts` (token ids) lie at `vectors` [texts, 384]; the last `names` of them are short names, which take part in every batch. It begins from where
    the encoder puts each piece as a word (`words`) and weights by `frequency` (Arora et al. 2017).
    """
    random.seed(3)
    there = torch.from_numpy(np.asarray(vectors)).float()
    cut = len(texts) - names
    there = normalize(there - there[:cut].mean(0), dim=1)
    begun = torch.from_numpy(np.asarray(words)).float()
    table = torch.nn.Parameter(begun - begun.mean(0))
    begun = table.detach().clone()
    weight = torch.nn.Parameter(torch.from_numpy(1e-3 / (1e-3 + frequency)).float().log().clamp(min=-SPAN))
    groups = [{"params": [table], "lr": RATE}, {"params": [weight], "lr": 5 * RATE}]
    optimiser = torch.optim.Adam(groups)
    long, short = [n for n in range(cut) if len(texts[n])], [n for n in range(cut, len(texts)) if len(texts[n])]

    def pooled(chosen: Sequence[int]) -> torch.Tensor:
        flat = torch.tensor([token for n in chosen for token in texts[n]])
        starts = torch.tensor(np.cumsum([0, *(len(texts[n]) for n in chosen)])[:-1])
        return embedding_bag(flat, table, starts, mode="sum", per_sample_weights=weight.exp()[flat])

    steps = [(turn, start) for turn in range(rounds) for start in range(0, max(1, len(long) - TEXTS + 1), TEXTS)]
    for done, (_, start) in enumerate(steps):
        if start == 0:
            random.shuffle(long)
        chosen = [*long[start : start + TEXTS], *random.sample(short, min(NAMES, len(short)))]
        ours, wanted = normalize(pooled(chosen), dim=1), there[chosen]
        among, shares = ours @ wanted.T * SHARP, (wanted @ wanted.T * SHARP).softmax(1)
        loss = 4 * (1 - (ours * wanted).sum(1)).mean() + 1e-5 * ((table - begun) ** 2).sum()
        loss = loss - (shares * (among.log_softmax(1) + among.T.log_softmax(1))).sum(1).mean()
        optimiser.zero_grad()
        loss.backward()
        for group, full in zip(optimiser.param_groups, (RATE, 5 * RATE), strict=True):
            group["lr"] = full * (1 - 0.95 * done / len(steps))
        optimiser.step()
    with torch.no_grad():
        shown = random.sample(long, min(4000, len(long)))
        axes = torch.linalg.svd(normalize(pooled(shown), dim=1), full_matrices=False)[2]
        turned = table @ axes.T
        log = weight + turned.norm(dim=1).clamp(min=1e-6).log()
        log = log - log.median()
        print(f"what pieces mean: cosine of texts to the encoder {float((ours * wanted).sum(1).mean()):.3f}, {len(table)} pieces", flush=True)
        return normalize(turned, dim=1), log.clamp(-SPAN, SPAN)


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


def first(tokenizer: Any, tokens: Any, hidden: int, cache: Path) -> torch.Tensor:
    """Embeddings [vocabulary, hidden] of length NORM for the tokenizer's pieces; `tokens` are what to count, `cache` holds meanings.npz.

    From left to right: hidden - 64 dimensions of meaning, 61 of nearness, one empty, the weight, the constant. Raises ValueError for a hidden size under 128.
    """
    if hidden < 128:
        raise ValueError(f"a hidden size of {hidden} has no room for meanings: at least 128 are needed")
    pieces = [str(piece) for piece in tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))]
    with np.load(cache / "meanings.npz") as found:
        meaning, weight = torch.from_numpy(found["meaning"]).float(), torch.from_numpy(found["weight"]).float()
    points = Task.model_construct(name="", meaning="", labels={",": "", ".": ""})  # no desk may call a label so
    frame = label_messages(points, "", "")  # what stands around every document says nothing of it
    weight[[*tokenizer.all_special_ids, *tokenizer.apply_chat_template(frame, add_generation_prompt=True, return_dict=False)]] = -SPAN
    near = counted(tokens, pieces, 61)
    seen = np.bincount(tokens, minlength=len(pieces))
    for n, twin in with_space(pieces).items():  # a bare word that was hardly seen means what it means after a space
        if seen[n] < RARE:
            meaning[n], weight[n], near[n] = meaning[twin], weight[twin], near[twin]
    return laid_out(normalize(meaning[:, : hidden - 64], dim=1), normalize(near, dim=1), weight)


def with_space(pieces: Sequence[str]) -> dict[int, int]:
    """For each piece that stands for itself alone: the piece of the same word after a space, where there is one."""
    ids = {piece: n for n, piece in enumerate(pieces)}
    return {n: ids[f"{SPACE}{piece}"] for piece, n in ids.items() if f"{SPACE}{piece}" in ids}


def laid_out(meaning: torch.Tensor, near: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """One table of rows of length NORM: meaning, nearness, FIT (empty), weight and constant side by side, in the proportions that first_weights.py counts
    on."""
    words = normalize(torch.cat([meaning, near * NEARNESS, torch.zeros(len(near), 1)], dim=1), dim=1)
    rest = (1 - CONSTANT**2 - (WEIGHED * weight) ** 2).sqrt()
    return NORM * torch.cat([words * rest[:, None], WEIGHED * weight[:, None], torch.full((len(words), 1), CONSTANT)], dim=1)


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
