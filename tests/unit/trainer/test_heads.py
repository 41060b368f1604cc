"""Training of heads: what the networks learn, what is measured, and that the classifier reads what the trainer writes."""

import json
import math
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from services.classifier.head import Head
from services.trainer.runs import train_head
from services.trainer.runs.heads import export, figures, logistic, training, vectors
from services.trainer.runs.heads.examples import Example, Targets, Task, dealt, read, targets
from services.trainer.runs.heads.fitting import fit_temperatures
from services.trainer.runs.heads.network import Network, label_weights, log_chances, losses, total_loss
from services.trainer.runs.heads.vectors import Store
from services.trainer.runs.heads.wellbeing import USUAL, goemotions, read_folder, read_yaml
from services.trainer.runs.train_head import OWN_TEXTS, gathered
from shared.encoder import DIMS, Encoder, Read
from shared.errors import ConfigError
from shared.taxonomy import LabelSet, label_set
from tests.bench.classifier.messages import STATEMENTS

ROOT = Path(__file__).parents[3]
SMALL = ("logistic", "mlp", "textcnn")  # without layers of the encoder
DESK = LabelSet.model_validate(
    {
        "collection": "desk",
        "tasks": {
            "team": {"meaning": "who takes it", "labels": {"red": "r", "blue": "b", "green": "g"}},
            "haste": {"meaning": "how soon", "kind": "ordinal", "labels": {"late": "l", "soon": "s", "now": "n"}},
            "topics": {"meaning": "what about", "kind": "multi", "labels": {"pay": "p", "food": "f"}},
        },
    }
)


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def made(n: int = 240, noise: float = 0.35, seed: int = 3) -> tuple[Store, Targets]:
    """Texts of one to six tokens whose labels stand in the vectors: team and haste as directions, topics as signs."""
    dice = np.random.default_rng(seed)
    team, haste, topics = dice.integers(0, 3, n), dice.integers(0, 3, n), dice.integers(0, 2, (n, 2))
    lengths = dice.integers(1, 7, n)
    begins = np.concatenate([[0], np.cumsum(lengths)])
    meaning = np.zeros((n, DIMS))
    meaning[np.arange(n), team] = 2
    meaning[:, 10] = (haste - 1) * 2
    meaning[:, 20:22] = topics * 2 - 1
    tokens = np.repeat(meaning, lengths, axis=0) + dice.normal(0, noise, (int(lengths.sum()), DIMS))
    pooled = np.stack([tokens[a:b].mean(axis=0) for a, b in pairwise(begins)])
    pooled /= np.linalg.norm(pooled, axis=1, keepdims=True)
    tasks = [
        Task("team", "single", ["red", "blue", "green"]),
        Task("haste", "ordinal", ["late", "soon", "now"]),
        Task("topics", "multi", ["pay", "food"]),
    ]
    said = {"team": team, "haste": haste, "topics": topics}
    target = Targets(tasks, said, np.ones(n, dtype=bool), np.ones(n, dtype=np.float32))
    return Store(pooled.astype(np.float32), tokens.astype(np.float16), begins.astype(np.int64)), target


CARD = {"collection": "desk", "kind": "any", "encoder": "e" * 64, "measured": "", "figures": {}}


class Replay:
    """An encoder that gives the vectors of a store: text "7" is the store's text 7."""

    digest = "e" * 64

    def __init__(self, store: Store) -> None:
        self.store = store

    def read(self, texts, batch: int = 32):
        for start in range(0, len(texts), batch):
            chosen = [int(text) for text in texts[start : start + batch]]
            tokens, mask = self.store.inputs("tokens", np.array(chosen))
            yield Read(
                list(range(start, start + len(chosen))),
                np.zeros(mask.shape, dtype=np.int64),
                tokens.numpy(),
                mask.numpy(),
                lambda vectors, _: vectors,
            )


@pytest.mark.parametrize("kind", SMALL)
def test_each_kind_learns_all_sorts_of_tasks_and_the_classifier_reads_it(kind: str, tmp_path: Path) -> None:
    store, target = made(480)
    taught, unseen = np.arange(400), np.arange(400, 480)
    network = training.once(kind, store, target, taught)
    found = figures.figures(target, unseen, network.probabilities(store, unseen))
    assert found["team"]["accuracy"] > 0.85 and found["haste"]["accuracy"] > 0.8 and found["topics"]["micro_f1"] > 0.85
    export.write(tmp_path, network, CARD)
    head = Head.load(tmp_path)
    head.fits("e" * 64, DESK)
    scores = head.scores(Replay(store), [str(n) for n in unseen], batch=13)
    for task, chances in network.probabilities(store, unseen).items():
        there = np.array([list(one[task].values()) for one in scores])
        # the pooled vectors of the store were not made of its float16 tokens, and those of the replay are
        assert np.abs(there - chances).max() < 0.02
    assert all(sum(one["haste"].values()) == pytest.approx(1, abs=1e-4) for one in scores)
    alone = [head.scores(Replay(store), [str(n)])[0] for n in unseen[:8]]
    for a, b in zip(alone, scores, strict=False):
        assert all(a[task][label] == pytest.approx(b[task][label], abs=2e-6) for task in a for label in a[task]), "a batch moves nothing"


def test_an_mlp_learns_what_no_line_divides_and_a_window_what_no_mean_shows() -> None:
    dice = np.random.default_rng(1)
    n = 400
    bits = dice.integers(0, 2, (n, 2))
    x = dice.normal(0, 0.05, (n, DIMS))
    x[:, :2] += (bits * 2 - 1) * 2.0
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    target = Targets([Task("t", "single", ["a", "b"])], {"t": bits[:, 0] ^ bits[:, 1]}, np.ones(n, bool), np.ones(n, np.float32))
    accuracy = {}
    for kind in ("logistic", "mlp"):
        network = training.once(kind, Store(x.astype(np.float32)), target, np.arange(300))
        chances = network.probabilities(Store(x.astype(np.float32)), np.arange(300, n))
        accuracy[kind] = figures.figures(target, np.arange(300, n), chances)["t"]["accuracy"]
    assert accuracy["logistic"] < 0.75 < 0.95 < accuracy["mlp"]

    # "not good" and "good not": the same words in another order
    words = dice.normal(size=(4, DIMS))
    order = dice.integers(0, 2, n)
    rows = np.concatenate([words[[2, *(0, 1)[:: 1 - 2 * o], 3]] for o in order]) + dice.normal(0, 0.1, (4 * n, DIMS))
    store = Store(np.zeros((n, DIMS), np.float32), rows.astype(np.float16), np.arange(0, 4 * n + 1, 4))
    target = Targets([Task("t", "single", ["a", "b"])], {"t": order}, np.ones(n, bool), np.ones(n, np.float32))
    chances = training.once("textcnn", store, target, np.arange(300)).probabilities(store, np.arange(300, n))
    assert figures.figures(target, np.arange(300, n), chances)["t"]["accuracy"] > 0.95


@pytest.mark.skipif(not (ROOT / "build" / "encoder" / "manifest.json").exists(), reason="the encoder is not exported: make setup")
def test_a_tuned_head_has_layers_of_its_own_in_int8_and_reads_a_text_alike_in_any_batch(tmp_path: Path) -> None:
    encoder, words = Encoder(ROOT / "build" / "encoder"), ("goal", "match", "league", "striker", "coach", "cup", "derby", "keeper")
    sport = [f"The {one} of the {two} was decided late." for one in words for two in words[:3]]
    bread = [
        f"Bake the {one} with {two} at 200 degrees." for one in ("loaf", "roll", "cake", "pie", "bun", "tart", "scone", "pretzel") for two in "abc"
    ]
    examples = [Example(text, {"team": team}) for pair in zip(sport, bread, strict=True) for text, team in zip(pair, ("red", "blue"), strict=True)]
    card = train_head.train(examples[:-8], DESK, encoder, tmp_path, "tuned", measure=False)
    assert card["reads"] == "embedded" and card["int8_apart"] < 0.05
    assert (tmp_path / "head.onnx").stat().st_size < 12_000_000
    head = Head.load(tmp_path)
    texts = [one.text for one in examples[-8:]]
    scores = head.scores(encoder, [*texts, "A much longer text about nothing in particular that fills up the batch to its own length."])
    assert [max(one["team"], key=one["team"].get) for one in scores[:8]] == ["red", "blue"] * 4
    assert [head.scores(encoder, [text])[0] for text in texts] == scores[:8]


def test_the_same_texts_give_the_same_bytes(tmp_path: Path) -> None:
    store, target = made(80)
    for kind in SMALL:
        digests = set()
        for name in ("one", "two"):
            export.write(tmp_path / kind / name, training.once(kind, store, target, np.arange(80)), CARD)
            digests.add(Head.load(tmp_path / kind / name).digest)
        assert len(digests) == 1, kind


def test_an_ordinal_task_gives_probabilities_and_knows_its_order() -> None:
    logits = torch.tensor([[-4.0, 0.0], [4.0, -4.0], [4.0, 4.0], [60.0, -60.0]], dtype=torch.float64)
    chances = log_chances("ordinal", logits).exp()
    assert torch.allclose(chances.sum(dim=1), torch.ones(4, dtype=torch.float64))
    assert chances.argmax(dim=1).tolist() == [0, 1, 2, 1]
    assert chances[0, 0] == pytest.approx(float(torch.sigmoid(torch.tensor(4.0))), abs=1e-6)
    assert chances[2, 2] == pytest.approx(float(torch.sigmoid(torch.tensor(4.0))) ** 2, abs=1e-6)


def test_who_says_nothing_teaches_nothing() -> None:
    store, target = made(60)
    network = Network(torch.nn.Identity(), DIMS, "pooled", target.tasks)
    half = {name: said.copy() for name, said in target.of.items()}
    for said in half.values():
        said[30:] = -1
    silent = Targets(target.tasks, half, target.own, target.weight)
    logits = [scored.detach() for scored in network.logits(*store.inputs("pooled", np.arange(60)))]
    first = [scored[:30] for scored in logits]
    weights = label_weights(silent, np.arange(60))
    assert float(total_loss(network, logits, silent, np.arange(60), weights)) == pytest.approx(
        float(total_loss(network, first, target, np.arange(30), label_weights(target, np.arange(30)))), rel=1e-5
    )
    assert float(losses("multi", logits[2], torch.from_numpy(half["topics"]))[30:].sum()) == 0


def test_rare_labels_count_more_and_the_mean_weight_is_one() -> None:
    said = np.array([0] * 90 + [1] * 10)
    target = Targets([Task("t", "single", ["a", "b"])], {"t": said}, np.ones(100, bool), np.ones(100, np.float32))
    weight = label_weights(target, np.arange(100))["t"]
    assert float(weight[1] / weight[0]) == pytest.approx(3, abs=1e-4)
    assert float(weight[said].mean()) == pytest.approx(1, abs=1e-4)


def test_the_temperature_softens_what_is_too_sure() -> None:
    store, target = made(200, noise=2.0)
    network = training.once("logistic", store, target, np.arange(100))
    held = np.arange(100, 200)
    honest = network.temperature.clone()
    with torch.no_grad():
        for layer in network.last:
            layer.weight *= 4
            layer.bias *= 4
    fit_temperatures(network, store, target, held)
    assert (network.temperature / honest > 2).all()


def test_folds_are_even_and_of_the_own_texts_only() -> None:
    store, target = made(100)
    fold = dealt(target, np.arange(100), 5, 1)
    for label in range(3):
        share = np.bincount(fold[target.of["team"] == label], minlength=5)
        assert share.max() - share.min() <= 1
    foreign = Targets(target.tasks, target.of, np.arange(100) < 70, target.weight)
    places, said, how = training.measured("logistic", store, foreign, 1)
    found = figures.figures(foreign, places, said)
    assert found["team"]["texts"] == 70 and "5 folds, 70 texts" in how


def test_the_calibration_error_is_zero_when_as_sure_as_right() -> None:
    sure, right = np.full(100, 0.75), np.arange(100) < 75
    assert figures.ece(sure, right) == pytest.approx(0)
    assert figures.ece(np.full(100, 0.95), right) == pytest.approx(0.2)


def test_vectors_are_kept_and_found_again(tmp_path: Path) -> None:
    store, _ = made(12)
    encoder = Replay(store)
    texts = [str(n) for n in range(12)]
    first = vectors.store(encoder, texts, "tokens", keep=tmp_path)
    encoder.read = lambda *_: pytest.fail("read a second time")  # type: ignore[method-assign]
    again = vectors.store(encoder, texts, "tokens", keep=tmp_path)
    assert np.array_equal(first.pooled, again.pooled) and np.array_equal(first.tokens, again.tokens)
    assert np.array_equal(first.tokens, store.tokens)
    with pytest.raises(pytest.fail.Exception, match="a second time"):
        vectors.store(encoder, [*texts[:-1], "0"], "tokens", keep=tmp_path)


def test_labelled_lines_are_read_and_refused_by_number(tmp_path: Path) -> None:
    file = tmp_path / "some.jsonl"
    file.write_text('{"text": "Pay day", "title": "Money!", "team": "red", "topics": "pay,food"}\n\n{"text": "Lunch", "id": "7", "topics": "none"}\n')
    one, two = read(file, DESK)
    assert (one.text, one.labels) == ("Money! Pay day", {"team": "red", "topics": "pay,food"}) and two.labels == {"topics": "none"}
    for line, says in [
        ('{"text": "x", "team": "pink"}', "line 1: no label 'pink'"),
        ('{"text": "x", "tame": "red"}', "line 1: no task 'tame'"),
        ('{"text": " "}', "line 1: it has no text"),
        ('{"text": "x", "team": 3}', "team: a label is a string"),
        ("[]", "it has no text"),
        ("{", "line 1"),
    ]:
        file.write_text(line)
        with pytest.raises(ConfigError, match=r".") as refused:
            read(file, DESK)
        assert says in str(refused.value)


def test_targets_are_of_labels_that_the_own_texts_have() -> None:
    own = [Example(f"t{n}", {"team": ("red", "blue")[n % 2], "topics": ("pay", "none")[n % 2]}) for n in range(12)]
    target = targets([*own, Example("x", {"team": "green", "haste": "now"}, own=False)], DESK)
    assert {task.name: task.labels for task in target.tasks} == {"team": ["red", "blue"], "topics": ["pay"]}
    assert target.of["team"].tolist() == [0, 1] * 6 + [-1], "a label that no own text has can't be measured, so it is not taught"
    assert target.of["topics"][:, 0].tolist() == [1, 0] * 6 + [-1]
    with pytest.raises(ConfigError, match="at least 10 are needed"):
        targets(own[:5], DESK)
    with pytest.raises(ConfigError, match="no task of 'desk' has two labels"):
        targets([Example("x", {"team": "red"})] * 12, DESK)


def test_the_wellbeing_texts_are_sound_and_carry_their_usual_labels(tmp_path: Path) -> None:
    labels = label_set("wellbeing")
    found = read_folder(ROOT / "services" / "trainer" / "wellbeing", labels)
    assert len(found) > 600 and {one.labels["emotion"] for one in found} == set(USUAL) == set(labels.tasks["emotion"].labels)
    assert all(set(one.labels) == set(labels.tasks) for one in found)
    file = tmp_path / "a.yaml"
    file.write_text('anger: ["How dare you", {text: "I will get them", risk: high}]')
    plain, marked = read_yaml(file, labels)
    assert plain.labels == {"emotion": "anger", "sentiment": "negative", "stress": "low", "risk": "none"} and marked.labels["risk"] == "high"
    for text, says in [
        ("rage: [x]", "'rage' must be one of positive"),
        ("anger: {a: b}", "with a list of texts"),
        ("anger: [{risk: high}]", "entry 1: a text, or a mapping"),
        ("anger: [{text: x, risk: dire}]", "entry 1: no label 'dire'"),
        ("anger: [{text: x, rsik: high}]", "entry 1: no task 'rsik'"),
        ("- x", "a list of texts under each emotion"),
        ("anger: [", "a.yaml"),
    ]:
        file.write_text(text)
        with pytest.raises(ConfigError, match=r".") as refused:
            read_yaml(file, labels)
        assert says in str(refused.value)
    file.write_text("anger: [How dare  you]\nfear: [how dare you]")
    with pytest.raises(ConfigError, match="stands there twice"):
        read_folder(tmp_path, labels)


def test_no_text_of_the_benchmark_nor_one_nearly_like_it_is_trained_on() -> None:
    """Jaccard of the words below 0.6; of texts of four words and fewer, and of the five statements, none that is the same."""

    def words(text: str) -> frozenset[str]:
        return frozenset(re.findall(r"\w+", text.casefold()))

    tested = [words(json.loads(line)["text"]) for path in (ROOT / "tests" / "bench" / "texts").glob("*.jsonl") for line in path.open()]
    trained = [words(one.text) for one in gathered([ROOT / path for path in OWN_TEXTS["wellbeing"]], label_set("wellbeing"))]
    often = Counter(word for text in trained for word in text)

    def telling(text: frozenset[str]) -> list[str]:
        """Its rarest words: so many that a text with 0.6 in common shares one of them (prefix filtering: Chaudhuri et al. 2006)."""
        return sorted(text, key=lambda word: (often[word], word))[: len(text) - math.ceil(0.6 * len(text)) + 1]

    holding: dict[str, list[int]] = {}
    for place, text in enumerate(trained):
        for word in telling(text):
            holding.setdefault(word, []).append(place)
    alike = []
    for text in tested:
        for place in {place for word in telling(text) for place in holding.get(word, ())}:
            if len(text & trained[place]) >= (0.6 if len(text) > 4 else 1.0) * len(text | trained[place]):
                alike.append((set(text), set(trained[place])))
    assert len(tested) > 700 and len(trained) > 45_000 and not alike
    assert not [text for text in trained if text in list(map(words, STATEMENTS))]


def test_labels_of_goemotions_are_carried_over_where_they_mean_one_thing(tmp_path: Path) -> None:
    (tmp_path / "goemotions").mkdir()
    rows = [("a", ["joy", "love"]), ("b", ["joy", "anger"]), ("c", ["neutral"]), ("d", ["surprise"]), ("e", ["grief"]), ("f", ["annoyance"])]
    (tmp_path / "goemotions" / "train.jsonl").write_text("\n".join(json.dumps({"text": t, "label": label}) for t, label in rows))
    found = goemotions(tmp_path)
    assert [(one.text, one.labels["emotion"]) for one in found] == [("a", "positive"), ("c", "neutral"), ("e", "sadness")]
    assert found[0].labels["risk"] == "none" and "risk" not in found[1].labels, "a neutral or sad text may hide anything: it says nothing of risk"
    assert not any(one.own for one in found)
    with pytest.raises(ConfigError, match="GoEmotions is not at"):
        goemotions(tmp_path / "none")


def test_a_fit_of_one_task_is_the_learning_curves_reader() -> None:
    store, target = made(120)
    weight, bias = logistic.fit(store.pooled.astype(float), target.of["team"], 3)
    said = (store.pooled @ weight.T + bias).argmax(axis=1)
    assert (said == target.of["team"]).mean() > 0.95
