"""What the trainer does with the events that reach it, and when it starts a run by itself."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import datetime

from services.trainer import own_heads
from services.trainer.dataset import Snapshot, effective, lowers, read_by, snapshot, teachable
from services.trainer.own_heads import Readiness
from services.trainer.run import ADAPTER, Runs
from services.trainer.settings import Settings
from shared import metrics
from shared.bus import Bus
from shared.errors import ConfigError, PermanentError
from shared.events import (
    BASE_DIGEST,
    Event,
    FeedbackGiven,
    ModelActivated,
    ModelPublished,
    TrainingFinished,
    TrainingProgressed,
    TrainingRequested,
    digest_of,
)
from shared.heads import collection_of, is_head, role_of
from shared.logs import logger
from shared.objects import ObjectStore
from shared.taxonomy import is_own, known, label_set

log = logger(__name__)
READINESS_S = 1.0  # who asks for the state is not kept waiting longer: of 2,000 corrections it takes some seconds to tell which are the same story


class Handlers:
    """Holds the feedback (a view of its topic), asks for runs, carries them out, and rolls back."""

    def __init__(self, settings: Settings, bus: Bus, store: ObjectStore, runs: Runs) -> None:
        self.settings, self.bus, self.store, self.runs = settings, bus, store, runs
        self.feedback: dict[str, FeedbackGiven] = {}
        self.live: dict[str, ModelPublished] = {}
        self.refused: set[str] = set()  # digests that a replica would not take: what was live before them still is
        self.finished: dict[str, TrainingFinished] = {}
        self.requested: dict[str, TrainingRequested] = {}
        self.used: set[str] = set()  # ids of the feedback in the snapshots that have been asked for
        self.running = ""
        self._last_heard = time.monotonic()
        self._heard = asyncio.Event()
        self._told = 0  # how often feedback was heard; the readiness below is that of so many
        self._readiness: tuple[int, list[Readiness]] = (-1, [])
        self._counting: asyncio.Task[None] | None = None

    def on_feedback_given(self, event: FeedbackGiven) -> None:
        self.feedback[event.id] = event
        self._told += 1
        self._last_heard = time.monotonic()
        self._heard.set()

    def on_model_published(self, event: ModelPublished) -> None:
        self.live[event.role] = event

    def on_model_activated(self, event: ModelActivated) -> None:
        if event.outcome == "refused":
            self.refused.add(event.digest)
        else:
            self.refused.discard(event.digest)

    def on_training_finished(self, event: TrainingFinished) -> None:
        self.finished[event.run_id] = event

    async def on_training_requested_seen(self, event: TrainingRequested) -> None:
        """In every replica: remember what has been asked for, so that nothing is asked for twice."""
        self.requested[event.run_id] = event
        if event.manifest and event.role == ADAPTER and not event.candidate_uri:
            dataset = Snapshot.model_validate_json(await asyncio.to_thread(self.store.get, event.manifest))
            self.used |= {example.feedback_id for example in dataset.examples}
            metrics.WAITING.set(len(self.waiting()))

    async def on_training_requested(self, event: TrainingRequested) -> Sequence[Event]:
        """In one replica: carry the run out. A request that comes again after a kill -9 finds the result and only tells it again."""
        await self.bus.caught_up()
        result = await asyncio.to_thread(self.runs.known, event.run_id)
        if result is None and self._settled(event.run_id):
            return []
        if result is None:
            self.running = event.run_id
            try:
                result = await self.runs.carry_out(event, self.incumbent(event.role), self._tell)
            finally:
                self.running = ""
        told = self._settled(event.run_id)
        if not told:
            metrics.RUNS.labels(result.finished.outcome).inc()
            metrics.RUN_SECONDS.observe(result.finished.seconds)
        log.info("run.finished", run_id=event.run_id, outcome=result.finished.outcome, digest=result.finished.digest, reason=result.finished.reason)
        published = result.published
        live = self.live.get(event.role)
        if published and live and (live.published_at > published.published_at or live == published):
            published = None  # something newer (a rollback, say) was wanted since; the result told again must not undo it
        # each by itself: a kill -9 may have come between the two
        return [*([] if told else [result.finished]), *([published] if published else [])]

    def incumbent(self, role: str) -> str:
        live = self.live.get(role)
        if live is None:
            return BASE_DIGEST
        return live.previous if live.digest in self.refused else live.digest

    def waiting(self) -> list[FeedbackGiven]:
        """What still holds and no run has used."""
        return [item for item in self._effective() if item.id not in self.used]

    async def readiness(self) -> list[Readiness]:
        """How far each task of a user's own label sets is on the way to a head, where that is the loop's to train. Counted anew only where
        feedback has come since; where that takes long, it is told as it was before."""
        if self._readiness[0] != self._told:
            if self._counting is None or self._counting.done():
                self._counting = asyncio.create_task(self._count(self._told))
            await asyncio.wait({self._counting}, timeout=READINESS_S)
        return self._readiness[1]

    async def ask(self, reason: str) -> TrainingRequested:
        """Ask for a run on all that still holds, and for one for each head that the loop may train of it; the adapter's request is returned. The same
        corrections give the same run id; asked again, the request that stands is returned."""
        dataset = await asyncio.to_thread(self._snapshot)  # compares every text with every other
        # heads first: they take seconds, and an adapter minutes
        heads = [await self._ask(head, reason) for head in await asyncio.to_thread(self._head_snapshots)]
        if dataset.examples:
            return await self._ask(dataset, reason)
        if not heads:
            raise PermanentError("there is no correction to train on yet")
        return heads[0]

    async def _ask(self, dataset: Snapshot, reason: str) -> TrainingRequested:
        run_id = dataset.digest()
        if self._stands(run_id):
            return self.requested[run_id]
        ref = await asyncio.to_thread(self.store.put, dataset.model_dump_json().encode(), ".json")
        return await self._request(
            TrainingRequested(run_id=run_id, role=dataset.role, manifest=ref, examples=len(dataset.examples), reason=reason, requested_at=self._now())
        )

    async def offer(self, digest: str, reason: str) -> TrainingRequested:
        """Have an adapter or a neural head judged that was made elsewhere; it must be in the registry under the role `candidate`."""
        role = await asyncio.to_thread(self.runs.offered_as, digest)  # raises PermanentError where it is not there
        dataset = await asyncio.to_thread(self._snapshot, role)  # compares every text with every other
        ref = await asyncio.to_thread(self.store.put, dataset.model_dump_json().encode(), ".json")
        run_id = digest_of("offer", digest, dataset.digest(), self.incumbent(role))
        if self._stands(run_id):
            return self.requested[run_id]
        return await self._request(
            TrainingRequested(
                run_id=run_id,
                role=role,
                manifest=ref,
                candidate_uri=digest,
                examples=len(dataset.examples),
                reason=reason or "offered",
                requested_at=self._now(),
            )
        )

    async def rollback(self, role: str, reason: str) -> ModelPublished:
        """Want the previous model again. It is still loaded in every engine, so this is a flip. Raises PermanentError where there is none."""
        live = self.live.get(role)
        if live is None or live.digest == live.previous:
            raise PermanentError(f"role {role!r} has nothing to roll back to")
        now = self._now()
        if live.previous == BASE_DIGEST:
            back = ModelPublished(role=role, digest=BASE_DIGEST, base=live.base if is_head(role) else self.runs.base, published_at=now)
        else:
            back = await asyncio.to_thread(self.runs.record_of, role, live.previous)
        wanted = back.model_copy(update={"previous": live.digest, "reason": reason or f"rollback from {live.digest[:12]}", "published_at": now})
        await self.bus.publish(wanted)  # first: what Kafka did not take is not wanted
        self.live[role] = wanted
        return wanted

    async def watch(self) -> None:
        """Ask for a run once enough corrections wait and it has been quiet for a while. Runs as long as the service."""
        await self.bus.caught_up()
        while True:
            await self._heard.wait()
            quiet_for = time.monotonic() - self._last_heard
            if quiet_for < self.settings.train_wait_s:
                await asyncio.sleep(self.settings.train_wait_s - quiet_for)
                continue
            self._heard.clear()
            waiting = len(self.waiting())
            metrics.WAITING.set(waiting)
            if waiting >= self.settings.train_after:
                request = await self.ask(f"{waiting} new corrections")
                log.info("run.requested", run_id=request.run_id, examples=request.examples)

    async def _request(self, request: TrainingRequested) -> TrainingRequested:
        await self.bus.publish(request)  # first: what Kafka did not take must be asked for again
        self.requested[request.run_id] = request
        return request

    def _effective(self, part: str = "llm") -> list[FeedbackGiven]:
        """What still holds, of all label sets, and may be taught to this part. What may not is left out last: it still takes the place of what had been said of the
        same text before."""
        return [item for item in effective(list(self.feedback.values())) if teachable(item, part) and not lowers(item)]

    def _snapshot(self, role: str = ADAPTER) -> Snapshot:
        """Of a head all is held out: it comes trained, on other texts."""
        if is_head(role):
            return snapshot(self._of_collection(collection_of(role)), role=role, base=self.runs.ground(role), share=1.0, recipe={})
        recipe = {"epochs": self.settings.epochs, "learning_rate": self.settings.learning_rate, "rank": self.settings.rank}
        return snapshot(self._effective(), role=role, base=self.runs.base, share=self.settings.held_out, recipe=recipe)

    async def _count(self, told: int) -> None:
        self._readiness = told, await asyncio.to_thread(self._own_heads)

    def _own_heads(self) -> list[Readiness]:
        taught = self._taught()
        own = {collection: taught.get(collection, []) for collection in known() if is_own(collection)}
        return [one for dataset in self._of_heads(own) for one in own_heads.readiness(label_set(collection_of(dataset.role)), dataset.examples)]

    def _head_snapshots(self) -> list[Snapshot]:
        """Of each collection whose head is the loop's to train and that has enough corrections."""
        found = []
        for dataset in self._of_heads(self._taught()):
            tasks = own_heads.enough(label_set(collection_of(dataset.role)), dataset.examples)
            if tasks:  # what is said of other tasks makes no other run
                found.append(dataset.model_copy(update={"examples": [one for one in dataset.examples if one.task in tasks]}))
        return found

    def _taught(self) -> dict[str, list[FeedbackGiven]]:
        """Collection -> what still holds and may be taught to its head."""
        taught: dict[str, list[FeedbackGiven]] = {}
        for item in self._effective("neural"):
            taught.setdefault(read_by(item), []).append(item)
        return taught

    def _of_heads(self, taught: Mapping[str, Sequence[FeedbackGiven]]) -> list[Snapshot]:
        """All that was said, of each of these collections whose head is the loop's to train. Nothing that goes wrong here (there is no encoder,
        say) may keep the adapter from its run, or the state from who asks for it."""
        found = []
        for collection, items in sorted(taught.items()):
            try:
                if self.runs.left_to_the_loop(collection):
                    role = role_of(collection)
                    found.append(snapshot(items, role=role, base=self.runs.ground(role), share=self.settings.held_out, recipe=own_heads.RECIPE))
            except (ConfigError, PermanentError, OSError, ValueError) as error:
                log.warning("head.not_trained", collection=collection, reason=str(error))
        return found

    def _of_collection(self, collection: str) -> list[FeedbackGiven]:
        """What still holds of the texts that are read by this collection's label set, on the tasks that a head may answer."""
        labels = label_set(collection)
        known = {task.name: task for task in labels.asked_of("neural")}
        holds = []
        for item in list(self.feedback.values()):
            try:
                if item.kind != "retraction":  # which takes back by id, whatever it says beside
                    known[item.task].chosen(item.correct)
                    if read_by(item) != collection:
                        continue
            except (KeyError, ValueError):  # another task, or a name or label that is none (any more): nothing to judge by
                continue
            holds.append(item)
        return effective(holds)

    def _stands(self, run_id: str) -> bool:
        """Asked for, and not failed since."""
        return run_id in self.requested and (run_id not in self.finished or self._settled(run_id))

    def _settled(self, run_id: str) -> bool:
        """Judged, for good. A run that failed (a full disk, say) may be tried again."""
        return run_id in self.finished and self.finished[run_id].outcome != "failed"

    async def _tell(self, progress: TrainingProgressed) -> None:
        await self.bus.publish(progress)

    def _now(self) -> datetime:
        return self.bus.clock()
