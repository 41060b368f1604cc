import asyncio
import threading
from pathlib import Path

import httpx
import numpy as np
import pytest
from aiokafka.errors import KafkaConnectionError, KafkaError
from classifier_samples import START, at, enriched, feedback, ingested
from starlette.applications import Starlette
from test_classifier_head import ROLE, SHIPPED, OneHot, other_head, published

from services.classifier.api import Api
from services.classifier.handlers import Handlers
from services.classifier.live_head import LiveHead
from shared.errors import PermanentError, TransientError
from shared.events import ModelActivated, ModelPublished
from shared.objects import ObjectStore
from shared.registry import Registry

VERDICT = {"category": ("security", 0.95), "sentiment": ("neutral", 0.6), "urgency": ("normal", 0.9)}


class MemoryBus:
    """Keeps what is published; has caught up when `past_read` is set."""

    def __init__(self) -> None:
        self.published: list = []
        self.past_read = asyncio.Event()

    async def caught_up(self) -> None:
        await self.past_read.wait()

    async def publish(self, *events) -> None:
        self.published += events


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(ObjectStore(str(tmp_path / "objects")), tmp_path / "cache")


@pytest.fixture
async def handlers(new_decider, registry: Registry):
    live = LiveHead(OneHot(), SHIPPED, registry, "classifier-0", lambda: START)
    live.start()
    made = Handlers(new_decider(), live, MemoryBus(), registry.store)
    task = asyncio.create_task(made.keep_head())
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def until(condition) -> None:
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come about within 5 s")


async def test_nothing_is_decided_before_the_past_is_known(handlers: Handlers) -> None:
    waiting = asyncio.create_task(handlers.on_document_ingested(ingested()))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    handlers.remember(feedback("f1", "security"))  # what the projection does meanwhile
    handlers.bus.past_read.set()
    [classified] = await waiting
    assert (classified.stage, classified.feedback_at) == ("corrected", at(10))
    assert classified.decision["category"].label == "security"


async def test_the_life_of_a_document(handlers: Handlers) -> None:
    handlers.bus.past_read.set()
    [provisional] = await handlers.on_document_ingested(ingested())
    assert provisional.stage == "provisional" and provisional.head_digest
    assert {"category", "sentiment", "urgency", "risk"} == set(provisional.decision)
    [corrected] = await handlers.on_feedback_given(feedback("f1", "economy", document=provisional))
    assert (corrected.stage, corrected.feedback_at, corrected.as_of) == ("corrected", at(10), START)
    [late] = await handlers.on_document_enriched(enriched(ingested(), VERDICT))
    assert (late.stage, late.decision["category"].label) == ("corrected", "economy")
    [again] = await handlers.on_feedback_given(feedback("r1", minutes=20, retracts="f1", document=late))
    assert (again.stage, again.feedback_at, again.decision["category"].label) == ("final", at(20), "security")
    kept = None
    for verdict in (again, late, provisional, corrected):
        kept = verdict if verdict.supersedes(kept) else kept
    assert kept == again


async def test_feedback_without_a_document_is_remembered(handlers: Handlers) -> None:
    handlers.bus.past_read.set()
    assert await handlers.on_feedback_given(feedback("f1", "economy")) == []
    rating = feedback("f2").model_copy(update={"kind": "rating", "rating": 1})
    assert await handlers.on_feedback_given(rating) == []
    [final] = await handlers.on_document_enriched(enriched(ingested(), VERDICT))
    assert final.decision["category"].label == "economy"


async def test_copies_that_were_judged_before_follow_at_once(handlers: Handlers) -> None:
    """A near-duplicate and another telling of the story, each with its LLM reading; an unrelated text and one of another collection stay."""
    following = asyncio.create_task(handlers.keep_copies())
    handlers.on_feedback_heard(feedback("f0", "science", minutes=1, document_id="long-ago"))  # of the past: nothing was judged without it
    handlers.bus.past_read.set()
    first, near = ingested(), ingested("doc-2", title="Router maker ships a firmware")
    told = ingested("doc-3", title="Patch your router", text="Owners should act before Saturday.", story=first.story)
    other, far = ingested("doc-4", title="Comet returns", text="It is seen at dawn."), ingested("doc-5", collection="wellbeing")
    for document in (first, near, told, other, far):
        [judged] = await handlers.on_document_ingested(document)
    [judged] = await handlers.on_document_enriched(enriched(near, VERDICT))
    [judged] = await handlers.on_document_ingested(first)
    correction = feedback("f1", "economy", document=judged, story=first.story)
    handlers.on_feedback_heard(correction)
    await handlers.on_feedback_given(correction)  # the judged document's own verdict is given here, and not twice
    await until(lambda: len(handlers.bus.published) == 2)
    found = {verdict.id: verdict for verdict in handlers.bus.published}
    assert set(found) == {"doc-2", "doc-3"}
    assert {(v.stage, v.feedback_at, v.decision["category"].label) for v in found.values()} == {("corrected", at(10), "economy")}
    assert found["doc-2"].verdict["category"].label == "security", "the LLM's reading is not lost"
    handlers.on_feedback_heard(feedback("r1", minutes=20, retracts="f1", document=judged))
    await until(lambda: len(handlers.bus.published) == 4)
    back = {verdict.id: verdict for verdict in handlers.bus.published[2:]}
    assert {id: v.stage for id, v in back.items()} == {"doc-2": "final", "doc-3": "provisional"}
    assert all(back[id].supersedes(found[id]) and back[id].feedback_at == at(20) for id in back)
    assert not following.done()
    following.cancel()


GRAVE = " So I decided that I want to kill myself."


def long(handlers: Handlers, id: str = "doc-1", said: str = GRAVE, **more):
    """A document of which the beginning travels inline, and what is said after it lies in the store."""
    beginning = "A quiet day. " * 1_600
    return ingested(id, "Diary", beginning, text_ref=handlers.store.put((beginning + said).encode(), ".txt"), **more)


async def test_rules_read_the_whole_of_a_long_text(handlers: Handlers) -> None:
    handlers.bus.past_read.set()
    document = long(handlers)
    [provisional] = await handlers.on_document_ingested(document)
    [final] = await handlers.on_document_enriched(enriched(document, VERDICT))
    [corrected] = await handlers.on_feedback_given(feedback("f1", "economy", document=final))
    for verdict in (provisional, final, corrected):
        risk = verdict.decision["risk"]
        assert (risk.label, risk.by) == ("high", "rule")
        assert (verdict.text, verdict.text_ref) == (document.text, document.text_ref)  # the whole does not travel
        [span] = risk.parts[0].spans
        assert (document.text + GRAVE)[span.start : span.end] == span.words and span.start > len(document.text)
    [calm] = await handlers.on_document_ingested(long(handlers, said=" So I went to bed."))
    assert calm.decision["risk"].label == "none"


async def test_a_long_text_waits_for_a_store_that_is_away_and_not_for_one_that_has_lost_it(handlers: Handlers, monkeypatch, capsys) -> None:
    handlers.bus.past_read.set()
    document, get = long(handlers), handlers.store.get

    def away(ref):
        raise OSError("connection refused")

    monkeypatch.setattr(handlers.store, "get", away)
    with pytest.raises(TransientError, match="doc-1 can't be read now: connection refused"):
        await handlers.on_document_ingested(document)
    [short] = await handlers.on_document_ingested(ingested())
    assert short.decision["risk"].label == "none"
    monkeypatch.setattr(handlers.store, "get", get)
    for uri in ("blobs/no/thing", "../thing"):
        lost = document.text_ref.model_copy(update={"uri": uri})
        [verdict] = await handlers.on_document_ingested(document.model_copy(update={"text_ref": lost}))
        risk = verdict.decision["risk"]
        assert risk.label == "none" and verdict.text_ref == lost
        assert risk.unsure and "high" in risk.possible and "only the beginning of the text could be read" in risk.reasons[-1]
        assert not [reason for reason in verdict.decision["category"].reasons if "only the beginning" in reason]
        assert "document.beginning_only" in capsys.readouterr().out
    monkeypatch.setattr("services.classifier.handlers.MOST_CHARS", 100)
    [cut] = await handlers.on_document_ingested(document)
    assert cut.decision["risk"].unsure, "what is longer than the rules may read is told too"


async def test_a_long_copy_follows_a_correction_once_the_store_is_back(handlers: Handlers, monkeypatch) -> None:
    monkeypatch.setattr("services.classifier.handlers.LOOK_EVERY_S", 0.02)
    following = asyncio.create_task(handlers.keep_copies())
    handlers.bus.past_read.set()
    [judged] = await handlers.on_document_ingested(long(handlers))
    await handlers.on_document_ingested(long(handlers, "doc-2"))
    get, asked = handlers.store.get, []

    def away(ref):
        asked.append(ref)
        raise OSError("connection refused")

    monkeypatch.setattr(handlers.store, "get", away)
    handlers.on_feedback_heard(feedback("f1", "economy", document=judged))
    await until(lambda: len(asked) > 1)
    monkeypatch.setattr(handlers.store, "get", get)
    await until(lambda: handlers.bus.published)
    [copy] = handlers.bus.published
    assert (copy.id, copy.decision["category"].label, copy.decision["risk"].label) == ("doc-2", "economy", "high")
    assert not following.done()
    following.cancel()


async def test_only_the_newest_documents_are_held(handlers: Handlers) -> None:
    handlers.bus.past_read.set()
    handlers.copies.most = 3
    for n in range(6):
        await handlers.on_document_ingested(ingested(f"doc-{n}"))
    await handlers.on_document_ingested(ingested("doc-3"))
    await handlers.on_document_ingested(ingested("doc-9"))
    assert list(handlers.copies._kept) == ["doc-5", "doc-3", "doc-9"]
    assert all({*ids} <= {"doc-5", "doc-3", "doc-9"} and ids for ids in handlers.copies._by_word.values())
    assert len(handlers.copies._by_story) == 3


async def test_feedback_that_makes_no_sense_is_refused(handlers: Handlers) -> None:
    handlers.bus.past_read.set()
    with pytest.raises(ValueError, match="no label 'gossip'"):
        await handlers.on_feedback_given(feedback("f1", "gossip"))
    [other] = await handlers.on_document_ingested(ingested("doc-2"))
    with pytest.raises(PermanentError, match="doc-2"):
        await handlers.on_feedback_given(feedback("f2", "economy", document=other))


async def test_a_published_head_goes_live_and_is_reported(handlers: Handlers, registry: Registry, tmp_path: Path) -> None:
    digest = registry.publish(other_head(tmp_path / "new"), ROLE, "minilm").digest
    handlers.on_model_published(published(digest, ("ab", "sport")))
    handlers.on_model_published(ModelPublished(role="adapter", digest="a" * 64, published_at=START))
    handlers.bus.past_read.set()
    [classified] = await handlers.on_document_ingested(ingested())  # waits for the head that was live before the restart
    assert classified.head_digest == digest
    handlers.on_model_published(published("0" * 64))
    await until(lambda: len(handlers.bus.published) == 2)
    first, second = handlers.bus.published
    assert isinstance(first, ModelActivated) and (first.outcome, second.outcome) == ("active", "refused")
    assert second.serving == digest


async def test_a_failing_head_leaves_the_rules_their_verdict(handlers: Handlers, monkeypatch: pytest.MonkeyPatch) -> None:
    handlers.bus.past_read.set()
    head, answers = handlers.head.heads["news"], handlers.head.heads["news"].answers
    document = ingested(title="", text="I want to kill myself")

    def fails(read):
        raise RuntimeError("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION")

    def no_numbers(read):
        return {task: chances * np.nan for task, chances in answers(read).items()}

    for broken, said in ((fails, "RuntimeError: [ONNXRuntimeError]"), (no_numbers, "what is no number of category")):
        monkeypatch.setattr(head, "answers", broken)
        [verdict] = await handlers.on_document_ingested(document)
        assert verdict.decision["risk"].label == "high" and "category" not in verdict.decision
        assert "the head for news" in handlers.head.problem and said in handlers.head.problem
        assert handlers.head.compare(["a"], "news") is not None
    monkeypatch.setattr(head, "answers", answers)
    [verdict] = await handlers.on_document_ingested(document)
    assert "category" in verdict.decision and "the head for news" not in handlers.head.problem


async def test_a_published_head_that_fails_is_refused_and_the_service_goes_on(
    handlers: Handlers, registry: Registry, tmp_path: Path, monkeypatch
) -> None:
    digest, before = registry.publish(other_head(tmp_path / "new"), ROLE, "minilm").digest, handlers.head.digests()

    def fails(*_):
        raise RuntimeError("[ONNXRuntimeError] : 1 : FAIL")

    monkeypatch.setattr("services.classifier.head.Head.scores", fails)
    handlers.on_model_published(published(digest, ("ab", "sport")))
    handlers.bus.past_read.set()
    await until(lambda: handlers.bus.published)
    assert handlers.bus.published[0].outcome == "refused" and "ONNXRuntimeError" in handlers.bus.published[0].reason
    assert handlers.ready.is_set() and handlers.head.digests() == before


async def test_verdicts_do_not_wait_for_ever_for_a_head(handlers: Handlers, monkeypatch) -> None:
    async def hangs(_):
        await asyncio.sleep(60)

    monkeypatch.setattr("services.classifier.handlers.HEAD_WAIT_S", 0.2)
    monkeypatch.setattr(handlers.head, "activate", hangs)
    handlers.on_model_published(published("0" * 64))
    handlers.bus.past_read.set()
    [verdict] = await asyncio.wait_for(handlers.on_document_ingested(ingested()), 5)
    assert verdict.head_digest == handlers.head.digests()["news"]


async def test_a_collection_without_a_label_set_of_its_own_has_the_head_of_news(handlers: Handlers) -> None:
    handlers.bus.past_read.set()
    [verdict] = await handlers.on_document_ingested(ingested(collection="messages"))
    assert verdict.head_digest == handlers.head.digests()["news"] and verdict.decision["category"].by == "neural"


async def test_http(handlers: Handlers) -> None:
    from starlette.exceptions import HTTPException

    from shared.service import _http_error

    handlers.ready.set()
    app = Starlette(routes=Api(handlers.decider, handlers.head, handlers.ready).routes(), exception_handlers={HTTPException: _http_error})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://classifier") as client:
        one = (await client.post("/api/classify", json={"text": "I want to kill myself"})).json()
        assert one["decision"]["risk"]["label"] == "high"
        assert "the writer speaks of wanting or planning to die" in one["decision"]["risk"]["reasons"][0]
        many = (
            await client.post("/api/classify", json={"items": [{"text": "a"}, {"text": "b", "title": "CVE-2026-1234 actively exploited"}]})
        ).json()
        assert [item["decision"]["urgency"]["by"] for item in many["items"]] == ["neural", "rule"]
        rules = (await client.get("/api/rules")).json()
        assert rules["digest"] == handlers.decider.rulebook.rules.digest
        assert rules["count"] >= 7 and rules["problems"] == [] and rules["head"]["problem"] == ""
        for wrong in ({}, {"text": "a", "items": [{"text": "b"}]}, {"items": []}):
            answer = await client.post("/api/classify", json=wrong)
            assert answer.status_code == 422 and answer.json()["error"]


async def test_a_correction_of_what_was_seen_before_the_language_model_spoke_does_not_lose_its_reading(handlers: Handlers) -> None:
    """The page held the provisional verdict when the person answered; the final one went out before that answer came."""
    following = asyncio.create_task(handlers.keep_copies())
    handlers.bus.past_read.set()
    [provisional] = await handlers.on_document_ingested(ingested())
    [final] = await handlers.on_document_enriched(enriched(ingested(), VERDICT))
    correction = feedback("f1", "economy", document=provisional)
    handlers.on_feedback_heard(correction)
    [bare] = await handlers.on_feedback_given(correction)
    await until(lambda: handlers.bus.published)
    [whole] = handlers.bus.published
    assert bare.supersedes(final) and bare.model is None
    assert whole.supersedes(bare) and not bare.supersedes(whole)
    assert (whole.stage, whole.feedback_at, whole.decision["category"].label) == ("corrected", at(10), "economy")
    assert whole.model and whole.metadata and whole.verdict["category"].label == "security"
    following.cancel()


async def test_a_correction_of_an_earlier_text_does_not_bring_that_text_back(handlers: Handlers) -> None:
    following = asyncio.create_task(handlers.keep_copies())
    handlers.bus.past_read.set()
    [first] = await handlers.on_document_ingested(ingested())
    [second] = await handlers.on_document_ingested(ingested(text="A comet was seen at dawn over the bay.", version="v2", received_at=at(3)))
    correction = feedback("f1", "economy", document=first)
    handlers.on_feedback_heard(correction)
    [old] = await handlers.on_feedback_given(correction)
    await until(lambda: handlers.bus.published)
    [now] = handlers.bus.published
    assert old.supersedes(second) and now.supersedes(old) and not old.supersedes(now)
    assert (now.version, now.decision["category"].by != "correction") == ("v2", True)
    following.cancel()


async def test_a_copy_that_can_not_be_published_is_named_and_the_others_follow(handlers: Handlers, monkeypatch, capsys) -> None:
    following = asyncio.create_task(handlers.keep_copies())
    handlers.bus.past_read.set()
    [judged] = await handlers.on_document_ingested(ingested())
    for id in ("doc-2", "doc-3", "doc-4"):
        await handlers.on_document_ingested(ingested(id))
    publish, tries = handlers.bus.publish, []

    async def hard(*events) -> None:
        tries.append(events[0].id)
        if events[0].id == "doc-2":
            raise PermanentError("the record is too large")
        if events[0].id == "doc-4":
            raise KafkaError("not allowed")
        if tries.count("doc-3") == 1:
            raise KafkaConnectionError("no broker")
        await publish(*events)

    monkeypatch.setattr(handlers.bus, "publish", hard)
    monkeypatch.setattr("services.classifier.handlers.LOOK_EVERY_S", 0.02)
    handlers.on_feedback_heard(feedback("f1", "economy", document=judged))
    await until(lambda: handlers.bus.published)
    await until(lambda: len(tries) == 4)
    assert [one.id for one in handlers.bus.published] == ["doc-3"] and sorted(tries) == ["doc-2", "doc-3", "doc-3", "doc-4"]
    assert capsys.readouterr().out.count("copy.refused") == 2 and not following.done()
    following.cancel()


async def test_a_store_that_hangs_stops_no_verdict_on_a_short_text(handlers: Handlers, monkeypatch) -> None:
    handlers.bus.past_read.set()
    document, gone = long(handlers), threading.Event()
    monkeypatch.setattr(handlers.store, "get", lambda ref: gone.wait(20) and b"")
    monkeypatch.setattr("services.classifier.handlers.TEXT_WAIT_S", 0.05)
    try:
        for _ in range(40):
            with pytest.raises(TransientError, match="can't be read now"):
                await handlers.on_document_ingested(document)
        [judged] = await asyncio.wait_for(handlers.on_document_ingested(ingested("doc-2")), 5)
        assert judged.decision
    finally:
        gone.set()
