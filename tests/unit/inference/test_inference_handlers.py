"""The deadline of a document, the pause while the engine is silent, and the settings of both."""

import asyncio
import time
from types import SimpleNamespace

import pytest
from aiokafka.structs import ConsumerRecord

from services.inference.adapters import Adapters
from services.inference.engine import Circuit, Engine
from services.inference.enrich import Enricher
from services.inference.handlers import Handlers
from services.inference.settings import Settings
from shared.errors import TransientError
from shared.guard import Guard, Paused, Retry


@pytest.fixture
async def handlers(server):
    engine = Engine(server, timeout_s=0.2, circuit=Circuit(most=5, rest=0.3))
    await engine.open()
    enricher = Enricher(engine, lambda: None, "tiny-base")  # type: ignore[arg-type,return-value]
    adapters = Adapters(engine, enricher, None, base_name="base", base="tiny-base", replica="i", clock=lambda: None)  # type: ignore[arg-type,return-value]
    made = Handlers(enricher, adapters, SimpleNamespace(), document_s=0.35)  # type: ignore[arg-type]
    made._settled.set()
    yield made
    await engine.close()


async def test_a_document_has_a_deadline_over_all_its_requests(handlers, fake, document):
    async def slow(_):
        await asyncio.sleep(0.15)  # each within its own deadline
        raise AssertionError("a request went on after the deadline")

    labels = handlers.enricher.engine.choose

    async def late(*given):
        await asyncio.sleep(0.3)
        return await labels(*given)

    handlers.enricher.engine.choose, fake.hook = late, slow
    began = time.monotonic()
    with pytest.raises(Paused, match=r"document d1 was not read within 0.35 s \(FEEDLOOP_DOCUMENT_S\)"):
        await handlers.on_document_ingested(document())
    assert time.monotonic() - began < 2


async def test_a_hanging_engine_costs_a_record_one_deadline_and_a_pause(handlers, fake, document):
    """Not a deadline for each of the guard's tries; and what comes after it waits without asking."""

    async def hang(_):
        await asyncio.sleep(3)

    fake.hook = hang

    async def handle(_):
        return await handlers.on_document_ingested(document())

    async def quarantine(*_):
        raise AssertionError("it is the engine's fault, not the record's")

    guard = Guard("t", handle, quarantine, Retry(attempts=5, first=0.01))
    record = ConsumerRecord("t", 0, 0, 0, 0, b"k", b"v", 0, 1, 1, ())
    began = time.monotonic()
    with pytest.raises(TransientError):
        await guard.run(record)
    assert 0.6 < time.monotonic() - began < 2 and handlers.enricher.engine.circuit.silent >= 5
    asked, began = len(fake.asked), time.monotonic()
    found = await asyncio.gather(*(guard.run(record) for _ in range(8)), return_exceptions=True)
    assert all(isinstance(error, Paused) for error in found) and len(fake.asked) - asked <= 3
    assert time.monotonic() - began > 0.2  # reading pauses, it does not spin


def test_a_document_must_have_time_for_a_request() -> None:
    assert Settings().document_s == 180 and Settings(timeout_s=200).document_s == 600 and Settings(timeout_s=50, document_s=50).document_s == 50
    with pytest.raises(ValueError, match="FEEDLOOP_DOCUMENT_S is 30 and FEEDLOOP_TIMEOUT_S 60"):
        Settings(document_s=30)


@pytest.mark.parametrize("ticks", range(6))
async def test_it_ends_when_told_to_even_as_a_wish_arrives(handlers: Handlers, ticks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """asyncio.wait_for forgets a cancellation that comes in the moment in which what it waits for is done: the service never stopped."""
    loop = asyncio.get_running_loop()

    def cancel_after(left: int) -> None:
        loop.call_soon(cancel_after, left - 1) if left else live.cancel()

    async def reconcile() -> None:
        await asyncio.sleep(0)
        handlers._changed.set()
        cancel_after(ticks)

    async def caught_up() -> None:
        return

    handlers.bus.caught_up = caught_up  # type: ignore[method-assign]
    monkeypatch.setattr(handlers, "_reconcile", reconcile)
    live = asyncio.create_task(handlers.keep_live())
    done, _ = await asyncio.wait([live], timeout=5)
    assert done and live.cancelled()
