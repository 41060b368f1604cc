"""A world for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.loop.memory_kafka import use
from tests.loop.world import PreparedRuns, World


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    world = World(tmp_path)
    use(world.kafka, monkeypatch)
    PreparedRuns.started = []
    monkeypatch.setattr("services.trainer.app.Runs", PreparedRuns)
    await world.open()
    yield world
    await world.close()
