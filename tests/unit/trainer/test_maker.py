"""What is asked of a passage: only what is known for sure, never a desk's own label, and never more of one label than of the others."""

import json
import random
from collections import Counter
from pathlib import Path

import pytest

from services.trainer.runs import maker as making
from services.trainer.runs.gather import Document, Passage, headlines
from services.trainer.runs.maker import Maker
from services.trainer.runs.teacher import Knowledge
from services.trainer.supervision import NEVER
from shared import grounding

TEXT = "The clinic on Mill Lane opened a new ward for children on Monday. Doctors from Porto will work there."


def known(category: str | None = None, tone: str | None = None, topic: str | None = None) -> Knowledge:
    return Knowledge(topic, frozenset({topic} if topic else ()), category, tone)


def standard(maker: Maker, task: str) -> set[str]:
    return {e.answer for _, _, made in maker.trees for e in made if e.task and e.task.name == task}


def test_what_two_sources_of_labels_do_not_agree_on_is_not_asked() -> None:
    maker = Maker(random.Random(1))
    maker.labels([Passage("headline", "", TEXT, category="health")], [known(category="sport")])
    assert not standard(maker, "category")
    maker.labels([Passage("headline", "", TEXT, category="health")] * 4, [known(category="health")] * 4)
    assert standard(maker, "category") == {"health"}


@pytest.mark.parametrize("label", sorted(NEVER))
def test_a_desks_own_label_is_never_the_answer(label: str) -> None:
    maker = Maker(random.Random(2))
    maker.labels([Passage("headline", "", TEXT)] * 20, [known(category=label)] * 20)
    assert not standard(maker, "category")


def test_items_keep_the_labels_that_people_gave_whatever_the_teacher_says() -> None:
    maker = Maker(random.Random(7))
    by_hand = Passage("item", "", TEXT, category="health", tone="positive", urgency="normal")
    sure = Knowledge(None, frozenset(), "sport", "negative", "high")
    maker.labels([by_hand] * 8, [sure] * 8)
    assert [standard(maker, task) for task in ("category", "sentiment", "urgency")] == [{"health"}, {"positive"}, {"normal"}]


def test_the_teacher_names_an_urgency_unless_the_words_speak_against_it() -> None:
    normal = Knowledge(None, frozenset(), None, None, "normal")
    maker = Maker(random.Random(8))
    maker.labels([Passage("wire", "", TEXT)] * 8, [normal] * 8)
    assert standard(maker, "urgency") == {"normal"}
    maker = Maker(random.Random(8))
    maker.labels([Passage("wire", "", f"{TEXT} Act immediately.")] * 8, [normal] * 8)
    assert not standard(maker, "urgency")


def test_neutral_is_not_asked_for_want_of_a_word_of_tone() -> None:
    quiet = Passage("headline", "UK rail firm cuts 180 jobs", "", tone="neutral")
    maker = Maker(random.Random(9))
    maker.labels([quiet] * 8, [known()] * 8)
    assert not standard(maker, "sentiment")
    maker.labels([quiet] * 8, [known(tone="negative")] * 8)
    assert standard(maker, "sentiment") == {"negative"}
    maker = Maker(random.Random(9))
    maker.labels([Passage("comment", "", "It is a door.", tone="neutral", quiet=True)] * 8, [known()] * 8)  # people said so
    assert standard(maker, "sentiment") == {"neutral"}
    maker.hold(quiet)
    assert not maker.held


def test_comments_are_not_asked_what_the_teacher_knows_of_news() -> None:
    maker = Maker(random.Random(10))
    maker.labels([Passage("comment", "", "Peel it at once, you do it wrong.", moods=("anger",), quiet=True)] * 8,
                 [Knowledge(None, frozenset(), "culture", None, "high")] * 8)  # fmt: skip
    assert not standard(maker, "category") and not standard(maker, "urgency")


def test_no_label_outweighs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(making.MOST, "category", 5)
    maker = Maker(random.Random(3))
    maker.labels([Passage("headline", "", TEXT, category="health")] * 30, [known()] * 30)
    assert maker.counts["category=health"] == 5


def test_topics_moods_titles_and_names_are_asked_where_they_are_known() -> None:
    maker = Maker(random.Random(4))
    passage = Passage("digitalgov", "", TEXT, heading="A ward for children", names=["Mill Lane", "Porto"])
    other = Passage("digitalgov", "", "Ships lay in the harbour of Gdynia.", heading="Ships at rest", names=["Gdynia"])
    message = Passage("comment", "", "I am so glad!", moods=("joy",), tone="positive", quiet=True)
    maker.labels([passage, other, message] * 30, [known(topic="hospitals"), known(), known()] * 30)
    names = Counter(e.task.name for _, _, made in maker.trees for e in made if e.task)
    assert names["title"] + names["headline"] + names["heading"] > 5
    assert names["mentions"] + names["names"] + names["keyword"] > 5
    assert any(name.startswith("about ") for name in names)
    assert names["mood"] + names["emotion"] + names["feeling"] > 5
    assert all(quiet == (made[0].messages[1]["content"].split("\n")[1] == "I am so glad!") for _, quiet, made in maker.trees)


def test_documents_are_copied_from_and_held_out_ones_kept_aside() -> None:
    row = {"id": "digitalgov-1", "source": "digitalgov", "title": "A ward for children", "text": TEXT * 3}
    maker, others = Maker(random.Random(5)), ["Ships lay in the harbour of Gdynia. They came from Oslo.", "The reading room opens at nine."]
    for _ in range(20):
        maker.document(Document(row, grounding.sentences(TEXT) * 3, held=False), others)
    kinds = Counter((kind, made[0].kind) for kind, _, made in maker.trees)
    assert kinds["copy", "metadata"] > 5 and kinds["copy", "answer"] > 10 and not maker.held
    before = len(maker.trees)
    for _ in range(5):
        maker.document(Document(row, grounding.sentences(TEXT) * 3, held=True), others)
    assert len(maker.trees) == before and maker.held


def test_urgency_and_messages_have_trees_of_every_label() -> None:
    maker = Maker(random.Random(6))
    maker.urgency([Passage("headline", "", TEXT, category="health")] * 60, 60)
    assert standard(maker, "urgency") == {"low", "normal", "high"}
    assert standard(maker, "stressed") >= {"yes", "no"}
    for _, _, made in maker.trees:  # what is read once for all its questions
        assert len({example.messages[1]["content"].split("</document>")[0] for example in made}) == 1


def test_a_headline_above_others_has_no_tone(tmp_path: Path) -> None:
    (tmp_path / "clickbait32k").mkdir()
    rows = [{"text": f"Coach praised after the {n} football championship"} for n in range(60)]
    (tmp_path / "clickbait32k" / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = [passage for passage, _ in headlines(tmp_path, random.Random(1))]
    assert {bool(passage.text) for passage in found} == {True, False}
    assert all((passage.tone is None) == bool(passage.text) for passage in found)
