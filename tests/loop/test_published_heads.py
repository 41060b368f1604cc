"""A neural head that is offered: judged by what people corrected, published, answered with, and taken back."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from shared.clock import utc_now
from shared.encoder import Encoder
from shared.events import BASE_DIGEST, FeedbackGiven, ModelActivated, ModelPublished, TrainingFinished
from tests.loop.world import ENCODER, PreparedRuns, World
from tests.support import heads

ROLE = "head-news"
SPORT = "The home side won the cup final on penalties after the goalkeeper saved twice in front of a full stadium."


async def says(world: World) -> tuple[str, str]:
    """The category of a text that nobody has corrected, and the digest of the head that was asked."""
    async with asyncio.timeout(30):  # 503 until the head that was live is live again
        while (found := await world.clients["classifier"].post("/api/classify", json={"text": SPORT})).status_code == 503:
            await asyncio.sleep(0.05)
    answer = found.json()
    return answer["decision"]["category"]["label"], answer["head_digest"]


async def offered(world: World, folder: Path) -> TrainingFinished:
    manifest = world.registry.publish(folder, "candidate", Encoder(ENCODER).digest)
    answer = await world.clients["trainer"].post("/api/offer", json={"digest": manifest.digest, "reason": "a new head"})
    assert answer.status_code == 202, answer.text
    run = answer.json()["run_id"]
    found = await world.until(lambda: [event for event in world.events(TrainingFinished) if event.run_id == run], 120)
    return found[0]  # type: ignore[no-any-return]


async def activated(world: World, digest: str) -> Any:
    return await world.until(lambda: [event for event in world.events(ModelActivated) if event.role == ROLE and event.digest == digest])


@pytest.mark.skipif(not (ENCODER / "manifest.json").exists(), reason="the sentence encoder is not exported here")
async def test_a_better_head_is_published_and_rolled_back_and_a_worse_one_is_refused(world: World, tmp_path: Path) -> None:
    world.encoder, world.heads = ENCODER, tmp_path / "shipped"
    worse, better = heads.head(world.heads / "news", wrong=True), heads.head(tmp_path / "better")
    PreparedRuns.prepared = staticmethod(lambda: world.judgement(world.adapter(1), right=False))  # the corrections ask for a run of the adapter too
    await world.start("classifier", "trainer")
    label, shipped = await says(world)
    assert label != "sport"
    corrections = [
        FeedbackGiven(
            id=f"f{n}", kind="correction", document_id=f"d{n}", task="category", correct=row["category"], text=row["text"], given_at=utc_now()
        )
        for n, row in enumerate(heads.lines(1, most=30))
    ]
    await world.publish(*corrections)
    await world.kafka.settled()

    finished = await offered(world, better)
    assert finished.outcome == "published", finished.reason
    (active,) = await activated(world, finished.digest)
    assert (active.outcome, active.probes_agreed) == ("active", active.probes) and active.probes >= 12
    assert await says(world) == ("sport", finished.digest)
    published = next(event for event in world.events(ModelPublished) if event.digest == finished.digest)
    assert (published.role, published.previous, published.base) == (ROLE, BASE_DIGEST, Encoder(ENCODER).digest)
    assert published.report and published.report.held_out == len(corrections)

    refused = await offered(world, worse)
    assert refused.outcome == "refused" and "better than what is live: " in refused.reason
    assert await says(world) == ("sport", finished.digest)

    back = await world.clients["trainer"].post("/api/rollback", json={"role": ROLE})
    assert back.json() == {"role": ROLE, "digest": BASE_DIGEST, "previous": finished.digest}
    assert (await activated(world, BASE_DIGEST))[0].outcome == "active"
    assert await says(world) == (label, shipped)
    await world.clients["trainer"].post("/api/rollback", json={"role": ROLE})
    await world.until(lambda: len([event for event in world.events(ModelActivated) if event.digest == finished.digest]) == 2)
    assert await says(world) == ("sport", finished.digest)
