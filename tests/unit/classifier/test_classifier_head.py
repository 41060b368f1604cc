import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from classifier_samples import START
from safetensors.numpy import load_file, save_file

from services.classifier.head import DIMS, READ_CHARS, Head, head_text
from services.classifier.live_head import ROLE, LiveHead
from shared.encoder import Encoder
from shared.errors import PermanentError, TransientError
from shared.events import BASE_DIGEST, ModelPublished, Probe
from shared.objects import ObjectStore
from shared.registry import Registry

ROOT = Path(__file__).parents[3]
SHIPPED = ROOT / "deploy" / "model" / "heads" / "news"


class OneHot:
    """An encoder small enough to know by heart: the vector of a text points along its length."""

    def encode(self, texts, batch: int = 32):
        vectors = np.zeros((len(texts), DIMS), dtype=np.float32)
        vectors[range(len(texts)), [len(text) % DIMS for text in texts]] = 1
        return vectors


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(ObjectStore(str(tmp_path / "objects")), tmp_path / "cache")


@pytest.fixture
def live(registry: Registry) -> LiveHead:
    head = LiveHead(OneHot(), SHIPPED, registry, "classifier-0", lambda: START)
    head.start()
    return head


def other_head(folder: Path, **changes) -> Path:
    """A head that says sport of texts with an even length and culture of the others."""
    folder.mkdir()
    weight = np.zeros((2, DIMS), dtype=np.float32)
    weight[0, ::2] = weight[1, 1::2] = 5
    tensors = {"category.weight": weight, "category.bias": np.zeros(2, dtype=np.float32)} | changes.pop("tensors", {})
    card = {"collection": "news", "encoder": "x", "tasks": {"category": ["sport", "culture"]}} | changes
    save_file(tensors, folder / "head.safetensors")
    (folder / "head.json").write_text(json.dumps(card))
    return folder


def published(digest: str, *answers: tuple[str, str]) -> ModelPublished:
    probes = [Probe(task="category", title="", text=text, answer=answer, base_answer="") for text, answer in answers]
    return ModelPublished(role=ROLE, digest=digest, probes=probes, published_at=START)


def test_the_shipped_head_knows_eight_categories_and_leaves_two_to_corrections() -> None:
    head = Head.load(SHIPPED)
    assert head.card.tasks["category"] == ["politics", "business", "technology", "science", "health", "culture", "sport", "world"]
    assert head.card.tasks["urgency"] == ["low", "normal", "high"]
    card = json.loads((SHIPPED / "head.json").read_text())
    assert card["five_fold"]["category"]["accuracy"] > 0.8
    seed = [json.loads(line) for line in (ROOT / "deploy" / "sample" / "seed_labels.jsonl").read_text().splitlines()]
    assert not {"security", "economy"} & {row["category"] for row in seed}
    assert len({row["text"] for row in seed}) == len(seed) >= 250


def test_probabilities_are_the_softmax_of_the_weights() -> None:
    head, weights = Head.load(SHIPPED), load_file(SHIPPED / "head.safetensors")
    vector = OneHot().encode(["abc"])
    logits = (weights["sentiment.weight"] @ vector[0] + weights["sentiment.bias"]).astype(float)
    wanted = np.exp(logits) / np.exp(logits).sum()
    assert list(head.probabilities(vector)[0]["sentiment"].values()) == pytest.approx(wanted.tolist(), abs=2e-6)


@pytest.mark.skipif(not (ROOT / "build" / "encoder" / "manifest.json").exists(), reason="the encoder is not exported: make setup")
def test_the_shipped_head_reads_new_texts_right(registry: Registry) -> None:
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


def test_the_digest_is_that_of_the_files(tmp_path: Path) -> None:
    one, two = other_head(tmp_path / "one"), other_head(tmp_path / "two", collection="mail")
    assert Head.load(one).digest == Head.load(one).digest != Head.load(two).digest
    assert Head.load(one, "given").digest == "given"


def test_what_a_head_reads() -> None:
    assert head_text("Rain", "It rained.") == "Rain. It rained."
    assert head_text("Rain?", "It rained.") == "Rain? It rained."
    assert len(head_text("Rain", "x" * 5000)) == READ_CHARS


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"tensors": {"category.bias": np.zeros(3, dtype=np.float32)}}, "expected [2]"),
        ({"tensors": {"category.weight": np.full((2, DIMS), np.nan, dtype=np.float32)}}, "not finite"),
        ({"tensors": {"category.weight": np.ones((2, DIMS), dtype=np.float32)}}, "same for every label"),
        ({"tasks": {"category": ["sport", "sport"]}}, "different labels"),
        ({"tasks": {"mood": ["a", "b"]}}, "has no mood.weight"),
        ({"tasks": {}}, "names no task"),
    ],
)
def test_a_broken_head_is_refused_by_name(tmp_path: Path, changes: dict, says: str) -> None:
    with pytest.raises(PermanentError, match=r".") as refused:
        Head.load(other_head(tmp_path / "bad", **changes))
    assert says in str(refused.value)


def test_files_that_are_no_head(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match=r"head\.safetensors"):
        Head.load(tmp_path)
    bad = other_head(tmp_path / "bad")
    (bad / "head.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(PermanentError, match="no safetensors"):
        Head.load(bad)


async def test_a_published_head_is_probed_and_swapped_in_and_base_goes_back(live: LiveHead, registry: Registry, tmp_path: Path) -> None:
    shipped = live.head
    digest = registry.publish(other_head(tmp_path / "new"), ROLE, "minilm").digest
    report = await live.activate(published(digest, ("ab", "sport"), ("abc", "culture")))
    assert (report.outcome, report.serving, report.probes_agreed, report.probes) == ("active", digest, 2, 2)
    [scored] = live.score([("", "abcd")], "news")
    assert scored.digest == digest and scored.scores["category"]["sport"] > 0.9
    back = await live.activate(published(BASE_DIGEST))
    assert (back.outcome, back.serving) == ("active", BASE_DIGEST)
    assert live.head and shipped and live.head.digest == shipped.digest


async def test_a_head_that_fails_keeps_the_old_one_and_says_why(live: LiveHead, registry: Registry, tmp_path: Path) -> None:
    before = live.head
    wrong = registry.publish(other_head(tmp_path / "a"), ROLE, "minilm").digest
    foreign = registry.publish(other_head(tmp_path / "b", tasks={"category": ["sport", "gossip"]}), ROLE, "minilm").digest
    for event, says in [
        (published(wrong, ("ab", "culture"), ("abc", "culture")), "only 1 of 2 known answers"),
        (published(foreign), "no label 'gossip'"),
        (published("0" * 64), "has no models/head-news"),
    ]:
        report = await live.activate(event)
        assert (report.outcome, report.serving) == ("refused", BASE_DIGEST)
        assert says in report.reason
        assert live.head is before


async def test_a_store_that_is_away_is_worth_another_try(live: LiveHead, registry: Registry, tmp_path: Path) -> None:
    digest = registry.publish(other_head(tmp_path / "new"), ROLE, "minilm").digest
    registry.cache = tmp_path / "file"
    registry.cache.write_text("a file where the cache's folder should be")
    with pytest.raises(TransientError, match="can't be fetched now"):
        await live.activate(published(digest))


def test_without_head_or_encoder_there_is_a_reason_and_no_score(registry: Registry, tmp_path: Path) -> None:
    no_head = LiveHead(OneHot(), tmp_path, registry, "c", lambda: START)
    no_encoder = LiveHead(Encoder(tmp_path / "none"), SHIPPED, registry, "c", lambda: START)
    for live in (no_head, no_encoder):
        live.start()
        assert live.problem
        assert live.score([("", "text")], "news")[0].scores == {}


def test_a_head_speaks_for_its_collection_alone(live: LiveHead) -> None:
    assert live.score([("", "text")], "wellbeing")[0].scores == {}


def test_training_gives_the_same_bytes_again(tmp_path: Path) -> None:
    if not (ROOT / "build" / "encoder" / "manifest.json").exists():
        pytest.skip("the encoder is not exported: make setup")
    from services.trainer.runs import train_head

    lines = (ROOT / "deploy" / "sample" / "seed_labels.jsonl").read_text().splitlines()[::8]
    (tmp_path / "few.jsonl").write_text("\n".join(lines))
    encoder = Encoder(ROOT / "build" / "encoder")
    digests = set()
    for name in ("one", "two"):
        train_head.train(tmp_path / "few.jsonl", tmp_path / name, encoder)
        digests.add(Head.load(tmp_path / name).digest)
        shutil.rmtree(tmp_path / name)
    assert len(digests) == 1
