"""Judging a neural head that is offered: whether it fits, what it says, and when it takes the place of the one in use."""

import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from services.classifier.head import Head as HeadInUse
from services.trainer.dataset import Snapshot, effective, snapshot
from services.trainer.gate import HeadEvidence, Judged, judge_head
from services.trainer.heads import Figures, Head, answer, ask, likeliest, read_card, shipped
from services.trainer.run import Runs
from services.trainer.runs.judge_head import judgement
from shared.encoder import Encoder
from shared.errors import PermanentError
from shared.events import GateCheck, ModelPublished, TrainingRequested
from shared.heads import head_text
from shared.taxonomy import LabelSet, label_set
from tests.support import heads

TASKS = ("category", "sentiment", "urgency")


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(heads.ENCODER, 1)


@pytest.fixture(scope="module")
def better(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return heads.head(tmp_path_factory.mktemp("heads") / "better")


@pytest.fixture(scope="module")
def worse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return heads.head(tmp_path_factory.mktemp("heads") / "worse", wrong=True)


@pytest.fixture
def corrected(said) -> Snapshot:
    """What people said of the category of some texts."""
    rows = [said(str(n), "", row["category"], text=row["text"], minute=n) for n, row in enumerate(heads.lines(1, most=30))]
    return snapshot(effective(rows), role="head-news", base="ground", share=1.0, recipe={})


def edited(folder: Path, to: Path, **changes: Any) -> Path:
    """A copy of a head with another card."""
    shutil.copytree(folder, to)
    (to / "head.json").write_text(json.dumps({**json.loads((folder / "head.json").read_text()), **changes}))
    return to


def test_a_trained_head_brings_known_answers_that_the_service_gives_too(better: Path, encoder: Encoder) -> None:
    probes = read_card(better).probes
    assert 12 <= len(probes) <= 16 and {probe.task for probe in probes} == set(TASKS)
    assert len({probe.answer for probe in probes if probe.task == "category"}) > 4
    assert len({probe.base_answer for probe in probes}) == len(TASKS)  # of each task the commonest label
    texts = [head_text(probe.title, probe.text) for probe in probes]
    here = ask(Head(better), encoder, texts)
    assert [likeliest(scores, probe.task) for scores, probe in zip(here, probes, strict=True)] == [probe.answer for probe in probes]
    there = HeadInUse.load(better).scores(encoder, texts)
    assert [{task: pytest.approx(chances, abs=1e-5) for task, chances in scores.items()} for scores in there] == here


def test_the_better_of_two_is_right_of_more_corrections(better: Path, worse: Path, corrected: Snapshot, encoder: Encoder) -> None:
    found = judgement(corrected, better, worse, encoder)
    assert [check["passed"] for check in found["checks"]] == [True, True] and found["base"] == encoder.digest
    n = len(corrected.examples)
    assert len(found["held_out"]) == n > 12 and found["probes"] == [probe.model_dump() for probe in read_card(better).probes]
    right = [sum(row["gold"] == row[who] for row in found["held_out"]) for who in ("incumbent", "candidate")]
    assert right[0] < n / 4 and right[1] > n / 2


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "another encoder": ({"encoder": "f" * 64}, "it fits", "it was trained on the encoder ffffffffffff, and the one in use is"),
    "a collection without a label set": ({"collection": "desk"}, "it fits", "the collection 'desk', which has no label set"),
    "a name that is none": ({"collection": "../x"}, "it fits", "head.json: collection: String should match"),
    "a task that is none": ({"tasks": {"team": ["a", "b"]}}, "it fits", "the task 'team', which is none that a head of 'news' is asked"),
    "a label that is none": (
        {"tasks": {"sentiment": ["good", "bad", "so-so"]}},
        "it fits",
        "it says 'good' of the task 'sentiment', which has no such",
    ),
    "labels missing": ({"tasks": {"sentiment": ["positive", "negative"]}}, "it fits", "no probabilities for the 2 labels of the task 'sentiment'"),
    "another kind of task": (
        {"kinds": dict.fromkeys(TASKS, "multi")},
        "it fits",
        "task 'category' is single in the label set, and multi to the head",
    ),
    "another input": ({"reads": "tokens"}, "it fits", "head.onnx does not do what head.json says"),
    "no known answers": ({"probes": []}, "known answers", "it has none: train it again"),
    "known answers without end": (
        {"probes": [{"task": "category", "title": "", "text": "long " * 1000, "answer": "sport", "base_answer": "world"}]},
        "it fits",
        "a known answer is longer than 4000 characters",
    ),
    "other known answers": (
        {"probes": [{"task": "category", "title": "", "text": "The cup final.", "answer": "politics", "base_answer": "world"}]},
        "known answers",
        "0 of 1 come back",
    ),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_does_not_fit_is_refused_with_its_reason(why: str, better: Path, corrected: Snapshot, encoder: Encoder, tmp_path: Path) -> None:
    changes, name, says = REFUSED[why]
    found = judgement(corrected, edited(better, tmp_path / "head", **changes), None, encoder)
    (failed,) = [check for check in found["checks"] if not check["passed"]]
    assert failed["name"] == name and says in failed["detail"]


@pytest.mark.parametrize(("name", "data", "says"), [("head.onnx", b"\0", "no graph that onnxruntime can read"), ("head.json", b"{", "head.json: ")])
def test_damaged_files_are_named(name: str, data: bytes, says: str, better: Path, tmp_path: Path) -> None:
    folder = edited(better, tmp_path / "head")
    (folder / name).write_bytes(data)
    with pytest.raises(PermanentError, match=says):
        Head(folder)
    (folder / name).unlink()
    with pytest.raises(PermanentError, match=f"no head in head: No such file or directory: {name}"):
        Head(folder)


def test_one_in_use_that_can_not_be_asked_is_no_hindrance(better: Path, worse: Path, corrected: Snapshot, encoder: Encoder, tmp_path: Path) -> None:
    found = judgement(corrected, better, edited(worse, tmp_path / "old", encoder="f" * 64), encoder)
    assert "the one in use can't be asked: it was trained on the encoder ffff" in found["checks"][0]["detail"]
    assert found["live"] == {}  # as in use, the encoder then goes by the labels' names
    assert {row["incumbent"] for row in found["held_out"]} <= set(label_set().tasks["category"].labels)


def test_a_story_counts_once_and_other_tasks_not_at_all(said, better: Path, encoder: Encoder) -> None:
    given = [said(str(n), "The cup final tonight", "sport", minute=n, text="The whole town is there" + " again" * n, story="one") for n in range(9)]
    given.append(said("x", "The cup final tonight", "low", minute=20, task="urgency", text="The whole town is there"))
    given.append(said("y", "A storm", "high", minute=21, task="risk", text="It comes from the sea."))
    found = judgement(snapshot(given, role="head-news", base="", share=1.0, recipe={}), better, None, encoder)
    assert sorted((row["task"], row["gold"]) for row in found["held_out"]) == [("category", "sport"), ("urgency", "low")]


def test_several_labels_are_said_as_a_person_writes_them() -> None:
    body = {"topics": {"meaning": "m", "kind": "multi", "labels": {"pay": "p", "food": "f"}}, "team": {"meaning": "m", "labels": {"a": "", "b": ""}}}
    labels = LabelSet.model_validate({"collection": "desk", "tasks": body})
    said = {"topics": {"food": 0.9, "pay": 0.6}, "team": {"a": 0.4, "b": 0.6}}
    assert (answer(said, "topics", labels), answer(said, "team", labels)) == ("pay,food", "b")
    assert (answer({"topics": {"food": 0.1, "pay": 0.2}}, "topics", labels), answer({}, "topics", labels)) == ("none", "")


def test_the_shipped_head_is_found_by_its_collection(better: Path, tmp_path: Path) -> None:
    assert shipped(better, "news") == better and shipped(better, "wellbeing") is None and shipped(tmp_path, "news") is None
    edited(better, tmp_path / "a-damaged-one", format=1)
    edited(better, tmp_path / "some-name")
    assert shipped(tmp_path, "news") == tmp_path / "some-name"


def evidence(n: int, right: tuple[float, float] = (0.4, 0.9), own: float = 0.8, live: float | None = 0.7, **more: Any) -> HeadEvidence:
    """n corrections, of which incumbent and candidate are right of such shares; the mean figures of both."""
    golds = ("sport", "politics", "science", "health")
    rows = [Judged(golds[i % 4], *(golds[(i + (i / n >= share)) % 4] for share in right)) for i in range(n)]
    figures = Figures(macro_f1=own, accuracy=own, majority=0.3)
    found = [GateCheck(name="it fits", passed=True, detail="")]
    return HeadEvidence(found, rows, **{"figures": {"category": figures}, "live": {"category": live and Figures(macro_f1=live)}, **more})


def test_with_enough_corrections_they_decide() -> None:
    report = judge_head(evidence(40, own=0.1))
    assert report.passed and (report.held_out, report.accuracy_incumbent, report.accuracy_candidate) == (40, 0.4, 0.9)
    report = judge_head(evidence(40, right=(0.9, 0.4), own=1.0))
    assert not report.passed and "better than what is live: 90% before, 40% after" in report.refused_because


FEW: dict[str, tuple[dict[str, Any], str]] = {
    "better": ({}, ""),
    "nothing in use": ({"live": None}, ""),
    "worse than the one in use": ({"live": 0.9}, "mean macro-F1 0.800, and that of the one in use 0.900"),
    "no better than the commonest label": ({"own": 0.3, "live": None}, "category is right of 30% of the texts, and its commonest label is of 30%"),
    "not measured": ({"figures": {"category": None}, "live": {}}, "category was not measured"),
    "a task is missing": ({"figures": {"urgency": Figures(macro_f1=0.9)}}, "mean macro-F1 0.000, and that of the one in use 0.700"),
}


@pytest.mark.parametrize("why", FEW)
def test_with_few_corrections_its_own_figures_decide_and_the_report_says_so(why: str) -> None:
    changes, says = FEW[why]
    report = judge_head(evidence(5, right=(1.0, 0.0), **changes))
    assert report.passed == (not says) and says in report.refused_because
    assert "5 corrections are too few to judge by (at least 12), so the figures of its own training decide" in report.checks[-1].detail


def test_one_that_does_not_fit_is_not_measured() -> None:
    report = judge_head(HeadEvidence([GateCheck(name="it fits", passed=False, detail="no")], [], {}, {}))
    assert report.refused_because == "it fits: no"


@pytest.fixture
def desk(handlers, settings, store, runs, bus, worse: Path) -> Any:
    """Handlers whose shipped head is the worse one."""
    own = settings.model_copy(update={"head": worse, "encoder": heads.ENCODER})
    handlers.settings = own
    handlers.runs = Runs(own, store, runs.registry, runs.base, bus.clock)
    return handlers


async def run_of(handlers: Any, bus: Any, request: TrainingRequested) -> list[Any]:
    events = list(await handlers.on_training_requested(request))
    await bus.publish(*events)
    return events


def test_the_program_is_told_of_encoder_label_sets_and_the_head_in_use(
    desk, bus, better: Path, worse: Path, encoder: Encoder, tmp_path: Path
) -> None:
    desk.runs.settings = desk.settings.model_copy(update={"labels": tmp_path})
    offered, live = (desk.runs.registry.publish(better, role, encoder.digest).digest for role in ("candidate", "head-news"))
    request = TrainingRequested(run_id="r", role="head-news", candidate_uri=offered, requested_at=bus.clock())
    for incumbent, folder in (("base", worse), (live, desk.runs.registry.fetch("head-news", live))):
        argv = desk.runs._argv(request, incumbent)
        said = dict(zip(argv[::2], argv[1::2], strict=True))
        assert said == {
            "-m": "services.trainer.runs.judge_head",
            "--encoder": str(heads.ENCODER),
            "--labels": str(tmp_path),
            "--incumbent": str(folder),
            "--candidate": str(desk.runs.registry.fetch("candidate", offered)),
        }


async def test_an_offered_head_is_judged_by_its_collections_corrections_and_rolled_back(desk, bus, said, better: Path, encoder: Encoder) -> None:
    rows = [said(str(n), "", row["category"], text=row["text"], minute=n) for n, row in enumerate(heads.lines(1, most=14))]
    rows += [said("w", "", "sadness", text="I miss her.", task="emotion", collection="wellbeing"), said("x", "", "gossip", text="Not a label.")]
    rows.append(said("r", kind="retraction", retracts="0", minute=60, collection="wellbeing"))
    await bus.publish(*rows)
    digest = desk.runs.registry.publish(better, "candidate", encoder.digest).digest
    request = await desk.offer(digest, "mine")
    taught = len(heads.lines(1, most=14)) - 1
    assert (request.role, request.candidate_uri, request.examples) == ("head-news", digest, taught)
    assert await desk.offer(digest, "") == request
    finished, published = await run_of(desk, bus, request)
    assert finished.outcome == "published" and finished.report.held_out == taught
    assert (published.role, published.base, published.previous) == ("head-news", encoder.digest, "base")
    assert published.probes == read_card(better).probes and desk.incumbent("head-news") == published.digest
    back = await desk.rollback("head-news", "")
    assert (back.digest, back.base, back.previous) == ("base", encoder.digest, published.digest)
    again = await desk.rollback("head-news", "")
    assert isinstance(again, ModelPublished) and (again.digest, again.probes) == (published.digest, published.probes)
    assert again.published_at - back.published_at > timedelta(0)


async def test_a_worse_head_is_refused_and_asked_again_when_the_labels_have_changed(desk, bus, worse, better, encoder, tmp_path, monkeypatch) -> None:
    desk.settings = desk.runs.settings = desk.settings.model_copy(update={"head": edited(better, tmp_path / "shipped", figures=figures(0.8))})
    digest = desk.runs.registry.publish(edited(worse, tmp_path / "offered", figures=figures(0.7)), "candidate", encoder.digest).digest
    request = await desk.offer(digest, "")
    (finished,) = await run_of(desk, bus, request)
    assert finished.outcome == "refused" and "0 corrections are too few" in finished.reason and "0.700" in finished.reason
    assert await desk.offer(digest, "") == request
    changed = label_set().model_copy(update={"error_rate": 0.2})
    monkeypatch.setattr("services.trainer.run.label_set", lambda _: changed)
    assert (await desk.offer(digest, "")).run_id != request.run_id


def figures(macro_f1: float) -> dict[str, Any]:
    return {task: {"macro_f1": macro_f1, "accuracy": 0.8, "majority": 0.4} for task in TASKS}
