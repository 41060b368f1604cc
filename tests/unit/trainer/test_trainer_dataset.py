"""What still holds of the feedback, and how it is split."""

import json
import random
from datetime import UTC, datetime

import pytest

from services.trainer.dataset import NEAR, Snapshot, effective, jaccard, lowers, near, snapshot, teachable
from shared.events import Decision, DocumentClassified, LabelScore, SourceRef
from shared.taxonomy import use

WORDS = [f"word{n}" for n in range(400)]


def distinct(n: int) -> str:
    """A title that shares hardly a word with another's."""
    return " ".join(random.Random(n).sample(WORDS, 12))


@pytest.fixture
def judged_as():
    """judged_as(task, decided, llm, p): a classified document, as the page shows it: the decision, and what the language model alone had said."""
    at = datetime(2026, 11, 1, 12, tzinfo=UTC)

    def make(task: str, decided: str, llm: str, p: float = 0.8) -> DocumentClassified:
        return DocumentClassified(
            id="d", version="v", source=SourceRef(id="s", kind="feed"), title="a", text="b", published_at=at, received_at=at, story="st",
            verdict={task: LabelScore(label=llm, probability=p, probabilities={llm: p})},
            decision={task: Decision(label=decided, probability=0.9, by="neural", reasons=[])},
            stage="final", rules="r", as_of=at, classified_at=at,
        )  # fmt: skip

    return make


def split(items, share=0.3) -> Snapshot:
    return snapshot(items, role="adapter", base="tiny", share=share, recipe={"epochs": 1})


def test_what_was_taken_back_does_not_hold(said):
    items = [said("a", "rates rise"), said("b", "cup final", "sport"), said("c", kind="retraction", retracts="a", minute=3)]
    assert [item.id for item in effective(items)] == ["b"]


def test_a_retraction_that_comes_first_counts_too(said):
    items = [said("c", kind="retraction", retracts="a", minute=3), said("a", "rates rise")]
    assert effective(items) == []


def test_the_newest_word_wins_whatever_order_it_comes_in(said):
    old, new = said("z", "Rates  rise", "business", minute=1), said("a", "rates rise", "economy", minute=2)
    for items in ([old, new], [new, old]):
        assert [item.correct for item in effective(items)] == ["economy"]


def test_when_the_newest_is_taken_back_the_word_before_it_holds_again(said):
    items = [
        said("1", "rates rise", "business", minute=1),
        said("2", "rates rise", "economy", minute=2),
        said("3", kind="retraction", retracts="2", minute=3),
    ]
    assert [item.correct for item in effective(items)] == ["business"]


def test_one_text_may_be_corrected_in_two_tasks(said):
    items = [said("1", "rates rise"), said("2", "rates rise", "negative", task="sentiment")]
    assert len(effective(items)) == 2


def test_ratings_and_empty_texts_are_not_taught(said):
    assert effective([said("2", "x", kind="rating"), said("3", "", text=""), said("4", "x", "", kind="correction")]) == []


def test_one_text_may_be_read_by_two_label_sets(said):
    items = [said("1", "so glad", "positive", task="sentiment", collection=name, minute=n) for n, name in enumerate(("news", "science", "wellbeing"))]
    items = [item.model_copy(update={"id": str(n)}) for n, item in enumerate(items)]
    assert [item.id for item in effective(items)] == ["1", "2"]  # "science" has no label set of its own: the news' is its, and the newer word stands


def test_what_the_model_is_not_asked_and_tasks_of_safety_are_not_taught(said):
    asked = [("category", "economy", "news"), ("sentiment", "neutral", "wellbeing"), ("emotion", "self_harm_low", "wellbeing")]
    assert all(teachable(said("1", "a", label, task=task, collection=name)) for task, label, name in asked)
    never = [
        ("risk", "high", "news"),
        ("risk", "high", "wellbeing"),
        ("category", "gossip", "news"),
        ("mood", "x", "news"),
        ("sentiment", "neutral", "A b"),
    ]
    assert not any(teachable(said("1", "a", label, task=task, collection=name)) for task, label, name in never)


def test_a_correction_that_takes_a_safety_label_back_is_known(said):
    def of(correct, incorrect="", **more):
        return lowers(said("1", "a", correct, incorrect=incorrect, task="emotion", collection="wellbeing", **more))

    assert of("sadness", "self_harm_high") and of("self_harm_low", "self_harm_high")
    assert not of("self_harm_high", "self_harm_low") and not of("self_harm_low", "sadness") and not of("fear", "sadness")
    assert of("sadness") and not of("sadness", kind="confirmation")  # where nothing tells what had been said it may be one
    assert not of("self_harm_high")  # nothing is graver, whatever had been said
    assert not lowers(said("1", "a", "neutral", task="sentiment", collection="wellbeing"))


def test_what_the_model_alone_had_said_of_safety_counts_too(said, judged_as):
    emotion = {"task": "emotion", "collection": "wellbeing"}
    held = judged_as("emotion", decided="sadness", llm="self_harm_low")
    assert lowers(said("1", "a", "stress", incorrect="sadness", document=held, **emotion))
    calm = judged_as("emotion", decided="sadness", llm="fear")
    assert not lowers(said("1", "a", "stress", incorrect="sadness", document=calm, **emotion))


def test_of_several_labels_none_that_is_about_safety_may_go(said, tmp_path, judged_as):
    (tmp_path / "desk.yaml").write_text(
        "label_sets: {desk: {tasks: {signs: {meaning: m, kind: multi, safety: [hurt, lost], labels: {hurt: '', lost: '', calm: ''}}}}}"
    )
    use(tmp_path / "desk.yaml")
    try:
        signs = {"task": "signs", "collection": "desk"}
        assert lowers(said("1", "a", "hurt", incorrect="hurt, lost", **signs)) and lowers(said("1", "a", "none", incorrect="lost", **signs))
        assert not lowers(said("1", "a", "hurt,lost", incorrect="lost, calm", **signs))
        assert lowers(said("1", "a", "hurt", **signs)) and not lowers(said("1", "a", "hurt,lost", **signs))
        likely, unlikely = (judged_as("signs", decided="calm", llm="lost", p=p) for p in (0.6, 0.4))
        assert lowers(said("1", "a", "none", document=likely, **signs)) and not lowers(said("1", "a", "none", document=unlikely, **signs))
        assert teachable(said("1", "a", "hurt,calm", **signs)) and not teachable(said("1", "a", "hurt,joy", **signs))
    finally:
        use(None)


def test_a_snapshot_of_the_news_alone_is_as_it_was_before_other_label_sets_were_taught(said):
    whole = split([said("1", "rates rise")])
    assert "collection" not in whole.model_dump_json()
    old = json.loads(whole.model_dump_json())
    assert Snapshot.model_validate(old) == whole and Snapshot.model_validate(old).examples[0].question == ("news", "category")
    other = split([said("1", "so glad", "positive", task="sentiment", collection="wellbeing")])
    assert Snapshot.model_validate_json(other.model_dump_json()).examples[0].question == ("wellbeing", "sentiment")


def test_a_confirmation_is_an_example_with_nothing_incorrect(said):
    example = split(effective([said("1", "rates rise", kind="confirmation")])).examples[0]
    assert (example.label, example.incorrect) == ("economy", "")


def test_near_duplicates_fall_on_the_same_side(said):
    near = []
    for n in range(30):
        words = distinct(n).split()
        near += [said(f"a{n}", " ".join(words), text=""), said(f"b{n}", " ".join([*words[:11], f"other{n}"]), text="")]
    side = {example.feedback_id: example.split for example in split(effective(near)).examples}
    assert all(side[f"a{n}"] == side[f"b{n}"] for n in range(30))
    assert set(side.values()) == {"train", "held_out"}


def test_a_near_duplicate_of_a_near_duplicate_is_on_that_side_too(said):
    for n in range(20):
        words = distinct(n).split()
        chain = [words, [*words[:10], "x1", "x2"], [*words[:8], "x1", "x2", "x3", "x4"]]
        assert jaccard(frozenset(chain[0]), frozenset(chain[2])) < NEAR <= jaccard(frozenset(chain[1]), frozenset(chain[2]))
        items = [said(str(minute), " ".join(title), text="", minute=minute) for minute, title in enumerate(chain)]
        assert len({example.split for example in split(items, 0.5).examples}) == 1


def test_texts_are_near_by_the_overlap_of_their_words_whatever_their_lengths():
    dice = random.Random(5)
    sets = [frozenset(dice.sample(WORDS[:14], size)) for size in (*range(15), 7, 10, 13, 14) for _ in range(4)]
    for a in sets:
        for b in sets:
            assert near(a, b) == ((len(a & b) / len(a | b) if a | b else 1.0) >= NEAR)


def test_one_story_told_in_other_words_stays_together(said):
    items = [said(f"{n}", distinct(n), story="s1" if n < 20 else f"own{n}", minute=n) for n in range(40)]
    examples = split(items, 0.5).examples
    assert len({example.split for example in examples if int(example.feedback_id) < 20}) == 1


@pytest.mark.parametrize("seed", range(5))
def test_an_old_example_stays_on_its_side_when_new_ones_come(said, seed):
    dice = random.Random(seed)
    old = [said(f"{dice.random()}", distinct(n), minute=n) for n in range(40)]
    # some of the new are near to old ones, and their ids sort before as often as after
    new = [said(f"{dice.random()}", " ".join([*distinct(n).split()[:11], "new"]), minute=100 + n) for n in range(0, 40, 2)]
    new += [said(f"{dice.random()}", distinct(n), minute=200 + n) for n in range(100, 120)]
    before = {example.feedback_id: example.split for example in split(effective(old)).examples}
    after = {example.feedback_id: example.split for example in split(effective([*new, *old])).examples}
    assert before == {feedback_id: after[feedback_id] for feedback_id in before}


def test_the_digest_does_not_depend_on_the_order_of_arrival(said):
    items = [said(f"{n}", distinct(n), minute=n % 7) for n in range(30)]
    digests = set()
    for seed in range(4):
        random.Random(seed).shuffle(items)
        digests.add(split(effective(items)).digest())
    assert len(digests) == 1
    assert split(effective(items[1:])).digest() not in digests


def test_the_digest_survives_the_object_store(said):
    whole = snapshot([said("1", "Zürich — “rates”")], role="adapter", base="tiny", share=0.3, recipe={"epochs": 8, "learning_rate": 1e-3})
    assert Snapshot.model_validate_json(whole.model_dump_json()).digest() == whole.digest()


def test_the_parts_are_the_whole_and_about_the_share(said):
    whole = split([said(f"{n}", distinct(n), minute=n) for n in range(200)], 0.25)
    assert len(whole.part("train")) + len(whole.part("held_out")) == 200
    assert 30 <= len(whole.part("held_out")) <= 70
