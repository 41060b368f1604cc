"""When a run is asked for, how its result is told, and the way back."""

import asyncio
from datetime import timedelta

import pytest

from services.trainer.dataset import Snapshot
from shared.errors import PermanentError, TransientError
from shared.events import FeedbackGiven, ModelPublished, TrainingFinished, TrainingRequested

TITLES = ("rates rise again", "a flaw in a mail server", "comet seen at dawn", "cup final tonight", "new law on parks", "film wins a prize")


@pytest.fixture
async def taught(handlers, bus, said):
    """Handlers that have heard six corrections."""
    for n, title in enumerate(TITLES):
        await bus.publish(said(str(n), title, ("economy", "security")[n % 2], minute=n))
    return handlers


async def run_of(handlers, bus, request: TrainingRequested):
    """As the bus does it: handle, then publish what follows."""
    events = await handlers.on_training_requested(request)
    await bus.publish(*events)
    return events


async def test_without_corrections_there_is_nothing_to_ask_for(handlers):
    with pytest.raises(PermanentError, match="no correction to train on"):
        await handlers.ask("now")


async def test_the_same_corrections_are_one_run(taught, bus, said):
    first, again = await taught.ask("one"), await taught.ask("two")
    assert first.run_id == again.run_id and len(bus.of(TrainingRequested)) == 1
    assert (first.examples, len(taught.waiting())) == (6, 0)
    await bus.publish(said("more", "a seventh text", minute=9))
    assert (await taught.ask("three")).run_id != first.run_id
    assert taught.incumbent("adapter") == "base"


async def test_what_kafka_did_not_take_is_asked_for_again(taught, bus):
    bus.broken = TransientError("Kafka is away")
    with pytest.raises(TransientError):
        await taught.ask("one")
    bus.broken = None
    await taught.ask("one")
    assert len(bus.of(TrainingRequested)) == 1


async def test_a_run_that_passes_is_live_and_not_run_twice(taught, bus, program):
    request = await taught.ask("one")
    finished, published = await run_of(taught, bus, request)
    assert (finished.outcome, published.digest) == ("published", taught.incumbent("adapter"))
    assert await run_of(taught, bus, request) == []
    assert len(program.starts()) == 1
    assert (await taught.ask("again")).run_id == request.run_id and len(bus.of(TrainingRequested)) == 1


async def test_a_result_that_was_not_told_is_told_after_the_crash(taught, bus, program):
    request = await taught.ask("one")
    lost = await taught.on_training_requested(request)  # the process dies before anything is published
    told = await run_of(taught, bus, request)
    assert told == lost and len(program.starts()) == 1


async def test_a_crash_between_the_two_events_loses_neither(taught, bus, program):
    request = await taught.ask("one")
    finished, published = await taught.on_training_requested(request)
    await bus.publish(finished)  # and the process dies here
    assert await run_of(taught, bus, request) == [published]
    assert taught.incumbent("adapter") == published.digest


async def test_a_late_telling_does_not_undo_a_rollback(taught, bus, program):
    request = await taught.ask("one")
    await run_of(taught, bus, request)
    await taught.rollback("adapter", "worse")
    assert await run_of(taught, bus, request) == []
    assert taught.incumbent("adapter") == "base"


async def test_a_failed_run_may_be_asked_for_again(taught, bus, program, judgement):
    program.does(err="disk full\n", code=1)
    request = await taught.ask("one")
    (finished,) = await run_of(taught, bus, request)
    assert finished.outcome == "failed" and "disk full" in finished.reason and taught.running == ""
    program.does(judgement=judgement())
    again = await taught.ask("two")
    assert again.run_id == request.run_id and again.requested_at > request.requested_at
    finished, _ = await run_of(taught, bus, again)
    assert finished.outcome == "published"


async def test_a_refused_run_is_final(taught, bus, program, judgement):
    program.does(judgement=judgement(better=False))
    request = await taught.ask("one")
    (finished,) = await run_of(taught, bus, request)
    assert finished.outcome == "refused"
    assert await taught.ask("two") == request and await run_of(taught, bus, request) == []
    assert taught.live == {}


async def test_rollback_twice_is_where_we_were(taught, bus, program):
    with pytest.raises(PermanentError, match="nothing to roll back to"):
        await taught.rollback("adapter", "")
    _, published = await run_of(taught, bus, await taught.ask("one"))
    back = await taught.rollback("adapter", "")
    assert (back.digest, back.previous, back.reason) == ("base", published.digest, f"rollback from {published.digest[:12]}")
    forth = await taught.rollback("adapter", "it was better")
    assert (forth.digest, forth.previous, forth.reason) == (published.digest, "base", "it was better")
    assert forth.probes == published.probes and forth.report == published.report
    assert forth.published_at > back.published_at > published.published_at
    assert (await taught.rollback("adapter", "")).digest == "base"


async def test_rollback_goes_to_the_adapter_before(taught, bus, program, judgement, said):
    _, first = await run_of(taught, bus, await taught.ask("one"))
    program.does(judgement=judgement(), weights=b"second")
    await bus.publish(said("more", "a seventh text", minute=9))
    _, second = await run_of(taught, bus, await taught.ask("two"))
    assert second.previous == first.digest != second.digest
    assert (await taught.rollback("adapter", "")).digest == first.digest
    assert (await taught.rollback("adapter", "")).digest == second.digest


async def test_a_rollback_that_kafka_did_not_take_changes_nothing(taught, bus, program):
    _, published = await run_of(taught, bus, await taught.ask("one"))
    bus.broken = TransientError("Kafka is away")
    with pytest.raises(TransientError):
        await taught.rollback("adapter", "")
    assert taught.incumbent("adapter") == published.digest


@pytest.fixture
def offered(runs, tmp_path) -> str:
    folder = tmp_path / "made-elsewhere"
    folder.mkdir()
    (folder / "adapter_config.json").write_text('{"r": 4}')
    return runs.registry.publish(folder, "candidate", "tiny-base").digest


async def test_an_offer_is_judged_once_and_uses_up_no_corrections(taught, bus, program, offered):
    request = await taught.offer(offered, "")
    assert (request.candidate_uri, request.examples, request.reason, len(taught.waiting())) == (offered, 6, "offered", 6)
    assert await taught.offer(offered, "") == request
    finished, published = await run_of(taught, bus, request)
    assert finished.outcome == "published" and published.reason == "offered"
    # against another incumbent it is another question
    assert (await taught.offer(offered, "")).run_id != request.run_id


async def test_an_offer_whose_run_failed_may_be_made_again(taught, bus, program, offered):
    program.does(code=1)
    request = await taught.offer(offered, "")
    await run_of(taught, bus, request)
    again = await taught.offer(offered, "")
    assert again.run_id == request.run_id and len(bus.of(TrainingRequested)) == 2


async def test_an_offer_that_the_registry_lacks_is_refused(taught):
    with pytest.raises(PermanentError, match="has no models/candidate/"):
        await taught.offer("0" * 64, "")


async def test_labels_that_are_gone_and_safety_tasks_are_not_taught(handlers, bus, said):
    await bus.publish(said("1", "a", "gossip"), said("2", "b", "x", task="horoscope"), said("3", "help", "high", task="risk"), said("4", "d"))
    assert [item.id for item in handlers.waiting()] == ["4"]


async def test_corrections_of_all_label_sets_are_taught_each_as_its_own(handlers, bus, store, said):
    tone = {"task": "sentiment", "correct": "negative"}
    await bus.publish(said("1", "a", **tone, collection="wellbeing"), said("2", "b", **tone, collection="science"), said("3", "a", **tone))
    await bus.publish(said("4", "d", "anger", task="emotion"), said("5", "e", **tone, collection="../x"), said("6", "f", collection="wellbeing"))
    assert [item.id for item in handlers.waiting()] == ["1", "2", "3"]
    dataset = Snapshot.model_validate_json(store.get((await handlers.ask("now")).manifest))
    # a collection without a label set of its own is read by that of the news; one text may be read by two
    assert [(e.feedback_id, e.collection) for e in dataset.examples] == [("1", "wellbeing"), ("2", "news"), ("3", "news")]


async def test_what_lowers_a_safety_label_is_not_taught_nor_what_it_takes_the_place_of(handlers, bus, said):
    harm = {"task": "emotion", "collection": "wellbeing"}
    await bus.publish(said("1", "a", "self_harm_high", incorrect="sadness", **harm), said("2", "b", "stress", incorrect="anger", **harm))
    assert [item.id for item in handlers.waiting()] == ["1", "2"]
    await bus.publish(said("3", "a", "sadness", incorrect="self_harm_high", minute=1, **harm))
    await bus.publish(
        said("4", "c", "none", task="risk", incorrect="high", collection="wellbeing"), said("5", "d", "low", task="risk", collection="wellbeing")
    )
    assert [item.id for item in handlers.waiting()] == ["2"]


async def test_a_word_that_is_not_taught_still_takes_the_place_of_the_one_before(handlers, bus, said, tmp_path):
    """The newest word was of a label that the set has no more: the person did not go back to the older one."""
    await bus.publish(said("1", "a", "economy"), said("2", "a", "gossip", minute=1), said("3", "b", "economy"))
    assert [item.id for item in handlers.waiting()] == ["3"]


async def test_a_retraction_makes_another_run(taught, bus, said):
    first = await taught.ask("one")
    await bus.publish(said("r", kind="retraction", retracts="2", minute=20))
    second = await taught.ask("two")
    assert (second.run_id != first.run_id, second.examples) == (True, 5)


async def test_after_a_restart_what_was_asked_for_stands(taught, bus, store, runs, settings):
    from services.trainer.handlers import Handlers

    request = await taught.ask("one")
    fresh = Handlers(settings, bus, store, runs)
    for event in bus.of(FeedbackGiven):
        fresh.on_feedback_given(event)
    await fresh.on_training_requested_seen(request)
    assert fresh.waiting() == [] and await fresh.ask("two") == request


async def test_a_run_starts_by_itself_when_enough_wait_and_it_is_quiet(handlers, bus, said):
    watching = asyncio.create_task(handlers.watch())
    try:
        await bus.publish(said("1", TITLES[0]), said("2", TITLES[1]))
        await asyncio.sleep(0.2)
        assert bus.of(TrainingRequested) == []
        await bus.publish(said("3", TITLES[2]))
        async with asyncio.timeout(5):
            while not bus.of(TrainingRequested):
                await asyncio.sleep(0.02)
        assert bus.of(TrainingRequested)[0].reason == "3 new corrections"
        await asyncio.sleep(0.2)
        assert len(bus.of(TrainingRequested)) == 1
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


def test_only_finished_runs_and_the_newest_model_of_a_role_are_held(handlers, bus):
    at = bus.clock()
    handlers.on_model_published(ModelPublished(role="adapter", digest="a", published_at=at))
    handlers.on_model_published(ModelPublished(role="adapter", digest="b", published_at=at + timedelta(seconds=1)))
    handlers.on_training_finished(TrainingFinished(run_id="r", outcome="failed", finished_at=at))
    assert handlers.incumbent("adapter") == "b" and handlers.incumbent("head") == "base" and "r" in handlers.finished
