"""A plugin of vLLM, for engines without a GPU: LoRA as one matrix product for each adapter of a batch.

vLLM's operations in PyTorch (vllm/lora/ops/torch_ops/lora_ops.py, 0.32) copy an adapter's matrix once for each token before they multiply, so a prompt of 500
tokens moves 500 times the adapter; and a token without an adapter, whose index is -1, gets what lies in the last slot. Here the tokens of one adapter are
multiplied together, which they nearly always all are, and those without one are left as they are. With an adapter the bundled model then reads 1.7 times as
many documents a second on two cores (`python -m tests.bench.model --only speed --keep-page`, with and without VLLM_PLUGINS=).

Registered as an entry point of the group vllm.general_plugins (pyproject.toml), which vLLM calls in each of its processes; VLLM_PLUGINS="" leaves it out.
"""

import logging
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import torch

PLACES = (  # of the functions below, by their names here and there
    "bgmv_shrink",
    "bgmv_expand",
    "bgmv_expand_slice",
    "sgmv_shrink",
    "sgmv_expand",
    "sgmv_expand_slice",
)
Rows = torch.Tensor | slice
log = logging.getLogger("vllm.feedloop")


def register() -> None:
    """Put the operations below in the place of vLLM's, on a CPU. An engine whose operations have other names keeps its own."""
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return
    from vllm.lora.punica_wrapper import punica_cpu

    if missing := [name for name in PLACES if not hasattr(punica_cpu, name)]:
        log.warning("this vLLM has no %s: its own LoRA operations are used", missing[0])
        return
    for name in PLACES:
        setattr(punica_cpu, name, _unless_compiling(globals()[name], getattr(punica_cpu, name)))


def _unless_compiling(own: Callable[..., None], theirs: Callable[..., None]) -> Callable[..., None]:
    """vLLM's own while a graph is compiled (an engine without --enforce-eager): which adapters a batch holds is not known then."""

    @wraps(own)
    def operation(*args: Any, **more: Any) -> None:
        (theirs if torch.compiler.is_compiling() else own)(*args, **more)

    return operation


def bgmv_shrink(inputs: torch.Tensor, weights: torch.Tensor, output: torch.Tensor, indices: torch.Tensor, scaling: float = 1.0) -> None:
    """output[:, :rank] = scaling * inputs @ A.T, with each row's own A [rank, in] of `weights` [slots, 1, rank, in]; 0 without an adapter."""
    width = weights.shape[-2]
    output[:, :width] = 0
    for rows, product in _products(inputs, weights, indices, output.dtype):
        output[rows, :width] = scaling * product


def bgmv_expand(inputs: torch.Tensor, weights: torch.Tensor, output: torch.Tensor, indices: torch.Tensor, add_inputs: bool = True) -> None:
    """output (+)= inputs @ B.T, with each row's own B [out, rank]; both are cut to the narrower one, for they may be filled up differently."""
    bgmv_expand_slice(inputs, weights, output, indices, 0, min(weights.shape[-2], output.shape[1]), add_inputs)


def bgmv_expand_slice(
    inputs: torch.Tensor, weights: torch.Tensor, output: torch.Tensor, indices: torch.Tensor, offset: int, size: int, add_inputs: bool = True
) -> None:
    """The same into the columns from `offset` on, `size` of them."""
    for rows, product in _products(inputs, weights, indices, output.dtype):
        there = output[:, offset : offset + size]
        there[rows] = there[rows] + product[:, :size] if add_inputs else product[:, :size]


def sgmv_shrink(inputs: torch.Tensor, weights: torch.Tensor, output: torch.Tensor, _starts: Any, lengths: torch.Tensor, indices: torch.Tensor,
                _batches: int, _longest: int, _tokens: int, scaling: float) -> None:  # fmt: skip
    """bgmv_shrink for prompts: `indices` and `lengths` are of the sequences."""
    bgmv_shrink(inputs, weights, output, torch.repeat_interleave(indices, lengths), scaling)


def sgmv_expand(inputs: torch.Tensor, weights: torch.Tensor, output: torch.Tensor, _starts: Any, lengths: torch.Tensor, indices: torch.Tensor,
                _batches: int, _longest: int, _tokens: int, add_inputs: bool = False) -> None:  # fmt: skip
    """bgmv_expand for prompts."""
    bgmv_expand(inputs, weights, output, torch.repeat_interleave(indices, lengths), add_inputs)


def sgmv_expand_slice(inputs: torch.Tensor, weights: torch.Tensor, output: torch.Tensor, _starts: Any, lengths: torch.Tensor, indices: torch.Tensor,
                      _batches: int, _longest: int, _tokens: int, offset: int, size: int, add_inputs: bool = False) -> None:  # fmt: skip
    """bgmv_expand_slice for prompts."""
    bgmv_expand_slice(inputs, weights, output, torch.repeat_interleave(indices, lengths), offset, size, add_inputs)


def _products(inputs: torch.Tensor, weights: torch.Tensor, indices: torch.Tensor, dtype: torch.dtype) -> Iterator[tuple[Rows, torch.Tensor]]:
    """(rows, their product with the adapter's matrix) for each adapter of the batch."""
    matrices = weights.squeeze(1) if weights.dim() == 4 else weights
    least, most = (int(one) for one in torch.aminmax(indices))
    slots = [least] if least == most else torch.unique(indices).tolist()
    for slot in slots:
        if slot >= 0:
            rows: Rows = slice(None) if len(slots) == 1 else (indices == slot).nonzero(as_tuple=True)[0]
            yield rows, inputs[rows].to(dtype) @ matrices[slot].to(dtype).T
