"""The large encoder with a linear layer for each task, trained on the labelled texts, and what it says of any text. It ships in int8, as a second head
(distil/second.py): asked of every text it would be too slow. The lowest layers and the embeddings stay as they are, which costs nothing and saves a third of the time."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from services.trainer.runs.distil.shipped import weights_in
from services.trainer.runs.heads.examples import Targets, Task
from services.trainer.runs.heads.fitting import batches, up_and_down
from services.trainer.runs.heads.network import chances, label_weights, losses
from services.trainer.runs.precision import autocast, has_bf16
from shared.errors import ConfigError

FROZEN = 4  # layers
FILLED = 8  # a batch is filled up to a multiple of so many pieces: each new shape costs memory that is never given back
PASSES, BATCH, LEAST_BATCH, RATE, HEAD_RATE, DECAY, WARM = 2, 48, 16, 4e-5, 1e-3, 0.01, 0.1
MOST_TOKENS, MOST_CHARS, AT_ONCE, DROPOUT = 256, 2000, 64, 0.1


@dataclass(frozen=True)
class Said:
    """What the teacher says of texts: task -> probabilities [n, labels], and the vectors [n, width] that it goes by."""

    chances: dict[str, NDArray[np.float32]]
    vectors: NDArray[np.float16]


class Large(nn.Module):
    """An encoder built as BERT is (RoBERTa, MPNet …), in the transformers' format, the mean over its tokens, and the tasks' layers."""

    def __init__(self, folder: Path, tasks: Sequence[Task]) -> None:
        super().__init__()
        from transformers import AutoModel, AutoTokenizer

        self.tasks = list(tasks)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.m: Any = AutoModel.from_pretrained(folder, add_pooling_layer=False).float()
        self.width = int(self.m.config.hidden_size)
        self.drop = nn.Dropout(DROPOUT)
        self.last = nn.ModuleList(nn.Linear(self.width, len(task.labels) - (task.kind == "ordinal")) for task in tasks)

    def begin_with(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Those of another such encoder, with the tasks' layers where they are of the same tasks, as their shapes tell. Raises
        ConfigError where its encoder has another shape."""
        own = self.state_dict()
        if not all(name in weights and weights[name].shape == one.shape for name, one in own.items() if name.startswith("m.")):
            raise ConfigError("the weights to begin with are of another encoder than the one that is to be trained")
        same = weights.keys() == own.keys() and all(weights[name].shape == one.shape for name, one in own.items())
        self.load_state_dict(weights if same else {name: weights[name] if name.startswith("m.") else one for name, one in own.items()})

    def begun(self, start: Path) -> Mapping[str, torch.Tensor]:
        """The weights to begin with: a teacher.pt, or out of the folder of a second head that was made of one. Raises ConfigError where there are none."""
        return weights_in(start, self.state_dict(), self.m.encoder, FROZEN) if start.is_dir() else torch.load(start, weights_only=True)

    def mix(self, weights: Mapping[str, torch.Tensor], share: float) -> None:
        """Move the weights by `share` of the way towards others of the same shapes: those that the training began with, say, so that what it knew before is
        lost less (WiSE-FT; Wortsman et al. 2022, Robust fine-tuning of zero-shot models)."""
        own = self.state_dict()
        self.load_state_dict({name: torch.lerp(one, weights[name], share) if one.is_floating_point() else one for name, one in own.items()})

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The texts' pieces."""
        found: list[list[int]] = self.tokenizer([text.strip()[:MOST_CHARS] for text in texts], truncation=True, max_length=MOST_TOKENS)["input_ids"]
        return found

    def features(self, rows: Sequence[list[int]]) -> torch.Tensor:
        """[n, width], of length sqrt(width)."""
        longest = -(-max(map(len, rows)) // FILLED) * FILLED
        ids, mask = torch.full((len(rows), longest), int(self.tokenizer.pad_token_id)), torch.zeros((len(rows), longest))
        for n, row in enumerate(rows):
            ids[n, : len(row)] = torch.tensor(row)
            mask[n, : len(row)] = 1
        with autocast():
            hidden = self.m(input_ids=ids, attention_mask=mask).last_hidden_state.float()
        mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return nn.functional.normalize(mean, dim=1) * self.width**0.5

    def logits(self, rows: Sequence[list[int]]) -> list[torch.Tensor]:
        """A task's scores."""
        features = self.drop(self.features(rows))
        return [layer(features) for layer in self.last]

    def all_logits(self, texts: Sequence[str]) -> list[torch.Tensor]:
        """A task's scores of these texts, in their order, without gradients."""
        self.eval()
        rows, portions = self._portions(texts)
        with torch.inference_mode():
            parts = [self.logits([rows[n] for n in places]) for places in portions]
        back = torch.from_numpy(np.argsort(np.concatenate(portions)))
        return [torch.cat(some)[back] for some in zip(*parts, strict=True)]

    def _portions(self, texts: Sequence[str]) -> tuple[list[list[int]], list[NDArray[np.int64]]]:
        """The texts' pieces, and their places so many at once, those of one length together."""
        rows = self.ids(texts)
        order = np.argsort([len(row) for row in rows], kind="stable")
        return rows, [order[start : start + AT_ONCE] for start in range(0, len(order), AT_ONCE)]

    def say(self, texts: Sequence[str]) -> Said:
        """What it says of them, in their order. Afterwards it can't be trained on."""
        self.eval()
        if has_bf16():
            self.m.bfloat16()  # twice as fast as to cast each time; what is lost is far less than the teacher errs
        rows, portions = self._portions(texts)
        vectors = np.zeros((len(texts), self.width), dtype=np.float16)
        told = {task.name: np.zeros((len(texts), len(task.labels)), dtype=np.float32) for task in self.tasks}
        with torch.inference_mode():
            for places in portions:
                features = self.features([rows[n] for n in places])
                vectors[places] = features.numpy()
                for task, layer in zip(self.tasks, self.last, strict=True):
                    told[task.name][places] = chances(task.kind, layer(features).double()).numpy()
        return Said(told, vectors)


def taught(
    folder: Path,
    texts: Sequence[str],
    target: Targets,
    places: NDArray[np.int64],
    seed: int,
    say: Callable[[str], None],
    start: Path | None = None,
    passes: int = 0,
) -> Large:
    """The encoder at `folder`, trained on the texts at `places`; `start`: weights of one that was trained before, to go on from (Large.begun). Where that was
    for other tasks, its encoder alone. `passes`: over the texts; 0: PASSES."""
    torch.manual_seed(seed)
    dice = np.random.default_rng(seed)
    model = Large(folder, target.tasks)
    if start:
        model.begin_with(model.begun(start))
    for part in (model.m.embeddings, *model.m.encoder.layer[:FROZEN]):
        part.requires_grad_(False)
    rows = model.ids(texts)
    lengths = np.array([len(row) for row in rows])
    weights = label_weights(target, places)
    body = [one for one in model.m.parameters() if one.requires_grad]
    optimiser = torch.optim.AdamW(
        [{"params": body, "lr": RATE}, {"params": model.last.parameters(), "lr": HEAD_RATE}], weight_decay=DECAY, fused=True
    )
    batch = max(LEAST_BATCH, min(BATCH, len(places) // 100))
    passes = passes or PASSES
    steps = passes * -(-len(places) // batch)
    schedule = up_and_down(optimiser, steps, WARM)
    began, step, sum_of = time.monotonic(), 0, 0.0
    for _ in range(passes):
        for chosen in batches(lengths, places, batch, dice):
            model.train()
            scored = zip(target.tasks, model.logits([rows[n] for n in chosen]), strict=True)
            loss = torch.stack([losses(task.kind, one.float(), torch.from_numpy(target.of[task.name][chosen]), weights[task.name]).mean()
                                for task, one in scored]).sum()  # fmt: skip
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            step, sum_of = step + 1, sum_of + float(loss.detach())
            if step % 100 == 0:
                say(f"step {step} of {steps}, loss {sum_of / 100:.3f}, {time.monotonic() - began:.0f} s")
                sum_of = 0.0
    return model.eval()
