"""Label sets: read from files, and errors that name the file."""

from pathlib import Path

import pytest

from shared.taxonomy import LABELS, label_set, load

GOOD = "collection: desk\ntasks:\n  mood: {meaning: m, labels: {up: u, down: d}}\n"


@pytest.mark.parametrize("path", sorted(LABELS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_shipped_ones_are_sound(path: Path) -> None:
    labels = load(path)
    assert labels.collection == path.stem
    for name, task in labels.tasks.items():
        assert task.name == name
        assert all(meaning.strip() for meaning in task.labels.values())
        assert not task.safety or "llm" not in task.parts, "a safety task is decided by rules"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("collection: [", "while parsing"),
        ("- a list", "it must hold `collection`, and `tasks`"),
        ("", "it must hold `collection`"),
        ("collection: desk\n", "it must hold `collection`, and `tasks`"),
        ("collection: desk\ntasks: {mood: [up, down]}\n", "a task's body under each name"),
        (GOOD.replace("{up: u, down: d}", "{up: u}"), "'mood' needs at least two labels"),
        (GOOD.replace("meaning: m,", "meaning: m, default: sideways,"), "default 'sideways' is not one of its labels"),
        (GOOD.replace("meaning: m,", "meaning: m, parts: [oracle],"), "rule"),
        (GOOD.replace("meaning: m,", "meaning: m, colour: red,"), "colour"),
    ],
)
def test_errors_name_the_file(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "desk.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=said) as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.yaml"):
        load(tmp_path / "none.yaml")


def test_check_names_what_is_allowed() -> None:
    news = label_set()
    news.check("category", "economy")
    with pytest.raises(ValueError, match=r"no task 'colour'.*category"):
        news.check("colour", "red")
    with pytest.raises(ValueError, match="no label 'red' in task 'sentiment'; it has positive, neutral, negative"):
        news.check("sentiment", "red")


def test_parts_and_unknown_collections() -> None:
    news = label_set()
    assert "risk" not in [task.name for task in news.asked_of("llm")]
    assert "risk" in [task.name for task in news.asked_of("rule")]
    assert label_set("a-collection-without-a-file").tasks == news.tasks
