"""Corrections of three label sets, one of them a user's own, become one adapter; none of the three pays for it; and one of them may be removed again."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from services.trainer.dataset import Snapshot
from shared.events import BASE_DIGEST, FeedbackGiven, ModelActivated, ModelPublished, TrainingFinished, TrainingRequested
from shared.prompts import label_messages, questions
from shared.registry import name_of
from shared.taxonomy import label_set, use
from tests.loop.world import SECURITY, PreparedRuns, World

pytestmark = pytest.mark.usefixtures("own_label_sets")
OWN = "label_sets: {desk: {tasks: {topics: {meaning: what it touches on, kind: multi, labels: {pay: wages, food: meals}}}}}\n"
SAID = {  # collection, task -> what people say, in turn; of none the language model had said it
    ("news", "category"): ["security", "economy"] * 4,
    ("wellbeing", "emotion"): ["anger", "sadness"] * 3,
    ("desk", "topics"): ["pay", "pay,food"] * 2,
}
SADNESS = list(label_set("wellbeing").tasks["emotion"].labels)[SECURITY]  # what the engine says with the adapter SECURITY
KNOWN = [("news", "category", "security", "politics"), ("wellbeing", "emotion", SADNESS, "positive"), ("desk", "topics", "pay", "pay")]


async def correct_all(world: World) -> list[str]:
    """The ids of the corrections."""
    return [
        await world.say(
            title=f"{collection} {n}", text=f"Number {n} tells of thing {n * n} in {collection} town {n + 7}.",
            collection=collection, task=task, correct=correct, incorrect="neutral" if collection == "wellbeing" else "",
        )
        for (collection, task), labels in SAID.items()
        for n, correct in enumerate(labels)
    ]  # fmt: skip


def taught(run: int = -1) -> Snapshot:
    """The snapshot that a run was given."""
    argv = PreparedRuns.started[run]
    return Snapshot.model_validate_json(Path(argv[argv.index("--snapshot") + 1]).read_text())


def judged(folder: Path, worse: str = "") -> Callable[[], dict[str, Any]]:
    """What a run hands to the gate: asked of all that the snapshot holds, the candidate is right where the incumbent is not, but of the collection
    `worse` it is the other way round."""

    def judgement() -> dict[str, Any]:
        held_out = []
        for e in taught().examples:
            now, before = ("another", e.label) if e.collection == worse else (e.label, "another")
            held_out.append({"gold": e.label, "incumbent": before, "candidate": now, "task": e.task, "collection": e.collection})
        probes = [
            {"collection": collection, "task": task, "title": "T", "text": "Some text.", "answer": answer, "base_answer": base}
            for collection, task, answer, base in KNOWN
        ]
        untouched = [["low", "low", "news"]] * 12
        return {"held_out": held_out, "untouched": untouched, "training_examples": 24, "finite": True, "probes": probes, "adapter": str(folder)}

    return judgement


async def trained(world: World, worse: str = "") -> tuple[list[str], TrainingFinished]:
    """Corrections are given, the trainer finds them and starts one run; their ids, and what came of it."""
    PreparedRuns.prepared = staticmethod(judged(world.adapter(SECURITY), worse))
    await world.start("feedback", "inference")
    ids = await correct_all(world)
    await world.start("trainer")
    [finished] = await world.until(lambda: world.events(TrainingFinished))
    return ids, finished


async def test_corrections_of_all_label_sets_train_one_adapter_that_is_asked_by_each(world: World) -> None:
    _, finished = await trained(world)
    assert (finished.outcome, finished.reason) == ("published", "")
    [activated] = await world.until(lambda: world.events(ModelActivated))
    [requested], [published] = world.events(TrainingRequested), world.events(ModelPublished)
    assert requested.manifest and requested.reason == "18 new corrections"
    snapshot = Snapshot.model_validate_json(world.registry.store.get(requested.manifest))
    assert Counter(e.question for e in snapshot.examples) == {question: len(labels) for question, labels in SAID.items()}
    assert snapshot.digest() == requested.run_id and snapshot == taught()
    assert (await world.clients["trainer"].get("/api/state")).json()["waiting"] == 0

    assert published.report and published.report.passed and published.report.held_out == 18
    [fares] = [check.detail for check in published.report.checks if check.name == "no label set pays for it"]
    assert fares == "desk 0% before, 100% after, of 4; news 0% before, 100% after, of 8; wellbeing 0% before, 100% after, of 6"

    assert [(probe.collection, probe.task) for probe in published.probes] == [(collection, task) for collection, task, _, _ in KNOWN]
    assert (activated.outcome, activated.serving, activated.probes_agreed, activated.probes) == ("active", published.digest, 3, 3)
    asked = [label_messages(q, "T", "Some text.")[-1]["content"] for c, task, *_ in KNOWN for q in questions(label_set(c).tasks[task])]
    name = name_of("adapter", published.digest)
    assert sorted(prompt for model, prompt in world.engine.said if model == name) == sorted(asked)
    assert world.kafka.dead() == []

    # the user removes the label set: all services start again without it, and what was learned of the others stays live
    use(None)
    await world.stop("inference")
    world.engine.restart()
    await world.start("inference")
    again = (await world.until(lambda: world.events(ModelActivated)[1:]))[0]
    assert (again.outcome, again.serving, again.probes_agreed, again.probes) == ("active", published.digest, 2, 2)
    assert again.reason.endswith("; 1 of 3 known answers were not asked: this process does not know topics of desk")


async def test_a_label_set_that_pays_for_the_others_refuses_the_adapter_and_what_is_taken_back_is_not_taught(world: World) -> None:
    ids, finished = await trained(world, worse="wellbeing")
    assert finished.outcome == "refused" and "wellbeing falls from 100% to 0% of 6" in finished.reason
    assert (await world.live())["live"]["digest"] == BASE_DIGEST

    given = {event.id: event for event in world.events(FeedbackGiven)}
    back = [given[ids[n]].model_copy(update={"id": f"back-{n}", "kind": "retraction", "retracts": ids[n]}) for n in (8, 17)]  # of wellbeing and desk
    await world.publish(*back)
    await world.kafka.settled()
    run_id = (await world.clients["trainer"].post("/api/train", json={})).json()["run_id"]
    assert run_id != finished.run_id
    await world.until(lambda: world.events(TrainingFinished)[1:])
    assert {e.feedback_id for e in taught().examples} == set(ids) - {ids[8], ids[17]}
