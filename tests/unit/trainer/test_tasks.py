"""Label tasks that no desk has: the gold label is offered, the others are wrong, and the lists are never twice the same."""

import random
from collections import Counter

import pytest

from services.trainer import tasks
from services.trainer.examples import Example
from services.trainer.supervision import NEVER, fill

PARENTS = {"politics", "economy", "business", "technology", "security", "science", "health", "culture", "sport", "world", "life", "none"}


def labels(example: Example | None) -> list[str]:
    assert example is not None and example.task is not None
    assert example.answer in example.task.labels
    user = example.messages[1]["content"]
    assert f"Labels: {', '.join(example.task.labels)}\n" in user
    folded = [label.casefold() for label in example.task.labels]
    assert len(folded) == len(set(folded)) and not any("," in label for label in folded)
    return list(example.task.labels)


def test_every_topic_has_names_words_lines_and_a_parent() -> None:
    known = tasks.topics()
    assert len(known) > 200
    for name, body in known.items():
        assert set(body) == {"names", "words", "lines", "parent"}, name
        assert body["parent"] in PARENTS and len(body["lines"]) >= 6 and len(body["words"]) >= 12 and len(body["names"]) >= 3, name
        assert not {label.casefold() for label in [name, *body["names"]]} & NEVER
    lines = Counter(line for body in known.values() for line in body["lines"])
    assert max(lines.values()) == 1


def test_every_template_can_be_filled() -> None:
    found, chance = tasks.phrases(), random.Random(1)
    lines = [line for name in ("urgency", "tones", "stress", "messages") for part in found[name].values() for line in part]
    lines += [*found["actions"]["asked"], *found["actions"]["not_asked"], *found["noise"]["head"], *found["noise"]["foot"]]
    assert len(lines) > 1000
    for line in lines:
        assert "{" not in fill(line, found["slots"], chance)
    assert all(question.format(x="Oslo").count("Oslo") >= 1 for question in found["questions"])


def test_a_slot_that_comes_twice_gets_two_values() -> None:
    for seed in range(30):
        first, second = fill("{City} and {city}", {"city": ["bergen", "porto"]}, random.Random(seed)).split(" and ")
        assert first[0].isupper() and first.lower() != second
    with pytest.raises(KeyError):
        fill("{nothing}", {}, random.Random(1))


def test_the_topic_is_among_wrong_ones_that_are_wrong_for_sure() -> None:
    known = tasks.topics()
    near = {"banks", "insurance"}
    ours = {label.casefold() for label in ["pensions", *known["pensions"]["names"]]}
    theirs = {label.casefold() for name in near for label in known[name]["names"]} - ours
    elsewhere = {label.casefold() for name, body in known.items() if name not in near for label in body["names"]}
    sizes = set()
    for seed in range(200):
        example = tasks.topic_example("pensions", near, "", "Retirement at 67", random.Random(seed))
        found = [label.casefold().replace("_", " ") for label in labels(example)]
        sizes.add(len(found))
        assert example is not None and example.answer.casefold().replace("_", " ").replace("-", " ") in {label.replace("-", " ") for label in ours}
        assert not set(found) & (theirs - elsewhere)
    assert min(sizes) == 2 and max(sizes) >= 10


def test_moods_that_people_could_confuse_do_not_stand_in_one_list() -> None:
    names = {label.casefold(): mood for mood, body in tasks.moods().items() for label in [mood, *body["names"]]}
    for seed in range(200):
        example = tasks.mood_example("anger", ("sadness",), "I am furious.", random.Random(seed))
        moods = {names.get(label.casefold().replace("_", " ").replace("-", " ")) for label in labels(example) if label != example.answer}
        assert not moods & {"anger", "annoyance", "disapproval", "disgust", "disappointment", "sadness"}


def test_yes_is_said_of_the_topic_alone() -> None:
    known = tasks.topics()
    ours = set(known["pensions"]["names"])
    for seed in range(60):
        example = tasks.about_example("pensions", {"pensions"}, "", "Retirement at 67", random.Random(seed))
        assert labels(example) == ["yes", "no"] and example.task is not None
        way, _, rest = example.task.name.partition(": ")
        label = rest.split(", ")[0] if rest else way.removeprefix("about ")  # "topic: pensions, annuity, …" is how use asks a task of several labels
        assert (example.answer == "yes") == (label in ours)


def test_a_gold_label_that_is_no_name_is_refused() -> None:
    with pytest.raises(ValueError, match="no name"):
        tasks.listed("topic", "soft\u00adhyphen", ["other"], "", "Text.", random.Random(1))
    assert all(tasks.is_name(name) for name in tasks.all_names())


def test_tones_titles_and_names() -> None:
    for seed in range(60):
        chance = random.Random(seed)
        tone = tasks.tone_example("negative", "", "The plant shut.", chance)
        assert 2 <= len(labels(tone)) <= 3
        title = tasks.title_example("Rivers in spring", ["Rivers in spring", "Banks", "Far, far away", "A house of glass"], "Snow melts.", chance)
        assert set(labels(title)) <= {"Rivers in spring", "Banks", "A house of glass"}
        names = tasks.mention_example(["Ana Rivera"], ["Oslo", "Ben Kim", "ana"], "", "Ana Rivera met the board.", chance)
        assert set(labels(names)) <= {"Ana Rivera", "Oslo", "Ben Kim"}
    assert tasks.title_example("A title, with a comma", ["Other"], "x", random.Random(1)) is None
    assert tasks.title_example("A soft\xadhyphen", ["Other title"], "x", random.Random(1)) is None
    mention = tasks.mention_example(["Gdy\xa0nia"], ["Porto"], "", "Gdy\xa0nia", random.Random(1))
    assert mention is None, "what no label may be called is not offered as one"
    assert tasks.mention_example(["Nobody"], ["Oslo"], "", "Ana met the board.", random.Random(1)) is None
