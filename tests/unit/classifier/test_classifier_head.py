import json
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest
from classifier_samples import START
from onnx import TensorProto, helper, numpy_helper

from services.classifier.decide import Neural
from services.classifier.head import DIMS, Head
from services.classifier.live_head import LiveHead
from shared.encoder import Encoder, Read
from shared.errors import PermanentError, TransientError
from shared.events import BASE_DIGEST, ModelPublished, Probe
from shared.heads import READ_CHARS, head_text, is_head, role_of
from shared.objects import ObjectStore
from shared.registry import Registry

ROOT = Path(__file__).parents[3]
SHIPPED = ROOT / "deploy" / "model" / "heads"
ROLE = role_of("news")
exported = pytest.mark.skipif(not (ROOT / "build" / "encoder" / "manifest.json").exists(), reason="the encoder is not exported: make setup")


class OneHot:
    """An encoder small enough to know by heart: each text is one token, whose vector points along the text's length."""

    digest = json.loads((SHIPPED / "news" / "head.json").read_text())["encoder"]

    def read(self, texts, batch: int = 32):
        for start in range(0, len(texts), batch):
            places = list(range(start, min(start + batch, len(texts))))
            tokens = np.zeros((len(places), 1, DIMS), dtype=np.float32)
            tokens[range(len(places)), 0, [len(texts[place]) % DIMS for place in places]] = 1
            ids = np.array([[len(texts[place])] for place in places])
            yield Read(places, ids, tokens, np.ones((len(places), 1), dtype=np.float32), lambda vectors, _: vectors)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(ObjectStore(str(tmp_path / "objects")), tmp_path / "cache")


@pytest.fixture
def live(registry: Registry) -> LiveHead:
    head = LiveHead(OneHot(), SHIPPED, registry, "classifier-0", lambda: START)
    head.start()
    return head


def graph(weight: np.ndarray, bias: np.ndarray, task: str = "category", last: str = "Softmax", reads: str = "pooled") -> bytes:
    """A linear head on the pooled vector, or on the first token's."""
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["scores"], transB=1), helper.make_node(last, ["scores"], [f"says.{task}"])]
    inputs = [helper.make_tensor_value_info("pooled", TensorProto.FLOAT, ["n", DIMS])]
    if reads == "tokens":
        inputs = [
            helper.make_tensor_value_info("tokens", TensorProto.FLOAT, ["n", "t", DIMS]),
            helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["n", "t"]),
        ]
        nodes.insert(0, helper.make_node("Gather", ["tokens", "first"], ["x"], axis=1))
    else:
        nodes.insert(0, helper.make_node("Identity", ["pooled"], ["x"]))
    tensors = [numpy_helper.from_array(v.astype(np.float32), name) for name, v in (("w", weight), ("b", bias))]
    tensors.append(numpy_helper.from_array(np.array(0, dtype=np.int64), "first"))
    output = helper.make_tensor_value_info(f"says.{task}", TensorProto.FLOAT, ["n", "labels"])
    made = helper.make_model(helper.make_graph(nodes, "head", inputs, [output], tensors), opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


def odd_and_even() -> np.ndarray:
    weight = np.zeros((2, DIMS), dtype=np.float32)
    weight[0, ::2] = weight[1, 1::2] = 5
    return weight


def other_head(folder: Path, data: bytes | None = None, **changes) -> Path:
    """A head that says sport of texts with an even length and culture of the others."""
    folder.mkdir()
    card = {"format": 2, "collection": "news", "kind": "logistic", "reads": "pooled", "encoder": OneHot.digest}
    card |= {"tasks": {"category": ["sport", "culture"]}, "kinds": {"category": "single"}} | changes
    (folder / "head.onnx").write_bytes(graph(odd_and_even(), np.zeros(2)) if data is None else data)
    (folder / "head.json").write_text(json.dumps(card))
    return folder


def published(digest: str, *answers: tuple[str, str], role: str = ROLE) -> ModelPublished:
    probes = [Probe(task="category", title="", text=text, answer=answer, base_answer="") for text, answer in answers]
    return ModelPublished(role=role, digest=digest, probes=probes, published_at=START)


def test_the_shipped_news_head_knows_eight_categories_and_leaves_two_to_corrections() -> None:
    head = Head.load(SHIPPED / "news")
    assert head.card.tasks["category"] == ["politics", "business", "technology", "science", "health", "culture", "sport", "world"]
    assert head.card.tasks["urgency"] == ["low", "normal", "high"] and head.card.kinds["urgency"] == "ordinal"
    card = json.loads((SHIPPED / "news" / "head.json").read_text())
    assert card["figures"]["category"]["accuracy"] > 0.8
    seed = [json.loads(line) for line in (ROOT / "deploy" / "sample" / "seed_labels.jsonl").read_text().splitlines()]
    assert not {"security", "economy"} & {row["category"] for row in seed}
    assert len({row["text"] for row in seed}) == len(seed) >= 250


def test_every_shipped_head_fits_its_label_set_and_one_encoder(live: LiveHead) -> None:
    assert live.problem == "" and set(live.heads) >= {"news", "wellbeing"}
    assert set(live.heads["wellbeing"].card.tasks) == {"emotion", "sentiment", "stress", "risk"}


def test_probabilities_are_those_of_the_graph(tmp_path: Path) -> None:
    weight, bias = np.random.default_rng(1).normal(size=(2, DIMS)), np.array([0.5, -0.25])
    head = Head.load(other_head(tmp_path / "a", graph(weight, bias)))
    [scores] = head.scores(OneHot(), ["abc"])
    logits = weight[:, 3] + bias
    wanted = np.exp(logits) / np.exp(logits).sum()
    assert list(scores["category"].values()) == pytest.approx(wanted.tolist(), abs=2e-6)
    many = [("x" * n) for n in range(50)]
    together, alone = head.scores(OneHot(), many, batch=7), [head.scores(OneHot(), [text])[0] for text in many]
    assert together == alone


def test_a_head_may_read_the_tokens_and_answer_several_labels(tmp_path: Path) -> None:
    data = graph(odd_and_even(), np.zeros(2), "topics", "Sigmoid", "tokens")
    head = Head.load(other_head(tmp_path / "a", data, reads="tokens", tasks={"topics": ["a", "b"]}, kinds={"topics": "multi"}))
    assert head.scores(OneHot(), ["ab"]) == [{"topics": {"a": pytest.approx(1 / (1 + np.exp(-5)), abs=1e-5), "b": 0.5}}]


@exported
def test_the_shipped_heads_read_new_texts_right(registry: Registry) -> None:
    live = LiveHead(Encoder(ROOT / "build" / "encoder"), SHIPPED, registry, "c", lambda: START)
    live.start()
    assert live.problem == ""
    texts = {
        "The midfielder scored twice and the visitors won the derby.": "sport",
        "Lawmakers rejected the electoral reform after a heated session.": "politics",
        "Doctors tested the new vaccine on two thousand patients.": "health",
        "The violinist played the sonata to a full concert hall.": "culture",
        "Astronomers measured the distance of a faint galaxy.": "science",
        "The programming language gets a new package manager.": "technology",
    }
    scored = live.score([("", text) for text in texts], "news")
    assert [max(n.scores["category"], key=n.scores["category"].get) for n in scored] == list(texts.values())
    alone = [live.score([("", text)], "news")[0] for text in texts]
    assert alone == scored  # what is decided beside a text must not move its verdict
    messages = {
        "We danced till midnight and I have never been so happy.": ("emotion", "positive"),
        "The parcel is at the post office, open till six.": ("emotion", "neutral"),
        "How dare he lie to my face, I am furious.": ("emotion", "anger"),
        "I have made up my mind to end my life.": ("risk", "high"),
    }
    said = live.score([("", text) for text in messages], "wellbeing")
    for neural, (task, label) in zip(said, messages.values(), strict=True):
        assert max(neural.scores[task], key=neural.scores[task].get) == label


def test_the_digest_is_that_of_the_files(tmp_path: Path) -> None:
    one, two = other_head(tmp_path / "one"), other_head(tmp_path / "two", collection="mail")
    assert Head.load(one).digest == Head.load(one).digest != Head.load(two).digest
    assert Head.load(one, "given").digest == "given"


def test_what_a_head_reads() -> None:
    assert head_text("Rain", "It rained.") == "Rain. It rained."
    assert head_text("Rain?", "It rained.") == "Rain? It rained."
    assert len(head_text("Rain", "x" * 5000)) == READ_CHARS


@pytest.mark.parametrize(
    ("data", "changes", "says"),
    [
        (graph(np.zeros((3, DIMS)) + np.arange(3)[:, None], np.zeros(3)), {}, "gives [5, 3] for task 'category', expected [5, 2]"),
        (graph(np.full((2, DIMS), np.nan), np.zeros(2)), {}, "not finite"),
        (graph(np.ones((2, DIMS)), np.zeros(2)), {}, "says the same of every text"),
        (graph(odd_and_even(), np.zeros(2), last="Identity"), {}, "no probabilities for task 'category'"),
        (graph(odd_and_even(), np.zeros(2), last="Sigmoid"), {}, "no probabilities for task 'category'"),
        (graph(odd_and_even(), np.zeros(2), "mood"), {}, "does not do what head.json says"),
        (graph(odd_and_even()[:, :99], np.zeros(2)), {}, "no graph that onnxruntime can read"),
        (b"nothing of the kind", {}, "no graph that onnxruntime can read"),
        (b"", {}, "no graph that onnxruntime can read"),
        (None, {"reads": "tokens"}, "does not do what head.json says"),
        (None, {"tasks": {"category": ["sport", "sport"]}}, "different labels"),
        (None, {"tasks": {}, "kinds": {}}, "must name one task"),
        (None, {"kinds": {"mood": "single"}}, "the kind of each"),
        (None, {"reads": "thoughts"}, "reads"),
        (None, {"format": 1}, "format"),
    ],
)
def test_a_broken_head_is_refused_by_name(tmp_path: Path, data: bytes | None, changes: dict, says: str) -> None:
    with pytest.raises(PermanentError, match=r".") as refused:
        Head.load(other_head(tmp_path / "bad", data, **changes))
    assert says in str(refused.value)


def test_files_that_are_no_head(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match=r"no head in .*: head\.json"):
        Head.load(tmp_path)
    old = other_head(tmp_path / "old")
    (old / "head.json").write_text(json.dumps({"collection": "news", "encoder": "all-MiniLM-L6-v2", "tasks": {}}))
    with pytest.raises(PermanentError, match="of the old format, with safetensors: train the head again"):
        Head.load(old)
    (old / "head.json").write_text("{")
    with pytest.raises(PermanentError, match=r"head\.json is no JSON"):
        Head.load(old)


def test_weights_outside_the_graph_are_refused(tmp_path: Path) -> None:
    """An ONNX graph may name a file that its weights are read from: no file of the classifier's machine may be read on a model's word."""
    model = onnx.load_from_string(graph(odd_and_even(), np.zeros(2)))
    weights = next(tensor for tensor in model.graph.initializer if tensor.name == "w")
    (tmp_path / "secret").write_bytes(weights.raw_data)
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    for key, value in (("location", str(tmp_path / "secret")), ("offset", "0"), ("length", str(2 * DIMS * 4))):
        entry = weights.external_data.add()
        entry.key, entry.value = key, value
    with pytest.raises(PermanentError, match=r"head\.onnx"):
        Head.load(other_head(tmp_path / "bad", bytes(model.SerializeToString())))


async def test_a_published_head_is_probed_and_swapped_in_and_base_goes_back(live: LiveHead, registry: Registry, tmp_path: Path) -> None:
    shipped, other = live.heads["news"], live.heads["wellbeing"]
    digest = registry.publish(other_head(tmp_path / "new"), ROLE, "minilm").digest
    report = await live.activate(published(digest, ("ab", "sport"), ("abc", "culture")))
    assert (report.outcome, report.serving, report.role, report.probes_agreed, report.probes) == ("active", digest, ROLE, 2, 2)
    [scored] = live.score([("", "abcd")], "news")
    assert scored.digest == digest and scored.scores["category"]["sport"] > 0.9
    assert live.heads["wellbeing"] is other, "the head of another collection stays as it is"
    back = await live.activate(published(BASE_DIGEST))
    assert (back.outcome, back.serving) == ("active", BASE_DIGEST)
    assert live.heads["news"].digest == shipped.digest


async def test_a_head_that_fails_keeps_the_old_one_and_says_why(live: LiveHead, registry: Registry, tmp_path: Path) -> None:
    before = dict(live.heads)
    wrong = registry.publish(other_head(tmp_path / "a"), ROLE, "minilm").digest
    foreign = registry.publish(other_head(tmp_path / "b", tasks={"category": ["sport", "gossip"]}), ROLE, "minilm").digest
    strange = registry.publish(other_head(tmp_path / "c", encoder="f" * 64), ROLE, "minilm").digest
    astray = registry.publish(other_head(tmp_path / "d"), role_of("wellbeing"), "minilm").digest
    unknown = registry.publish(other_head(tmp_path / "e", collection="gazette"), role_of("gazette"), "minilm").digest
    ranked = registry.publish(other_head(tmp_path / "f", kinds={"category": "ordinal"}), ROLE, "minilm").digest
    for event, says in [
        (published(wrong, ("ab", "culture"), ("abc", "culture")), "only 1 of 2 known answers"),
        (published(wrong), "it came without known answers"),
        (published(foreign), "no label 'gossip'"),
        (published(strange), "was trained on the encoder ffffffffffff"),
        (published(astray, role=role_of("wellbeing")), "speaks for the collection 'news'"),
        (published(unknown, role=role_of("gazette")), "has no label set"),
        (published(ranked), "'category' is single in the label set, and the head was trained on a ordinal one"),
        (published(BASE_DIGEST, role=role_of("gazette")), "there is nothing to go back to"),
        (published("0" * 64), "has no models/head-news"),
    ]:
        report = await live.activate(event)
        assert (report.outcome, report.serving) == ("refused", BASE_DIGEST)
        assert says in report.reason
        assert live.heads == before


async def test_a_store_that_is_away_is_worth_another_try(live: LiveHead, registry: Registry, tmp_path: Path) -> None:
    digest = registry.publish(other_head(tmp_path / "new"), ROLE, "minilm").digest
    registry.cache = tmp_path / "file"
    registry.cache.write_text("a file where the cache's folder should be")
    with pytest.raises(TransientError, match="can't be fetched now"):
        await live.activate(published(digest))


def test_without_head_or_encoder_there_is_a_reason(registry: Registry, tmp_path: Path) -> None:
    no_head = LiveHead(OneHot(), tmp_path, registry, "c", lambda: START)
    no_encoder = LiveHead(Encoder(tmp_path / "none"), SHIPPED, registry, "c", lambda: START)
    for live in (no_head, no_encoder):
        live.start()
        assert live.problem
    [by_name] = no_head.score([("", "text")], "news")
    assert set(by_name.scores) == by_name.named == {"category", "sentiment"}  # urgency is an order: nearness tells nothing of it
    assert no_encoder.score([("", "text")], "news") == [Neural()]
    assert no_encoder.problem.count("encoder is missing") == 1  # and not once a head


def test_one_broken_head_does_not_take_the_others_along(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "heads").mkdir()
    other_head(tmp_path / "heads" / "news")
    other_head(tmp_path / "heads" / "wellbeing", b"damaged")
    live = LiveHead(OneHot(), tmp_path / "heads", registry, "c", lambda: START)
    live.start()
    assert set(live.heads) == {"news"} and "no graph that onnxruntime can read" in live.problem
    assert "the head in wellbeing is not used" in live.problem
    (tmp_path / "heads" / "wellbeing" / "head.json").unlink()
    without_card = LiveHead(OneHot(), tmp_path / "heads", registry, "c", lambda: START)
    without_card.start()
    assert set(without_card.heads) == {"news"} and without_card.problem == "the head in wellbeing is not used: it has no head.json"
    alone = LiveHead(OneHot(), tmp_path / "heads" / "news", registry, "c", lambda: START)
    alone.start()
    assert set(alone.heads) == {"news"} and alone.problem == ""


def test_a_head_speaks_for_its_collection_alone(registry: Registry, tmp_path: Path) -> None:
    live = LiveHead(OneHot(), other_head(tmp_path / "news"), registry, "c", lambda: START)
    live.start()
    assert live.score([("", "text")], "wellbeing")[0].named == {"sentiment"}
    [own] = live.score([("", "text")], "news")
    assert set(own.scores) == {"category", "sentiment"} and own.named == {"sentiment"} and own.digest == live.heads["news"].digest
    assert is_head("head-news") and not is_head("adapter") and not is_head("head-")


async def test_a_store_that_hangs_does_not_keep_the_head_that_ships_from_coming_back(
    live: LiveHead, registry: Registry, tmp_path: Path, monkeypatch
) -> None:
    digest = registry.publish(other_head(tmp_path / "new"), ROLE, "minilm").digest
    gone = threading.Event()
    monkeypatch.setattr(registry, "fetch", lambda role, digest: gone.wait(20))
    monkeypatch.setattr("services.classifier.live_head.FETCH_WAIT_S", 0.1)
    try:
        with pytest.raises(TransientError, match="can't be fetched now"):
            await live.activate(published(digest))
        monkeypatch.setattr("services.classifier.live_head.FETCH_WAIT_S", 20)
        assert (await live.activate(published(BASE_DIGEST))).outcome == "active"
    finally:
        gone.set()
