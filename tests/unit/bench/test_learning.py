"""The learning curve's parts that need no training: conventions and their splits, the snapshot, the verdict on the target, the picture, the page."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from services.trainer.dataset import NEAR, jaccard
from tests.bench import learning_conventions as made
from tests.bench.learning_conventions import HELD_OUT, TRAINING, Convention, conventions
from tests.bench.learning_report import page, plot, verdicts
from tests.bench.learning_runs import Point, dataset
from tests.bench.page import write_between


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with one labelled set of four sections, as ag_news has them, and one that is too small."""
    names = ("Sci/Tech", "Business", "Sports", "World")
    rows = [{"text": f"story {n} of the " + " ".join(f"word{n * 9 + k}" for k in range(9)), "label": names[n % 4]} for n in range(400)]
    for folder, kept in (("ag_news", rows), ("reuters_r8", [{"text": f"{'earn ' * 9}{n}", "label": "earn"} for n in range(9)])):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "train.jsonl").write_text("\n".join(map(json.dumps, kept)))
    return tmp_path


@pytest.fixture
def news(data: Path) -> Convention:
    return next(c for c in conventions(data) if c.name == "ag_news")


def test_without_a_data_folder_the_sample_alone_is_measured() -> None:
    (sample,) = conventions(None)
    assert sample.counts()[:2] == [20, 60] and 60 < sample.counts()[2] == len(sample.items)
    taught = {item.label for item in sample.items}
    assert {"economy", "security"} <= taught
    given, held = sample.drawn(1)
    assert len(held) == 36 and len(given) == len(sample.items)
    assert all(item.text and item.title for item in held)


def test_a_set_that_is_too_small_or_missing_is_left_out(data: Path) -> None:
    assert [c.name for c in conventions(data)] == ["sample", "ag_news"]


def test_a_draw_has_all_labels_equally_often_and_shares_no_story(news: Convention) -> None:
    given, held = news.drawn(0)
    assert (len(given), len(held)) == (TRAINING, HELD_OUT)
    assert set(Counter(item.label for item in held).values()) == {HELD_OUT // 4}
    assert set(Counter(item.label for item in given[:20]).values()) == {5}
    words = [frozenset(item.text.lower().split()) for item in (*given, *held)]
    assert max(jaccard(a, b) for n, a in enumerate(words[:60]) for b in words[n + 1 :]) < NEAR
    assert news.drawn(0) == (given, held) and news.drawn(1) != (given, held)


def test_copies_and_answers_to_a_post_are_one_story(news: Convention) -> None:
    items = [made.Item("Engine noise", "what is it", "a"), made.Item("Re: Engine noise", "worn belt", "a"), made.Item("", "what is it", "b")]
    assert made._apart([*items, made.Item("", "engine noise what is it", "b")], 9) == [items[0], items[2]]


def test_the_headers_of_a_post_are_not_its_text() -> None:
    row = {"title": "Pucks", "text": "From: a@b.c (A)\nSubject: Pucks\nOrganization: Rink\n\nThe puck: it\nis black.", "label": "rec.sport.hockey"}
    assert made._item(row, {"rec.sport.hockey": "desk-a"}) == made.Item("Pucks", "The puck: it is black.", "desk-a")
    assert made._item(row | {"title": ""}, {"rec.sport.hockey": "desk-a"}).title == "The puck: it is black."  # as ingest heads it


def test_the_label_set_is_a_real_one_with_tasks_that_nobody_corrects(news: Convention, tmp_path: Path) -> None:
    from shared.taxonomy import read

    labels = read(news.write(tmp_path))["news"]
    assert list(labels.tasks["page"].labels) == ["lab", "money", "games", "abroad"]
    assert {task.name for task in labels.asked_of("llm")} == {"page", "sentiment", "urgency"}


@pytest.mark.parametrize("spec", made.LABELLED, ids=lambda spec: spec["name"])
def test_every_set_of_the_list_makes_a_label_set(spec: dict[str, Any], tmp_path: Path) -> None:
    labels = list(spec["names"])
    rows = [{"text": f"story {n} of {n * n} words about {labels[n % len(labels)]}", "label": labels[n % len(labels)]} for n in range(300)]
    (tmp_path / spec["name"]).mkdir()
    (tmp_path / spec["name"] / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (found,) = [c for c in conventions(tmp_path) if c.name != "sample"]
    assert list(found.labels().tasks[spec["task"]].labels) == list(spec["names"].values())


def test_the_snapshot_trains_on_the_corrections_and_holds_out_the_rest(news: Convention) -> None:
    snapshot = dataset(news, 0, 20)
    given, held = news.drawn(0)
    assert [e.text for e in snapshot.part("train")] == [item.text for item in given[:20]]
    assert [e.text for e in snapshot.part("held_out")] == [item.text for item in held]
    assert {"epochs", "learning_rate", "rank"} == set(snapshot.recipe)
    assert dataset(news, 0, 20).digest() == snapshot.digest() != dataset(news, 1, 20).digest()


def points(accuracy: float, cpu_s: float) -> list[Point]:
    return [
        Point(
            convention="ag_news", seed=seed, corrections=n, base=0.25, accuracy=accuracy if n == 60 else 0.5, minilm=0.8, kept=0.9, asked=96,
            training_cpu_s=cpu_s, training_wall_s=cpu_s, run_cpu_s=2 * cpu_s, run_wall_s=2 * cpu_s,
        )
        for seed in range(2)
        for n in (20, 60, 200)
    ]  # fmt: skip


@pytest.mark.parametrize(("accuracy", "cpu_s", "met"), [(0.8, 60, True), (0.79, 60, False), (0.9, 121, False)])
def test_the_target_is_checked_on_accuracy_and_on_processor_time(accuracy: float, cpu_s: float, met: bool, news: Convention) -> None:
    found = points(accuracy, cpu_s)
    assert verdicts(found)["ag_news"]["met"] is met
    told = page([news], found, "about")
    assert ("met by ag_news; missed by none" if met else f"met by none; missed by ag_news ({accuracy:.0%}") in told
    assert f"**{accuracy:.0%}** ({accuracy:.0%} to {accuracy:.0%})" in told and "200: **50%**" in told


def test_the_picture_is_drawn(news: Convention, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    plot([news], points(0.8, 60), tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_only_the_part_between_the_marks_is_written(tmp_path: Path) -> None:
    target = tmp_path / "page.md"
    target.write_text("before\n<!-- x -->\nold\n<!-- /x -->\nafter\n")
    write_between(target, "x", "new")
    assert target.read_text() == "before\n<!-- x -->\nnew\n<!-- /x -->\nafter\n"
    with pytest.raises(ValueError, match="must hold <!-- y -->"):
        write_between(target, "y", "new")
