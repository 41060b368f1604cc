"""The encoder's voice by the labels' names, for tasks that no head was trained for."""

import json
from pathlib import Path

import numpy as np
import pytest
from classifier_samples import RULES, START, enriched, ingested

from services.classifier.decide import Decider, Neural
from services.classifier.live_head import LiveHead
from services.classifier.overlay import Overlay
from services.classifier.rulebook import RuleBook
from shared.by_name import ByName, left_to_names, speaks_of
from shared.encoder import Encoder
from shared.events import ModelStamp
from shared.objects import ObjectStore
from shared.registry import Registry
from shared.taxonomy import LabelSet, Task, label_set, use

ROOT = Path(__file__).parents[3]
BUILT = ROOT / "build" / "encoder"
exported = pytest.mark.skipif(not (BUILT / "manifest.json").exists(), reason="the encoder is not exported: make setup")
BEAT = {"harbour": "ships, ports, cargo and fishing", "kitchen": "cooking, recipes and restaurants", "rails": "trains, tracks and stations"}
TEXTS = {
    "Two container vessels wait outside the breakwater because the cranes stand still.": "harbour",
    "Fold the egg whites into the chocolate and leave the mousse in the fridge overnight.": "kitchen",
    "The night train to Turin is cancelled until the track at the junction is mended.": "rails",
    "Fishermen landed eleven tonnes of herring on Tuesday.": "harbour",
    "A new bistro opens next to the town hall, with a menu that changes every week.": "kitchen",
    "The tram line gets a second track and four stops.": "rails",
}


def task(**given) -> Task:
    return Task.model_validate({"name": "beat", "meaning": "the desk that writes about it", "labels": BEAT} | given)


@pytest.fixture
def own(tmp_path: Path):
    """A label set of somebody's own, in force."""
    (tmp_path / "sets").mkdir()
    tasks = {"beat": {"meaning": "the desk", "labels": BEAT}, "tags": {"meaning": "what it is about", "kind": "multi", "labels": BEAT}}
    tasks["rush"] = {"meaning": "how soon", "kind": "ordinal", "labels": {"later": "can wait", "now": "at once"}}
    (tmp_path / "sets" / "town.yaml").write_text(json.dumps({"collection": "town", "tasks": tasks}))
    use(tmp_path / "sets")
    yield tmp_path
    use(None)


def live(folder: Path, encoder: Encoder | None = None) -> LiveHead:
    made = LiveHead(encoder or Encoder(BUILT), folder / "absent", Registry(ObjectStore(str(folder / "o")), folder / "c"), "c", lambda: START)
    made.start()
    return made


@exported
def test_a_label_set_of_ones_own_is_told_by_its_names_at_once(own: Path) -> None:
    head = live(own)
    scored = head.score([("", text) for text in TEXTS], "town")
    assert [max(one.scores["beat"], key=one.scores["beat"].__getitem__) for one in scored] == list(TEXTS.values())
    held = [[label for label, p in one.scores["tags"].items() if p >= 0.5] for one in scored]
    assert all(found in ([label], []) for found, label in zip(held, TEXTS.values(), strict=True)) and sum(map(bool, held)) >= 4
    [none] = head.score([("", "He asked her twice, and twice she laughed.")], "town")
    assert max(none.scores["tags"].values()) < 0.5, "nothing of it fits"
    for one in scored:
        assert set(one.scores) == one.named == {"beat", "tags"}, "what has an order has no voice"
        assert sum(one.scores["beat"].values()) == pytest.approx(1, abs=1e-5)
    assert len({one.digest for one in scored}) == 1 and scored[0].digest
    # one by one, and beside other texts: bit for bit the same
    assert [head.score([("", text)], "town")[0] for text in TEXTS] == scored
    assert live(own).score([("", text) for text in reversed(TEXTS)], "town") == scored[::-1]


@exported
def test_its_digest_tells_of_labels_and_meanings() -> None:
    encoder = Encoder(BUILT)
    made = [ByName.of(encoder, [one]) for one in (task(), task(), task(labels=BEAT | {"rails": "steam engines"}), task(kind="multi"))]
    assert made[0].digest == made[1].digest and len({one.digest for one in made}) == 3
    assert np.allclose(np.linalg.norm(made[0].vectors["beat"], axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(
    "silent",
    [
        {"kind": "ordinal"},
        {"safety": ["rails"]},
        {"parts": ["rule", "llm"]},
        {"labels": {"yes": "", "no": ""}},
        {"labels": {"High": "", "something else": ""}},
    ],
)
def test_it_is_silent_where_nearness_tells_nothing(silent: dict) -> None:
    assert speaks_of(task()) and speaks_of(task(labels={"yes": "the writer likes it", "no": "the writer does not"}))
    assert not speaks_of(task(**silent))


def test_what_a_head_was_trained_for_is_the_heads() -> None:
    labels = LabelSet.model_validate({"collection": "town", "tasks": {name: task().model_dump() | {"name": name} for name in ("beat", "tone")}})
    assert [one.name for one in left_to_names(labels, ["tone"])] == ["beat"] and left_to_names(labels, ["tone", "beat"]) == []
    assert [left_to_names(label_set(name), list(label_set(name).tasks)) for name in ("news", "wellbeing")] == [[], []]


def test_without_an_encoder_there_is_no_such_voice(own: Path) -> None:
    head = live(own, Encoder(own / "none"))
    assert head.score([("", "a text")], "town") == [Neural()] and "encoder is missing" in head.problem


def decided(own: Path, model: ModelStamp, named: bool = True):
    decider = Decider(RuleBook(RULES, label_set), Overlay(), label_set)
    neural = Neural({"beat": {"harbour": 0.6, "kitchen": 0.3, "rails": 0.1}}, "n", frozenset({"beat"} if named else ()))
    document = enriched(ingested(collection="town"), {"beat": ("rails", 0.97)}).model_copy(update={"model": model})
    return decider.document(document, neural).decision["beat"]


def test_a_small_model_that_was_not_taught_the_labels_is_not_believed(own: Path) -> None:
    unknown, small = ModelStamp(base="b"), ModelStamp(base="b", weights=11_000_000)
    assert decided(own, small).label == "harbour"
    assert "nearest by the labels' names: harbour (60%)" in decided(own, small).reasons
    assert decided(own, small.model_copy(update={"taught": ["news"]})).label == "harbour"
    assert decided(own, small.model_copy(update={"taught": ["news", "town"]})).label == "rails"
    for large in (unknown, ModelStamp(base="b", weights=7_000_000_000)):
        assert decided(own, large).label == "rails"


def test_beside_a_head_of_the_users_own_labels_a_small_model_counts_a_quarter_at_most(own: Path) -> None:
    small = ModelStamp(base="b", weights=11_000_000, taught=["town"])
    assert (decided(own, small).label, decided(own, small, named=False).label) == ("rails", "harbour")
    assert "the neural head says harbour (60%)" in decided(own, small, named=False).reasons
    assert decided(own, ModelStamp(base="b", weights=7_000_000_000), named=False).label == "rails"
