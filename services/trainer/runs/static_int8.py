"""An ONNX graph with its matrix products in int8, the scales of the activations measured beforehand on sample texts, or by each token's own vector.

With scales that are computed as the batch comes (dynamic quantisation) the vector of a text moves with the texts beside it. With fixed ones the integer
sums are exact and a text's vector is the same bit for bit in any batch, at the same speed. Weights have a scale a column. The inputs of the wide layers
hold a few dimensions that are ten times the others; those are divided by a factor each, which their weights are multiplied by (Xiao et al. 2022,
SmoothQuant). The word embeddings have a scale a row.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

HALF = 0.5  # how much of the spread goes over into the weights
TAIL = 16.0  # dimensions are evened out where the largest is so many times the median one
_VALUE, _EVEN = "int8_", "even_"  # names of an input in int8, and of what its dimensions are multiplied by first
_WITHIN = ".within"  # ends the name of a product that each token's own scale is still to be multiplied into
Feed = Mapping[str, NDArray[Any]]


@dataclass
class Range:
    """What an activation held over the sample: least and most of all, and the most of each dimension, signs aside."""

    least: float
    most: float
    each: NDArray[np.float32]


def quantise(full: Path, into: Path, sample: Sequence[Feed], by_token: bool = False) -> None:
    """Write `full` with every product of tokens with a constant matrix in int8, and its word embeddings too. `sample`: what the graph is fed to measure
    its activations; the input `mask` is 0 where a batch is filled up. `by_token`: each token is measured by the largest value of its own vector, which no
    other token moves either: dearer, and needed where single tokens are far larger than the others (MPNet's are)."""
    model = onnx.load(str(full))
    graph, constants = model.graph, {one.name: one for one in model.graph.initializer}
    products = [node for node in graph.node if node.op_type == "MatMul" and node.input[1] in constants]
    ranges = measure(model, list(dict.fromkeys(node.input[0] for node in products)), sample)
    inputs: dict[str, _Input] = {}
    factors = {name: _factors(ranges[name], [_array(constants[node.input[1]]) for node in products if node.input[0] == name]) for name in ranges}
    nodes: list[Any] = []
    for node in graph.node:
        if node.op_type == "Gather" and node.input[0] in constants and len(constants[node.input[0]].dims) == 2:
            nodes += _rows(graph, node, constants)
        elif any(node is product for product in products):
            if (name := node.input[0]) not in inputs:
                made, inputs[name] = _input(graph, name, ranges[name], factors[name], len(inputs), by_token)
                nodes += made
            nodes += _product(graph, node, constants, inputs[name], factors[name])
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    kept = [one for one in graph.initializer if one.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    onnx.save(model, str(into))


def matrices(model: Any) -> dict[str, NDArray[np.float32]]:
    """Output of each product with a constant matrix -> that matrix: in a graph that `quantise` wrote as it was before but for the rounding, in a full one as
    it is. A product whose constants are not there is left out."""
    constants, found = {one.name: one for one in model.graph.initializer}, {}
    for node in model.graph.node:
        if node.op_type == "MatMul" and node.input[1] in constants:
            found[node.output[0]] = _array(constants[node.input[1]])
        elif node.op_type == "MatMulIntegerToFloat" and node.input[1] in constants and node.input[3] in constants:
            weight = _array(constants[node.input[1]]) * _array(constants[node.input[3]])
            even = constants.get(node.input[0].replace(_VALUE, _EVEN, 1))  # 1 / factors, which the weight was multiplied by
            found[node.output[0].removesuffix(_WITHIN)] = weight if even is None else weight * _array(even)[:, None]
    return found


def measure(model: Any, names: Sequence[str], sample: Sequence[Feed]) -> dict[str, Range]:
    """The ranges of the tensors over the sample, of its word pieces alone and not of what it is filled up with."""
    import onnxruntime

    wider = onnx.ModelProto()
    wider.CopyFrom(model)
    wider.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(wider.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found: dict[str, Range] = {}
    for feed in sample:
        there = feed["mask"].astype(bool)
        for name, value in zip(names, session.run(list(names), dict(feed)), strict=True):
            seen = value[there]
            now = Range(min(float(seen.min()), 0.0), max(float(seen.max()), 0.0), np.abs(seen).max(axis=0))
            old = found.setdefault(name, now)
            found[name] = Range(min(old.least, now.least), max(old.most, now.most), np.maximum(old.each, now.each))
    return found


def batches(embedding: Path, tokenizer: Any, texts: Sequence[str], size: int = 16) -> Iterator[Feed]:
    """Texts as the encoder's layers are fed, neighbours in length together."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(embedding), providers=["CPUExecutionProvider"])
    tokenizer.enable_padding()
    ordered = sorted(texts, key=len)
    for start in range(0, len(ordered), size):
        tokens = tokenizer.encode_batch(ordered[start : start + size])
        ids, mask = (np.array([getattr(one, part) for one in tokens], dtype=np.int64) for part in ("ids", "attention_mask"))
        yield {"embedded": session.run(None, {"ids": ids})[0], "mask": mask.astype(np.float32)}


def _factors(seen: Range, weights: Sequence[NDArray[np.float32]]) -> NDArray[np.float32] | None:
    """What each dimension is divided by; None where none of them stands out."""
    each = np.maximum(seen.each, 1e-4)
    if each.max() < TAIL * np.median(each) or seen.least > -0.2:  # after a GELU the negative side is narrow, and a factor would widen it
        return None
    heavy = np.maximum(np.max([np.abs(weight).max(axis=1) for weight in weights], axis=0), 1e-4)
    factors = each**HALF / heavy ** (1 - HALF)
    return np.asarray(factors / np.exp(np.log(factors).mean()), dtype=np.float32)


@dataclass
class _Input:
    """Names of an activation in uint8, of its scale and zero point, and of each token's own scale where it has one."""

    value: str
    scale: str
    zero: str
    token: str = ""


def _input(graph: Any, name: str, seen: Range, factors: NDArray[np.float32] | None, n: int, by_token: bool) -> tuple[list[Any], _Input]:
    """Nodes that make uint8 of an activation; returns them and the names of what they make."""
    nodes, source, least, most = [], name, seen.least, seen.most
    if factors is not None:
        graph.initializer.append(numpy_helper.from_array(1 / factors, f"{_EVEN}{n}"))
        nodes.append(helper.make_node("Mul", [name, f"{_EVEN}{n}"], [f"evened_{n}"]))
        source, most = f"evened_{n}", float((seen.each / factors).max())
        least = -most
    made = _Input(f"{_VALUE}{n}", f"scale_{n}", f"zero_{n}")
    if by_token:
        graph.initializer.append(numpy_helper.from_array(np.array(1e-6, dtype=np.float32), f"tiny_{n}"))
        nodes += [
            helper.make_node("Abs", [source], [f"abs_{n}"]),
            helper.make_node("ReduceMax", [f"abs_{n}"], [f"largest_{n}"], axes=[-1], keepdims=1),
            helper.make_node("Max", [f"largest_{n}", f"tiny_{n}"], [f"token_{n}"]),
            helper.make_node("Div", [source, f"token_{n}"], [f"within_{n}"]),
        ]
        source, least, most, made.token = f"within_{n}", -1.0, 1.0, f"token_{n}"
    scale = np.float32((most - least) / 255)
    graph.initializer.append(numpy_helper.from_array(np.array(scale), made.scale))
    graph.initializer.append(numpy_helper.from_array(np.array(np.clip(round(-least / scale), 0, 255), dtype=np.uint8), made.zero))
    nodes.append(helper.make_node("QuantizeLinear", [source, made.scale, made.zero], [made.value]))
    return nodes, made


def _product(graph: Any, node: Any, constants: Mapping[str, Any], given: _Input, factors: NDArray[np.float32] | None) -> list[Any]:
    weight = _array(constants[node.input[1]])
    if factors is not None:
        weight = weight * factors[:, None]
    scale = np.maximum(np.abs(weight).max(axis=0) / 127, 1e-12).astype(np.float32)
    names = [f"{node.input[1]}.int8", f"{node.input[1]}.scale"]
    graph.initializer.append(numpy_helper.from_array(np.clip(np.round(weight / scale), -127, 127).astype(np.int8), names[0]))
    graph.initializer.append(numpy_helper.from_array(scale, names[1]))
    inputs, out = [given.value, names[0], given.scale, names[1], given.zero], node.output[0]
    within = f"{out}{_WITHIN}" if given.token else out
    found = [helper.make_node("MatMulIntegerToFloat", inputs, [within], name=node.name, domain="com.microsoft")]
    return [*found, helper.make_node("Mul", [within, given.token], [out])] if given.token else found


def _rows(graph: Any, node: Any, constants: Mapping[str, Any]) -> list[Any]:
    table = _array(constants[node.input[0]])
    scale = np.maximum(np.abs(table).max(axis=1, keepdims=True) / 127, 1e-12).astype(np.float32)
    base, out = node.input[0], node.output[0]
    graph.initializer.append(numpy_helper.from_array(np.round(table / scale).astype(np.int8), f"{base}.int8"))
    graph.initializer.append(numpy_helper.from_array(scale, f"{base}.scale"))
    return [
        helper.make_node("Gather", [f"{base}.int8", node.input[1]], [f"{out}.int8"], axis=0),
        helper.make_node("Gather", [f"{base}.scale", node.input[1]], [f"{out}.scale"], axis=0),
        helper.make_node("Cast", [f"{out}.int8"], [f"{out}.float"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", [f"{out}.float", f"{out}.scale"], [out]),
    ]


def _array(tensor: Any) -> NDArray[np.float32]:
    return np.asarray(numpy_helper.to_array(tensor))
