"""Corrections of a user's own label set train a head that goes live and speaks in the place of the labels' names; a worse one is refused."""

from collections.abc import Sequence

import numpy as np
import pytest
from safetensors.numpy import save_file

from shared.clock import utc_now
from shared.events import (
    BASE_DIGEST,
    DocumentClassified,
    DocumentIngested,
    FeedbackGiven,
    ModelActivated,
    ModelPublished,
    SourceRef,
    TrainingFinished,
    TrainingRequested,
)
from shared.registry import base_id
from tests.loop.world import ENCODER, PreparedRuns, World

pytestmark = [
    pytest.mark.usefixtures("own_label_sets"),
    pytest.mark.skipif(not (ENCODER / "manifest.json").exists(), reason="the sentence encoder is not exported here"),
]
OWN = """label_sets: {desk: {tasks: {pile: {meaning: which pile it goes on, labels: {red: boats and harbours, blue: food and cooking}}}}}
"""
BOATS = ["ferry", "trawler", "tanker", "lifeboat", "barge", "yacht", "tug", "cutter", "schooner", "dinghy", "freighter", "kayak"]
MEALS = ["soup", "stew", "omelette", "pudding", "risotto", "salad", "curry", "porridge", "lasagne", "chowder", "pancake", "goulash"]
WAYS = ["The {} is back in {}, they say on page {}.", "Nobody in {1} had seen such a {0} before number {2}.", "{2} people came to {1} for the {0}."]
TOWNS = ["Almhavn", "Brekke", "Corve", "Dunmore"]
NEW = "The harbour master saw the ferry leave the quay with all its lights out."
ROLE = "head-desk"


@pytest.fixture
def desk(world: World) -> World:
    """The real encoder, no shipped head, and a language model that is known to be small; an adapter of the same corrections is refused."""
    world.encoder, world.labels = ENCODER, world.folder / "own.yaml"
    save_file({"weight": np.zeros((4, 4), dtype=np.float32)}, world.model / "model.safetensors")
    world.base = base_id(str(world.model))
    PreparedRuns.prepared = staticmethod(lambda: world.judgement(world.adapter(1), right=False))
    return world


def said(boats: Sequence[str], meals: Sequence[str]) -> list[FeedbackGiven]:
    """Corrections of texts on boats and meals, in turn, each to these labels in turn."""
    given = []
    for n in range(48):
        labels, words = ((boats, BOATS), (meals, MEALS))[n % 2]
        text = WAYS[n % 3].format(words[n // 2 % 12], TOWNS[n // 24 % 4], n * n + 11)
        spoken = {"collection": "desk", "task": "pile", "correct": labels[n // 2 % len(labels)], "text": text, "given_at": utc_now()}
        given.append(FeedbackGiven.model_validate({"id": f"f{n:03}", "kind": "correction", "document_id": f"d{n}", **spoken}))
    return given


async def verdict(world: World, id: str) -> DocumentClassified:
    """The final verdict on a new document, which nobody has corrected."""
    source = SourceRef(id="s", kind="api")
    document = DocumentIngested(
        id=id,
        version=id,
        story=id,
        source=source,
        title="Seen at night",
        text=f"{NEW} {id}",
        collection="desk",
        published_at=utc_now(),
        received_at=utc_now(),
    )
    await world.publish(document)
    found = await world.until(lambda: [e for e in world.events(DocumentClassified) if e.id == id and e.stage == "final"])
    return found[-1]  # type: ignore[no-any-return]


async def finished(world: World, outcome: str) -> TrainingFinished:
    found = await world.until(lambda: [e for e in world.events(TrainingFinished) if e.role == ROLE and e.outcome == outcome], 120)
    return found[0]  # type: ignore[no-any-return]


async def test_corrections_train_a_head_that_goes_live_and_can_be_taken_back(desk: World) -> None:
    world = desk
    await world.start("inference", "classifier", "feedback", "trainer")
    before = (await verdict(world, "before")).decision["pile"]
    assert before.label == "red" and any("by the labels' names" in reason for reason in before.reasons)

    (pile,) = (await world.clients["trainer"].get("/api/state")).json()["heads"]
    assert (pile["collection"], pile["task"], pile["more"], pile["ready"]) == ("desk", "pile", 12, False)
    await world.publish(*said(boats=["blue"], meals=["red"]))  # the desk's own convention, against what the names tell
    done = await finished(world, "published")
    (published,) = [event for event in world.events(ModelPublished) if event.role == ROLE]
    assert (published.digest, published.previous, published.run_id) == (done.digest, BASE_DIGEST, done.run_id)
    assert done.report and done.report.accuracy_candidate > 0.8 > 0.5 > done.report.accuracy_incumbent and published.probes
    assert [request.role for request in world.events(TrainingRequested)] == [ROLE, "adapter"]
    active = await world.until(lambda: [e for e in world.events(ModelActivated) if e.role == ROLE])
    assert (active[0].outcome, active[0].serving) == ("active", published.digest)

    after = await verdict(world, "after")
    decision = after.decision["pile"]
    assert (decision.label, after.head_digest) == ("blue", published.digest)
    assert any(reason.startswith("the neural head says blue") for reason in decision.reasons)
    shown = (await world.clients["feedback"].get("/api/loop")).json()
    assert (ROLE, published.digest) in {(live["role"], live["digest"]) for live in shown["live"]}
    assert {run["role"]: run["outcome"] for run in shown["runs"]} == {ROLE: "published", "adapter": "refused"}
    state = (await world.clients["trainer"].get("/api/state")).json()
    assert state["live"] == {ROLE: published.digest}
    assert [(pile["ready"], pile["missing"], pile["silent"]) for pile in state["heads"]] == [(True, "", [])]

    assert (await world.clients["trainer"].post("/api/rollback", json={"role": ROLE})).status_code == 202
    await world.until(lambda: [e for e in world.events(ModelActivated) if e.role == ROLE and e.digest == BASE_DIGEST and e.outcome == "active"])
    back = (await verdict(world, "back")).decision["pile"]
    assert back.label == "red" and any("by the labels' names" in reason for reason in back.reasons)
    assert world.kafka.dead() == []


async def test_a_head_that_learned_nothing_is_refused_and_not_tried_again(desk: World) -> None:
    world = desk
    await world.start("inference", "classifier", "trainer")
    await world.publish(*said(boats=["red", "blue"], meals=["red", "blue"]))  # there is nothing to learn in this
    done = await finished(world, "refused")
    assert "better than what is live" in done.reason and done.report and not done.report.passed
    await world.clients["trainer"].post("/api/train", json={})
    await world.kafka.settled()
    assert [request.role for request in world.events(TrainingRequested)].count(ROLE) == 1
    assert not [event for event in world.events(ModelPublished) if event.role == ROLE]
    decision = (await verdict(world, "after")).decision["pile"]
    assert decision.label == "red" and any("by the labels' names" in reason for reason in decision.reasons)
