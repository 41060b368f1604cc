"""Matrix products in int8 with fixed scales: near to the full graph, and the same for a text in any batch."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from shared.onnx import session

static_int8 = pytest.importorskip("services.trainer.runs.static_int8")
WIDTH = 32


def graph(path: Path, stretched: float = 1.0) -> Path:
    """Word ids to vectors, a layer with a bias, a relu, and another layer. `stretched`: how much the first dimension stands out."""
    dice = np.random.default_rng(2)
    table = dice.normal(size=(50, WIDTH)).astype(np.float32)
    table[:, 0] *= stretched
    weights = {"table": table, "one": dice.normal(size=(WIDTH, 48)), "bias": dice.normal(size=48), "two": dice.normal(size=(48, 8))}
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["words"], axis=0),
        helper.make_node("MatMul", ["words", "one"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["active"]),
        helper.make_node("MatMul", ["active", "two"], ["out"]),
    ]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "t"]) for name in ("ids", "mask")]
    nodes.append(helper.make_node("Shape", ["mask"], ["shape"]))
    tensors = [numpy_helper.from_array(np.asarray(value, dtype=np.float32), name) for name, value in weights.items()]
    outputs = [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", "t", 8]), helper.make_tensor_value_info("shape", TensorProto.INT64, [2])]
    made = helper.make_model(helper.make_graph(nodes, "g", inputs, outputs, tensors), opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(made, str(path))
    return path


def run(path: Path, ids: np.ndarray) -> np.ndarray:
    asked = session(path.read_bytes())  # as the services do: a plain session's sums overflow on AVX2 alone
    return np.asarray(asked.run(["out"], {"ids": ids, "mask": np.ones_like(ids)})[0])


@pytest.mark.parametrize("stretched", [1.0, 200.0])
def test_int8_is_near_and_blind_to_the_batch(tmp_path: Path, stretched: float) -> None:
    full, small = graph(tmp_path / "full.onnx", stretched), tmp_path / "small.onnx"
    ids = np.random.default_rng(3).integers(0, 50, (16, 7))
    static_int8.quantise(full, small, [{"ids": ids[n : n + 4], "mask": np.ones((4, 7), dtype=np.int64)} for n in range(0, 16, 4)])
    wanted, found = run(full, ids), run(small, ids)
    assert np.abs(found - wanted).mean() < 0.03 * np.abs(wanted).mean()
    alone = np.concatenate([run(small, ids[n : n + 1]) for n in range(16)])
    assert np.array_equal(found, alone)
    kinds = [node.op_type for node in onnx.load(str(small)).graph.node]
    assert kinds.count("MatMulIntegerToFloat") == 2 and "MatMul" not in kinds
    assert small.stat().st_size < full.stat().st_size
    before, after = (list(static_int8.matrices(onnx.load(str(path))).values()) for path in (full, small))
    for wanted, found in zip(before, after, strict=True):  # what was evened out is as it was; only the rounding stays
        assert np.corrcoef(wanted.ravel(), found.ravel())[0, 1] > 0.999


def test_what_a_batch_is_filled_up_with_is_not_measured(tmp_path: Path) -> None:
    full = graph(tmp_path / "full.onnx")
    ids, mask = np.array([[1, 2, 49]]), np.array([[1, 1, 0]])
    model = onnx.load(str(full))
    seen = static_int8.measure(model, ["words"], [{"ids": ids, "mask": mask}])["words"]
    table = numpy_helper.to_array(next(one for one in model.graph.initializer if one.name == "table"))
    assert np.allclose(seen.each, np.abs(table[[1, 2]]).max(axis=0))
    assert (seen.least, seen.most) == (pytest.approx(float(table[[1, 2]].min())), pytest.approx(float(table[[1, 2]].max())))


def test_a_token_that_is_far_larger_spoils_no_other_where_each_has_its_own_scale(tmp_path: Path) -> None:
    full = graph(tmp_path / "full.onnx")
    model = onnx.load(str(full))
    table = next(one for one in model.graph.initializer if one.name == "table")
    words = numpy_helper.to_array(table).copy()
    words[0] *= 500
    table.CopyFrom(numpy_helper.from_array(words, "table"))
    onnx.save(model, str(full))
    ids = np.random.default_rng(3).integers(1, 50, (16, 7))
    ids[:, 2] = 0
    others = [0, 1, 3, 4, 5, 6]
    sample = [{"ids": ids[n : n + 4], "mask": np.ones((4, 7), dtype=np.int64)} for n in range(0, 16, 4)]
    wanted, apart = run(full, ids), {}
    for by_token in (False, True):
        small = tmp_path / f"small-{by_token}.onnx"
        static_int8.quantise(full, small, sample, by_token)
        found = run(small, ids)
        apart[by_token] = np.abs(found - wanted)[:, others].mean() / np.abs(wanted)[:, others].mean()
        assert np.array_equal(found, np.concatenate([run(small, ids[n : n + 1]) for n in range(16)]))
    assert apart[True] < 0.03 < 0.3 < apart[False]
    before, after = (static_int8.matrices(onnx.load(str(path))) for path in (full, small))
    assert before.keys() == after.keys(), "a product keeps its name, whatever is multiplied into it afterwards"
