"""What the bench measures on: a fixed choice, no near-duplicate, classes mapped as they should be, and names that no training holds."""

import json
from pathlib import Path

import pytest

from shared.taxonomy import label_set
from tests.bench.model import labels, sets
from tests.bench.model.sets import AG, AG_ANEW, NEWSGROUPS, NEWSGROUPS_ANEW, REUTERS, Item, Quiz, bounded, task_of
from tests.bench.model.texts import Text, beginning, evenly, newsgroup_post, of_sample
from tests.bench.model.unique import distinct, told_again

POST = "From: a@b.edu (A B)\nSubject: Re: orbits\nLines: 9\n\nIn article <1@c>, d@e.org (D E) writes:\n> What is it?\n\nA long burn lowers it.\n\n-- \nA B, Physics\n"


def items(**counts: int) -> list[Item]:
    return [Item("", f"{gold} {n}", gold, (gold,)) for gold, count in counts.items() for n in range(count)]


def test_no_class_outweighs_and_the_order_is_fixed() -> None:
    chosen = bounded(items(a=100, b=4, c=100), 30)
    assert {gold: sum(item.gold == gold for item in chosen) for gold in "abc"} == {"a": 13, "b": 4, "c": 13}
    assert {item.gold for item in bounded(items(a=100, b=1, c=1), 30)} == {"a", "b", "c"} and len(bounded(items(a=100, b=1, c=1), 30)) == 22
    assert chosen == bounded(items(a=100, b=4, c=100), 30)
    assert evenly([("b", [1, 2]), ("a", [3])], 5) == [3, 1, 2] and evenly([("b", [1, 2]), ("a", [3])], 2) == [3, 1]


def test_a_text_told_again_is_found_and_another_is_not() -> None:
    told = "The committee of the harbour town met on Tuesday and voted for a new ferry that will run until midnight in summer."
    other = "A long frost kept the apple trees from blooming, and the growers in the valley expect half of the usual harvest this year."
    found = told_again(
        {"same": told.replace("Tuesday", "TUESDAY"), "other": other}, ["Before it. " + told + " After it.", "Something else entirely stands here."]
    )
    assert found == {"same"}
    assert distinct({"one": told, "two": told + " Again.", "three": other}) == ["one", "three"]


def test_a_newsgroup_post_is_its_own_words() -> None:
    assert newsgroup_post(POST) == "A long burn lowers it."
    assert beginning("One two. " * 500) == ("One two. " * 222).rstrip()
    assert beginning("Short and whole") == "Short and whole"


def test_every_class_of_the_foreign_sets_is_mapped_to_labels_that_exist() -> None:
    known = set(label_set().tasks["category"].labels)
    assert all(set(names) <= known for names in AG.values())
    assert len(set(NEWSGROUPS.values())) == 20 and len(set(REUTERS.values())) == 8
    assert set(AG_ANEW) == set(AG) and set(NEWSGROUPS_ANEW) <= set(NEWSGROUPS)


def test_names_of_ours_are_taught_by_no_list() -> None:
    assert sets.known_names(AG_ANEW.values()) == sets.known_names(NEWSGROUPS_ANEW.values()) == 0
    assert sets.known_names(["politics", "Politics", "zebras and violins"]) == 2


def test_names_of_questions_stress_and_messages_are_taught() -> None:
    assert sets.known_names(["Yes", "no"]) == 2, "every label of a task of several is asked by yes and no, and so is stress"
    assert sets.known_names(["clickbait", "news"]) == 1, "news is a kind of message"
    assert sets.known_names(["high", "severe", "small talk", "reminder"]) == 4


def test_right_majority_and_chance_go_by_what_counts_as_right() -> None:
    quiz = Quiz("ag", task_of("category", ("world", "politics", "sport", "business")),
                [Item("", "a", "World", ("world", "politics")), Item("", "b", "Sports", ("sport",))],
                {"world": "World", "politics": "World", "sport": "Sports"})  # fmt: skip
    assert labels.right(quiz, ["politics", "business"]) == [True, False]
    assert labels.majority(quiz).value == 50 and labels.chance(quiz).value == pytest.approx(37.5)
    assert labels.f1(quiz, ["politics", "sport"]).value == 100 and labels.f1(quiz, ["business", "sport"]).value == 50


def test_the_own_sample_is_asked_with_its_authored_labels() -> None:
    quizzes = {quiz.name: quiz for quiz in sets.authored(500)}
    assert len(of_sample()) == len(quizzes["category: own sample, hand-labelled"].items) >= 100
    rest = next(quiz for name, quiz in quizzes.items() if "without" in name)
    assert not {"security", "economy"} & {item.gold for item in rest.items}
    assert all(item.head for quiz in quizzes.values() for item in quiz.items)


def test_labelled_sets_are_read_where_they_are_and_left_out_where_not(tmp_path: Path) -> None:
    assert sets.foreign(tmp_path, 10) == [] and sets.unseen(tmp_path, 10) == []
    (tmp_path / "ag_news").mkdir()
    rows = [{"id": f"ag-{n}", "text": f"The striker scored goal number {n}.", "label": "Sports"} for n in range(8)]
    (tmp_path / "ag_news" / "train.jsonl").write_text("\n".join(map(json.dumps, [*rows, rows[0]])))
    (quiz,) = sets.foreign(tmp_path, 4)
    assert len(quiz.items) == 4 and all(item.right == ("sport",) for item in quiz.items)
    assert {quiz.name.split(",")[0] for quiz in sets.unseen(tmp_path, 4)} == {"AG news"}


def test_the_automatic_labels_are_those_of_the_supervision() -> None:
    text = "The telescope of the observatory showed a galaxy, a comet and the orbit of a planet. " * 3
    made = sets.automatic([Text("book-1", "Stars", text, "openstax", row={"path": "osbooks-astronomy/m1"})], 5)
    assert {item.gold for quiz in made for item in quiz.items if quiz.task.name == "category"} == {"science"}


def test_no_word_of_tone_is_no_gold() -> None:
    texts = [Text(f"d{n}", "", "The file is read from top to bottom. It has four lines." if n % 2 else "She won an award for a wonderful success.", "x", row={})
             for n in range(8)]  # fmt: skip
    (quiz,) = [quiz for quiz in sets.automatic(texts, 20) if quiz.name.startswith("sentiment")]
    assert {item.gold for item in quiz.items} == {"positive"}
