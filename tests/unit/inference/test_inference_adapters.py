"""The alias: publish, verify, load, probe, flip, drain, unload; and what a failed step leaves."""

import asyncio
import json
from datetime import UTC, datetime

import numpy as np
import pytest
from safetensors.numpy import save_file

from services.inference.adapters import Adapters
from services.inference.handlers import Handlers
from shared.errors import TransientError
from shared.events import ModelActivated, ModelPublished, Probe
from shared.objects import ObjectStore
from shared.registry import Registry

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.fixture
def registry(tmp_path) -> Registry:
    return Registry(ObjectStore(str(tmp_path / "objects")), tmp_path / "cache")


@pytest.fixture
def adapters(engine, enricher, registry) -> Adapters:
    return Adapters(engine, enricher, registry, base_name="base", base="tiny-base", replica="inference-0", clock=lambda: NOON, max_rank=16)


@pytest.fixture
def publish(registry, tmp_path, fake):
    """publish(n, answers=…): an adapter whose known answer is `answers`, in the registry; the engine's one answers the same unless told."""

    def make(n: int = 1, *, answers: str = "economy", rank: int = 8, value: float = 1.0, speaks: str | None = None, **more) -> ModelPublished:
        folder = tmp_path / f"adapter{n}"
        folder.mkdir()
        (folder / "adapter_config.json").write_text(json.dumps({"r": rank}))
        save_file({"w": np.array([n, value], dtype=np.float32)}, folder / "adapter_model.safetensors")
        digest = registry.publish(folder, "adapter", "tiny-base").digest
        fake.answers[f"adapter-{digest[:12]}"] = answers if speaks is None else speaks
        probes = [Probe(task="category", title=f"t{i}", text="x", answer=answers, base_answer="politics") for i in range(4)]
        return ModelPublished(**{"role": "adapter", "digest": digest, "base": "tiny-base", "probes": probes, "published_at": NOON, **more})

    return make


async def test_what_is_published_goes_live_and_the_previous_stays_loaded(adapters, publish, fake):
    first, second = publish(1), publish(2)
    report = await adapters.activate(first)
    assert (report.outcome, report.serving, report.probes_agreed, report.probes) == ("active", first.digest, 4, 4)
    await adapters.activate(second)
    assert (adapters.live.digest, adapters.previous.digest) == (second.digest, first.digest) and len(fake.loaded) == 2
    await adapters.activate(first)  # a rollback is a flip: nothing is loaded again
    assert adapters.live.digest == first.digest and sum(call.startswith("load") for call in fake.calls) == 2


async def test_the_oldest_is_unloaded_when_nobody_uses_it_any_more(adapters, publish, fake):
    first, second, third = publish(1), publish(2), publish(3)
    await adapters.activate(first)
    async with adapters.lease() as held:
        await adapters.activate(second)
        going = asyncio.create_task(adapters.activate(third))
        await asyncio.sleep(0.1)
        assert held.digest == first.digest and held.name in fake.loaded and adapters.live.digest == third.digest
    await going
    assert held.name not in fake.loaded and len(fake.loaded) == 2


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"base": "another"}, "trained on base another"),
        ({"probes": []}, "without known answers"),
        ({"rank": 64}, "its rank is 64"),
        ({"value": float("nan")}, "not finite"),
        ({"speaks": "politics"}, "as the base weights do"),
        ({"speaks": "sport"}, "only 0 of 4 known answers"),
        ({"probes": [Probe(task="horoscope", title="t", text="x", answer="a", base_answer="b")]}, "horoscope"),
        ({"probes": [Probe(task="emotion", title="t", text="x", answer="fear", base_answer="b")]}, "not asked here: emotion of news"),
        ({"probes": [Probe(task="category", title="t", text="x", answer="a", base_answer="b", collection="desk")]}, "category of desk"),
        ({"probes": [Probe(task="category", title="t", text="x", answer="a", base_answer="b", collection="../x")]}, "category of ../x"),
        ({"digest": "0" * 64}, "has no models/adapter/"),
    ],
)
async def test_a_step_that_fails_keeps_the_old_and_says_why(adapters, publish, fake, how, why):
    old = publish(1)
    await adapters.activate(old)
    report = await adapters.activate(publish(2, **how))
    assert (report.outcome, report.serving, adapters.live.digest) == ("refused", old.digest, old.digest)
    assert why in report.reason and list(fake.loaded) == [adapters.live.name]


async def test_a_known_answer_is_asked_by_its_own_label_set(adapters, publish, fake):
    asked = {"title": "t", "text": "x", "answer": "negative", "base_answer": "neutral", "task": "sentiment"}
    probes = [
        Probe(**asked),
        Probe(**asked, collection="wellbeing"),
        Probe(**{**asked, "task": "emotion", "answer": "positive"}, collection="wellbeing"),
    ]
    report = await adapters.activate(publish(1, answers="negative", probes=probes))
    assert (report.outcome, report.probes_agreed) == ("active", 3)
    options = [body["structured_outputs"]["choice"] for body in fake.asked]
    assert sorted(map(len, options)) == [3, 3, 8] and "self_harm_high" in max(options, key=len)


async def test_known_answers_of_a_label_set_that_was_removed_are_left_out_and_it_is_said(adapters, publish, fake):
    gone = [
        Probe(task="shelf", title="t", text="x", answer="a", base_answer="b", collection="desk"),
        Probe(task="horoscope", title="t", text="x", answer="a", base_answer="b"),
        Probe(task="category", title="t", text="x", answer="gossip", base_answer="politics"),
    ]
    kept = [Probe(task="category", title=f"t{n}", text="x", answer="economy", base_answer="politics") for n in range(2)]
    wanted = publish(1, probes=[*gone, *kept], reason="asked for")
    report = await adapters.activate(wanted)
    assert (report.outcome, report.serving, report.probes_agreed, report.probes) == ("active", wanted.digest, 2, 2)
    assert (
        report.reason
        == "asked for; 3 of 5 known answers were not asked: this process does not know category of news, horoscope of news, shelf of desk"
    )
    again = await adapters.activate(publish(2))
    flip = await adapters.activate(wanted)  # it is loaded: nothing is asked
    assert (again.probes, flip.probes, flip.reason) == (4, 0, "asked for")
    assert (await adapters.activate(publish(3, speaks="politics", probes=[*gone, *kept]))).outcome == "refused"  # what is left still has to come back


async def test_a_damaged_manifest_is_refused(adapters, publish, registry):
    broken = publish(1)
    registry.store.write(f"models/adapter/{broken.digest}/manifest.json", b"{")
    assert (await adapters.activate(broken)).outcome == "refused"


async def test_after_a_restart_of_the_engine_the_old_one_is_loaded_again_though_a_newer_was_refused(adapters, publish, fake):
    old, bad = publish(1), publish(2, speaks="sport")
    await adapters.activate(old)
    await adapters.activate(bad)
    fake.restart()
    assert not await adapters.still_there()
    report = await adapters.activate(bad)
    assert (report.outcome, report.serving) == ("refused", old.digest)
    assert list(fake.loaded) == [adapters.live.name] and await adapters.still_there()


async def test_where_the_old_one_is_gone_altogether_the_base_weights_serve(adapters, publish, fake, registry, tmp_path):
    old, bad = publish(1), publish(2, speaks="sport")
    await adapters.activate(old)
    fake.restart()
    await adapters.still_there()
    registry.store.write(f"models/adapter/{old.digest}/manifest.json", b"{")
    assert (await adapters.activate(bad)).serving == "base"
    assert await adapters.still_there()


class Bus:
    def __init__(self) -> None:
        self.published: list[ModelActivated] = []

    async def caught_up(self) -> None:
        await asyncio.sleep(0)

    async def publish(self, *events) -> None:
        self.published += events


async def test_the_wanted_adapter_is_brought_back_after_a_restart_of_the_engine(enricher, adapters, publish, fake, document):
    bus = Bus()
    handlers = Handlers(enricher, adapters, bus, check_every_s=0.05)  # type: ignore[arg-type]
    wanted = publish(1)
    handlers.on_model_published(wanted)
    handlers.on_model_published(wanted.model_copy(update={"role": "head", "digest": "x"}))  # not ours
    keeping = asyncio.create_task(handlers.keep_live())
    try:
        (enriched,) = await handlers.on_document_ingested(document())  # waits for the adapter
        assert enriched.model.adapter == wanted.digest and enriched.verdict["category"].label == "economy"
        assert enriched.model.taught == ["news"]  # the collections of its known answers: the classifier weighs by them
        fake.restart()
        async with asyncio.timeout(5):
            while True:
                try:
                    (enriched,) = await handlers.on_document_ingested(document())
                    break
                except TransientError:
                    await asyncio.sleep(0.05)
        assert enriched.model.adapter == wanted.digest
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
    assert [report.outcome for report in bus.published] == ["active"] * len(bus.published) and 1 <= len(bus.published) <= 2
