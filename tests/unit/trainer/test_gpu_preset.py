"""The preset for a graphics card at its real shape, on the CPU: it learns, its weights come in two files, and they can be averaged."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from services.trainer.runs import batches as rows
from services.trainer.runs.average import average, weights_of
from services.trainer.runs.batches import Batches
from services.trainer.runs.pretrain import PRESETS, export, new_model, stepper
from services.trainer.runs.tokens import encode
from services.trainer.tasks import listed

SHIPPED, GPU = Path("deploy/model"), PRESETS["gpu"]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(SHIPPED)


@pytest.fixture(scope="module")
def model(tokenizer: Any) -> LlamaForCausalLM:
    torch.manual_seed(3)
    return new_model(GPU, len(tokenizer), tokenizer.eos_token_id, tokenizer.pad_token_id)


def test_weights_come_in_two_files_that_load_and_average(tmp_path: Path, tokenizer: Any, model: LlamaForCausalLM) -> None:
    folder, mean = tmp_path / "gpu", tmp_path / "mean"
    masters = [weight.detach().clone() for weight in model.parameters()]
    assert 20e6 < sum(master.numel() for master in masters) < 60e6
    export(model, masters, tokenizer, folder)
    average(folder, folder, mean)
    for made in (folder, mean):
        files = sorted(made.glob("*.safetensors"))
        assert len(files) == 2 and max(file.stat().st_size for file in files) < 40e6
    assert sorted(path.name for path in mean.iterdir()) == sorted(path.name for path in folder.iterdir() if path.suffix != ".jinja")
    ours, theirs = weights_of(folder), weights_of(mean)
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    again = AutoModelForCausalLM.from_pretrained(mean)
    assert again.dtype == torch.bfloat16 and again.lm_head.weight is again.model.embed_tokens.weight
    for weight, master in zip(again.parameters(), masters, strict=True):
        assert torch.equal(weight, master.bfloat16())


def test_a_step_learns(tmp_path: Path, tokenizer: Any, model: LlamaForCausalLM, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shape of the model is the preset's own; rows are short and one deep, since a card's sixteen-fold batch would take minutes here."""
    monkeypatch.setattr(rows, "SHAPES", {"short": (2, 192), "long": (1, 384)})
    asked = listed("topic", "crude oil", ["grain", "interest rates"], "", "Barrels cost more on Monday.", random.Random(4))
    np.savez(tmp_path / "examples.npz", **encode(tokenizer, [("label", False, [asked])], ["Some prose. " * 400]))
    work = stepper(model, Batches(tmp_path, tokenizer.pad_token_id, 1, 3), eager=True)
    loss, tokens = work("label")
    assert 0 < tokens <= 2 * 192
    assert all(weight.grad is not None and bool(weight.grad.isfinite().all()) for weight in model.parameters())
    with torch.no_grad():
        for weight in model.parameters():
            weight.sub_(0.05 * weight.grad)  # type: ignore[operator]
    model.zero_grad(set_to_none=True)
    assert work("label")[0] < loss
