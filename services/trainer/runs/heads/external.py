"""The weights of a large graph in files beside it, as ONNX's external data, of a size that a repository takes."""

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import onnx
from onnx.external_data_helper import ExternalDataInfo, set_external_data

from shared import heads
from shared.errors import ConfigError

MOST_BYTES = 30 << 20  # of a file of weights
LARGE = heads.MOST_BYTES  # bytes of a graph: up to here it holds its weights itself
SMALL = 1024  # bytes: constants up to here stay in the graph


def external(graph: bytes, out: Path) -> tuple[bytes, dict[str, str]]:
    """The graph without its large constants, and the files in `out` that they are written to, each of at most MOST_BYTES or of one constant: name ->
    SHA-256. A file is named by what it holds, so none that a head in `out` has now is changed."""
    model = onnx.load_model_from_string(graph)
    files: list[bytearray] = []
    held: list[list[tuple[Any, int]]] = []  # of each file its constants, and where they begin
    for one in model.graph.initializer:
        if len(one.raw_data) > SMALL:
            if not files or len(files[-1]) + len(one.raw_data) > MOST_BYTES:
                files.append(bytearray())
                held.append([])
            held[-1].append((one, len(files[-1])))
            files[-1] += one.raw_data
    named: dict[str, str] = {}
    out.mkdir(parents=True, exist_ok=True)
    for data, constants in zip(files, held, strict=True):
        digest = hashlib.sha256(data).hexdigest()
        name = f"weights.{digest[:12]}.bin"
        for one, begin in constants:
            set_external_data(one, location=name, offset=begin, length=len(one.raw_data))
            one.ClearField("raw_data")
        part = out / f"{name}.part"
        part.write_bytes(data)
        part.replace(out / name)
        named[name] = digest
    return bytes(model.SerializeToString()), named


def whole(graph: bytes, files: Mapping[str, bytes]) -> Any:
    """The graph with the constants that `external` took out of it. `files`: what they are in, by name; no other is read, whatever the graph names. Raises
    ConfigError where one is not among them or ends too early, and what onnx raises of bytes that are no graph."""
    model = onnx.load_model_from_string(graph)
    for one in model.graph.initializer:
        if one.data_location == onnx.TensorProto.EXTERNAL:
            where = ExternalDataInfo(one)
            begin, length = int(where.offset or 0), int(where.length or 0)
            if len(data := files.get(where.location, b"")[begin : begin + length]) != length or not length:
                raise ConfigError(f"the weights {one.name} are not where the graph says: in {where.location}")
            one.raw_data, one.data_location = data, onnx.TensorProto.DEFAULT
            del one.external_data[:]
    return model


def clear(out: Path, files: Collection[str]) -> None:
    """Remove what earlier heads in `out` had and this one has not."""
    for old in out.glob("weights.*.bin*"):
        if old.name not in files:
            old.unlink()
