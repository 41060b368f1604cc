"""Nothing is trained twice: the trainer is killed with -9 in the middle of a run, and again when the run has ended."""

import time
from collections import defaultdict

import aiohttp
import psutil
import pytest

from deploy.local.kafka import KafkaProcess
from deploy.local.state import State
from shared.bus import Bus
from shared.envelope import parse
from shared.events import ModelPublished, TrainingFinished, TrainingProgressed, TrainingRequested
from tests.conftest import Service
from tests.support.records import corrections
from tests.support.services import ServiceProcess
from tests.support.topics import header, left, read
from tests.support.waiting import until

pytestmark = [pytest.mark.kafka, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(480)]


async def ask(trainer: ServiceProcess) -> str:
    async with aiohttp.ClientSession() as session, session.post(f"{trainer.url}/api/train", json={"reason": "a test"}) as response:
        answer = await response.json()
        assert response.status == 202, answer
        return str(answer["run_id"])


def ended(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


async def test_a_run_survives_kill_9_and_is_told_once(broker: KafkaProcess, service: Service, state: State) -> None:
    bus = Bus(broker.bootstrap, "tests")
    await bus.start()
    try:
        await bus.publish(*corrections()[:48])
    finally:
        await bus.stop()
    began = time.monotonic()
    trainer = service("trainer", broker, FEEDLOOP_EPOCHS="1", FEEDLOOP_TRAIN_AFTER="100000")
    await trainer.ready()
    run_id = await ask(trainer)
    assert await ask(trainer) == run_id, "the same corrections are the same run"

    async def training() -> bool:
        progress = [parse(TrainingProgressed, record) for record in await read(broker.bootstrap, "training.progressed.v1")]
        return any(told.phase == "training" and told.step >= 2 for told in progress)

    await until("the run trains", 180, training, every=0.3)
    [run] = [child for child in psutil.Process(trainer.pid).children() if "train_adapter" in " ".join(child.cmdline())]
    trainer.kill()

    async def gone() -> bool:
        return ended(run)

    await until("the run has ended with its trainer", 5, gone)
    assert await read(broker.bootstrap, "training.finished.v1") == []

    trainer.start()

    async def finished() -> bool:
        return bool(await read(broker.bootstrap, "training.finished.v1"))

    await until(f"the run is carried out again; the log ends:\n{trainer.last_lines()}", 240, finished, every=0.2)
    trainer.kill()  # perhaps before it could commit: then the request comes a third time
    trainer.start()
    await trainer.ready()

    async def nothing_left() -> bool:
        return await left(broker.bootstrap, "trainer", "training.requested.v1") == 0

    await until("the request is settled", 60, nothing_left, every=0.3)
    assert await ask(trainer) == run_id
    await until("the request is settled still", 60, nothing_left, every=0.3)

    told: dict[str, set[str]] = defaultdict(set)
    records = await read(broker.bootstrap, "training.finished.v1")
    for record in records:
        told[parse(TrainingFinished, record).run_id].add(header(record, "ce_id"))
    assert {run: len(ids) for run, ids in told.items()} == {run_id: 1}, "one result, however often it is told"
    assert {parse(TrainingRequested, r).run_id for r in await read(broker.bootstrap, "training.requested.v1")} == {run_id}
    result = parse(TrainingFinished, records[0])
    assert result.outcome in ("published", "refused"), result.reason
    assert result.report is not None and result.report.held_out > 0
    models = sorted(path.name for path in (state.objects / "models" / "adapter").glob("*"))
    published = {parse(ModelPublished, r).digest for r in await read(broker.bootstrap, "models.published.v1")}
    assert models == ([result.digest] if result.outcome == "published" else [])
    assert published == set(models)
    print(
        f"\ntrainer killed twice: 1 run, told {len(records)} times with one id, {result.outcome} ({result.reason[:120]}), {time.monotonic() - began:.0f} s"
    )
