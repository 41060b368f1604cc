"""The mean of two models of one shape: what one was trained on further, and what it knew before (weight averaging; Wortsman et al. 2022, WiSE-FT).

    python -m services.trainer.runs.average deploy/model build/model-5 --out build/model-6 [--share 0.5]

--share: of the second. The rest of the folder (tokenizer, configuration) is the first's. Only of use where the second began with the first's weights.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

WEIGHTS = "model.safetensors"


def average(first: Path, second: Path, out: Path, share: float = 0.5) -> None:
    """Write the folder `out`. Raises ValueError where the two differ in shape or in the tokenizer."""
    ours, theirs = load_file(first / WEIGHTS), load_file(second / WEIGHTS)
    if {name: weight.shape for name, weight in ours.items()} != {name: weight.shape for name, weight in theirs.items()}:
        raise ValueError(f"{first} and {second} are models of different shapes")
    if (first / "tokenizer.json").read_bytes() != (second / "tokenizer.json").read_bytes():
        raise ValueError(f"{first} and {second} have different tokenizers: a row of one's embeddings stands for something else in the other")
    with safe_open(first / WEIGHTS, "pt") as file:
        about = file.metadata()
    out.mkdir(parents=True, exist_ok=True)
    made: dict[str, torch.Tensor] = {name: torch.lerp(ours[name].float(), theirs[name].float(), share).to(ours[name].dtype) for name in ours}
    save_file(made, out / WEIGHTS, metadata=about)
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
