"""Supervised fine-tuning of a LoRA on corrections (Hu et al. 2021): the linear modules of the upper half of the layers.

The loss is that of use: the answer's share among the tokens that the engine's grammar lets through. Prompt and answer are tokenised apart and joined,
because that is the boundary at which the engine generates. What must stay as it is, is rehearsed with the base model's own shares as the target
(learning without forgetting: Li & Hoiem 2016), which say more than its answers do. Of a LoRA's two matrices B, which begins at nothing, learns faster than
A (LoRA+: Hayou, Ghosh & Yu 2024): from 60 corrections of a convention whose names say nothing that was worth 27 points (docs/model.md).
"""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from services.trainer.dataset import Example
from services.trainer.runs.choose import Batch, Chooser
from services.trainer.runs.halves import Halves
from services.trainer.runs.precision import autocast

SEED, BATCH, CLIP, WARMUP = 20, 8, 1.0, 0.1
REPLAY_WEIGHT = 0.3  # of a rehearsed row beside a correction
B_FASTER = 8  # times the learning rate for B
NEIGHBOURS = 4  # batches that are cut out of one stretch of an epoch by length, so that little is filled up
MOST_STATES = 1_000_000_000  # bytes: what the lower half makes of all texts is kept where it is no more than this
Progress = Callable[[int, int, float], None]
Row = tuple[Example, float]  # what it weighs


def tune(
    base: PreTrainedModel, chooser: Chooser, train: Sequence[Example], replay: Sequence[Example], recipe: Mapping[str, float], progress: Progress
) -> PeftModel:
    """The base model with an adapter that has learnt the corrections `train`; `base` itself is wrapped by it. Beside them it rehearses `replay`, at a
    lower weight: the tasks that nobody corrected, labelled with the base model's answers, so that they stay as they are. `recipe`: rank, epochs and
    the learning rate at its peak. `progress` hears step, steps and loss."""
    rank, epochs, peak = int(recipe["rank"]), int(recipe["epochs"]), recipe["learning_rate"]
    halves = _cut(base, chooser, train[:2])
    place: dict[str, Any] = {"target_modules": "all-linear"}
    if halves:
        place = {"target_modules": halves.linear(), "layers_to_transform": halves.trained}
    states = _states(halves, chooser, [*train, *replay]) if halves else {}
    wanted = _shares(base, chooser, replay)
    torch.manual_seed(SEED)
    model: Any = get_peft_model(base, LoraConfig(r=rank, lora_alpha=2 * rank, task_type="CAUSAL_LM", **place)).train()
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    rates = [peak, peak * B_FASTER]
    parts = [[p for name, p in trained if ("lora_B" in name) == faster] for faster in (False, True)]
    optimiser = torch.optim.AdamW([{"params": part} for part in parts], lr=peak, weight_decay=0.01)
    dice = random.Random(SEED)
    counts = Counter((e.question, e.label) for e in train)
    most = max(counts.values(), default=1)
    # people correct what is often wrong: without this a label with few corrections would be given away to its neighbour with many
    # and a correction of a multi task, being a question for each label, would count as many times as one of another task
    questions = Counter(e.feedback_id for e in train)
    taught = [(e, (most / counts[e.question, e.label] / questions[e.feedback_id]) ** 0.5) for e in train]
    kept = min(len(replay), len(train) // 2)
    steps = epochs * -(-(len(taught) + kept) // BATCH)
    step = 0
    for _ in range(epochs):
        for rows in batches([*taught, *((e, REPLAY_WEIGHT) for e in dice.sample(list(replay), kept))], dice):
            rate = min(1.0, (step + 1) / (WARMUP * steps), (steps - step) / ((1 - WARMUP) * steps) + 0.02)
            for group, full in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = full * rate
            examples, weights = [e for e, _ in rows], torch.tensor([weight for _, weight in rows])
            batch = chooser.batch(examples)
            with autocast():
                hidden = halves.above(pad_sequence([states[e] for e in examples], batch_first=True)) if halves and states else _whole(base, batch)
            loss = (
                chooser.losses(model, hidden, batch, {n: wanted[e] for n, e in enumerate(examples) if e in wanted}) * weights
            ).sum() / weights.sum()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimiser.step()
            optimiser.zero_grad()
            step += 1
            progress(step, steps, round(float(loss.detach()), 4))
    return model.eval()


def _cut(base: PreTrainedModel, chooser: Chooser, some: Sequence[Example]) -> Halves | None:
    """The model's halves, or None for one that can't be cut: then all its layers are trained."""
    try:
        halves = Halves(base)
    except ValueError:
        return None
    return halves if halves.sound(chooser.batch(some).ids) else None


def _states(halves: Halves, chooser: Chooser, examples: Sequence[Example]) -> dict[Example, torch.Tensor]:
    """What the lower half makes of each example [tokens, width]; nothing where that would take too much memory."""
    found: dict[Example, torch.Tensor] = {}
    size = 0
    order = sorted(examples, key=lambda e: len(e.text))
    for start in range(0, len(order), BATCH):
        some = order[start : start + BATCH]
        batch = chooser.batch(some)
        with autocast():
            states = halves.below(batch.ids)
        for n, example in enumerate(some):
            found[example] = states[n, : batch.lengths[n]].clone()
            size += found[example].numel() * states.element_size()
        if size > MOST_STATES:
            return {}
    return found


@torch.no_grad()
def _shares(base: PreTrainedModel, chooser: Chooser, examples: Sequence[Example]) -> dict[Example, torch.Tensor]:
    """The shares of the options [choices, options] by the base model, for each of the examples."""
    found: dict[Example, torch.Tensor] = {}
    for example in examples:
        batch = chooser.batch([example])
        with autocast():
            found[example] = chooser.among(base, _whole(base, batch), batch).softmax(-1)
    return found


def _whole(base: PreTrainedModel, batch: Batch) -> torch.Tensor:
    hidden: torch.Tensor = base.get_decoder()(input_ids=batch.ids, use_cache=False).last_hidden_state
    return hidden


def batches(rows: Sequence[Row], dice: random.Random) -> list[list[Row]]:
    """The rows in batches, shuffled; a batch is of neighbours in length, because what fills up the shorter ones costs as much as text."""
    shuffled = dice.sample(list(rows), len(rows))
    stretch = BATCH * NEIGHBOURS
    stretches = (sorted(shuffled[start : start + stretch], key=lambda row: len(row[0].text)) for start in range(0, len(rows), stretch))
    cut = [part[start : start + BATCH] for part in stretches for start in range(0, len(part), BATCH)]
    dice.shuffle(cut)
    return cut
