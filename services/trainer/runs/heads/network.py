"""A head as a torch module: a body that makes features of the encoder's vectors, and for each task a linear layer and what makes probabilities of it.

single: softmax. multi: a sigmoid each. ordinal: a step from each label to the next, P(beyond k | at k or beyond) = sigmoid(score k), so that the labels'
order is part of the model (the sequential or continuation-ratio model; Tutz 1991, Sequential Models in Categorical Regression).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from services.trainer.runs.heads.examples import NOTHING, Targets, Task
from services.trainer.runs.heads.vectors import Store

BALANCE = 0.5  # weight of a label: (mean count / its count) to this power; 0 as they come, 1 all labels alike
MOST_WEIGHT = 10.0
_AT_ONCE = 256


class Network(nn.Module):
    """`body` gives features [n, width] of what it `reads`; its `inputs` are (pooled,), (tokens, mask) or (ids, mask). One temperature a task (1 until fitted)."""

    def __init__(self, body: nn.Module, width: int, reads: str, tasks: Sequence[Task]) -> None:
        super().__init__()
        self.body, self.reads, self.tasks = body, reads, list(tasks)
        self.last = nn.ModuleList(nn.Linear(width, len(task.labels) - (task.kind == "ordinal")) for task in tasks)
        self.temperature = torch.ones(len(self.tasks), dtype=torch.float32)

    def logits(self, *inputs: torch.Tensor) -> list[torch.Tensor]:
        """A task's scores, before any temperature."""
        features = self.body(*inputs)
        return [layer(features) for layer in self.last]

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Probabilities, a tensor [n, labels] a task. This is what is exported: with sums in the place of the last matrix products, for onnxruntime multiplies
        one row by other steps than several, and a text would differ in the seventh digit by whether others are read beside it."""
        features = self.body(*inputs).unsqueeze(1)
        scored = zip(self.tasks, self.last, self.temperature.tolist(), strict=True)
        return tuple(chances(task.kind, ((features * last.weight).sum(dim=2) + last.bias) / temperature) for task, last, temperature in scored)

    def all_logits(self, store: Store, places: NDArray[np.int64]) -> list[torch.Tensor]:
        """The scores of these texts, in this order, without gradients; texts of one length together."""
        self.eval()
        order = np.argsort(store.lengths()[places], kind="stable")
        parts = []
        with torch.inference_mode():
            for start in range(0, len(order), _AT_ONCE):
                parts.append(self.logits(*store.inputs(self.reads, places[order[start : start + _AT_ONCE]])))
        back = torch.from_numpy(np.argsort(order))
        return [torch.cat([part[n] for part in parts])[back] for n in range(len(self.tasks))]

    def probabilities(self, store: Store, places: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
        """Task -> probabilities [n, labels] of these texts."""
        scored = zip(self.tasks, self.all_logits(store, places), self.temperature.tolist(), strict=True)
        return {task.name: chances(task.kind, logits.double() / t).numpy() for task, logits, t in scored}


def chances(kind: str, logits: torch.Tensor) -> torch.Tensor:
    """Probabilities of the labels out of a task's scores."""
    return torch.sigmoid(logits) if kind == "multi" else torch.exp(log_chances(kind, logits))


def log_chances(kind: str, logits: torch.Tensor) -> torch.Tensor:
    """Log-probabilities of the labels of a single or ordinal task."""
    if kind == "single":
        return F.log_softmax(logits, dim=1)
    nothing = torch.zeros_like(logits[:, :1])
    reached = torch.cat([nothing, torch.cumsum(-F.softplus(-logits), dim=1)], dim=1)  # log P(at k or beyond)
    return reached + torch.cat([-F.softplus(logits), nothing], dim=1)  # … and not beyond


def losses(kind: str, logits: torch.Tensor, said: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Log-loss of each example [n], `said` being the label's place or of a multi task [n, labels]; 0 where it says nothing. `weight`: a label's."""
    if kind == "multi":
        loss = F.binary_cross_entropy_with_logits(logits, said.clamp(min=0).to(logits.dtype), reduction="none", pos_weight=weight)
        return torch.where(said[:, 0] == NOTHING, torch.zeros_like(loss[:, 0]), loss.mean(dim=1))
    place = said.clamp(min=0)
    loss = -log_chances(kind, logits).gather(1, place[:, None])[:, 0]
    loss = loss if weight is None else loss * weight[place]
    return torch.where(said == NOTHING, torch.zeros_like(loss), loss)


def label_weights(target: Targets, places: NDArray[np.int64]) -> Mapping[str, torch.Tensor]:
    """Task -> a weight for each label: rare labels count more (of a multi task: being there against not being there). At most MOST_WEIGHT."""
    found = {}
    for task in target.tasks:
        said = target.of[task.name][places][target.speaks(task.name)[places]]
        share = target.weight[places][target.speaks(task.name)[places]].astype(np.float64)
        if task.kind == "multi":
            there = np.maximum((said * share[:, None]).sum(axis=0), 1.0)
            weight = ((share.sum() - there).clip(min=1.0) / there) ** BALANCE
        else:
            counts = np.maximum(np.bincount(said, weights=share, minlength=len(task.labels)), 1.0)
            weight = (counts.mean() / counts) ** BALANCE
            weight /= (weight * counts).sum() / counts.sum()
        found[task.name] = torch.from_numpy(weight.clip(max=MOST_WEIGHT).astype(np.float32))
    return found


def total_loss(
    network: Network, logits: Sequence[torch.Tensor], target: Targets, places: NDArray[np.int64], weights: Mapping[str, torch.Tensor]
) -> torch.Tensor:
    """The tasks' weighted mean log-losses over these texts, added up."""
    rows = torch.from_numpy(target.weight[places])
    total = torch.zeros((), dtype=logits[0].dtype)
    for task, scored in zip(network.tasks, logits, strict=True):
        said = torch.from_numpy(target.of[task.name][places])
        spoken = torch.from_numpy(target.speaks(task.name)[places]).to(rows.dtype) * rows
        loss = losses(task.kind, scored, said, weights[task.name].to(scored.dtype)) * rows
        total = total + loss.sum() / spoken.sum().clamp(min=1e-6)
    return total
