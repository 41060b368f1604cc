"""Logistic regression on the pooled vector: the fastest head. Fitted by L-BFGS on all texts at once. The strength of the L2 penalty is the one with the
least loss on texts that were left out; of few texts each is left out once (five folds), of many only those that are held out anyhow.

A fit may have a `Start`: weights that are believed before any text is seen (what the labels' names tell). The penalty is then on the distance to them, and
on that of the biases, so that a label without texts keeps what was believed of it: a free bias would learn that it never holds.
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from services.trainer.runs.heads.examples import Targets, Task, dealt
from services.trainer.runs.heads.fitting import Places, loss_of, set_temperatures
from services.trainer.runs.heads.network import Network, label_weights, total_loss
from services.trainer.runs.heads.vectors import Store
from shared.encoder import DIMS

READS = "pooled"
PENALTIES = (3e-3, 1e-3, 3e-4, 1e-4, 3e-5)  # of the mean loss; each fit begins where the stronger penalty ended
FIRM = (3e-2, 1e-2, *PENALTIES)  # where there is a start
BIAS = 10.0  # how much more than a weight a bias is held where there is a start
STEPS = 120
FEW, FOLDS, SEED = 3000, 5, 3


Start = Mapping[str, tuple[NDArray[np.float32], NDArray[np.float32]]]
"""Task -> weights [labels, DIMS] and biases [labels]."""


def network(tasks: list[Task], start: Start | None = None) -> Network:
    """The start, or zero everywhere, so that the fit has one outcome."""
    made = Network(nn.Identity(), DIMS, READS, tasks)
    for parameter in made.parameters():
        nn.init.zeros_(parameter)
    for layer, weights, bias in _started(made, start):
        layer.weight.data.copy_(weights)
        layer.bias.data.copy_(bias)
    return made


def train(store: Store, target: Targets, taught: Places, held: Places, seed: int = 0, start: Start | None = None) -> Network:
    """The network, with its temperatures; `seed` is of no effect: nothing is drawn."""
    penalties = FIRM if start else PENALTIES
    everything = np.sort(np.concatenate([taught, held]))
    own = everything[target.own[everything]]
    parts = [held]
    if len(own) < FEW:
        fold = dealt(target, own, FOLDS, SEED)
        parts = [own[fold == number] for number in range(FOLDS)]
    left_out: list[list[list[torch.Tensor]]] = [[] for _ in penalties]  # by penalty and part, the scores of each task
    for part in parts:
        made, others = network(target.tasks, start), np.setdiff1d(everything, part)
        for n, penalty in enumerate(penalties):
            left_out[n].append(solve(made, store, target, others, penalty, start).all_logits(store, part))
    asked = np.concatenate(parts)
    scores = [[torch.cat([part[n] for part in found]) for n in range(len(target.tasks))] for found in left_out]
    best = int(np.argmin([loss_of(target, asked, found) for found in scores]))
    final = network(target.tasks, start)
    for penalty in penalties[: best + 1]:
        solve(final, store, target, everything, penalty, start)
    set_temperatures(final, target, asked, scores[best])
    return final.eval()


def solve(made: Network, store: Store, target: Targets, places: Places, penalty: float, start: Start | None = None) -> Network:
    """Go on from where the network is until it fits these texts best."""
    made.train()
    x, weights = torch.from_numpy(store.pooled[places]), label_weights(target, places)
    held = _started(made, start)
    free = [weight for weight in made.last.parameters() if weight.dim() == 2 and not any(weight is layer.weight for layer, *_ in held)]
    optimiser = torch.optim.LBFGS(made.parameters(), max_iter=STEPS, tolerance_grad=1e-6, history_size=10, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = total_loss(made, made.logits(x), target, places, weights)
        far = [(weight**2).sum() for weight in free]
        far += [((layer.weight - w) ** 2).sum() + BIAS * ((layer.bias - b) ** 2).sum() for layer, w, b in held]
        loss = loss + penalty * torch.stack(far).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[arg-type]
    return made


def _started(made: Network, start: Start | None) -> list[tuple[nn.Linear, torch.Tensor, torch.Tensor]]:
    """The layers of the tasks that have a start, and where they begin."""
    layers = {task.name: layer for task, layer in zip(made.tasks, made.last, strict=True) if isinstance(layer, nn.Linear)}
    return [(layers[name], torch.from_numpy(weights), torch.from_numpy(bias)) for name, (weights, bias) in (start or {}).items()]


def fit(x: NDArray[np.float64], y: NDArray[np.int64], classes: int, penalty: float = 3e-4) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights [classes, DIMS] and bias [classes] of one single-label task, every label counting the more the rarer it is."""
    task = Task("label", "single", [str(n) for n in range(classes)])
    target = Targets([task], {"label": y}, np.ones(len(y), dtype=bool), np.ones(len(y), dtype=np.float32))
    made = solve(network([task]), Store(x.astype(np.float32)), target, np.arange(len(y)), penalty)
    layer = made.last[0]
    assert isinstance(layer, nn.Linear)
    return layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()
