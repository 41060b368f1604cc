"""A second head, which is asked of the texts that the first one is in doubt about: whose word stands, what is told of it, and what happens without it."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from classifier_samples import START
from onnx import TensorProto, helper, numpy_helper
from test_classifier_head import OneHot, graph, other_head

from services.classifier.head import DIMS, Head
from services.classifier.live_head import LiveHead
from services.trainer import heads as gate
from services.trainer.runs.heads import parts
from shared.errors import PermanentError
from shared.heads import SECOND, in_doubt
from shared.objects import ObjectStore
from shared.registry import Registry

BELOW = 0.9
TEXTS = ["x" * n for n in (3, 4, 103, 104, 5, 105)]


def lengths(scale: float, after: float) -> np.ndarray:
    """Sport of texts of even length, culture of the others, surely; of texts of a hundred characters and more with `after` times as much."""
    weight = np.zeros((2, DIMS), dtype=np.float32)
    weight[0, ::2] = weight[1, 1::2] = scale
    weight[:, 100:] *= after
    return weight


def by_ids() -> bytes:
    """Culture where the first word piece is even: the other way round than the first head. Its matrix is large enough to lie in a file beside it."""
    table = np.zeros((4000, 2), dtype=np.float32)
    table[::2, 1] = table[1::2, 0] = 6
    nodes = [
        helper.make_node("Gather", ["ids", "first"], ["piece"], axis=1),
        helper.make_node("Gather", ["table", "piece"], ["scores"], axis=0),
        helper.make_node("ReduceMean", ["mask"], ["unused"], axes=[1]),
        helper.make_node("Softmax", ["scores"], ["says.category"]),
    ]
    inputs = [
        helper.make_tensor_value_info("ids", TensorProto.INT64, ["n", "t"]),
        helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["n", "t"]),
    ]
    tensors = [numpy_helper.from_array(table, "table"), numpy_helper.from_array(np.array(0, dtype=np.int64), "first")]
    output = helper.make_tensor_value_info("says.category", TensorProto.FLOAT, ["n", "labels"])
    made = helper.make_model(helper.make_graph(nodes, "head", inputs, [output], tensors), opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


def two(folder: Path, **changes) -> Path:
    """A head that is in doubt about long texts, and a second one that says the other thing."""
    other_head(folder, graph(lengths(8, 0.05), np.zeros(2)))
    other_head(folder / SECOND, by_ids(), reads="ids", asked_below=BELOW)
    data, files = parts.beside((folder / SECOND / "head.onnx").read_bytes(), folder / SECOND)
    (folder / SECOND / "head.onnx").write_bytes(data)
    card = json.loads((folder / SECOND / "head.json").read_text())
    (folder / SECOND / "head.json").write_text(json.dumps(card | {"files": files} | changes))
    return folder


def label(scores: dict) -> str:
    return max(scores["category"], key=scores["category"].get)


def test_the_second_head_has_the_word_where_the_first_is_in_doubt(tmp_path: Path) -> None:
    folder = two(tmp_path / "a")
    first, both = Head.load(folder, alone=True), Head.load(folder)
    assert [label(one) for one in first.scores(OneHot(), TEXTS)] == ["culture", "sport", "culture", "sport", "culture", "culture"]
    together = both.scores(OneHot(), TEXTS)
    assert [label(one) for one in together] == ["culture", "sport", "sport", "culture", "culture", "sport"]
    assert together == [both.scores(OneHot(), [text])[0] for text in TEXTS]
    assert [one for one in together if min(one["category"].values()) > 0.01] == [], "the second one is sure of what the first one was not"
    assert [gate.Head(folder).scores(read)[0] for text in TEXTS for read in OneHot().read([text])] == [
        {"category": pytest.approx(one["category"], abs=1e-5)} for one in together
    ], "the gate judges by the same two"


def test_the_digest_names_both_heads(tmp_path: Path) -> None:
    folder = two(tmp_path / "a")
    digests = {Head.load(folder).digest, Head.load(folder, alone=True).digest, Head.load(folder / SECOND).digest}
    digests.add(Head.load(two(tmp_path / "b", asked_below=0.5)).digest)
    assert len(digests) == 4 and Head.load(folder, "given").digest == "given"


def test_doubt_is_measured_in_the_task_that_is_least_sure() -> None:
    said = {"one": np.array([[0.95, 0.05], [0.95, 0.05], [0.6, 0.4]]), "many": np.array([[0.01, 0.99], [0.3, 0.99], [0.01, 0.01]])}
    assert in_doubt(said, {"one": "single", "many": "multi"}, 0.9).tolist() == [1, 2]
    assert in_doubt({"one": said["one"]}, {"one": "single"}, 0.9).tolist() == [2]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"tasks": {"category": ["culture", "sport"]}}, "other labels"),
        ({"collection": "mail"}, "of another collection"),
        ({"encoder": "0" * 64}, "another encoder"),
        ({"asked_below": 2}, "asked_below"),
        ({"files": {"weights.1.bin": "0" * 64}}, "weights.1.bin is not the file"),
        ({"files": {"weights.2.bin": "0" * 64}}, "no head in second: No such file or directory: weights.2.bin"),
        ({"files": {"../secret": "0" * 64}}, "'../secret' is no name of a file"),
        ({"files": {"head.json": "0" * 64}}, "'head.json' is no name of a file"),
        ({"files": {}}, "no graph that onnxruntime can read"),
    ],
)
def test_a_second_head_that_is_of_no_use_is_named_and_the_first_speaks_alone(tmp_path: Path, changes: dict, says: str) -> None:
    folder = two(tmp_path / "news", **changes)
    with pytest.raises(PermanentError, match=r".") as refused:
        Head.load(folder)
    assert says in str(refused.value)
    live = LiveHead(OneHot(), tmp_path, Registry(ObjectStore(str(tmp_path / "objects")), tmp_path / "cache"), "c", lambda: START)
    live.start()
    assert "the second head in news is not used" in live.problem and says in live.problem
    assert live.heads["news"].digest == Head.load(folder, alone=True).digest
    assert live.score([("", "x" * 102)], "news")[0].scores["category"]["sport"] > 0.5


def test_a_classifier_may_do_without_second_heads(tmp_path: Path) -> None:
    folder = two(tmp_path / "news")
    registry = Registry(ObjectStore(str(tmp_path / "objects")), tmp_path / "cache")
    found = []
    for wanted in (True, False):
        live = LiveHead(OneHot(), tmp_path, registry, "c", lambda: START, wanted)
        live.start()
        assert live.problem == ""
        found.append((live.heads["news"].digest, max(live.score([("", "x" * 102)], "news")[0].scores["category"].items(), key=lambda one: one[1])[0]))
    assert found == [(Head.load(folder).digest, "culture"), (Head.load(folder, alone=True).digest, "sport")]


def test_only_files_that_the_card_names_are_read_for_weights(tmp_path: Path) -> None:
    """The graph of a published head may name any file of this machine: its weights are handed over, and nothing else is read."""
    folder = two(tmp_path / "a") / SECOND
    model = onnx.load_model(str(folder / "head.onnx"), load_external_data=False)
    table = next(one for one in model.graph.initializer if one.name == "table")
    (tmp_path / "secret").write_bytes((folder / "weights.1.bin").read_bytes())
    for entry in table.external_data:
        entry.value = str(tmp_path / "secret") if entry.key == "location" else entry.value
    (folder / "head.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(PermanentError, match=r"head\.onnx"):
        Head.load(folder)


def test_large_weights_lie_in_files_of_a_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "MOST_BYTES", 20_000)
    tensors = [numpy_helper.from_array(np.arange(n, dtype=np.float32) + n, f"t{n}") for n in (10, 2000, 2500, 3000, 9000)]
    made = helper.make_model(helper.make_graph([], "g", [], [], tensors))
    (tmp_path / "weights.9.bin").write_bytes(b"of an earlier export")
    data, files = parts.beside(made.SerializeToString(), tmp_path)
    assert {path.name: path.stat().st_size for path in tmp_path.iterdir()} == {
        "weights.1.bin": 18_000, "weights.2.bin": 12_000, "weights.3.bin": 36_000,
    }  # fmt: skip
    assert set(files) == {"weights.1.bin", "weights.2.bin", "weights.3.bin"}
    (tmp_path / "head.onnx").write_bytes(data)
    read = onnx.load_model(str(tmp_path / "head.onnx"))
    assert [numpy_helper.to_array(one).tolist() for one in read.graph.initializer] == [numpy_helper.to_array(one).tolist() for one in tensors]
