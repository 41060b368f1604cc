"""What is told of the bundled model while it is trained: loss on prose and right labels on documents that it was never trained on.

Labels are chosen by their first token alone, greedily; figures through the real engine, with everything beside them, are those of `make bench-model`.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy

Row = dict[str, Any]


def read_held(path: Path) -> list[Row]:
    """The held-out examples and prose, in their shuffled order."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def prompt_ids(tokenizer: Any, messages: list[dict[str, str]]) -> list[int]:
    """The prompt as chat completions tokenise it."""
    return list(tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False))


@torch.inference_mode()
def prose_loss(model: Any, tokenizer: Any, held: list[Row], most: int) -> float:
    """Mean loss per token (nats) over the first 512 tokens of held-out prose."""
    losses = []
    for row in [row for row in held if row["kind"] == "prose"][:most]:
        ids = torch.tensor([tokenizer.encode(row["text"])[:512]], device=model.device)
        if ids.shape[1] > 32:
            logits = model(ids).logits[0].float()
            losses.append(cross_entropy(logits[:-1], ids[0, 1:]).item())
    return round(sum(losses) / max(1, len(losses)), 3)


@torch.inference_mode()
def choose(model: Any, tokenizer: Any, messages: list[dict[str, str]], labels: list[str]) -> str:
    """The label whose first token the model finds likeliest."""
    logits = model(torch.tensor([prompt_ids(tokenizer, messages)], device=model.device)).logits[0, -1]
    return max(labels, key=lambda label: float(logits[tokenizer.encode(label)[0]]))


def labels(model: Any, tokenizer: Any, held: list[Row], most: int) -> dict[str, Any]:
    """Per task: accuracy, mean recall over the gold labels, and how many were asked (at most `most`, at most a quarter of it of one label)."""
    found: dict[str, Any] = {}
    for task in ("category", "sentiment", "urgency"):
        rows: list[Row] = []
        counts: Counter[str] = Counter()
        for row in held:
            if row.get("task") == task and counts[row["answer"]] < most // 4 and len(rows) < most:
                counts[row["answer"]] += 1
                rows.append(row)
        right: Counter[str] = Counter()
        for row in rows:
            right[row["answer"]] += choose(model, tokenizer, row["messages"], row["labels"]) == row["answer"]
        recalls = {label: round(right[label] / count, 3) for label, count in counts.items()}
        mean = sum(recalls.values()) / max(1, len(recalls))
        found[task] = {
            "accuracy": round(sum(right.values()) / max(1, len(rows)), 3),
            "mean_recall": round(mean, 3),
            "asked": len(rows),
            "recall": recalls,
        }
    return found


def quick(model: Any, tokenizer: Any, held: list[Row], most: int = 120) -> dict[str, Any]:
    """What is told during training: prose loss and accuracy of labels; a minute or less."""
    model.eval()
    told: dict[str, Any] = {"prose_loss": prose_loss(model, tokenizer, held, most // 2)}
    told |= {task: [figures["accuracy"], figures["mean_recall"]] for task, figures in labels(model, tokenizer, held, most).items()}
    model.train()
    return told
