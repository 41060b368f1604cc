"""Label sets: read from files, and errors that name the file."""

from pathlib import Path

import pytest

from shared import taxonomy
from shared.errors import ConfigError
from shared.taxonomy import LABELS, LabelSet, Task, label_set, load, read, use

GOOD = "collection: desk\ntasks:\n  mood: {meaning: m, labels: {up: u, down: d}}\n"


@pytest.mark.parametrize("path", sorted(LABELS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_shipped_ones_are_sound(path: Path) -> None:
    labels = load(path)
    assert labels.collection == path.stem
    for name, task in labels.tasks.items():
        assert task.name == name
        assert all(meaning.strip() for meaning in task.labels.values())
        assert not task.safety_labels or "rule" in task.parts
        assert not task.safety or task.default not in task.safety_labels


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
        (GOOD.replace("meaning: m,", "meaning: m, kind: several,"), "'single', 'multi' or 'ordinal'"),
        (GOOD.replace("meaning: m,", "meaning: m, safety: [sideways],"), "safety label 'sideways' is not one of"),
        (GOOD.replace("meaning: m,", "meaning: m, safety: [up], parts: [llm],"), "only a rule can't be outvoted"),
        (GOOD.replace("up: u", '"up, and away": u'), "is no name of a label"),
        (GOOD.replace("desk", "../desk"), "collection"),
        (GOOD + "error_rate: 0.7\n", "error_rate"),
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
    assert label_set("a-collection-without-a-file").collection == "news" and taxonomy.known() == ["news", "wellbeing"]


def task(kind: str = "single", **more: object) -> Task:
    return Task.model_validate({"name": "mood", "meaning": "m", "labels": dict.fromkeys(["none", "calm", "sad", "grave"], "m"), "kind": kind} | more)


def test_safety_is_a_whole_task_or_some_labels() -> None:
    whole, some, no = task(safety=True, default="none"), task(safety=["sad", "grave"]), task()
    assert (whole.safety, whole.safety_labels) == (True, ["calm", "sad", "grave"])
    assert (some.safety, some.safety_labels) == (False, ["sad", "grave"])
    assert [some.severity(label) for label in some.labels] == [0, 0, 1, 2]
    assert (no.safety, no.safety_labels) == (False, [])
    for made in (whole, some, no):
        assert Task.model_validate_json(made.model_dump_json()) == made


def test_what_a_person_may_say_of_a_task() -> None:
    multi = Task.model_validate({"name": "mood", "meaning": "m", "labels": dict.fromkeys(["calm", "sad", "grave"], "m"), "kind": "multi"})
    assert multi.chosen("grave, calm") == ["calm", "grave"] and multi.chosen("none") == [] and multi.chosen("sad") == ["sad"]
    assert task().chosen("none") == ["none"] == task("multi").chosen("none")
    for wrong, of in [("calm,sad", task()), ("calm,gay", multi), ("", multi), ("", task()), ("none,calm", multi)]:
        with pytest.raises(ValueError, match="no label"):
            of.chosen(wrong)


@pytest.fixture
def own():
    yield use
    use(None)


DECLARED = """
sources: []
label_sets:
  desk: {tasks: {mood: {meaning: m, kind: ordinal, labels: {up: u, down: d}}}, error_rate: 0.05}
  news: {tasks: {mood: {meaning: m, labels: {hot: h, cold: c}}}}
"""


def test_a_users_own_sets_stand_beside_the_shipped_ones_and_before_them(tmp_path: Path, own) -> None:
    config, folder = tmp_path / "feedloop.yaml", tmp_path / "labels"
    config.write_text(DECLARED)
    assert list(own(config)) == ["desk", "news"]
    assert label_set("desk").tasks["mood"].kind == "ordinal" and label_set("desk").error_rate == 0.05
    assert list(label_set().tasks["mood"].labels) == ["hot", "cold"] == list(label_set("elsewhere").tasks["mood"].labels)
    assert "emotion" in label_set("wellbeing").tasks
    folder.mkdir()
    (folder / "any-name.yaml").write_text(GOOD)
    assert list(own(folder)) == ["desk"] and label_set("desk").tasks["mood"].kind == "single"
    assert "category" in label_set().tasks
    config.write_text("sources: []\n")
    assert own(config) == {} and label_set("desk") == label_set()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("label_sets: [desk]", "label_sets: it must hold a label set under each collection's name"),
        ("label_sets: {desk: 7}", "label_sets: desk: it must hold `collection`, and `tasks`"),
        ("label_sets: {Desk: {tasks: {mood: {meaning: m, labels: {up: u, down: d}}}}}", "Desk"),
        ("label_sets: {desk: {tasks: {mood: {meaning: m, labels: {up: u}}}}}", "desk: tasks.mood: task 'mood' needs at least two labels"),
        ("label_sets: {desk: {tasks: {mood: {labels: {up: u, down: d}}}}}", "tasks.mood.meaning: Field required"),
        ("label_sets: {", "while parsing"),
        ("\xff".encode("latin-1"), "utf-8"),
    ],
)
def test_what_is_wrong_in_a_users_file_is_one_line_and_changes_nothing(tmp_path: Path, own, text: str | bytes, said: str) -> None:
    path = tmp_path / "feedloop.yaml"
    path.write_text(DECLARED)
    own(path)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        own(path)
    assert said in str(caught.value) and "\n" not in str(caught.value) and "feedloop.yaml" in str(caught.value)
    assert "mood" in label_set().tasks


def test_two_files_of_one_collection_and_a_place_that_is_not_there(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yml"):
        (tmp_path / name).write_text(GOOD)
    with pytest.raises(ConfigError, match=r"b\.yml: another file in the folder declares 'desk' too"):
        read(tmp_path)
    with pytest.raises(ConfigError, match="FEEDLOOP_LABELS names a folder"):
        read(tmp_path / "nowhere")


def test_a_service_takes_them_from_its_settings(tmp_path: Path, own, monkeypatch: pytest.MonkeyPatch) -> None:
    from shared.settings import ServiceSettings

    monkeypatch.setenv("FEEDLOOP_LABELS", str(tmp_path / "feedloop.yaml"))
    (tmp_path / "feedloop.yaml").write_text(DECLARED)
    own(ServiceSettings().labels)
    assert isinstance(taxonomy.label_set("desk"), LabelSet) and label_set("desk").collection == "desk"
