"""What still holds of the feedback, and how it is split."""

import random

import pytest

from services.trainer.dataset import NEAR, Snapshot, effective, jaccard, snapshot

WORDS = [f"word{n}" for n in range(400)]


def distinct(n: int) -> str:
    """A title that shares hardly a word with another's."""
    return " ".join(random.Random(n).sample(WORDS, 12))


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


def test_safety_tasks_ratings_and_empty_texts_are_not_taught(said):
    items = [said("1", "help me", "high", task="risk"), said("2", "x", kind="rating"), said("3", "", text=""), said("4", "x", "", kind="correction")]
    assert effective(items, safety_tasks=["risk"]) == []


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
