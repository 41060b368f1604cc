"""What a tuned head begins with in place of the published layers: those of another tuned head, read out of its graph.

A tuned head is kept in int8 alone. Its graph is enough to begin with: the rounding moves the weights of the wellbeing head by less than half of what its
training moved them, so nothing in fp32 need be kept beside it.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from services.trainer.heads import read_card
from services.trainer.runs import static_int8
from services.trainer.runs.encoder_original import Layers, bert
from services.trainer.runs.export_encoder import source_folder
from shared.errors import ConfigError, PermanentError, one_line
from shared.heads import CARD, GRAPH

_LAYERS = "body.layers."  # where heads.tuned.Body has them in a heads.network.Network


@dataclass(frozen=True)
class Start:
    """The layers of another head. `weights`: by the names of encoder_original.Layers; `digest`: SHA-256 of the head's two files, as the classifier tells
    it of a head that has no second one; `collection`: what that head speaks for."""

    collection: str
    digest: str
    weights: Mapping[str, torch.Tensor]


def read(folder: Path, encoder: str) -> Start:
    """The layers of the head in a folder. `encoder`: digest of the encoder whose embedding they are to stand on. Raises ConfigError naming what does not
    fit."""
    try:
        card, text, data = read_card(folder), (folder / CARD).read_bytes(), (folder / GRAPH).read_bytes()
    except (PermanentError, OSError) as error:
        raise ConfigError(f"{folder} is no head to begin with: {one_line(error)}") from error
    if card.reads != "embedded":
        raise ConfigError(f"{folder} is no head to begin with: it reads {card.reads} vectors and has no layers of its own (a tuned one has)")
    if card.encoder != encoder:
        raise ConfigError(
            f"{folder} is no head to begin with: it was trained on the encoder {card.encoder[:12]}, and the one in use is {encoder[:12]}"
        )
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf raises classes of its own
        raise ConfigError(f"{folder} is no head to begin with: {GRAPH} can't be read: {one_line(error)}") from error
    weights = layers_in(model)
    if wrong := unfit(weights):
        raise ConfigError(f"{folder} is no head to begin with: {wrong}")
    return Start(card.collection, hashlib.sha256(text + data).hexdigest(), weights)


def layers_in(model: Any) -> dict[str, torch.Tensor]:
    """The layers' parameters in a head's graph, whatever there is of them. The exporter leaves vectors their names and gives matrices numbers, so a matrix
    is told by the bias that is added to what it makes."""
    vectors = {one.name.removeprefix(_LAYERS): numpy_helper.to_array(one) for one in model.graph.initializer if one.name.startswith(_LAYERS)}
    matrices, found = static_int8.matrices(model), dict(vectors)
    for node in model.graph.node:
        if node.op_type == "Add" and (product := next((name for name in node.input if name in matrices), None)):
            for bias in (name.removeprefix(_LAYERS) for name in node.input if name.startswith(_LAYERS)):
                found[f"{bias.removesuffix('bias')}weight"] = matrices[product].T
    return {name: torch.from_numpy(np.array(value, dtype=np.float32, order="C")) for name, value in found.items()}


def unfit(weights: Mapping[str, torch.Tensor]) -> str:
    """What keeps these weights from being the encoder's six layers, every parameter of them and nothing else; empty where they are."""
    wanted = Layers(bert(source_folder())).state_dict()
    for names, what in (
        (wanted.keys() - weights.keys(), "its graph lacks"),
        (weights.keys() - wanted.keys(), "its graph has what the layers do not:"),
    ):
        if names:
            some = sorted(names)
            return f"{what} {', '.join(some[:3])}{f' and {len(some) - 3} more' if len(some) > 3 else ''}"
    for name, weight in weights.items():
        if weight.shape != wanted[name].shape:
            return f"{name} is {list(weight.shape)}, and the layers have {list(wanted[name].shape)}"
        if not torch.isfinite(weight).all():
            return f"{name} has values that are not finite"
    return ""
