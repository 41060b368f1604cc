"""Texts that a small language model writes, in the manner of labelled ones: nobody labels them, the large encoder does (Schick & Schütze 2021, Generating
Datasets with Pretrained Language Models; here without labels of the writer's).

A few of our texts are shown as a list and the model goes on with it. What it writes is often odd and sometimes makes no sense; that does no harm, for a
text is taught with what the teacher says of it, whatever the writer meant.
"""

import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from services.trainer.runs.heads.examples import Example

LISTS = (
    "Messages that people sent to their friends:", "Posts in a forum:", "Comments under a post:", "Short texts, one a line:", "Lines from diaries:",
    "Tweets:", "What people said this week:", "Answers to the question how somebody's day was:",
)  # fmt: skip
SHOWN, ALIKE = 6, 4  # texts in a prompt, and how many of them share an emotion
MOST_CHARS = 220  # of a text that is shown
NEW_TOKENS, BATCH = 64, 96
TEMPERATURE, TOP_P = 0.9, 0.95
LEAST_WORDS, MOST_WORDS = 3, 60
NOT_WRITTEN = re.compile(
    r"unstoppabl|https?:|www\.|<\w+>|\bAI (?:language )?model\b", re.IGNORECASE
)  # the first is measured with: docs/classifier.md


def written(folder: Path, examples: Sequence[Example], task: str, rounds: int, seed: int = 7) -> Iterator[list[str]]:
    """For each round the texts of BATCH lists, new ones only. `folder`: a causal language model in the transformers' format; `task`: the one whose labels
    are shown evenly."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder, padding_side="left")
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
    torch.manual_seed(seed)
    asked = prompts(examples, task, seed)
    seen = {plain(one.text) for one in examples}
    for _ in range(rounds):
        given = tokenizer([next(asked) for _ in range(BATCH)], return_tensors="pt", padding=True)
        with torch.inference_mode():
            made = model.generate(**given, max_new_tokens=NEW_TOKENS, do_sample=True, temperature=TEMPERATURE, top_p=TOP_P,
                                  pad_token_id=tokenizer.pad_token_id)  # fmt: skip
        fresh = []
        for text in tokenizer.batch_decode(made[:, given["input_ids"].shape[1] :], skip_special_tokens=True):
            for line in lines(text):
                if plain(line) not in seen:
                    seen.add(plain(line))
                    fresh.append(line)
        yield fresh


def prompts(examples: Sequence[Example], task: str, seed: int) -> Iterator[str]:
    """Lists of texts that break off where the next one would stand, without end."""
    dice = random.Random(seed)
    short = [one for one in examples if len(one.text) <= MOST_CHARS and "\n" not in one.text]
    by_label: dict[str, list[str]] = {}
    for one in short:
        by_label.setdefault(one.labels.get(task, ""), []).append(one.text)
    labels = sorted(by_label)
    while True:
        alike = by_label[dice.choice(labels)]
        chosen = [*dice.sample(alike, min(ALIKE, len(alike))), *(dice.choice(short).text for _ in range(SHOWN - ALIKE))]
        dice.shuffle(chosen)
        yield "\n".join([dice.choice(LISTS), *(f"- {text}" for text in chosen), "-"])


def lines(text: str) -> list[str]:
    """The whole lines of a list that was gone on with; the last one, which may be broken off, only where it ends as a sentence does."""
    found = []
    parts = re.split(r"\n+", text)
    for number, part in enumerate(parts):
        line = re.sub(r"^\s*(?:[-•*]|\d+[.)])\s*", "", part).strip().strip('"“”').strip()
        whole = number < len(parts) - 1 or bool(re.search(r"[.!?…)]$", line))
        if whole and LEAST_WORDS <= len(line.split()) <= MOST_WORDS and not NOT_WRITTEN.search(line) and line.rstrip(":") == line:
            found.append(line)
    return found


def plain(text: str) -> str:
    """A text without case, marks and spaces, to know it again."""
    return " ".join(re.findall(r"\w+", text.lower()))
