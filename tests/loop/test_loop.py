"""The loop, end to end in memory: from a feed entry and a mail to verdicts, a correction, a trained model that goes live, and back again."""

from typing import Any

import pytest

from shared.events import (
    BASE_DIGEST,
    Decision,
    DocumentClassified,
    DocumentEnriched,
    DocumentIngested,
    FeedbackGiven,
    ModelActivated,
    ModelPublished,
    SourcePolled,
    TrainingFinished,
    TrainingProgressed,
    TrainingRequested,
)
from shared.topics import dead_letters, specs
from tests.loop.world import ENCODER, SECURITY, TRAIN_AFTER, PreparedRuns, World

ALL = ("ingest", "inference", "classifier", "feedback", "trainer")


def title_of(world: World, title: str) -> DocumentIngested:
    return next(event for event in world.events(DocumentIngested) if event.title == title)


async def read_all(world: World, count: int = 3) -> list[DocumentClassified]:
    """The final verdicts, once every document has one."""

    def finals() -> list[DocumentClassified]:
        found = {event.id: event for event in world.events(DocumentClassified) if event.stage == "final"}
        return list(found.values()) if len(found) >= count else []

    result: list[DocumentClassified] = await world.until(finals)
    return result


async def shown(world: World, document: str, stage: str, label: str) -> DocumentClassified:
    """The document on the page, once it stands there like this."""
    item = await world.item(document)
    for _ in range(500):
        if item.stage == stage and item.decision["category"].label == label:
            return item
        await world.kafka.settled()
        item = await world.item(document)
    raise AssertionError(f"the page shows {item.stage} {item.decision['category']}")


async def test_a_feed_and_a_mailbox_become_verdicts(world: World) -> None:
    names = (*ALL, "retriever") if (ENCODER / "manifest.json").exists() else ALL
    await world.start(*names)
    await read_all(world)
    await world.kafka.settled()
    documents = {event.title: event for event in world.events(DocumentIngested)}
    assert set(documents) == {"Harbourgate patches a login flaw", "Northmark holds its rate", "Comet returns"}
    assert documents["Comet returns"].source.kind == "mail"
    assert documents["Northmark holds its rate"].url == "https://wire.example/2"
    assert {event.source.id: event.state for event in world.events(SourcePolled)} == {"wire": "ok", "letters": "ok"}

    verdicts = world.events(DocumentClassified)
    assert sorted((event.id, event.stage) for event in verdicts) == sorted((d.id, s) for d in documents.values() for s in ("provisional", "final"))
    flaw = [event for event in verdicts if event.id == documents["Harbourgate patches a login flaw"].id]
    early, late = sorted(flaw, key=DocumentClassified.rank)
    assert early.decision["urgency"].by == late.decision["urgency"].by == "rule", "a rule stands above the language model"
    assert "category" not in early.decision
    assert (late.decision["category"].label, late.decision["category"].by) == ("politics", "llm")
    assert late.metadata and late.metadata.summary in late.text
    assert late.model and (late.model.base, late.model.adapter) == (world.base, BASE_DIGEST)

    for document in documents.values():
        traces = [world.traces(kind, document.id) for kind in (DocumentIngested, DocumentEnriched, DocumentClassified)]
        assert len(set.union(*traces)) == 1, "one correlation id from the entry to the verdict"
    page = (await world.clients["feedback"].get("/api/items")).json()
    assert page["total"] == 3
    assert {item["stage"] for item in page["items"]} == {"final"}
    assert world.kafka.dead() == []
    if "retriever" in names:
        found = (await world.clients["retriever"].get("/api/search", params={"q": "interest rate of Northmark"})).json()
        assert "Northmark" in str(found)


async def test_polling_again_publishes_nothing_twice(world: World) -> None:
    await world.start("ingest")
    await world.until(lambda: len(world.events(DocumentIngested)) == 3)
    answer = (await world.clients["ingest"].post("/api/sources/poll")).json()
    assert (answer["documents"], answer["failing"]) == (0, 0)
    await world.stop("ingest")
    await world.start("ingest")  # what has been told is known from the topics
    answer = (await world.clients["ingest"].post("/api/sources/poll")).json()
    assert answer["documents"] == 0
    assert len(world.events(DocumentIngested)) == 3


async def test_a_correction_stands_at_once_outlives_later_answers_and_can_be_taken_back(world: World) -> None:
    await world.start(*ALL)
    await read_all(world)
    flaw = title_of(world, "Harbourgate patches a login flaw")
    asked = len(world.engine.said)
    feedback = await world.say(document_id=flaw.id, task="category", correct="security", why="a flaw that is being used")
    item = await shown(world, flaw.id, "corrected", "security")
    assert item.decision["category"].by == "correction"
    assert "a flaw that is being used" in item.decision["category"].reasons[0]
    assert len(world.engine.said) == asked, "nobody asked the language model again"
    [given] = world.events(FeedbackGiven)
    assert (given.incorrect, given.judged and given.judged.adapter) == ("politics", BASE_DIGEST)

    # a later answer of the language model, through the line
    await world.clients["ingest"].post("/api/replay", json={"ids": [flaw.id]})
    await world.until(lambda: len([event for event in world.events(DocumentEnriched) if event.id == flaw.id]) == 2)
    await shown(world, flaw.id, "corrected", "security")
    # and one of a replica that has not heard of the correction yet
    newest = max((event for event in world.events(DocumentEnriched) if event.id == flaw.id), key=lambda event: event.enriched_at)
    blind = next(event for event in world.events(DocumentClassified) if event.id == flaw.id and event.stage == "final")
    sport = {"category": Decision(label="sport", probability=1, by="fusion", reasons=[])}
    await world.publish(blind.model_copy(update={"as_of": newest.enriched_at.replace(year=2031), "decision": sport}))
    await world.kafka.settled()
    await shown(world, flaw.id, "corrected", "security")

    await world.say(document_id=flaw.id, kind="retraction", retracts=feedback)
    item = await shown(world, flaw.id, "final", "politics")
    assert item.feedback_at
    assert world.kafka.dead() == []


async def test_a_copy_that_was_judged_before_follows_a_correction_and_its_retraction(world: World) -> None:
    await world.start(*ALL)
    await read_all(world)
    flaw = title_of(world, "Harbourgate patches a login flaw")
    copy = flaw.model_copy(update={"id": "copy", "version": "copy", "story": "another", "title": f"{flaw.title} today"})
    await world.publish(copy)
    await world.until(lambda: [event for event in world.events(DocumentClassified) if event.id == "copy" and event.stage == "final"])
    await shown(world, "copy", "final", "politics")
    feedback = await world.say(document_id=flaw.id, task="category", correct="security")
    item = await shown(world, "copy", "corrected", "security")
    assert item.decision["category"].by == "correction" and item.verdict["category"].label == "politics"
    await world.say(document_id=flaw.id, kind="retraction", retracts=feedback)
    await shown(world, "copy", "final", "politics")
    assert world.kafka.dead() == []


async def test_the_same_feedback_sent_twice_is_one(world: World) -> None:
    await world.start(*ALL)
    await read_all(world)
    flaw = title_of(world, "Harbourgate patches a login flaw")
    for _ in range(2):
        assert await world.say(id="f-1", document_id=flaw.id, task="category", correct="security") == "f-1"
        await world.kafka.settled()
    assert len(world.events(FeedbackGiven)) == 1


async def test_what_the_label_set_does_not_have_is_refused(world: World) -> None:
    await world.start("feedback")
    answer = await world.clients["feedback"].post("/api/feedback", json={"title": "t", "text": "x", "task": "category", "correct": "gossip"})
    assert answer.status_code == 422
    assert "no label 'gossip' in task 'category'; it has politics" in answer.json()["error"]
    assert world.events(FeedbackGiven) == []


async def correct_enough(world: World) -> None:
    for n in range(TRAIN_AFTER):
        label = "security" if n % 2 else "economy"
        await world.say(title=f"Story {n}", text=f"Number {n} tells of thing {n * n} in town {n + 7}.", task="category", correct=label)


def prepare(world: World, picks: int = SECURITY, **given: Any) -> None:
    judgement = world.judgement(world.adapter(picks), **given)
    PreparedRuns.prepared = staticmethod(lambda: judgement)


async def test_enough_corrections_train_a_model_that_goes_live_and_a_rollback_brings_the_old_one_back(world: World) -> None:
    prepare(world)
    await world.start(*ALL)
    await correct_enough(world)
    [activated] = await world.until(lambda: world.events(ModelActivated))
    [requested] = world.events(TrainingRequested)
    [finished], [published] = world.events(TrainingFinished), world.events(ModelPublished)
    assert requested.examples == TRAIN_AFTER
    assert (finished.run_id, finished.outcome, finished.digest) == (requested.run_id, "published", published.digest)
    assert [event.phase for event in world.events(TrainingProgressed)] == ["training", "publishing"]
    assert published.report and published.report.passed and published.previous == BASE_DIGEST
    assert (activated.outcome, activated.serving, activated.probes_agreed) == ("active", published.digest, 1)

    # asked for again: the same corrections are the same run, and it has been made
    run_ids = {(await world.clients["trainer"].post("/api/train", json={})).json()["run_id"] for _ in range(2)}
    assert run_ids == {requested.run_id}
    assert len(world.events(TrainingRequested)) == len(PreparedRuns.started) == 1

    document = await world.push("Strangers opened sessions without a password, the response team of Coast said on Monday.")
    [enriched] = await world.until(lambda: [event for event in world.events(DocumentEnriched) if event.id == document])
    assert (enriched.model.adapter, enriched.verdict["category"].label) == (published.digest, "security")
    loop = (await world.clients["feedback"].get("/api/loop")).json()
    assert loop["live"][0]["digest"] == published.digest

    loads = list(world.engine.loads)
    for wanted, previous in ((BASE_DIGEST, published.digest), (published.digest, BASE_DIGEST)):  # back, and forth again
        answer = (await world.clients["trainer"].post("/api/rollback", json={"reason": "to see"})).json()
        assert (answer["digest"], answer["previous"]) == (wanted, previous)
        await world.until(lambda wanted=wanted: world.events(ModelActivated)[-1].serving == wanted)
        assert (await world.live())["live"]["digest"] == wanted
    assert world.engine.loads == loads, "a rollback is a flip: nothing was loaded"
    assert world.kafka.dead() == []


async def test_a_run_that_is_refused_at_the_gate_publishes_nothing_and_says_why(world: World) -> None:
    prepare(world, right=False)
    await world.start("trainer", "feedback", "inference")
    await correct_enough(world)
    [finished] = await world.until(lambda: world.events(TrainingFinished))
    assert finished.outcome == "refused"
    assert "better than what is live" in finished.reason
    assert "sport" in finished.reason, "a constant answer is named"
    await world.kafka.settled()
    assert world.events(ModelPublished) == []
    assert (await world.live())["live"]["digest"] == BASE_DIGEST


async def test_a_run_that_breaks_is_told_and_may_be_tried_again(world: World) -> None:
    def broken() -> dict[str, Any]:
        raise OSError(28, "No space left on device")

    PreparedRuns.prepared = staticmethod(broken)
    await world.start("trainer", "feedback")
    await correct_enough(world)
    [failed] = await world.until(lambda: world.events(TrainingFinished))
    assert (failed.outcome, failed.reason) == ("failed", "[Errno 28] No space left on device")
    prepare(world)
    await world.kafka.settled()
    assert (await world.clients["trainer"].post("/api/train", json={})).json()["run_id"] == failed.run_id
    await world.until(lambda: [event.outcome for event in world.events(TrainingFinished)] == ["failed", "published"])


async def test_a_request_that_comes_again_is_told_again_and_not_run_again(world: World) -> None:
    prepare(world)
    await world.start("trainer", "feedback")
    await correct_enough(world)
    await world.until(lambda: world.events(ModelPublished))
    await world.kafka.settled()
    await world.publish(*world.events(TrainingRequested))
    await world.kafka.settled()
    assert len(PreparedRuns.started) == 1
    assert len({event.digest for event in world.events(ModelPublished)}) == 1


async def test_every_group_has_its_dead_letter_topic(world: World) -> None:
    """Kafka makes no topic by itself: without one a poisonous record would be tried for ever."""
    for name in (*ALL, "retriever"):
        getattr(world, f"_{name}")()
    groups = {(reader.topic, reader.group) for connection in world.kafka.connections for reader in connection.readers if reader.group}
    assert ("documents.ingested.v1", "inference") in groups
    made = {spec.name for spec in specs(1)}
    assert {dead_letters(topic, group) for topic, group in groups} <= made


@pytest.mark.parametrize("value", [b"{", b"\xff\xfe", b'{"id": "only"}'])
async def test_poison_is_quarantined_and_what_follows_it_is_read(world: World, value: bytes) -> None:
    topic = "documents.ingested.v1"
    await world.kafka.append(topic, value, b"poison", {"ce_type": topic})
    await world.start("ingest", "inference", "classifier")
    await read_all(world)
    assert {reason.split(":")[0] for reason in world.kafka.dead()} == {f"{topic}.inference.dlq", f"{topic}.classifier.dlq"}
