"""A trained network as the folder that the classifier reads: head.onnx and head.json."""

import io
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from services.trainer.runs import static_int8
from services.trainer.runs.heads import external
from services.trainer.runs.heads.network import Network
from shared.encoder import DIMS
from shared.errors import ConfigError
from shared.onnx import session

OPSET = 17
FORMAT = 2  # of head.json; services.classifier.head reads it
NEAR = 2e-4  # the graph may differ from the network by as much


def write(out: Path, network: Network, card: dict[str, Any], sample: Sequence[static_int8.Feed] = (), by_token: bool = False) -> dict[str, Any]:
    """Write the files, each beside its place and then renamed, the weights of a large graph first and the card last; returns the card. With a `sample` of
    what it reads the graph is written in int8 (for a network with layers of its own), `by_token` as in static_int8.quantise. Raises ConfigError where the graph does not say what the network says."""
    graph = to_onnx(network)
    compare(graph, network)
    if sample:
        graph, apart = in_int8(graph, network, sample, by_token)
        card = {**card, "int8_apart": apart}
    files: dict[str, str] = {}
    if len(graph) > external.LARGE:
        graph, files = external.external(graph, out)
        card = {**card, "files": files}
    whole = {
        "format": FORMAT,
        "reads": network.reads,
        **card,
        "tasks": {task.name: task.labels for task in network.tasks},
        "kinds": {task.name: task.kind for task in network.tasks},
        "temperatures": {task.name: round(t, 4) for task, t in zip(network.tasks, network.temperature.tolist(), strict=True)},
    }
    out.mkdir(parents=True, exist_ok=True)
    _put(out / "head.onnx", graph)
    write_card(out, whole)
    external.clear(out, files)
    return whole


def write_card(out: Path, card: Mapping[str, Any]) -> None:
    """Put head.json in its place."""
    _put(out / "head.json", (json.dumps(card, indent=1) + "\n").encode())


def _put(path: Path, data: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(data)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)


def in_int8(graph: bytes, network: Network, sample: Sequence[static_int8.Feed], by_token: bool = False) -> tuple[bytes, float]:
    """The graph in int8, and how far its probabilities are from the network's on the sample, on average."""
    with tempfile.TemporaryDirectory() as folder:
        full, small = Path(folder) / "full.onnx", Path(folder) / "small.onnx"
        full.write_bytes(graph)
        static_int8.quantise(full, small, sample, by_token)
        made = small.read_bytes()
    asked = session(made)
    apart = []
    for feed in sample:
        with torch.inference_mode():
            wanted = network(*(torch.from_numpy(feed[one.name]) for one in asked.get_inputs()))
        apart += [float(np.abs(a - b.numpy()).mean()) for a, b in zip(asked.run(None, dict(feed)), wanted, strict=True)]
    return made, round(float(np.mean(apart)), 4)


def to_onnx(network: Network) -> bytes:
    """The graph: what the network reads, and `mask` unless that is `pooled`, to `says.<task>`."""
    network.eval()
    names = ["pooled"] if network.reads == "pooled" else [network.reads, "mask"]
    outputs = [f"says.{task.name}" for task in network.tasks]
    axes = {name: {0: "texts"} if name == "pooled" else {0: "texts", 1: "length"} for name in names} | {name: {0: "texts"} for name in outputs}
    made = io.BytesIO()
    with warnings.catch_warnings():  # of tracing, and of the exporter being the old one: neither is of use to anybody here
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            torch.onnx.export(
                network,
                _example(network.reads),
                made,  # type: ignore[arg-type]
                input_names=names,
                output_names=outputs,
                dynamic_axes=axes,
                opset_version=OPSET,
                dynamo=False,
            )
        finally:
            logging.disable(logging.NOTSET)
    return made.getvalue()


def compare(graph: bytes, network: Network) -> None:
    """Raises ConfigError where the graph and the network differ on made-up vectors of another shape than those of the export."""
    asked = session(graph)
    inputs = _example(network.reads, texts=4, length=9)
    found = asked.run(None, {one.name: value.numpy() for one, value in zip(asked.get_inputs(), inputs, strict=True)})
    with torch.inference_mode():
        wanted = network(*inputs)
    far = max(float(np.abs(a - b.numpy()).max()) for a, b in zip(found, wanted, strict=True))
    if far > NEAR:
        raise ConfigError(f"the exported head differs from the trained one by {far:.1e}: nothing was written")


def _example(reads: str, texts: int = 2, length: int = 6) -> tuple[torch.Tensor, ...]:
    dice = torch.Generator().manual_seed(5)
    if reads == "pooled":
        return (torch.nn.functional.normalize(torch.randn((texts, DIMS), generator=dice), dim=1),)
    mask = (torch.arange(length) < torch.arange(length, length - texts, -1)[:, None]).to(torch.float32)
    if reads == "ids":
        return torch.randint(1000, 2000, (texts, length), generator=dice) * mask.to(torch.int64), mask
    return torch.randn((texts, length, DIMS), generator=dice) * mask[..., None], mask
