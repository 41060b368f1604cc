"""Heads that the loop trains of corrections: which, of how many, what of labels that nobody named, the same bytes, and what the gate says of them."""

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from starlette.applications import Starlette

from services.trainer import own_heads
from services.trainer.api import Api
from services.trainer.dataset import Example, Snapshot
from services.trainer.gate import HeadEvidence, Judged, judge_head
from services.trainer.heads import Head, ask, likeliest
from services.trainer.runs.judge_head import commonest
from services.trainer.runs.train_own_head import main, train
from shared.encoder import Encoder
from shared.errors import PermanentError
from shared.events import ModelPublished, TrainingFinished, TrainingRequested
from shared.taxonomy import LabelSet, label_set, use
from tests.support import heads

OWN = """
label_sets:
  desk:
    tasks:
      beat: {meaning: the desk that writes about it, labels: {quay: ships and ports, stove: cooking and recipes, rails: trains and tracks}}
      topics: {meaning: what it touches on, kind: multi, labels: {money: prices and wages, weather: rain and storms}}
      heat: {meaning: how heated it is, kind: ordinal, labels: {calm: "", warm: "", hot: ""}}
      harm: {meaning: danger, safety: true, default: none, labels: {none: "", high: ""}}
  news:
    tasks: {page: {meaning: where it stands, labels: {front: the first page, back: the last page}}}
"""
SAID = {
    "quay": ["The ferry leaves the harbour", "Two vessels wait at the breakwater", "A trawler landed herring", "The port's cranes stand still"],
    "stove": ["Fold the egg whites into the chocolate", "Simmer the onions in butter", "Bake the loaf for an hour", "A bistro with a new menu"],
    "rails": ["The night train is cancelled", "The tram gets a second track", "A station loses its clock", "Sleepers on the line are mended"],
}
encoder_is_here = pytest.mark.skipif(not (heads.ENCODER / "manifest.json").exists(), reason="the encoder is not exported: make setup")


@pytest.fixture(autouse=True)
def own(tmp_path: Path):
    (tmp_path / "own.yaml").write_text(OWN)
    use(tmp_path / "own.yaml")
    yield tmp_path / "own.yaml"
    use(None)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(heads.ENCODER, 1)


def examples(task: str, labels: list[str], split: str = "train", texts: list[str] | None = None) -> list[Example]:
    return [
        Example.model_validate(
            {"task": task, "title": "", "text": texts[n] if texts else f"{task} {n}", "label": label, "story": f"{split}{task}{n}",
             "feedback_id": f"{split}{task}{n}", "split": split, "collection": "desk"}
        )
        for n, label in enumerate(labels)
    ]  # fmt: skip


def beats(swapped: bool = False, several: int = 3) -> list[Example]:
    """Corrections under the names of two of the desk's labels, or each under the other's name."""
    names = {"quay": "stove", "stove": "quay"} if swapped else {"quay": "quay", "stove": "stove"}
    pairs = [(f"{text}, {when}.", names[label]) for when in ("today", "on Monday", "at noon")[:several] for label in names for text in SAID[label]]
    return examples("beat", [label for _, label in pairs], texts=[text for text, _ in pairs])


@pytest.mark.parametrize(
    ("said", "learned"),
    [
        (["quay"] * 9 + ["stove"] * 3, True),
        (["quay"] * 9 + ["stove"] * 2, False),  # eleven
        (["quay"] * 11 + ["stove"] * 2, False),  # only one label has three
        (["quay"] * 20, False),
    ],
)
def test_a_task_is_learned_from_twelve_examples_with_two_labels_of_three(said: list[str], learned: bool) -> None:
    assert list(own_heads.enough(label_set("desk"), examples("beat", said))) == (["beat"] if learned else [])


def test_of_a_multi_task_each_label_of_an_answer_counts() -> None:
    assert own_heads.enough(label_set("desk"), examples("topics", ["money,weather"] * 3 + ["none"] * 9))
    assert not own_heads.enough(label_set("desk"), examples("topics", ["money"] * 6 + ["none"] * 9))


def count(task: str, said: list[Example]) -> own_heads.Readiness:
    return next(one for one in own_heads.readiness(label_set("desk"), said) if one.task == task)


def test_all_tasks_that_a_head_may_be_taught_are_counted_before_anything_is_said() -> None:
    found = own_heads.readiness(label_set("desk"), [])
    assert [(one.collection, one.task, one.examples, one.more, one.ready) for one in found] == [
        ("desk", task, 0, 12, False)
        for task in ("beat", "topics", "heat")  # never what is safety as a whole
    ]
    assert found[0].counts == {"quay": 0, "stove": 0, "rails": 0} and found[0].silent == ["quay", "stove", "rails"]
    assert found[0].missing == "12 more of 12 corrections or confirmations; 3 each of 2 labels at least, so far of none"


@pytest.mark.parametrize(
    ("said", "more", "missing"),
    [
        (["quay"] * 7, 5, "5 more of 12 corrections or confirmations; 3 each of 2 labels at least, so far only of 'quay'"),
        (["quay"] * 4 + ["stove"] * 3, 5, "5 more of 12 corrections or confirmations"),
        (["quay"] * 12 + ["stove"], 2, "3 each of 2 labels at least, so far only of 'quay'"),
        (["quay"] * 11, 3, "1 more of 12 corrections or confirmations; 3 each of 2 labels at least, so far only of 'quay'"),
        (["quay"] * 9 + ["stove"] * 3, 0, ""),
    ],
)
def test_what_is_missing_is_one_sentence_and_a_number(said: list[str], more: int, missing: str) -> None:
    found = count("beat", examples("beat", said))
    assert (found.more, found.missing, found.ready) == (more, missing, not more)
    assert found.counts == {label: said.count(label) for label in ("quay", "stove", "rails")} and "rails" in found.silent
    assert found.ready == ("beat" in own_heads.enough(label_set("desk"), examples("beat", said)))


def test_an_answer_of_a_multi_task_may_bring_all_that_is_missing_at_once() -> None:
    assert count("topics", examples("topics", ["none"] * 12)).more == 3
    found = count("topics", examples("topics", ["money,weather"] * 3 + ["none"] * 9))
    assert (found.more, found.counts, found.silent) == (0, {"money": 3, "weather": 3}, [])


def test_what_is_held_out_brings_a_head_no_nearer_but_was_said() -> None:
    found = count("beat", examples("beat", ["quay"] * 2) + examples("beat", ["stove"] * 20, split="held_out"))
    assert (found.examples, found.counts["stove"], found.silent) == (2, 0, ["rails"])


def judged_by(head: Path, encoder: Encoder, texts: list[str], task: str = "beat") -> list[str]:
    return [likeliest(scores, task) for scores in ask(Head(head), encoder, texts)]


@encoder_is_here
def test_a_convention_against_the_names_is_learned_and_a_label_that_nobody_named_is_still_said(encoder: Encoder, tmp_path: Path) -> None:
    train(beats(swapped=True), label_set("desk"), encoder, tmp_path / "head")
    assert judged_by(tmp_path / "head", encoder, ["The vessels leave the port.", "Butter and eggs for a cake."]) == ["stove", "quay"]
    assert judged_by(tmp_path / "head", encoder, ["The train stands on the track before the station."]) == ["rails"]


@encoder_is_here
def test_the_same_snapshot_gives_the_same_bytes(encoder: Encoder, tmp_path: Path) -> None:
    for name in ("one", "two"):
        train(beats(), label_set("desk"), encoder, tmp_path / name)
    for file in ("head.onnx", "head.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


@encoder_is_here
def test_multi_and_ordinal_tasks_are_learned_beside(encoder: Encoder, tmp_path: Path) -> None:
    wet = [f"Rain and storm over the coast, {n}." for n in ("today", "tonight", "on Friday", "again", "all week", "at last")]
    dear = [f"Bread costs more and wages fall, {n}." for n in ("today", "tonight", "on Friday", "again", "all week", "at last")]
    multi = examples("topics", ["weather"] * 6 + ["money"] * 6, texts=wet + dear)
    ordinal = examples("heat", ["calm"] * 6 + ["hot"] * 6, texts=wet + dear)
    card = train(multi + ordinal, label_set("desk"), encoder, tmp_path / "head")
    assert card["tasks"] == {"topics": ["money", "weather"], "heat": ["calm", "hot"]}  # by the name of a heat nothing can be told
    (scores,) = ask(Head(tmp_path / "head"), encoder, ["A storm brings rain."])
    assert scores["topics"]["weather"] > 0.5 > scores["topics"]["money"] and likeliest(scores, "heat") == "calm"


@encoder_is_here
def test_the_program_has_it_judged_against_the_names(own: Path, tmp_path: Path) -> None:
    held = [
        one.model_copy(update={"split": "held_out", "text": f"{one.text} It is said.", "story": one.story + "h"}) for one in beats(swapped=True)[:12]
    ]
    snapshot = Snapshot(role="head-desk", base="ground", recipe={}, examples=beats(swapped=True) + held)
    (tmp_path / "snapshot.json").write_text(snapshot.model_dump_json())
    argv = ["--snapshot", tmp_path / "snapshot.json", "--encoder", heads.ENCODER, "--labels", own, "--out", tmp_path]
    main([str(one) for one in argv])
    found = json.loads((tmp_path / "judgement.json").read_text())
    right = [np.mean([row["gold"] == row[who] for row in found["held_out"]]) for who in ("incumbent", "candidate")]
    assert right[0] < 0.2 and right[1] > 0.8 and found["training_examples"] == 24
    assert {check["name"]: check["passed"] for check in found["checks"]} == {"it fits": True, "known answers": True, "no task loses its head": True}
    assert {probe["collection"] for probe in found["probes"]} == {"desk"}


def test_where_nobody_speaks_the_commonest_label_is_to_be_beaten() -> None:
    said = examples("heat", ["hot", "calm", "hot"]) + examples("heat", ["calm"] * 5, split="held_out")
    assert commonest(Snapshot(role="head-desk", base="", recipe={}, examples=said)) == {"heat": "hot"}


def evidence(rows: list[Judged], trained: int = 30) -> HeadEvidence:
    return HeadEvidence([], rows, {}, {}, training_examples=trained)


def rows(gold: str, incumbent: str, candidate: str, n: int, task: str = "beat", collection: str = "desk") -> list[Judged]:
    return [Judged(gold, incumbent, candidate, task, collection)] * n


def test_the_gate_lets_a_better_head_through_and_says_why_another_is_refused() -> None:
    better = rows("quay", "stove", "quay", 8) + rows("stove", "quay", "stove", 8)
    assert judge_head(evidence(better)).passed
    assert "enough examples: 8 held out (at least 12), 30 trained on" in judge_head(evidence(better[4:12])).refused_because
    worse = judge_head(evidence(rows("quay", "quay", "stove", 8) + rows("stove", "stove", "quay", 8)))
    assert "better than what is live: 100% before, 0% after" in worse.refused_because
    pays = better * 2 + rows("hot", "hot", "calm", 2, "heat")
    assert "no task pays for it: heat 100% before, 0% after, of 2" in judge_head(evidence(pays)).refused_because


def test_a_head_that_misses_more_safety_labels_is_refused() -> None:
    better = rows("sadness", "anger", "sadness", 9, "emotion", "wellbeing") + rows("anger", "sadness", "anger", 9, "emotion", "wellbeing")
    grave = next(iter(label_set("wellbeing").tasks["emotion"].safety_labels))
    one_missed = rows(grave, grave, "sadness", 1, "emotion", "wellbeing")
    assert judge_head(evidence(better)).passed
    assert "safety labels are found: 1 of 1 are missed, 0 were before" in judge_head(evidence(better + one_missed)).refused_because


@pytest.fixture
def desk(handlers, runs, bus, said, monkeypatch):
    """Handlers that have heard two dozen corrections of the desk and six of wellbeing, and a place without an encoder to read."""
    monkeypatch.setattr(type(runs), "ground", lambda self, role: f"ground of {role}")

    async def hear():
        for n in range(24):
            await bus.publish(
                said(f"d{n:02}", f"no{n} of{n} our{n} words{n} agree{n}", ("quay", "stove")[n % 2], task="beat", collection="desk", minute=n)
            )
        for n in range(6):
            await bus.publish(
                said(
                    f"w{n}", f"letter{n} mine{n} own{n} hand{n}", ("positive", "negative")[n % 2], task="sentiment", collection="wellbeing", minute=n
                )
            )

    return hear


async def asked(handlers, bus) -> list[TrainingRequested]:
    before = len(bus.of(TrainingRequested))
    await handlers.ask("a test")
    return bus.of(TrainingRequested)[before:]


async def test_a_run_for_each_head_is_asked_for_before_the_adapters(handlers, bus, desk) -> None:
    await desk()
    head, adapter = await asked(handlers, bus)
    assert (head.role, adapter.role, head.candidate_uri) == ("head-desk", "adapter", "")
    assert (head.examples, adapter.examples) == (24, 30)
    assert await asked(handlers, bus) == []  # the same corrections are the same runs


async def test_a_shipped_head_is_left_alone_and_one_whose_label_set_was_replaced_is_not(runs, settings) -> None:
    settings.head = Path("deploy/model/heads")
    assert [runs.left_to_the_loop(name) for name in ("wellbeing", "desk", "news")] == [False, True, True]
    use(None)
    assert not runs.left_to_the_loop("news")


async def test_what_other_sets_are_taught_makes_no_other_run_of_a_head_and_safety_is_no_part_of_it(handlers, bus, said, desk) -> None:
    await desk()
    await asked(handlers, bus)
    await bus.publish(said("more", "a seventh letter", "positive", task="sentiment", collection="wellbeing", minute=30))
    await bus.publish(said("harm", "a threat", "high", task="harm", collection="desk", minute=31))
    assert [request.role for request in await asked(handlers, bus)] == ["adapter"]
    await bus.publish(said("last", "one more ship", "quay", task="beat", collection="desk", kind="confirmation", minute=32))
    assert [(request.role, request.examples) for request in await asked(handlers, bus)] == [("head-desk", 25), ("adapter", 32)]


async def test_without_an_encoder_the_adapter_has_its_run(handlers, bus, said) -> None:
    for n in range(24):
        await bus.publish(
            said(f"d{n:02}", f"no{n} of{n} our{n} words{n} agree{n}", ("quay", "stove")[n % 2], task="beat", collection="desk", minute=n)
        )
    handlers.settings.encoder = Path("nowhere")
    assert [request.role for request in await asked(handlers, bus)] == ["adapter"]


async def test_a_head_that_fails_is_told_so_and_the_adapter_is_trained_all_the_same(handlers, bus, desk, program, judgement) -> None:
    await desk()
    head, adapter = await asked(handlers, bus)
    program.does(err="no room\n", code=1)
    await bus.publish(*await handlers.on_training_requested(head))
    program.does(judgement=judgement())
    await bus.publish(*await handlers.on_training_requested(adapter))
    assert [(run.role, run.outcome) for run in bus.of(TrainingFinished)] == [("head-desk", "failed"), ("adapter", "published")]


async def test_a_head_is_published_once_however_often_it_is_asked_for(handlers, bus, desk, program, tmp_path) -> None:
    await desk()
    head, _ = await asked(handlers, bus)
    labels = ("quay", "stove")
    held_out = [{"gold": labels[n % 2], "incumbent": labels[1 - n % 2], "candidate": labels[n % 2], "task": "beat"} for n in range(16)]
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "head.json").write_text("{}")
    probe = {"task": "beat", "title": "", "text": "x", "answer": "quay", "base_answer": "stove", "collection": "desk"}
    found = {"checks": [], "held_out": held_out, "figures": {}, "live": {}, "probes": [probe], "base": "encoder", "head": str(folder)}
    program.does(judgement=found | {"training_examples": 12})
    lost = await handlers.on_training_requested(head)  # killed before anything is told
    told = await handlers.on_training_requested(head)
    assert told == lost and len(program.starts()) == 1 and "train_own_head" in program.starts()[0]
    await bus.publish(*told)
    assert await handlers.on_training_requested(head) == []
    (published,) = bus.of(ModelPublished)
    assert (published.role, published.previous, len(published.probes)) == ("head-desk", "base", 1)
    back = await handlers.rollback("head-desk", "")
    assert (back.digest, back.previous, back.base) == ("base", published.digest, "encoder")


async def state(handlers) -> dict[str, Any]:
    service = Starlette(routes=Api(handlers).routes())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(service), base_url="http://trainer") as client:
        return (await client.get("/api/state")).json()


async def test_the_state_says_how_far_own_label_sets_are_and_counts_only_what_is_new(handlers, bus, said, desk, monkeypatch) -> None:
    handlers.settings.head = Path("deploy/model/heads")
    counted, count = [], own_heads.readiness

    def counting(labels: LabelSet, said: list[Example]) -> list[own_heads.Readiness]:
        counted.append(labels.collection)
        return count(labels, said)

    monkeypatch.setattr(own_heads, "readiness", counting)
    before = {(one["collection"], one["task"]): one for one in (await state(handlers))["heads"]}
    # the user's news, and not the wellbeing that ships
    assert list(before) == [("desk", "beat"), ("desk", "topics"), ("desk", "heat"), ("news", "page")]
    assert before["desk", "beat"]["examples"] == 0
    await desk()
    await state(handlers)
    found = (await state(handlers))["heads"]
    assert counted == ["desk", "news"] * 2
    beat = found[0]
    assert beat["ready"] and beat["missing"] == "" and beat["silent"] == ["rails"] and 12 <= beat["examples"] < 24
    assert found[1]["silent"] == ["money", "weather"]
    await bus.publish(said("r", "the night train", "rails", task="beat", collection="desk", kind="confirmation", minute=40))
    assert (await state(handlers))["heads"][0]["silent"] == []


async def test_without_an_encoder_the_state_is_told_without_heads(handlers, bus, said) -> None:
    await bus.publish(said("1", "a ship", "quay", task="beat", collection="desk"))
    handlers.settings.encoder = Path("nowhere")
    told = await state(handlers)
    assert (told["heads"], told["waiting"]) == ([], 1)


async def test_a_label_set_that_goes_wrong_is_left_out_and_the_others_stay(handlers, runs, monkeypatch) -> None:
    def ground(self, role: str) -> str:
        if role == "head-desk":
            raise PermanentError("it is broken")
        return "ground"

    monkeypatch.setattr(type(runs), "ground", ground)
    assert [one.collection for one in await handlers.readiness()] == ["news"]


async def test_who_asks_is_not_kept_waiting_by_the_counting(handlers, bus, said, desk, monkeypatch) -> None:
    handlers.settings.head = Path("deploy/model/heads")
    known = await handlers.readiness()
    go = threading.Event()
    count = handlers._own_heads
    monkeypatch.setattr(handlers, "_own_heads", lambda: go.wait(10) and count())
    monkeypatch.setattr("services.trainer.handlers.READINESS_S", 0.05)
    await desk()
    assert await handlers.readiness() == known  # nothing of it yet, and no error
    go.set()
    async with asyncio.timeout(10):
        while not (await handlers.readiness())[0].ready:
            await asyncio.sleep(0.01)
