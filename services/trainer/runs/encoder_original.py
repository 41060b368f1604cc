"""The sentence encoder as its authors published it, in fp32 by torch, whole and in its two parts, and the texts that an export is compared to it on."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from shared.encoder import DIMS, MAX_TOKENS
from shared.grounding import sentences

TEXTS = 512  # at least so many texts
PROBES = [
    "The central bank left its key interest rate unchanged on Thursday.", "A critical vulnerability allows remote code execution.",
    "Registration for the conference closes on 14 March.", "The museum opens a new wing devoted to modern sculpture.",
    "Doctors recommend the vaccine for adults over sixty.", "The river burst its banks and two villages were evacuated.",
    "Version 2.4 removes the deprecated configuration file.", "The company reported a loss for the third quarter in a row.",
    "Astronomers observed a comet with an unusual tail.", "The parliament passed the budget after a long night.",
    "Our team won the final in extra time.", "How do I reset my password?",
    "The film festival announced its jury.", "Unemployment fell to four per cent in May.",
    "Please review the attached contract by Friday.", "Trade talks between the two countries resumed.",
    "The library supports asynchronous iterators.", "A new species of frog was found in the cloud forest.",
    "Rents in the capital rose faster than wages.", "The embassy advised citizens to leave at once.",
    "The start-up raised ten million in funding.", "The patch fixes a memory leak in the scheduler.",
    "Patients waited longer than ever for an operation.", "Volunteers planted a thousand trees.",
    "The airline cancelled all flights on Sunday.", "Two ministers resigned over the report.",
    "The chess world champion lost his title.", "A summary of this week's changes to the compiler.",
    "The bakery on the corner closes after ninety years.", "Satellite images show the ice is retreating.",
    "The court dismissed the appeal.", "Thank you for your order.",
]  # fmt: skip


CALIBRATION = Path(__file__).with_name("calibration.txt")  # texts of all sorts, a line each


def calibration() -> list[str]:
    """What the scales of the int8 encoder are measured on: the same texts on every machine, none of those that it is compared on but PROBES."""
    dice = random.Random(2)
    lines = CALIBRATION.read_text(encoding="utf-8").splitlines()
    return [*lines, *PROBES, *(" ".join(dice.sample([*lines, *PROBES], length)) for length in range(2, 14))]


def texts(files: Sequence[Path]) -> list[str]:
    """What the int8 encoder is compared on: titles, texts and their single sentences out of JSON lines files (those that are there), filled up to
    TEXTS with runs of 1 to 12 probe sentences. At least TEXTS different texts, the same each time."""
    found: dict[str, None] = {}
    for path in files:
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            row = json.loads(line)
            found |= dict.fromkeys(part for part in (row.get("title", ""), row.get("text", ""), *sentences(row.get("text", ""))) if part)
    dice = random.Random(1)
    while len(found) < TEXTS:
        found[" ".join(dice.sample(PROBES, dice.randint(1, 12)))] = None
    return list(found)


def bert(folder: Path) -> Any:
    """The published weights."""
    from transformers import BertModel
    from transformers.utils import logging as chatter

    chatter.set_verbosity_error()  # it reports the pooler's weights, which a sentence embedding does not use
    chatter.disable_progress_bar()
    return BertModel.from_pretrained(folder, attn_implementation="eager", add_pooling_layer=False).float()


class Embedding(nn.Module):
    """Word pieces [n, length] to vectors [n, length, DIMS], with their places in the text, before any layer."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.embeddings = model.embeddings

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.embeddings(input_ids=ids, token_type_ids=torch.zeros_like(ids))
        return found


class Layers(nn.Module):
    """The six layers: vectors [n, length, DIMS] and the mask [n, length], 1 where there is a word piece, to vectors."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.layers = model.encoder.layer

    def forward(self, embedded: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        hidden, ignored = embedded, (1 - mask)[:, None, None, :] * torch.finfo(torch.float32).min
        for layer in self.layers:
            found = layer(hidden, ignored)
            hidden = found if isinstance(found, torch.Tensor) else found[0]
        return hidden


def original(folder: Path, given: Sequence[str], batch: int = 32) -> Any:
    """The original's unit vectors in fp32 (float array, n x 384), by torch: mean over the tokens, then length one."""
    from tokenizers import Tokenizer

    tokenizer = cut(Tokenizer.from_file(str(folder / "tokenizer.json")))
    model = bert(folder).eval()
    found = np.zeros((len(given), DIMS), dtype=np.float32)
    order = sorted(range(len(given)), key=lambda n: len(given[n]))
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        tokens = tokenizer.encode_batch([given[n] for n in chosen])
        ids, mask = (torch.tensor([getattr(t, name) for t in tokens]) for name in ("ids", "attention_mask"))
        with torch.inference_mode():
            hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
        mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        found[chosen] = torch.nn.functional.normalize(mean, dim=1).numpy()
    return found


def cut(tokenizer: Any) -> Any:
    """The tokenizer, cutting at MAX_TOKENS and filling a batch up to its longest text."""
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.enable_padding()
    return tokenizer
