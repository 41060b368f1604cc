"""What a training run keeps beside the weights: the checkpoint that --resume goes on from, and the log."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch


def journal_in(folder: Path, resume: bool) -> Path:
    """The log of a run in this folder, which begins anew where the run does: the lines of two runs in one log would be read as one run's."""
    journal = folder / "log.jsonl"
    if not resume:
        journal.unlink(missing_ok=True)
    return journal


def keep(checkpoint: Path, step: int, used: float, masters: list[torch.Tensor], optimisers: Sequence[torch.optim.Optimizer]) -> None:
    """Write what --resume goes on from, replaced at once. `used`: seconds of training so far."""
    part = checkpoint.with_suffix(".part")
    torch.save({"step": step, "used": used, "masters": masters, "optimisers": [o.state_dict() for o in optimisers]}, part)
    part.replace(checkpoint)


def resumed(checkpoint: Path, masters: list[torch.Tensor], device: str) -> dict[str, Any]:
    """What was kept. Raises SystemExit, saying what to do, where nothing was, or a model of another shape."""
    if not checkpoint.exists():
        raise SystemExit(f"--resume: there is no {checkpoint}: name the folder of the run with --state, or begin anew without --resume")
    state: dict[str, Any] = torch.load(checkpoint, map_location=device, weights_only=True)
    if [weight.shape for weight in state["masters"]] != [weight.shape for weight in masters]:
        raise SystemExit(f"--resume: {checkpoint} is of a model of another shape: name the same --preset and the same tokenizer (in --out)")
    return state


def log(journal: Path, line: dict[str, Any]) -> None:
    """Print a line and keep it in the JSON lines log."""
    text = json.dumps(line)
    print(text, flush=True)
    with journal.open("a") as out:
        out.write(text + "\n")
