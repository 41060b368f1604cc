"""A tuned head that begins with another head's layers: they are read out of its graph whole and near to what they were, and what does not fit is named."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from services.classifier.head import Head
from services.trainer.runs import train_head
from services.trainer.runs.encoder_original import PROBES
from services.trainer.runs.heads import export, start, tuned
from services.trainer.runs.heads.examples import Example, Task
from services.trainer.runs.heads.network import Network
from shared.encoder import DIMS, Encoder
from shared.errors import ConfigError
from shared.taxonomy import LabelSet

ROOT = Path(__file__).parents[3]
ENCODER, HEADS = ROOT / "build" / "encoder", ROOT / "deploy" / "model" / "heads"
OURS = "e" * 64
CARD = {"collection": "desk", "kind": "tuned", "encoder": OURS, "measured": "", "figures": {}}
DESK = LabelSet.model_validate({"collection": "desk", "tasks": {"team": {"meaning": "who takes it", "labels": {"red": "r", "blue": "b"}}}})
exported = pytest.mark.skipif(not (ENCODER / "manifest.json").exists(), reason="the encoder is not exported: make setup")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def moved() -> Network:
    """A tuned network whose layers are not the published ones, one dimension of them far larger than the others."""
    torch.manual_seed(4)
    made = Network(tuned.Body(), DIMS, tuned.READS, [Task("team", "single", ["red", "blue"])])
    with torch.no_grad():
        for weight in made.body.parameters():
            weight += torch.randn_like(weight) * 0.01
        made.body.layers.layers[2].attention.output.LayerNorm.weight[7] *= 60  # static_int8 evens that out, and it has to be undone
    return made.eval()


def fed(batches: int = 3) -> list[dict[str, np.ndarray]]:
    dice = np.random.default_rng(5)
    return [
        {"embedded": dice.normal(0, 0.5, (4, 9, DIMS)).astype(np.float32), "mask": (np.arange(9) < [[9], [7], [5], [3]]).astype(np.float32)}
        for _ in range(batches)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The moved network as an int8 head."""
    made = tmp_path_factory.mktemp("head")
    export.write(made, moved(), CARD, fed())
    return made


def test_every_weight_is_read_back_within_half_a_step_of_its_rounding(folder: Path, tmp_path: Path) -> None:
    wanted, found = moved().body.layers.state_dict(), start.read(folder, OURS)
    constants = onnx.load(str(folder / "head.onnx")).graph.initializer
    (even,) = (torch.from_numpy(onnx.numpy_helper.to_array(one).copy()) for one in constants if one.name.startswith("even_"))
    assert (found.collection, found.digest) == ("desk", Head.load(folder).digest) and set(found.weights) == set(wanted)
    for name, weight in found.weights.items():
        if weight.dim() == 1:
            assert torch.equal(weight, wanted[name]), f"{name} is in fp32 in the graph"
        else:
            by = even if name == "layers.2.intermediate.dense.weight" else torch.ones(weight.shape[1])  # what it was divided by before it was rounded
            step = (wanted[name] / by).abs().amax(dim=1, keepdim=True) / 127  # a row here is a column there
            assert ((weight - wanted[name]).abs() <= 0.501 * step * by).all(), name
    export.write(tmp_path, moved(), CARD)
    full = start.read(tmp_path, OURS).weights
    assert all(torch.equal(full[name], weight) for name, weight in wanted.items()), "a graph in fp32 gives them as they were"


@exported
def test_the_shipped_head_and_the_layers_read_out_of_it_say_the_same() -> None:
    encoder = Encoder(ENCODER)
    begun = start.read(HEADS / "wellbeing", encoder.digest)
    bodies = {"its own": tuned.Body(begun).eval(), "published": tuned.Body().eval()}
    model = onnx.load(str(HEADS / "wellbeing" / "head.onnx"))
    last = [node for node in model.graph.node if node.op_type == "Gemm"]  # a linear layer a task, each of the same features
    model.graph.output.extend([onnx.helper.make_empty_tensor_value_info(name) for name in (last[0].input[0], last[0].output[0])])
    constants = {one.name: torch.from_numpy(onnx.numpy_helper.to_array(one).copy()) for one in model.graph.initializer}
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    cosines: dict[str, list[float]] = {name: [] for name in bodies}
    apart: dict[str, list[float]] = {name: [] for name in bodies}
    for read in encoder.read(PROBES, 8):
        features, scores = (
            torch.from_numpy(one) for one in session.run([last[0].input[0], last[0].output[0]], {"embedded": read.embedded, "mask": read.mask})
        )
        for name, body in bodies.items():
            with torch.inference_mode():
                ours = body(torch.from_numpy(read.embedded), torch.from_numpy(read.mask))
                said = torch.nn.functional.linear(ours, *(constants[one] for one in last[0].input[1:]))
            cosines[name] += torch.nn.functional.cosine_similarity(ours, features, dim=1).tolist()
            apart[name] += (said.softmax(dim=1) - scores.softmax(dim=1)).abs().mean(dim=1).tolist()
    # the same weights on both sides; only the graph rounds what goes through the layers to 8 bits too. Its card says how far that moves probabilities on
    # its own texts (int8_apart, 0.011 when this was written), and a few single probes may be twice as far
    assert min(cosines["its own"]) > 0.97 and np.mean(cosines["its own"]) > 0.99
    assert np.mean(apart["its own"]) < 2 * json.loads((HEADS / "wellbeing" / "head.json").read_text())["int8_apart"]
    assert max(cosines["published"]) < 0.9 and np.mean(apart["published"]) > 5 * np.mean(apart["its own"])


def without(folder: Path, change: Callable[[Any], None]) -> None:
    model = onnx.load(str(folder / "head.onnx"))
    change(model.graph)
    onnx.save(model, str(folder / "head.onnx"))


def test_what_does_not_fit_is_named(folder: Path, tmp_path: Path) -> None:
    def broken(change: Callable[[Any], None]) -> Path:
        shutil.copytree(folder, tmp_path / "broken", dirs_exist_ok=True)
        without(tmp_path / "broken", change)
        return tmp_path / "broken"

    def dropped(name: str) -> Callable[[Any], None]:
        return lambda graph: graph.initializer.remove(next(one for one in graph.initializer if one.name == name))

    def cut(graph: Any) -> None:
        bias = next(one for one in graph.initializer if one.name == "body.layers.layers.3.output.dense.bias")
        bias.CopyFrom(onnx.numpy_helper.from_array(np.zeros(5, dtype=np.float32), bias.name))

    def lost(graph: Any) -> None:
        bias = next(one for one in graph.initializer if one.name == "body.layers.layers.3.output.dense.bias")
        bias.CopyFrom(onnx.numpy_helper.from_array(np.full(DIMS, np.nan, dtype=np.float32), bias.name))

    matrix = next(one.name for one in onnx.load(str(folder / "head.onnx")).graph.initializer if one.name.endswith(".int8"))
    for place, encoder, says in [
        (tmp_path / "none", OURS, "no head to begin with"),
        (HEADS / "news", json.loads((HEADS / "news" / "head.json").read_text())["encoder"], "reads pooled vectors and has no layers of its own"),
        (folder, "f" * 64, "trained on the encoder eeeeeeeeeeee, and the one in use is ffffffffffff"),
        (broken(dropped("body.layers.layers.5.output.LayerNorm.bias")), OURS, "its graph lacks layers.5.output.LayerNorm.bias"),
    ]:
        with pytest.raises(ConfigError) as refused:
            start.read(place, encoder)
        assert says in str(refused.value) and place.name in str(refused.value)
    for change, says in [
        (dropped(matrix), "its graph lacks layers.0.attention.self.query.weight"),
        (cut, "layers.3.output.dense.bias is [5], and the layers have [384]"),
        (lost, "layers.3.output.dense.bias has values that are not finite"),
        (lambda graph: graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(3), "body.layers.layers.6.x")), "not: layers.6.x"),
    ]:
        shutil.rmtree(tmp_path / "broken")
        with pytest.raises(ConfigError) as refused:
            start.read(broken(change), OURS)
        assert says in str(refused.value)
    (tmp_path / "broken" / "head.onnx").write_bytes(b"none")
    with pytest.raises(ConfigError, match=r"head\.onnx can.t be read"):
        start.read(tmp_path / "broken", OURS)


def test_only_a_tuned_head_begins_with_another(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        train_head.main(["--collection", "news", "--out", str(tmp_path / "out"), "--start", str(HEADS / "wellbeing"), "--threads", "1"])
    assert "--start: a logistic head has no layers of its own" in str(ended.value) and not (tmp_path / "out").exists()


@exported
def test_a_head_that_began_with_another_says_so_and_the_same_texts_make_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, begun = Encoder(ENCODER), []
    body = tuned.Body
    monkeypatch.setattr(tuned, "Body", lambda start=None: (begun.append(start), body(start))[1])
    examples = [Example(f"{words} {n}", {"team": team}) for n in range(7) for words, team in (("A late goal", "red"), ("Bake the loaf", "blue"))]
    shipped = Head.load(HEADS / "wellbeing", alone=True).digest
    digests = set()
    for name in ("one", "two"):
        card = train_head.train(examples, DESK, encoder, tmp_path / name, "tuned", measure=False, start_at=HEADS / "wellbeing")
        assert card["start"] == shipped and card["measured"] == ""
        assert json.loads((tmp_path / name / "head.json").read_text())["start"] == shipped
        digests.add(Head.load(tmp_path / name).digest)
    assert len(digests) == 1 and [one.digest for one in begun] == [shipped] * 2
    assert "start" not in train_head.train(examples, DESK, encoder, tmp_path / "three", "logistic", measure=False)


def test_figures_on_texts_that_the_first_head_may_know_are_told_as_such() -> None:
    def known(collection: str) -> str:
        return train_head.known_before(start.Start(collection, "d", {}), DESK)

    assert "may have learnt" in known("desk") and known("mails") == "" and train_head.known_before(None, DESK) == ""
