"""The mean of two models of one shape: what one was trained on further, and what it knew before (weight averaging; Wortsman et al. 2022, WiSE-FT).

    python -m services.trainer.runs.average deploy/model build/model-5 --out build/model-6 [--share 0.5]

--share: of the second. The rest of the folder (tokenizer, configuration) is the first's. Only of use where the second began with the first's weights.
Weights are read in one file or in several with an index, and written in files that may be committed (LARGEST of pretrain.py).
"""

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from huggingface_hub import save_torch_state_dict
from safetensors import safe_open
from safetensors.torch import load_file

from services.trainer.runs.pretrain import LARGEST

WEIGHTS = "model.safetensors"
INDEX = f"{WEIGHTS}.index.json"


def parts(folder: Path) -> list[Path]:
    """The files of a model's weights: those that the index names, or the one file. Raises OSError for an index that can't be read, ValueError for one
    that is none."""
    if not (folder / INDEX).exists():
        return [folder / WEIGHTS]
    try:
        return [folder / name for name in sorted(set(json.loads((folder / INDEX).read_text())["weight_map"].values()))]
    except (KeyError, AttributeError, TypeError) as error:
        raise ValueError(f"{folder / INDEX} is no index of weights: it says nothing of a weight_map") from error


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    """All weights of a model by their names. Raises OSError where a file is missing."""
    return {name: weight for file in parts(folder) for name, weight in load_file(file).items()}


def average(first: Path, second: Path, out: Path, share: float = 0.5) -> None:
    """Write the folder `out`. Raises ValueError where the two differ in shape or in the tokenizer."""
    ours, theirs = weights_of(first), weights_of(second)
    if {name: weight.shape for name, weight in ours.items()} != {name: weight.shape for name, weight in theirs.items()}:
        raise ValueError(f"{first} and {second} are models of different shapes")
    if (first / "tokenizer.json").read_bytes() != (second / "tokenizer.json").read_bytes():
        raise ValueError(f"{first} and {second} have different tokenizers: a row of one's embeddings stands for something else in the other")
    with safe_open(parts(first)[0], "pt") as file:
        about = file.metadata()
    out.mkdir(parents=True, exist_ok=True)
    made: dict[str, torch.Tensor] = {name: torch.lerp(ours[name].float(), theirs[name].float(), share).to(ours[name].dtype) for name in ours}
    save_torch_state_dict(made, out, filename_pattern="model{suffix}.safetensors", max_shard_size=LARGEST, metadata=about)
    for name in ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"):
        if first.resolve() != out.resolve():
            shutil.copyfile(first / name, out / name)


def main(argv: Sequence[str] | None = None) -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--share", type=float, default=0.5)
    given = parser.parse_args(argv)
    if not 0 < given.share < 1:
        parser.error("--share is between 0 and 1")
    try:
        average(given.first, given.second, given.out, given.share)
    except (OSError, ValueError) as error:
        sys.exit(f"average: {error}")


if __name__ == "__main__":
    main()
