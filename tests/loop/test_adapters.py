"""An adapter goes live, or is refused with the reason while the old one serves on."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from shared.events import BASE_DIGEST, DocumentEnriched, ModelActivated, ModelPublished, Probe
from shared.registry import name_of
from tests.loop.world import SECURITY, World


async def activated(world: World, wanted: ModelPublished, times: int = 1) -> ModelActivated:
    """The replica's report on `wanted`."""
    await world.publish(wanted)
    found = await world.until(lambda: [event for event in world.events(ModelActivated) if event.digest == wanted.digest][times - 1 :])
    return found[0]  # type: ignore[no-any-return]


async def test_a_published_adapter_is_probed_and_goes_live_and_the_previous_is_kept(world: World) -> None:
    await world.start("inference")
    first, second = world.published(world.adapter(SECURITY)), world.published(world.adapter(SECURITY, fill=0.5))
    report = await activated(world, first)
    assert (report.outcome, report.serving, report.probes_agreed, report.probes) == ("active", first.digest, 4, 4)
    assert (await world.live())["live"] == {"name": name_of("adapter", first.digest), "digest": first.digest, "taught": ["news"]}
    await activated(world, second)
    state = await world.live()
    assert (state["live"]["digest"], state["previous"]["digest"]) == (second.digest, first.digest)
    assert set(world.engine.adapters) == {name_of("adapter", first.digest), name_of("adapter", second.digest)}


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "another base": ({}, {"base": "model-of-another-make"}, "it was trained on base model-of-another-make, and the engine serves model-"),
    "rank over the limit": ({"rank": 32}, {}, "its rank is 32; the engine takes at most 16"),
    "rank over the limit, and a config that lies": ({"rank": 8, "rows": 64}, {}, "has rank 64, whatever its config says"),
    "weights that are not numbers": ({"fill": float("nan")}, {}, "lora_B.weight holds values that are not finite"),
    "weights without end": ({"fill": float("inf")}, {}, "lora_B.weight holds values that are not finite"),
    "other answers than at the gate": ({"picks": 1}, {}, "only 0 of 4 known answers came back"),
    "no known answers": ({}, {"probes": []}, "it came without known answers"),
    "a digest that is not there": ({}, {"digest": "0" * 64}, "has no models/adapter/000"),
    "a known answer to a task that is not asked": (
        {},
        {"probes": [Probe(task="colour", title="t", text="x", answer="red", base_answer="blue")]},
        "colour",
    ),
}


@pytest.mark.parametrize("why", REFUSED)
async def test_what_must_not_go_live_is_refused_with_the_reason(world: World, why: str) -> None:
    made, given, said = REFUSED[why]
    await world.start("inference")
    good = world.published(world.adapter(SECURITY))
    await activated(world, good)
    bad = world.published(world.adapter(**({"picks": SECURITY, "fill": 0.25} | made)), **given)
    report = await activated(world, bad)
    assert (report.outcome, report.serving) == ("refused", good.digest)
    assert said in report.reason
    state = await world.live()
    assert state["live"]["digest"] == good.digest
    assert set(world.engine.adapters) == {name_of("adapter", good.digest)}, "what was refused is not left in the engine"


async def test_base_weights_under_an_adapters_name_are_found_out(world: World) -> None:
    await world.start("inference")
    world.engine.deaf_to_adapters = True
    report = await activated(world, world.published(world.adapter(SECURITY)))
    assert (report.outcome, report.serving) == ("refused", BASE_DIGEST)
    assert "answers as the base weights do" in report.reason


@pytest.mark.parametrize("damage", ["weights", "manifest", "not safetensors"])
async def test_a_damaged_adapter_is_refused_and_the_service_lives_on(world: World, damage: str) -> None:
    await world.start("inference")
    folder = world.adapter(SECURITY)
    if damage == "not safetensors":
        (folder / "adapter_model.safetensors").write_bytes(b"\x80\x04 a pickle, say")
    wanted = world.published(folder)
    place = Path(world.objects) / "models" / "adapter" / wanted.digest
    if damage == "weights":
        (place / "adapter_model.safetensors").write_bytes(b"other weights")
    if damage == "manifest":
        (place / "manifest.json").write_text("{")
    report = await activated(world, wanted)
    assert (report.outcome, report.serving) == ("refused", BASE_DIGEST)
    good = await activated(world, world.published(world.adapter(SECURITY, fill=0.5)))
    assert good.outcome == "active"


async def test_a_lease_keeps_its_adapter_while_others_go_live(world: World) -> None:
    await world.start("inference")
    first, second, third = (world.published(world.adapter(SECURITY, fill=n)) for n in (0.1, 0.2, 0.3))
    names = [name_of("adapter", wanted.digest) for wanted in (first, second, third)]
    await activated(world, first)
    world.engine.hold = "Hello?"
    question = {"messages": [{"role": "user", "content": "Hello?"}]}
    held = asyncio.create_task(world.clients["inference"].post("/v1/chat/completions", json=question))
    await world.until(lambda: world.engine.waiting)
    await activated(world, second)
    await world.publish(third)
    await world.until(lambda: names[2] in world.engine.adapters)
    live = {"digest": ""}
    while live["digest"] != third.digest:  # the flip waits for nobody
        live = (await world.live())["live"]
        await asyncio.sleep(0.01)
    assert names[0] in world.engine.adapters, "it is neither live nor previous, but a request still uses it"
    world.engine.hold = ""
    assert (await held).json()["model"] == names[0]
    await world.until(lambda: names[0] not in world.engine.adapters)
    assert set(world.engine.adapters) == set(names[1:])


async def test_an_engine_that_was_restarted_gets_the_live_adapter_again(world: World) -> None:
    await world.start("ingest", "inference")
    wanted = world.published(world.adapter(SECURITY))
    await activated(world, wanted)
    world.engine.restart()
    await world.until(lambda: name_of("adapter", wanted.digest) in world.engine.adapters)
    document = await world.push("The council of Northmark met on Tuesday and talked about the harbour.")
    enriched = await world.until(lambda: [event for event in world.events(DocumentEnriched) if event.id == document])
    assert enriched[0].model.adapter == wanted.digest


async def test_a_service_that_was_restarted_serves_what_was_live(world: World) -> None:
    await world.start("ingest", "inference")
    wanted = world.published(world.adapter(SECURITY))
    await activated(world, wanted)
    await world.stop("inference")
    document = await world.push("The council of Northmark met on Tuesday and talked about the harbour.")
    await world.start("inference")
    enriched = await world.until(lambda: [event for event in world.events(DocumentEnriched) if event.id == document])
    assert enriched[0].model.adapter == wanted.digest
    assert enriched[0].verdict["category"].label == "security"


async def test_after_a_restart_a_refused_adapter_does_not_cost_the_one_before_it(world: World) -> None:
    await world.start("inference")
    good = world.published(world.adapter(SECURITY))
    await activated(world, good)
    # as the trainer does: the record is kept beside the model
    world.registry.store.write(f"published/adapter/{good.digest}.json", good.model_dump_json().encode())
    bad = world.published(world.adapter(1), previous=good.digest)
    assert (await activated(world, bad)).serving == good.digest
    await world.stop("inference")
    world.engine.restart()
    world.kafka.compact("models.published.v1")
    await world.start("inference")
    await world.until(lambda: world.events(ModelActivated)[-1].outcome == "active" and world.events(ModelActivated)[-2].outcome == "refused")
    assert (await world.live())["live"]["digest"] == good.digest
