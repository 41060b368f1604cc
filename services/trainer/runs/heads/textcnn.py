"""A convolutional network on the token vectors (Kim 2014, Convolutional Neural Networks for Sentence Classification): windows of two to four word pieces,
the strongest answer of each filter, and the mean over the tokens beside it."""

import torch
from torch import nn
from torch.nn import functional as F

from services.trainer.runs.heads.examples import Targets
from services.trainer.runs.heads.fitting import Places, Plan, fit_temperatures, in_steps
from services.trainer.runs.heads.network import Network
from services.trainer.runs.heads.vectors import Store
from shared.encoder import DIMS

READS = "tokens"
WINDOWS, FILTERS, DROPOUT = (2, 3, 4), 64, 0.5


class Body(nn.Module):
    """What a batch is filled up with is zero, and the windows that begin there are left out: a text's features don't depend on its batch."""

    def __init__(self) -> None:
        super().__init__()
        self.filters = nn.ModuleList(nn.Conv1d(DIMS, FILTERS, window) for window in WINDOWS)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        kept = mask.unsqueeze(1)
        across = tokens.transpose(1, 2) * kept
        mean = F.normalize(across.sum(dim=2) / kept.sum(dim=2), dim=1) * DIMS**0.5
        # as many zeros after the text as the window needs to begin at its last token
        found = [(torch.relu(layer(F.pad(across, (0, window - 1)))) * kept).amax(dim=2) for window, layer in zip(WINDOWS, self.filters, strict=True)]
        features: torch.Tensor = self.dropout(torch.cat([mean, *found], dim=1))
        return features


def train(store: Store, target: Targets, taught: Places, held: Places, seed: int = 11) -> Network:
    """The network, with its temperatures."""
    torch.manual_seed(seed)
    made = Network(Body(), DIMS + FILTERS * len(WINDOWS), READS, target.tasks)
    in_steps(made, store, target, taught, held, Plan(passes=20, patience=3, batch=32, rate=1e-3, decay=0.05, seed=seed))
    fit_temperatures(made, store, target, held)
    return made
