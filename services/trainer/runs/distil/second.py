"""The large encoder itself as a second head: what the classifier asks of the texts that the small head is in doubt about (services/classifier/head.py).

It reads the small encoder's word pieces, so a text is taken apart once: both encoders have BERT's vocabulary, MPNet's four places further on.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from services.trainer.heads import Head, ask
from services.trainer.runs.distil.teacher import Large
from services.trainer.runs.heads.examples import Targets
from services.trainer.runs.heads.figures import figures
from services.trainer.runs.heads.network import Network
from shared.encoder import MAX_TOKENS, Encoder
from shared.errors import ConfigError
from shared.heads import in_doubt

READS = "ids"
Chances = Mapping[str, NDArray[np.float64]]  # task -> probabilities [n, labels]
_SPECIAL = {"[PAD]": "pad_token", "[CLS]": "cls_token", "[SEP]": "sep_token"}  # of the small encoder: what the large one has in their place


class Body(nn.Module):
    """MPNet (Song et al. 2020, MPNet: Masked and Permuted Pre-training) from the small encoder's word pieces [n, length] and mask to the vectors that the
    teacher goes by [n, width]."""

    words: torch.Tensor
    places: torch.Tensor
    nearness: torch.Tensor

    def __init__(self, large: Large, pieces: Mapping[str, int]) -> None:
        super().__init__()
        model = large.m
        if model.config.model_type != "mpnet":
            raise ConfigError(f"a second head can be made of MPNet alone, and this is {model.config.model_type}")
        self.width, self.norm, self.layers = large.width, model.embeddings.LayerNorm, model.encoder.layer
        order = torch.tensor(places_of(pieces, large.tokenizer))
        with torch.no_grad():
            start = int(model.embeddings.padding_idx) + 1
            apart = torch.zeros((1, MAX_TOKENS, 1))
            self.register_buffer("words", model.embeddings.word_embeddings.weight[order].clone())
            self.register_buffer("places", model.embeddings.position_embeddings.weight[start : start + MAX_TOKENS].clone())
            self.register_buffer("nearness", model.encoder.compute_position_bias(apart).clone())  # [1, heads, MAX_TOKENS, MAX_TOKENS]

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        length = ids.shape[1]
        hidden = self.norm(nn.functional.embedding(ids, self.words) + self.places[:length])
        near = self.nearness[:, :, :length, :length] + (1 - mask)[:, None, None, :] * torch.finfo(torch.float32).min
        for layer in self.layers:
            hidden = layer(hidden, None, near)[0]
        mean = (hidden * mask.unsqueeze(2)).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        found: torch.Tensor = nn.functional.normalize(mean, dim=1) * self.width**0.5
        return found


def places_of(pieces: Mapping[str, int], tokenizer: Any) -> list[int]:
    """For each word piece of the small encoder, in its order, the large one's number of it. Raises ConfigError where one is missing."""
    known = tokenizer.get_vocab()
    specials = {piece: getattr(tokenizer, name) for piece, name in _SPECIAL.items()}
    found = [known.get(specials.get(piece, piece)) for piece in sorted(pieces, key=lambda piece: pieces[piece])]
    if None in found:
        raise ConfigError("the large encoder lacks word pieces of the small one: a second head must read the same")
    return [int(one) for one in found]


def network(large: Large, pieces: Mapping[str, int]) -> Network:
    """The teacher as a head's network, with its own last layers; the temperatures are 1."""
    made = Network(Body(large, pieces), large.width, READS, large.tasks)
    made.last.load_state_dict(large.last.state_dict())
    return made.eval()


def answers(head: Head, encoder: Encoder, texts: Sequence[str]) -> Chances:
    """What a head says of texts. Blocking. Raises PermanentError where that is no probability."""
    said = ask(head, encoder, texts)
    return {task: np.array([[one[task][label] for label in labels] for one in said]) for task, labels in head.card.tasks.items()}


def together(first: Chances, second: Chances, kinds: Mapping[str, str], asked_below: float) -> tuple[Chances, NDArray[np.int64]]:
    """What the two say, and the rows of which the second one was asked."""
    asked = in_doubt(first, kinds, asked_below)
    said = {task: chances.copy() for task, chances in first.items()}
    for task in said:
        said[task][asked] = second[task][asked]
    return said, asked


def tradeoff(first: Chances, second: Chances, target: Targets, places: NDArray[np.int64]) -> list[str]:
    """What asking the second head brings: lines with the share of the texts at `places` that it is asked of, and the macro-F1 of each task, by how sure the
    first one must be to be left alone."""
    kinds, lines = {task.name: task.kind for task in target.tasks}, []
    for least in (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0):
        said, asked = together(first, second, kinds, least)
        found = figures(target, places, said)
        each = ", ".join(f"{task} {one['macro_f1']:.3f}" for task, one in found.items())
        lines.append(f"asked below {least:.2f}: {len(asked) / len(places):.1%} of the texts; macro-F1 {each}")
    return lines
