"""The weights of a large graph beside it, as ONNX's external data, in files of a size that a repository takes."""

import hashlib
from pathlib import Path

import onnx
from onnx.external_data_helper import set_external_data

MOST_BYTES = 30 << 20  # of a file of weights, and of a graph that has none
SMALL = 1024  # bytes: constants up to here stay in the graph


def beside(graph: bytes, out: Path) -> tuple[bytes, dict[str, str]]:
    """The graph without its large constants, which are written to files in `out`, each of at most MOST_BYTES or of one constant; name -> SHA-256 of each."""
    model = onnx.load_model_from_string(graph)
    files: list[bytearray] = []
    for one in model.graph.initializer:
        if len(one.raw_data) > SMALL:
            if not files or len(files[-1]) + len(one.raw_data) > MOST_BYTES:
                files.append(bytearray())
            set_external_data(one, location=_name(len(files)), offset=len(files[-1]), length=len(one.raw_data))
            files[-1] += one.raw_data
            one.ClearField("raw_data")
    out.mkdir(parents=True, exist_ok=True)
    for old in set(out.glob(_name("*"))) - {out / _name(n) for n in range(1, len(files) + 1)}:
        old.unlink()
    for n, data in enumerate(files, 1):
        part = out / f"{_name(n)}.part"
        part.write_bytes(data)
        part.replace(out / _name(n))
    return bytes(model.SerializeToString()), {_name(n): hashlib.sha256(data).hexdigest() for n, data in enumerate(files, 1)}


def _name(n: int | str) -> str:
    return f"weights.{n}.bin"
