"""The large encoder's weights out of a second head that was written before: it is kept in int8 alone, which is enough to go on from (heads/start.py)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from services.trainer.heads import read_card
from services.trainer.runs.heads import external, start
from shared.errors import ConfigError, PermanentError, one_line
from shared.heads import GRAPH, weights_of

_LAST = "last."  # where a heads.network.Network and a teacher.Large both have the tasks' layers
_LAYERS, _NEARNESS = "m.encoder.layer.", "m.encoder.relative_attention_bias.weight"  # where a teacher.Large has what is trained of the encoder


def weights_in(folder: Path, own: Mapping[str, torch.Tensor], encoder: Any, frozen: int) -> dict[str, torch.Tensor]:
    """The state of a teacher.Large that says what the second head in `folder` says, but for the rounding. `own`: the state of one that has learnt nothing
    yet, of which `encoder` is MPNet's: no training moves its embeddings and its `frozen` lowest layers, so they are taken from there. Raises ConfigError where
    there is no such head."""
    try:
        card = read_card(folder)
        model = external.whole((folder / GRAPH).read_bytes(), weights_of(folder, card.files))
    except (PermanentError, ConfigError, OSError, DecodeError) as error:
        raise ConfigError(f"{folder} holds no second head to begin with: {one_line(error)}") from error
    kept = {
        one.name: torch.from_numpy(numpy_helper.to_array(one).copy())
        for one in model.graph.initializer
        if one.name.startswith((_LAST, "body.nearness"))
    }
    still = tuple(f"{_LAYERS}{n}." for n in range(frozen))
    layers = {name: value for part, value in start.layers_in(model).items() if not (name := f"{_LAYERS}{part}").startswith(still)}
    if layers.keys() != {name for name in own if name.startswith(_LAYERS) and not name.startswith(still)} or "body.nearness" not in kept:
        raise ConfigError(f"{folder} holds no second head to begin with: its graph's layers are not those of the encoder that is to be trained")
    nearness = {_NEARNESS: _by_distance(kept.pop("body.nearness"), own[_NEARNESS], encoder)}
    return {name: one for name, one in own.items() if not name.startswith(_LAST)} | layers | nearness | kept


def _by_distance(nearness: torch.Tensor, own: torch.Tensor, encoder: Any) -> torch.Tensor:
    """MPNet's weights by distance [distances, heads], of which the graph has what they come to for each two places [1, heads, places, places]."""
    places = torch.arange(nearness.shape[-1])
    which = encoder.relative_position_bucket(places[None, :] - places[:, None], num_buckets=own.shape[0])
    found = own.clone()
    found[which.ravel()] = nearness[0].permute(1, 2, 0).reshape(-1, own.shape[1])
    return found
