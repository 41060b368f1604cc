"""A second head, which is asked of the texts that the first one is in doubt about: whose word stands, what is told of it, and what happens without it."""

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from classifier_samples import START
from onnx import TensorProto, helper, numpy_helper
from test_classifier_head import ROOT, OneHot, graph, other_head

from deploy.local.commands import offer_folder
from deploy.local.errors import LocalError
from services.classifier.head import DIMS, Head
from services.classifier.live_head import LiveHead
from services.trainer import heads as gate
from services.trainer.run import Runs
from services.trainer.runs.heads import external
from services.trainer.runs.judge_head import _live
from shared import heads
from shared.encoder import Read
from shared.errors import PermanentError
from shared.events import BASE_DIGEST, ModelPublished
from shared.heads import SECOND, in_doubt, role_of
from shared.objects import ObjectStore
from shared.registry import Registry
from shared.taxonomy import label_set

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
    data, files = external.external((folder / SECOND / "head.onnx").read_bytes(), folder / SECOND)
    (folder / SECOND / "head.onnx").write_bytes(data)
    card = json.loads((folder / SECOND / "head.json").read_text())
    if changes.get("files") == "others":
        changes["files"] = dict.fromkeys(files, "0" * 64)
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
        ({"asked_below": 0}, "it would never be asked"),
        ({"files": "others"}, ".bin is not the file that head.json tells of"),
        ({"files": {"weights.2.bin": "0" * 64}}, "no head in second: No such file: weights.2.bin"),
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
    asyncio.run(live.activate(ModelPublished(role=role_of("news"), digest=BASE_DIGEST, probes=[], published_at=START)))
    assert says in live.problem, "going back to what ships mends nothing"
    if "asked_below" not in changes:
        [incumbent], told = _live(folder, OneHot(), label_set("news"))
        assert incumbent.second is None and "without its second head" in told and says in told, "the gate compares with what is in use"


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


@pytest.mark.parametrize("named", ["secret", "../secret", "second/secret", "{whole}"])
@pytest.mark.parametrize("files", [{}, {"secret": "0" * 64}, {"../secret": "0" * 64}, {"head.json": "0" * 64}, {"weights.x.bin\0": "0" * 64}])
def test_nothing_of_this_machine_is_read_on_a_model_s_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str, files: dict[str, str]
) -> None:
    """A graph and a card may name any file of the machine that loads them, the classifier's or the trainer's."""
    folder = two(tmp_path / "news")
    graph_file = folder / SECOND / "head.onnx"
    model = onnx.load_model(str(graph_file), load_external_data=False)
    [weights] = (folder / SECOND).glob("weights.*.bin")
    for place in (tmp_path / "secret", folder / "secret", folder / SECOND / "secret", tmp_path.parent / "secret"):
        place.write_bytes(weights.read_bytes())
    for entry in next(one for one in model.graph.initializer if one.name == "table").external_data:
        entry.value = named.format(whole=tmp_path / "secret") if entry.key == "location" else entry.value
    graph_file.write_bytes(model.SerializeToString())
    card = json.loads((folder / SECOND / "head.json").read_text())
    (folder / SECOND / "head.json").write_text(json.dumps(card | {"files": files}))
    for place in (tmp_path, folder, folder / SECOND):
        monkeypatch.chdir(place)
        for load in (Head.load, gate.Head):
            with pytest.raises(PermanentError, match=r"no graph|no name of a file"):
                load(folder / SECOND)


def test_a_link_in_the_place_of_weights_is_not_followed(tmp_path: Path) -> None:
    folder = two(tmp_path / "news") / SECOND
    [weights] = folder.glob("weights.*.bin")
    weights.rename(tmp_path / "elsewhere")
    weights.symlink_to(tmp_path / "elsewhere")
    for load in (Head.load, gate.Head):
        with pytest.raises(PermanentError, match="No such file"):
            load(folder)


def test_weights_have_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = two(tmp_path / "news") / SECOND
    monkeypatch.setattr(heads, "MOST_WEIGHTS", 1000)
    for load in (Head.load, gate.Head):
        with pytest.raises(PermanentError, match="larger than 0 MB together"):
            load(folder)


@pytest.mark.parametrize("broken", ["raises", "no number"])
def test_where_the_second_head_fails_the_first_has_spoken(tmp_path: Path, broken: str) -> None:
    two(tmp_path / "news")
    live = LiveHead(OneHot(), tmp_path, Registry(ObjectStore(str(tmp_path / "objects")), tmp_path / "cache"), "c", lambda: START)
    live.start()
    second = live.heads["news"].second
    assert second is not None
    answers = second.answers

    def fails(read):
        if broken == "raises":
            raise RuntimeError("out of memory")
        return {task: chances * np.nan for task, chances in answers(read).items()}

    second.answers = fails  # type: ignore[method-assign]
    assert [label(one.scores) for one in live.score([("", text) for text in TEXTS], "news")] == [
        label(one) for one in Head.load(tmp_path / "news", alone=True).scores(OneHot(), TEXTS)
    ]
    assert "the second head for news fails: " in live.problem
    assert ("out of memory" if broken == "raises" else "no number") in live.problem
    second.answers = answers  # type: ignore[method-assign]
    assert label(live.score([("", "x" * 103)], "news")[0].scores) == "sport" and live.problem == ""


def test_one_head_s_folder_may_be_given_with_its_second(tmp_path: Path) -> None:
    folder = two(tmp_path / "news")
    live = LiveHead(OneHot(), folder, Registry(ObjectStore(str(tmp_path / "objects")), tmp_path / "cache"), "c", lambda: START)
    live.start()
    assert live.problem == "" and live.heads["news"].second is not None
    (folder / "head.json").unlink()
    assert list(heads.heads_in(folder)) == [], "a second head is none by itself"


def test_what_the_gate_judged_beside_hangs_on_both_heads(tmp_path: Path) -> None:
    """`ground` tells one question to the gate from another."""
    folder = two(tmp_path / "news")
    settings = SimpleNamespace(head=tmp_path, encoder=ROOT / "build" / "encoder")
    runs = Runs(settings, ObjectStore(str(tmp_path / "objects")), None, "base", lambda: START)  # type: ignore[arg-type]
    grounds = [runs.ground(role_of("news"))]
    card = json.loads((folder / SECOND / "head.json").read_text())
    (folder / SECOND / "head.json").write_text(json.dumps(card | {"asked_below": 0.5}))
    grounds.append(runs.ground(role_of("news")))
    (folder / SECOND / "head.onnx").unlink()
    grounds.append(runs.ground(role_of("news")))
    assert len(set(grounds)) == 3


def test_a_head_with_a_second_one_is_not_offered_without_it(tmp_path: Path) -> None:
    for folder in (two(tmp_path / "news"), two(tmp_path / "other") / SECOND):
        with pytest.raises(LocalError, match="has a second head or files of weights"):
            asyncio.run(offer_folder(None, folder, "none"))  # type: ignore[arg-type]


def test_a_batch_s_rows_are_filled_up_no_further_than_needed() -> None:
    mask = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1], [1, 1, 1, 0]], dtype=np.float32)
    ids, embedded = np.arange(16).reshape(4, 4), np.arange(16 * DIMS, dtype=np.float32).reshape(4, 4, DIMS)
    some = Read([7, 5, 3, 1], ids, embedded, mask, lambda vectors, _: vectors).only(np.array([1, 3]))
    assert some.places == [5, 1] and some.mask.tolist() == [[1, 1, 0], [1, 1, 1]] and some.ids.tolist() == [[4, 5, 6], [12, 13, 14]]
    assert np.array_equal(some.embedded, embedded[[1, 3], :3]) and some.pooled.shape == (2, DIMS)


def test_large_weights_lie_in_files_of_a_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(external, "MOST_BYTES", 20_000)
    tensors = [numpy_helper.from_array(np.arange(n, dtype=np.float32) + n, f"t{n}") for n in (10, 2000, 2500, 3000, 9000)]
    made = helper.make_model(helper.make_graph([], "g", [], [], tensors))
    (tmp_path / "weights.9.bin").write_bytes(b"of an earlier export")
    data, files = external.external(made.SerializeToString(), tmp_path)
    external.clear(tmp_path, files)
    assert {path.name: path.stat().st_size for path in tmp_path.iterdir()} == dict(zip(files, (18_000, 12_000, 36_000), strict=True))
    (tmp_path / "head.onnx").write_bytes(data)
    read = onnx.load_model(str(tmp_path / "head.onnx"))
    assert [numpy_helper.to_array(one).tolist() for one in read.graph.initializer] == [numpy_helper.to_array(one).tolist() for one in tensors]
