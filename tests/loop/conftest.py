"""A world for each test."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from shared.taxonomy import use
from tests.loop import memory_kafka
from tests.loop.world import PreparedRuns, World


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    world = World(tmp_path)
    memory_kafka.use(world.kafka, monkeypatch)
    PreparedRuns.started = []
    monkeypatch.setattr("services.trainer.app.Runs", PreparedRuns)
    await world.open()
    yield world
    await world.close()


@pytest.fixture
def own_label_sets(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
    """The label sets that the module declares as OWN, in force as the command does it at the start of every service."""
    (tmp_path / "own.yaml").write_text(request.module.OWN)
    use(tmp_path / "own.yaml")
    yield
    use(None)
