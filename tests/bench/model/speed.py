"""Speed: whole enrichments a second, with the base weights and with a LoRA adapter on them."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from services.inference.engine import Engine
from services.inference.enrich import Enricher
from services.trainer.settings import Settings
from tests.bench.model.engine import AT_ONCE, NAME
from tests.bench.model.figures import Figure
from tests.bench.model.reading import read
from tests.bench.model.tables import Cell, Section
from tests.bench.model.texts import Text

ADAPTER = "bench-adapter"
RANK: int = Settings.model_fields["rank"].default  # as the trainer's
TARGET = 1.0  # documents a second with an adapter
# In a process of its own: torch then takes no memory beside the engine. The update is far too small to change an answer: only the work is wanted.
MAKE = """
import sys, torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM
torch.manual_seed(20)
model = AutoModelForCausalLM.from_pretrained(sys.argv[1])
model = get_peft_model(model, LoraConfig(r=int(sys.argv[3]), lora_alpha=2 * int(sys.argv[3]), target_modules="all-linear", task_type="CAUSAL_LM"))
for name, weight in model.named_parameters():
    if "lora_B" in name:
        torch.nn.init.normal_(weight, std=1e-5)
model.save_pretrained(sys.argv[2])
"""


def make_adapter(model: Path, into: Path) -> Path:
    """An adapter of random weights, of the trainer's rank but on all layers, where the trainer's has the upper half. Blocking, ten seconds. Raises RuntimeError with the reason where it can't be made."""
    done = subprocess.run([sys.executable, "-c", MAKE, str(model), str(into), str(RANK)], capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise RuntimeError(f"no adapter could be made: {done.stderr[-600:]}")
    return into


async def measured(
    long: tuple[str, Sequence[Text]], short: tuple[str, Sequence[Text]], engine: Engine, enricher: Enricher, adapter: Path
) -> list[tuple[Cell, ...]]:
    """Rows for one and for many documents at once, of two kinds of text, each with its name. Each way reads texts that it has not read before: the engine
    remembers prompts."""
    await engine.load(ADAPTER, str(adapter.resolve()))
    kind, warm, rest = long[0], long[1][:2], long[1][2:]
    few = max(1, len(rest) // 4)
    rows: list[tuple[Cell, ...]] = []
    for way, name in (("base weights", NAME), ("with a LoRA adapter", ADAPTER)):
        await read(warm, enricher, 1, name)
        for texts, at_once, part in ((kind, 1, rest[:few]), (kind, AT_ONCE, rest[few:]), (short[0], AT_ONCE, short[1])):
            found, rate = await read(part, enricher, at_once, name)
            failed = sum(reading.enriched is None for reading in found)
            letters = sum(len(text.text) for text in part) // len(part)
            target = ("yes" if rate >= TARGET else "NO") if name == ADAPTER and at_once == AT_ONCE else ""
            rows.append((way, texts, letters, at_once, len(part), Figure(rate, len(part), unit="/s"), failed, target))
    await engine.unload(ADAPTER)
    return rows


def section(rows: list[tuple[Cell, ...]]) -> Section:
    """The table."""
    columns = ("weights", "texts", "characters each", "side by side", "n", "documents", "failed", f"at least {TARGET:.0f}/s")
    about = (
        f"Whole enrichments: three labels and the metadata JSON each. The adapter has rank {RANK}, as the trainer's, but on the linear modules of all "
        "layers, where the trainer's has those of the upper half (services/trainer/runs/tune.py). Of a document "
        "1,400 characters are read. The figures are for what the machine had to spare: anything else that runs halves them."
    )
    return Section("Speed through the engine", columns, rows, about)
