"""The small head, taught with what the large encoder says: of our own texts half of the target is the label and half the teacher's probabilities, of the
others all of it is the teacher's. It also learns to make the teacher's vectors out of its own, which says more of a text than a few labels do (Romero et
al. 2015, FitNets)."""

import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from services.trainer.runs.distil.teacher import Said
from services.trainer.runs.heads import tuned
from services.trainer.runs.heads.examples import NOTHING, Targets
from services.trainer.runs.heads.fitting import batches, fit_temperatures, up_and_down
from services.trainer.runs.heads.network import Network, label_weights, log_chances
from services.trainer.runs.heads.vectors import Store
from services.trainer.runs.precision import autocast
from shared.encoder import DIMS

PASSES, BATCH, RATE, BODY_RATE, DECAY, WARM = 2, 64, 1e-3, 2e-4, 0.01, 0.05
OF_TEACHER = 0.5  # of the target of a text that has a label
OF_VECTORS = 1.0  # weight of the vectors' loss beside the labels'


def learnt(
    store: Store, target: Targets, taught: NDArray[np.int64], held: NDArray[np.int64], said: Said, seed: int, say: Callable[[str], None]
) -> Network:
    """The network and its temperatures, which are of `held`. The store's first len(target) texts are the labelled ones; the rest are learnt from too.
    `said`: what the teacher says of all of the store. Raises ValueError for multi tasks."""
    if any(task.kind == "multi" for task in target.tasks):
        raise ValueError("multi tasks can't be distilled: their labels' probabilities don't add up to one")
    torch.manual_seed(seed)
    dice = np.random.default_rng(seed)
    network = Network(tuned.Body(), DIMS, tuned.READS, target.tasks)
    to_teacher = nn.Linear(DIMS, said.vectors.shape[1])
    wanted = wanted_of(target, taught, said)
    weights = label_weights(target, taught)
    groups = [
        {"params": [*network.last.parameters(), *to_teacher.parameters()], "lr": RATE},
        {"params": list(network.body.parameters()), "lr": BODY_RATE},
    ]
    optimiser = torch.optim.AdamW(groups, weight_decay=DECAY, fused=True)
    places = np.concatenate([taught, np.arange(len(target), len(store))])
    steps = PASSES * -(-len(places) // BATCH)
    schedule = up_and_down(optimiser, steps, WARM, least=0.01)
    began, step, sums = time.monotonic(), 0, np.zeros(2)
    for _ in range(PASSES):
        for chosen in batches(store.lengths(), places, BATCH, dice):
            network.train()
            with autocast():
                features = network.body(*store.inputs(network.reads, chosen))
                scored = [layer(features) for layer in network.last]
                pictured = to_teacher(features)
            labels = sum((_against(task.kind, one.float(), wanted[task.name][chosen], weights[task.name])
                          for task, one in zip(target.tasks, scored, strict=True)), start=torch.zeros(()))  # fmt: skip
            vectors = torch.from_numpy(said.vectors[chosen].astype(np.float32))
            apart = (1 - nn.functional.cosine_similarity(pictured.float(), vectors, dim=1)).mean()
            optimiser.zero_grad()
            (labels + OF_VECTORS * apart).backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            step += 1
            sums += (float(labels.detach()), float(apart.detach()))
            if step % 500 == 0:
                say(f"step {step} of {steps}, loss {sums[0] / 500:.3f}, vectors {sums[1] / 500:.3f}, {time.monotonic() - began:.0f} s")
                sums = np.zeros(2)
    fit_temperatures(network.eval(), store, target, held)
    return network


def wanted_of(target: Targets, taught: NDArray[np.int64], said: Said) -> dict[str, NDArray[np.float32]]:
    """Task -> the shares [all texts, labels] to be learnt."""
    found = {}
    for task in target.tasks:
        shares = said.chances[task.name].copy()
        known = taught[target.of[task.name][taught] != NOTHING]
        shares[known] *= OF_TEACHER
        shares[known, target.of[task.name][known]] += 1 - OF_TEACHER
        found[task.name] = shares
    return found


def _against(kind: str, logits: torch.Tensor, shares: NDArray[np.float32], weight: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy, a rare label's share counting more."""
    return -(log_chances(kind, logits) * torch.from_numpy(shares) * weight).sum(1).mean()
