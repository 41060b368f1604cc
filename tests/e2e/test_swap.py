"""Adapters go live on the real engine: under load and with no failed request, base weights in disguise are found out, what is lost comes back."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from deploy.local.demo_parts import Load
from deploy.local.environment import BUNDLED_MODEL
from deploy.local.kafka import KafkaProcess
from deploy.local.state import State
from services.classifier.llm import LanguageModel
from services.inference.adapters import Adapters
from services.inference.engine import Engine
from services.inference.enrich import Enricher
from shared.asked import Asked
from shared.bus import Bus
from shared.clock import utc_now
from shared.envelope import parse
from shared.events import DocumentEnriched, ModelActivated, ModelPublished, Probe
from shared.objects import ObjectStore
from shared.prompts import label_messages
from shared.registry import Registry, base_id, name_of
from shared.taxonomy import label_set
from tests.conftest import Service
from tests.support.adapters import Trained, publish, scaled, train
from tests.support.records import corrections, document
from tests.support.services import ServiceProcess
from tests.support.topics import read
from tests.support.waiting import until

pytestmark = [pytest.mark.engine, pytest.mark.kafka, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]


@dataclass(frozen=True)
class Line:
    """The real inference service between a broker and the engine, and what speaks to them."""

    bus: Bus
    bootstrap: str
    inference: ServiceProcess
    engine: Engine
    registry: Registry

    async def activated(self, wanted: ModelPublished, times: int = 1) -> ModelActivated:
        """Publish, and the (newest) answer of the service to it."""
        before = len(await self.answers(wanted.digest))
        await self.bus.publish(wanted)

        async def answered() -> list[ModelActivated]:
            found = await self.answers(wanted.digest)
            return found if len(found) >= before + times else []

        return (await until(f"the service answers; its log ends:\n{self.inference.last_lines()}", 60, answered))[-1]

    async def answers(self, digest: str) -> list[ModelActivated]:
        told = [parse(ModelActivated, record) for record in await read(self.bootstrap, "models.activated.v1")]
        return [one for one in told if one.digest == digest]

    async def state(self) -> dict:
        async with aiohttp.ClientSession() as session, session.get(f"{self.inference.url}/api/adapters") as response:
            return dict(await response.json())

    async def enriched(self, ids: set[str]) -> dict[str, DocumentEnriched]:
        async def all_there() -> dict[str, DocumentEnriched]:
            found = {one.id: one for one in (parse(DocumentEnriched, r) for r in await read(self.bootstrap, "documents.enriched.v1"))}
            return found if ids <= set(found) else {}

        return await until(f"{len(ids)} documents are read; the log ends:\n{self.inference.last_lines()}", 120, all_there, every=0.5)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train(tmp_path_factory.mktemp("run"))


@pytest_asyncio.fixture(loop_scope="session")
async def line(broker: KafkaProcess, engine: str, service: Service, state: State) -> AsyncIterator[Line]:
    process = service("inference", broker, FEEDLOOP_ENGINE_URL=engine, FEEDLOOP_CHECK_EVERY_S="2", FEEDLOOP_TIMEOUT_S="120")
    client, bus = Engine(engine, timeout_s=120), Bus(broker.bootstrap, "tests")
    await client.open()
    await bus.start()
    try:
        await process.ready()
        yield Line(bus, broker.bootstrap, process, client, Registry(ObjectStore(str(state.objects)), state.folder / "tests-models"))
    finally:
        await bus.stop()
        for name in await client.models() - {"base"}:  # the engine is the session's
            await client.unload(name)
        await client.close()


async def recorded(line: Line, folder: Path, like: list[Probe]) -> list[Probe]:
    """The answers of an adapter to the questions of other probes, as the engine gives them."""
    tasks, name = label_set().tasks, f"look-{folder.name}"
    await line.engine.load(name, str(folder))
    enricher = Enricher(line.engine, utc_now, "tests")
    answers = await asyncio.gather(*(enricher.label(tasks[p.task], p.title, p.text, name) for p in like))
    await line.engine.unload(name)
    return [probe.model_copy(update={"answer": answer.label}) for probe, answer in zip(like, answers, strict=True)]


async def test_swaps_under_load_disguises_and_losses(line: Line, trained: Trained, tmp_path: Path) -> None:
    telling = sum(probe.answer != probe.base_answer for probe in trained.probes)
    assert telling > len(trained.probes) / 4, "the adapter says something else than the base"
    first = publish(line.registry, trained.folder, trained.probes)
    weaker, stronger = (scaled(trained.folder, tmp_path / f"by-{by}", by) for by in (0.8, 1.2))
    second = publish(line.registry, weaker, await recorded(line, weaker, trained.probes))
    third = publish(line.registry, stronger, await recorded(line, stronger, trained.probes))

    task = label_set().tasks["category"]
    bodies = [
        {
            "messages": label_messages(task, said.title, said.text),
            "max_tokens": 16,
            "temperature": 0,
            "structured_outputs": {"choice": list(task.labels)},
        }
        for said in corrections()[:20]
    ]
    load = Load(line.inference.url, bodies, at_once=4)
    seconds = []
    async with load.running():
        for wanted in (first, second, third):
            answer = await line.activated(wanted)
            assert (answer.outcome, answer.serving) == ("active", wanted.digest), answer.reason
            assert answer.probes_agreed >= 0.9 * answer.probes > 0
            seconds.append(answer.seconds)
            await asyncio.sleep(1)
        documents = [document(n, said.title, said.text) for n, said in enumerate(corrections()[:6])]
        await line.bus.publish(*documents)
        await line.enriched({one.id for one in documents})
    names = [name_of("adapter", wanted.digest) for wanted in (first, second, third)]
    print(
        f"\n3 swaps in {seconds} s under load: {load.sent} requests, {load.failed} failed, slowest {load.slowest_s:.1f} s, {telling} of {len(trained.probes)} probes tell"
    )
    assert load.failed == 0, load.reasons[:3]
    assert set(names) <= load.models <= {"base", *names}, "each answer names the adapter it began with"
    read_ones = await line.enriched({one.id for one in documents})
    assert {one.model.adapter for one in read_ones.values() if one.model} == {third.digest}

    now = await line.state()
    assert now["live"]["digest"] == third.digest and now["previous"]["digest"] == second.digest
    assert await line.engine.models() == {"base", names[1], names[2]}, "the oldest is unloaded, the previous stays for a rollback"

    disguised = publish(line.registry, scaled(trained.folder, tmp_path / "nothing", 0.0), trained.probes)
    answer = await line.activated(disguised)
    assert (answer.outcome, answer.serving) == ("refused", third.digest)
    assert "as the base weights do" in answer.reason
    assert name_of("adapter", disguised.digest) not in await line.engine.models()

    back = await line.activated(second)
    assert (back.outcome, back.serving) == ("active", second.digest) and back.seconds < 2, "a rollback is a flip"

    await line.engine.unload(names[1])  # what a restart of the engine does to the live adapter

    async def live_again() -> bool:
        return names[1] in await line.engine.models()

    await until("the service brings the live adapter back", 30, live_again, every=0.3)
    late = document(50, documents[0].title, documents[0].text)
    await line.bus.publish(late)
    brought = (await line.enriched({late.id}))[late.id]
    assert brought.model is not None and brought.model.adapter == second.digest

    llm = LanguageModel(line.inference.url)
    await llm.open()
    try:
        spoken = await llm.ask([Asked(text=late.text, title=late.title)], "news")
    finally:
        await llm.close()
    assert spoken.items[0].model == brought.model, "a text that is no document is read by the same adapter"
    assert {task: said.label for task, said in spoken.items[0].verdict.items()} == {task: said.label for task, said in brought.verdict.items()}

    async with aiohttp.ClientSession() as session:
        for refused in ({"prompt_logprobs": 1}, {"seed": 1}, {"model": "base"}, {"lora_path": "/tmp"}):
            async with session.post(f"{line.inference.url}/v1/chat/completions", json={**bodies[0], **refused}) as response:
                assert response.status in (404, 422), refused
        async with session.post(f"{line.inference.url}/v1/load_lora_adapter", json={"lora_name": "x", "lora_path": "/"}) as response:
            assert response.status == 404
    assert await line.engine.ping() == ""


async def test_a_reading_keeps_the_adapter_it_began_with(line: Line, trained: Trained, tmp_path: Path) -> None:
    base = base_id(str(BUNDLED_MODEL))
    enricher = Enricher(line.engine, utc_now, base)
    adapters = Adapters(line.engine, enricher, line.registry, base_name="base", base=base, replica="tests", clock=utc_now)
    folders = [trained.folder, *(scaled(trained.folder, tmp_path / f"by-{by}", by) for by in (0.9, 1.1))]
    wanted = [publish(line.registry, folder, await recorded(line, folder, trained.probes)) for folder in folders]
    assert (await adapters.activate(wanted[0])).outcome == "active"
    said = corrections()[0]
    began = asyncio.Event()

    async def reading() -> DocumentEnriched:
        async with adapters.lease() as served:
            began.set()
            readings = [await enricher.enrich(document(n, said.title, said.text), served.name, served.digest) for n in range(3)]
            return readings[-1]

    under_way = asyncio.create_task(reading())
    await began.wait()
    for other in wanted[1:]:
        assert (await adapters.activate(other)).serving == other.digest
    answer = await under_way
    assert answer.model is not None and answer.model.adapter == wanted[0].digest

    async def drained() -> bool:
        return name_of("adapter", wanted[0].digest) not in await line.engine.models()

    await until("the oldest is unloaded once nobody uses it", 20, drained)
