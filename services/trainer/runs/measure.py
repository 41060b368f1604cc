"""Measure the bundled model on documents that it was never trained on.

    python -m services.trainer.runs.measure --model deploy/model --held build/pretrain/data-…/held.jsonl

Labels are chosen greedily among the task's labels, by their first token, as a grammar of choices would; JSON is written greedily with no grammar,
which is harder than use, where a grammar binds every value.
"""

import argparse
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from shared.grounding import MAX_SENTENCE, sentences

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


@torch.inference_mode()
def written(model: Any, tokenizer: Any, held: list[Row], kind: str, most: int) -> dict[str, Any]:
    """Greedy answers without a grammar: share that is JSON of the right form, that copies only what the prompt holds, and that is the very answer."""
    counts: Counter[str] = Counter()
    rows = [row for row in held if row["kind"] == kind][:most]
    for row in rows:
        ids = prompt_ids(tokenizer, row["messages"])
        out = model.generate(torch.tensor([ids], device=model.device), max_new_tokens=400, do_sample=False, temperature=None, top_p=None)
        text = tokenizer.decode(out[0, len(ids) :], skip_special_tokens=True)
        gold, shown = json.loads(row["answer"]), row["messages"][1]["content"]
        try:
            got = json.loads(text)
        except ValueError:
            continue
        if kind == "metadata":
            form = isinstance(got, dict) and list(got) == list(gold) and all(isinstance(got[name], type(gold[name])) for name in gold)
            values = [got["summary"], *got["entities"], *got["key_topics"]] if form else []
            counts["same_summary"] += form and got["summary"] == gold["summary"]
        else:
            form = isinstance(got, list) and all(isinstance(value, str) for value in got) and bool(got)
            values = got if form else []
        counts["form"] += form
        counts["copied"] += bool(values) and all(isinstance(value, str) and value in shown for value in values)
        counts["same"] += got == gold
    return {"asked": len(rows)} | {
        name: round(counts[name] / max(1, len(rows)), 3) for name in ("form", "copied", "same", "same_summary") if name in counts
    }


@torch.inference_mode()
def picked(model: Any, tokenizer: Any, held: list[Row], kind: str, most: int) -> dict[str, Any]:
    """How often the model, held to the sentences that the document offers as by a grammar, picks the gold one first; and how often the document's
    first sentence, or a blind choice, would."""
    right, first, blind = 0, 0, 0.0
    rows = [row for row in held if row["kind"] == kind][:most]
    for row in rows:
        shown = row["messages"][1]["content"].split("</document>")[0].removeprefix("<document>\n")
        gold = json.loads(row["answer"])
        golds = [gold["summary"]] if kind == "metadata" else gold
        parts = shown.split("\n", 1)[1:] if kind == "metadata" else [line.split("] ", 1)[-1] for line in shown.splitlines()]
        offered = [piece for part in parts for piece in sentences(part) if 25 <= len(piece) <= MAX_SENTENCE]
        offered = list(dict.fromkeys([*offered[:6], *golds] if kind == "metadata" else [*offered, *golds]))
        opening = '{"summary":' if kind == "metadata" else "["
        paths = [(piece, tokenizer.encode(opening + json.dumps(piece, ensure_ascii=False))[:-1]) for piece in offered]
        prompt, depth = prompt_ids(tokenizer, row["messages"]), 0
        while len(paths) > 1 and depth < max(len(path) for _, path in paths):
            options = {path[depth] for _, path in paths if depth < len(path)}
            if len(options) > 1:
                ids = torch.tensor([prompt + paths[0][1][:depth]], device=model.device)
                logits = model(ids, logits_to_keep=1).logits[0, -1]
                best = max(options, key=lambda token: float(logits[token]))
                paths = [(piece, path) for piece, path in paths if depth < len(path) and path[depth] == best]
            depth += 1
        right += paths[0][0] in golds
        first += offered[0] in golds
        blind += len(golds) / len(offered)
    count = max(1, len(rows))
    return {"asked": len(rows), "right": round(right / count, 3), "first_sentence": round(first / count, 3), "blind": round(blind / count, 3)}


def main() -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description="Measure the bundled model on held-out documents.")
    parser.add_argument("--model", type=Path, default=Path("deploy/model"))
    parser.add_argument("--held", type=Path, required=True)
    parser.add_argument("--most", type=int, default=400)
    parser.add_argument("--written", type=int, default=40)
    parser.add_argument("--picked", type=int, default=120)
    args = parser.parse_args()
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(2)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.bfloat16).eval()
    held = read_held(args.held)
    random.Random(3).shuffle(held)
    report = {"prose_loss": prose_loss(model, tokenizer, held, 150), **labels(model, tokenizer, held, args.most)}
    report |= {kind: written(model, tokenizer, held, kind, args.written) for kind in ("metadata", "answer")}
    report |= {f"picked_{kind}": picked(model, tokenizer, held, kind, args.picked) for kind in ("metadata", "answer")}
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
