"""Attention to begin with. A small model given little text spends most of it on finding out that attention can copy; here it can from the first step.

- The first layer's first head looks at the token before (by the fast rotations of RoPE) and notes which it was.
- The second layer's first two heads look for a place where the token before was the present one, and copy what stood there: an induction head
  (Olsson et al. 2022), built by hand.
- The first layer's other heads take the mean of what the pieces before mean, each by its weight: what the text is about. It stands in the state as what
  a piece means does, so that a label's name is likely where the document is about such things.
- The last head but one of the layer before the last looks for labels that the layers below found to fit (pretrain.py teaches them), and copies them.
- One head in each later layer looks at what is like the present token, wherever it stands, and copies it: a label's name finds the words like it.
All of it are starting values like any others, and are trained. After Trockman & Kolter 2023, "Mimetic Initialization of Self-Attention Layers".
"""

import math
from typing import Any

import torch

from services.trainer.runs.embeddings import CONSTANT, FIT, NORM, WEIGHED

GAIN = 2.0  # of the last normalisation: with embeddings of length 0.32 a gain of 1 could never be sure of a token
SHARP = 40.0  # logit between the place that a built head looks for and its opposite
NOTED, COPIED, LIKENED, CHOSEN, POOLED = 0.25, 0.40, 0.08, 0.10, 0.20  # length of what the heads add, where an embedding is 0.32
FITTING = 3.0  # logit for each unit of FIT in a normalised state
MEAN = 0.3  # length of a mean of meanings, as a share of one
FAST = 4  # pairs of dimensions, of the fastest rotations, that tell neighbours apart
SLOW = 16  # pairs of the slowest rotations: at a distance of some hundred tokens they have hardly turned


@torch.no_grad()
def build(model: Any) -> None:
    """Set these heads in a new Llama whose embeddings are `embeddings.laid_out`. Raises ValueError for a model too small to hold them."""
    config = model.config
    hidden, size, heads = config.hidden_size, config.head_dim, config.num_attention_heads
    if heads < 3 or config.num_hidden_layers < 2 or hidden <= 2 * size:
        raise ValueError(f"built heads need two layers of three heads: the model has {config.num_hidden_layers} of {heads}")
    unit = math.sqrt(hidden)  # length of a normalised state
    frame = torch.linalg.qr(torch.randn(hidden - 3, hidden - 3))[0]
    frame = torch.cat([frame, torch.zeros(hidden - 3, 3)], dim=1)  # orthonormal rows, none along the last axes
    seen, noted = frame[:size], frame[size : 2 * size]  # where a token's own mark is read, and where the mark of the one before is noted
    pairs = size // 2
    base = config.rope_parameters["rope_theta"]
    speed = base ** (-torch.arange(pairs) / pairs)
    scale = math.sqrt(size)

    model.model.norm.weight.fill_(GAIN)
    previous = model.model.layers[0].self_attn
    turned = torch.zeros(size)
    still = torch.zeros(size)
    still[:FAST] = 1 / math.sqrt(FAST)
    turned[:FAST] = still[:FAST] * speed[:FAST].cos()  # a key turned by one step meets the query one step later
    turned[pairs : pairs + FAST] = still[:FAST] * speed[:FAST].sin()
    strength = math.sqrt(SHARP * scale) / (unit * CONSTANT)
    axis = torch.zeros(hidden)
    axis[-1] = 1.0
    previous.q_proj.weight[:size] = strength * still[:, None] * axis
    previous.k_proj.weight[:size] = strength * turned[:, None] * axis
    previous.v_proj.weight[:size] = seen
    read = unit * math.sqrt(size / hidden)
    previous.o_proj.weight[:, :size] = noted.T * NOTED / read

    for head in range(1, heads):  # a softmax over the logarithms of weights is a weighted mean
        rows = slice(head * size, (head + 1) * size)
        _look_along(previous, rows, -2, 1 / (unit * WEIGHED), pairs)
        own = torch.eye(hidden)[(head - 1) * size : head * size]
        previous.v_proj.weight[rows] = own
        previous.o_proj.weight[:, rows] = own.T * POOLED / (unit * MEAN)

    slow = torch.zeros(size, dtype=torch.bool)
    slow[pairs - SLOW : pairs] = slow[size - SLOW :] = True
    copying = model.model.layers[1].self_attn
    whole = math.sqrt(NORM**2 + NOTED**2)
    mark = unit * NORM / whole * math.sqrt(2 * SLOW / hidden)
    note = unit * NOTED / whole * math.sqrt(2 * SLOW / size)
    strength = math.sqrt(SHARP * scale / (mark * note))
    for head in range(2):
        rows = slice(head * size, (head + 1) * size)
        copying.q_proj.weight[rows] = strength * seen * slow[:, None]
        copying.k_proj.weight[rows] = strength * noted * slow[:, None]
        _copy(copying, rows, torch.linalg.qr(torch.randn(hidden, size))[0].T, COPIED / read)
    choosing = model.model.layers[below(config.num_hidden_layers)].self_attn
    rows = slice((heads - 2) * size, (heads - 1) * size)
    _look_along(choosing, rows, FIT, FITTING, pairs)
    _copy(choosing, rows, torch.linalg.qr(torch.randn(hidden, size))[0].T, CHOSEN / read)
    for layer in model.model.layers[1:]:
        rows = slice((heads - 1) * size, heads * size)
        own = torch.linalg.qr(torch.randn(hidden, size))[0].T * slow[:, None]
        like = math.sqrt(SHARP / 2 * scale) / (unit * math.sqrt(2 * SLOW / hidden))
        layer.self_attn.q_proj.weight[rows] = like * own
        layer.self_attn.k_proj.weight[rows] = like * own
        _copy(layer.self_attn, rows, torch.linalg.qr(torch.randn(hidden, size))[0].T, LIKENED / read)


def below(layers: int) -> int:
    """After how many layers a listed label's tokens are to say whether it fits: all but two, so that the answer can still look for them and copy."""
    return max(1, layers - 2)


def _look_along(attention: Any, rows: slice, axis: int, logit: float, pairs: int) -> None:
    """From every place the head looks for what has much of one axis: `logit` for each unit of it in a normalised state."""
    hidden, slowest = attention.q_proj.weight.shape[1], rows.start + pairs - 1  # the slowest pair of rotations hardly turns at all
    attention.q_proj.weight[rows] = attention.k_proj.weight[rows] = 0.0
    attention.q_proj.weight[slowest, -1] = math.sqrt(rows.stop - rows.start) / (math.sqrt(hidden) * CONSTANT)
    attention.k_proj.weight[slowest, axis] = logit


def _copy(attention: Any, rows: slice, frame: torch.Tensor, gain: float) -> None:
    """What the head sees is added to the state as it stands there, as far as the frame's dimensions reach."""
    attention.v_proj.weight[rows] = frame
    attention.o_proj.weight[:, rows] = frame.T * gain
