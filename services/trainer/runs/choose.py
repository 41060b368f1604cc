"""Constrained choice with transformers, as the engine does it: greedy over the labels' tokens, all others masked."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from services.trainer.dataset import Example
from shared.events import LabelScore
from shared.prompts import label_messages
from shared.taxonomy import LabelSet

EVAL_BATCH = 32
Model = PreTrainedModel | PeftModel


class Chooser:
    """Prompts, answers and training batches for label tasks, with the boundary between prompt and answer where the engine has it."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, labels: LabelSet) -> None:
        self.tokenizer, self.labels = tokenizer, labels
        self.eos = int(tokenizer.eos_token_id)
        self.pad = int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else self.eos)
        self.bf16 = has_bf16()
        self._spelled = {name: {label: self._ids(label) for label in task.labels} for name, task in labels.tasks.items()}

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def prompt(self, example: Example) -> list[int]:
        """Token ids of the prompt, up to where the answer begins."""
        messages = label_messages(self.labels.tasks[example.task], example.title, example.text)
        encoded: Any = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=True)
        return list(encoded["input_ids"])

    def batch(self, examples: Sequence[Example]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(input ids, attention mask, labels), right-padded; the labels are -100 all over but on the answer and its end token."""
        rows = []
        for example in examples:
            prompt, answer = self.prompt(example), [*self._spelled[example.task][example.label], self.eos]
            rows.append((prompt + answer, [-100] * len(prompt) + answer))
        longest = max(len(ids) for ids, _ in rows)
        ids = torch.tensor([ids + [self.pad] * (longest - len(ids)) for ids, _ in rows])
        mask = torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids, _ in rows])
        labels = torch.tensor([target + [-100] * (longest - len(target)) for _, target in rows])
        return ids, mask, labels

    @torch.no_grad()
    def answers(self, model: Model, examples: Sequence[Example]) -> list[LabelScore]:
        """The model's label for each example and the probability of its path among the allowed ones, in the order given."""
        order = sorted(range(len(examples)), key=lambda i: len(examples[i].text))
        found: dict[int, LabelScore] = {}
        for start in range(0, len(order), EVAL_BATCH):
            part = order[start : start + EVAL_BATCH]
            for i, score in zip(part, self._answer([examples[i] for i in part], model), strict=True):
                found[i] = score
        return [found[i] for i in range(len(examples))]

    def _answer(self, examples: Sequence[Example], model: Model) -> list[LabelScore]:
        prompts = [self.prompt(example) for example in examples]
        spoken: list[list[int]] = [[] for _ in examples]
        probability = [1.0] * len(examples)
        open_rows = list(range(len(examples)))
        while open_rows:
            rows = [prompts[i] + spoken[i] for i in open_rows]
            longest = max(map(len, rows))
            ids = torch.tensor([row + [self.pad] * (longest - len(row)) for row in rows])
            mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
            last = torch.tensor([len(row) - 1 for row in rows])
            logits = logits_at(model, ids, mask, torch.arange(len(rows)), last)
            still = []
            for row, i in enumerate(open_rows):
                options = self._spelled[examples[i].task].values()
                allowed = sorted(
                    {option[len(spoken[i])] for option in options if option[: len(spoken[i])] == spoken[i] and len(option) > len(spoken[i])}
                )
                share = logits[row, allowed].softmax(-1)
                best = int(share.argmax())
                probability[i] *= float(share[best])
                spoken[i].append(allowed[best])
                if spoken[i] not in self._spelled[examples[i].task].values():
                    still.append(i)
            open_rows = still
        names = [{tuple(ids): label for label, ids in self._spelled[e.task].items()} for e in examples]
        return [LabelScore(label=names[i][tuple(spoken[i])], probability=min(1.0, probability[i])) for i in range(len(examples))]


def logits_at(model: Model, ids: torch.Tensor, mask: torch.Tensor, rows: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Logits [n, vocabulary] at the given places only: over a whole prompt the vocabulary costs more than the layers of a small model."""
    whole: Any = getattr(model, "get_base_model", lambda: model)()
    hidden = whole.get_decoder()(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
    head: Any = whole.get_output_embeddings()
    return head(hidden[rows, positions]).float()


def has_bf16() -> bool:
    """Whether this processor multiplies bfloat16 in hardware (AVX512_BF16 or AMX): without, autocast is slower than fp32."""
    info = Path("/proc/cpuinfo")
    return info.exists() and any(flag in info.read_text() for flag in ("avx512_bf16", "amx_bf16"))
