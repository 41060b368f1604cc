"""One hidden layer on the pooled vector, shared by the tasks."""

import torch
from torch import nn

from services.trainer.runs.heads.examples import Targets, Task
from services.trainer.runs.heads.fitting import Places, Plan, fit_temperatures, in_steps
from services.trainer.runs.heads.network import Network
from services.trainer.runs.heads.vectors import Store
from shared.encoder import DIMS

READS = "pooled"
WIDTH, DROPOUT = 256, 0.4


class Body(nn.Module):
    """Unit vectors, stretched so that a coordinate is about 1, through one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Dropout(0.1), nn.Linear(DIMS, WIDTH), nn.ReLU(), nn.Dropout(DROPOUT))

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.layers(pooled * DIMS**0.5)
        return features


def train(store: Store, target: Targets, taught: Places, held: Places, seed: int = 11) -> Network:
    """The network, with its temperatures."""
    torch.manual_seed(seed)
    tasks: list[Task] = target.tasks
    made = Network(Body(), WIDTH, READS, tasks)
    in_steps(made, store, target, taught, held, Plan(passes=40, patience=5, batch=32, rate=1e-3, decay=0.05, seed=seed))
    fit_temperatures(made, store, target, held)
    return made
