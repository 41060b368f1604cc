"""The training loop of the networks that are trained in steps, early stopping, and temperatures (Guo et al. 2017, On Calibration of Modern Neural
Networks), both on texts that were held out."""

import copy
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from services.trainer.runs.heads.examples import Targets, Task
from services.trainer.runs.heads.network import Network, label_weights, losses, total_loss
from services.trainer.runs.heads.vectors import Store
from services.trainer.runs.precision import autocast

TEMPERATURES = np.exp(np.linspace(np.log(0.2), np.log(8.0), 121))
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Plan:
    """How a network is trained. `patience`: passes without a better held-out loss before it ends. `body_rate`: of a body that was trained before; 0: as
    the rest."""

    passes: int
    patience: int
    batch: int
    rate: float
    decay: float
    warm_share: float = 0.1
    seed: int = 11
    body_rate: float = 0.0


def in_steps(network: Network, store: Store, target: Targets, taught: Places, held: Places, plan: Plan) -> Network:
    """Train with AdamW, the rate rising and then falling linearly; the weights of the pass with the least held-out loss stay."""
    torch.manual_seed(plan.seed)
    dice = np.random.default_rng(plan.seed)
    weights = label_weights(target, taught)
    steps = plan.passes * -(-len(taught) // plan.batch)
    groups = [{"params": network.last.parameters(), "lr": plan.rate}]
    if body := list(network.body.parameters()):
        groups.append({"params": body, "lr": plan.body_rate or plan.rate})
    optimiser = torch.optim.AdamW(groups, weight_decay=plan.decay, fused=True)
    schedule = up_and_down(optimiser, steps, plan.warm_share)
    best, best_loss, since = copy.deepcopy(network.state_dict()), float("inf"), 0
    for _ in range(plan.passes):
        network.train()
        for places in batches(store.lengths(), taught, plan.batch, dice, alike=store.begins is not None):
            optimiser.zero_grad()
            with autocast() if plan.body_rate else nullcontext():  # small networks gain nothing by it
                logits = network.logits(*store.inputs(network.reads, places))
            loss = total_loss(network, [one.float() for one in logits], target, places, weights)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
        now = loss_of(target, held, network.all_logits(store, held))
        if now < best_loss:
            best, best_loss, since = copy.deepcopy(network.state_dict()), now, 0
        elif (since := since + 1) >= plan.patience:
            break
    network.load_state_dict(best)
    return network.eval()


def loss_of(target: Targets, places: Places, scores: Sequence[torch.Tensor]) -> float:
    """Mean log-loss of these texts' scores (a tensor a task), unweighted, the tasks' added up; each at the temperature that suits it, which is set later:
    a network that is right more often and too sure of it is not the worse one."""
    return sum(min(_by_temperature(task, logits, target, places)) / max(int(target.speaks(task.name)[places].sum()), 1)
               for task, logits in zip(target.tasks, scores, strict=True))  # fmt: skip


def fit_temperatures(network: Network, store: Store, target: Targets, held: Places) -> None:
    """As set_temperatures, on held-out texts."""
    set_temperatures(network, target, held, network.all_logits(store, held))


def set_temperatures(network: Network, target: Targets, places: Places, scores: Sequence[torch.Tensor]) -> None:
    """Give the network the `temperatures` of these scores."""
    network.temperature[:] = torch.tensor(temperatures(target, places, scores))


def temperatures(target: Targets, places: Places, scores: Sequence[torch.Tensor]) -> list[float]:
    """Of each task the temperature with the least log-loss of the scores of texts that were not trained on; 1 where they say nothing of the task."""
    return [
        float(TEMPERATURES[int(np.argmin(_by_temperature(task, logits, target, places)))]) if target.speaks(task.name)[places].any() else 1.0
        for task, logits in zip(target.tasks, scores, strict=True)
    ]


def _by_temperature(task: Task, logits: torch.Tensor, target: Targets, places: Places) -> list[float]:
    said = torch.from_numpy(target.of[task.name][places])
    return [float(losses(task.kind, logits.double() / t, said).sum()) for t in TEMPERATURES]


def up_and_down(optimiser: torch.optim.Optimizer, steps: int, warm_share: float, least: float = 0.02) -> torch.optim.lr_scheduler.LambdaLR:
    """The rates rise over the first `warm_share` of the steps and then fall linearly, to no less than `least` of their peaks."""
    warm = max(1, int(warm_share * steps))
    return torch.optim.lr_scheduler.LambdaLR(optimiser, lambda n: min((n + 1) / warm, max(least, (steps - n) / max(1, steps - warm))))


def batches(lengths: Places, places: Places, size: int, dice: np.random.Generator, alike: bool = True) -> list[Places]:
    """All of these texts once, in random batches; where `alike`, of neighbours in length, so that less is filled up. `lengths`: of all texts."""
    near = lengths[places] + dice.uniform(0, 4, len(places))  # a different neighbour each pass
    order = places[np.argsort(near, kind="stable")] if alike else dice.permutation(places)
    found = [order[start : start + size] for start in range(0, len(order), size)]
    return [found[n] for n in dice.permutation(len(found))]
