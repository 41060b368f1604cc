"""Occlusion: the words that matter are found where they stand, in one bounded batch, and nothing is made up where none do."""

import re
import time
from pathlib import Path

import pytest
from classifier_samples import START

from services.classifier.live_head import LiveHead
from services.classifier.mattered import MOST, SHOWN, mattered, pieces
from shared.encoder import Encoder
from shared.events import Decision
from shared.heads import head_text
from shared.objects import ObjectStore
from shared.registry import Registry

ROOT = Path(__file__).parents[3]
SHIPPED = ROOT / "deploy" / "model" / "heads" / "news"


def decided(label: str, by: str = "neural") -> Decision:
    return Decision.model_validate({"label": label, "probability": 0.9, "by": by, "reasons": ["r"]})


class WordHead:
    """Says sport of a text by how many of its words it holds; counts what it is asked."""

    WORTH = {"goal": 0.5, "match": 0.3, "the": 0.01}

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def __call__(self, texts):
        self.asked.append(list(texts))
        chances = [min(1.0, sum(worth for word, worth in self.WORTH.items() if word in re.findall(r"\w+", text.lower()))) for text in texts]
        return [{"category": {"sport": p, "other": 1 - p}} for p in chances]


def test_the_words_without_which_the_probability_falls_most() -> None:
    head, title, text = WordHead(), "A late goal", "It decided the match, they say."
    found = mattered(title, text, {"category": decided("sport", "fusion"), "risk": decided("none", "rule")}, head)
    assert [(span.field, span.words, span.drop) for span in found["category"]] == [("title", "goal", 0.5), ("text", "match", 0.3)]
    for span in found["category"]:
        assert {"title": title, "text": text}[span.field][span.start : span.end] == span.words
    assert list(found) == ["category"]  # a rule's words are in its own part
    assert len(head.asked) == 1 and len(head.asked[0]) == 1 + 4 and head.asked[0][0] == head_text(title, text)
    assert head.asked[0][2] == head_text("A late ", text)


def test_nothing_is_made_up() -> None:
    head = WordHead()
    assert mattered("", "goal match day", {"category": decided("other")}, head) == {"category": []}  # nothing speaks for it
    assert mattered("", "goal", {"category": decided("security")}, head) == {}  # the head was never taught it
    assert mattered("", "goal", {"category": decided("sport", "llm")}, head) == {}
    assert mattered("", "", {"category": decided("sport")}, head) == {} == mattered("", "goal", {"category": decided("")}, head)
    assert len(head.asked) == 2


@pytest.mark.parametrize(
    "text",
    [
        "word " * 5_000,
        "One two three four. " * 300,
        "a. " * 2_000,
        "goal " * 49,
        "don't re-read U.S. mail " * 12,
        "語 " * 900,
        "x" * 5_000,
        "!? " * 500,
        "\n\n goal",
    ],
)
def test_any_text_is_one_bounded_batch(text: str) -> None:
    for title in ("", "A title with five words"):
        places = pieces(title, text)
        assert len(places) <= MOST
        for place, after in zip(places, [*places[1:], None], strict=False):
            whole = {"title": title, "text": text}[place.field]
            assert whole[place.start : place.end] == place.words and place.start < place.end
            assert after is None or after.field != place.field or after.start >= place.end
    head = WordHead()
    found = mattered("", text, {"category": decided("sport")}, head)
    assert sum(map(len, head.asked)) <= MOST + 1 and len(found.get("category", [])) <= SHOWN


def test_a_run_of_words_never_crosses_a_sentence() -> None:
    places = pieces("", "Red green blue black. " * 40)
    assert len(places) == MOST and {place.words for place in places} == {"Red green blue black"}


@pytest.mark.skipif(not (ROOT / "build" / "encoder" / "manifest.json").exists(), reason="the encoder is not exported: make setup")
def test_of_the_real_head_the_telling_words_come_first(tmp_path: Path) -> None:
    registry = Registry(ObjectStore(str(tmp_path / "objects")), tmp_path / "cache")
    live = LiveHead(Encoder(ROOT / "build" / "encoder"), SHIPPED, registry, "c", lambda: START)
    live.start()
    assert live.problem == ""

    def ask(texts):
        return live.compare(texts, "news")

    text = "I went to the store and then my sister told me about the election while we ate."
    found = mattered("", text, {"category": decided("politics")}, ask)["category"]
    assert found[0].words == "election" and found[0].drop and found[0].drop > 0.2
    same = ask([text, text.replace("election", "party"), text])
    assert same[0]["category"]["politics"] == pytest.approx(same[2]["category"]["politics"], abs=1e-4)
    began = time.process_time()
    mattered("A title", "The quick brown fox jumps over the lazy dog again and again. " * 40, {"category": decided("sport")}, ask)
    assert time.process_time() - began < 20
