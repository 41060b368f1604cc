"""Two models of one shape are averaged; others are refused by name, and nothing is written."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from services.trainer.runs.average import average, main


def model(folder: Path, value: float, width: int = 3, tokenizer: str = "{}") -> Path:
    folder.mkdir()
    save_file({"weight": torch.full((2, width), value, dtype=torch.bfloat16)}, folder / "model.safetensors", metadata={"format": "pt"})
    for name in ("config.json", "generation_config.json", "tokenizer_config.json"):
        (folder / name).write_text("{}")
    (folder / "tokenizer.json").write_text(tokenizer)
    return folder


def test_the_mean_lies_between(tmp_path: Path) -> None:
    one, other = model(tmp_path / "one", 1.0), model(tmp_path / "other", 3.0)
    average(one, other, tmp_path / "out", 0.25)
    made = load_file(tmp_path / "out" / "model.safetensors")["weight"]
    assert made.dtype == torch.bfloat16 and torch.equal(made.float(), torch.full((2, 3), 1.5))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(path.name for path in one.iterdir())


@pytest.mark.parametrize(("more", "why"), [({"width": 4}, "different shapes"), ({"tokenizer": "{ }"}, "different tokenizers")])
def test_models_that_do_not_fit_are_refused(tmp_path: Path, more: dict[str, int | str], why: str) -> None:
    one, other = model(tmp_path / "one", 1.0), model(tmp_path / "other", 3.0, **more)  # type: ignore[arg-type]
    with pytest.raises(SystemExit, match=why):
        main([str(one), str(other), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_weights_in_several_files_are_read_and_those_of_an_earlier_model_go(tmp_path: Path) -> None:
    one, other = model(tmp_path / "one", 1.0), model(tmp_path / "other", 3.0)
    part = "model-00001-of-00001.safetensors"
    (other / "model.safetensors").rename(other / part)
    (other / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": {"weight": part}}))
    average(one, other, other)
    assert torch.equal(load_file(other / "model.safetensors")["weight"].float(), torch.full((2, 3), 2.0))
    assert not (other / part).exists() and not (other / "model.safetensors.index.json").exists()


@pytest.mark.parametrize(("index", "why"), [("{}", "is no index of weights"), ('{"weight_map": {"weight": "gone.safetensors"}}', "gone.safetensors")])
def test_an_index_that_names_no_weights_is_refused(tmp_path: Path, index: str, why: str) -> None:
    one, other = model(tmp_path / "one", 1.0), model(tmp_path / "other", 3.0)
    (other / "model.safetensors.index.json").write_text(index)
    with pytest.raises(SystemExit, match=why):
        main([str(one), str(other), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()
