"""The live adapter behind an alias. Fetch, verify, load under its own name, probe, flip, drain, unload the oldest; a failed step keeps the old one.

An adapter's name is made of its digest and never means anything else: vLLM's prefix cache is keyed by the name (docs/decisions/0002). The previous
adapter stays loaded, so that a rollback is a flip. A request keeps the adapter that it began with.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from services.inference.engine import Engine
from services.inference.enrich import Enricher
from shared import metrics
from shared.clock import Clock
from shared.errors import PermanentError, TransientError, one_line
from shared.events import BASE_DIGEST, ModelActivated, ModelPublished, Probe
from shared.logs import logger
from shared.registry import Registry, name_of
from shared.taxonomy import Task, label_set

log = logger(__name__)
ROLE = "adapter"
AGREE = 0.9  # share of known answers that must come back; an engine computes a little differently from the trainer


@dataclass(frozen=True)
class Served:
    """Weights as the engine serves them. `taught`: the collections of its known answers."""

    name: str
    digest: str
    taught: tuple[str, ...] = field(default=(), compare=False)


class Asked(NamedTuple):
    """How many known answers came back, of how many that were asked; in words which were not asked, and why. A flip to what is loaded asks none."""

    agreed: int = 0
    of: int = 0
    left_out: str = ""


class Adapters:
    """What is live, what was before, and how one becomes the other. All changes go through one lock; readers only lease."""

    def __init__(
        self, engine: Engine, enricher: Enricher, registry: Registry, *, base_name: str, base: str, replica: str, clock: Clock, max_rank: int = 16
    ) -> None:
        self.engine, self.enricher, self.registry, self.clock = engine, enricher, registry, clock
        self.base, self.replica, self.max_rank = base, replica, max_rank
        self._base = Served(base_name, BASE_DIGEST)
        self.live: Served = self._base
        self.previous: Served | None = None
        self.loaded: list[Served] = []  # oldest use first; the base is always there and is not listed
        self._in_flight: Counter[str] = Counter()
        self._idle = asyncio.Condition()
        self._change = asyncio.Lock()

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[Served]:
        """The live adapter, which stays loaded for as long as the lease is held, whatever goes live meanwhile."""
        served = self.live
        self._in_flight[served.name] += 1
        try:
            yield served
        finally:
            async with self._idle:
                self._in_flight[served.name] -= 1
                self._idle.notify_all()

    async def activate(self, wanted: ModelPublished) -> ModelActivated:
        """Make the published adapter live, or keep the old one and say why. Raises TransientError where the engine is away: try again later."""
        began = time.monotonic()
        # what it was trained on, where that is known: known answers are a few, and may be of one collection alone
        taught = tuple(sorted({*wanted.taught, *(probe.collection for probe in wanted.probes)}))
        served = self._base if wanted.digest == BASE_DIGEST else Served(name_of(ROLE, wanted.digest), wanted.digest, taught)
        asked = Asked()
        async with self._change:
            try:
                if served != self._base and served not in self.loaded:
                    asked = await self._bring_up(served, wanted)
            except (PermanentError, ValueError, OSError) as error:  # a damaged manifest or a full disk too
                metrics.ACTIVATIONS.labels("refused").inc()
                await self._restore()
                log.error("adapter.refused", digest=wanted.digest, reason=str(error), serving=self.live.digest)
                return self._report(wanted, served, "refused", str(error), Asked(of=len(wanted.probes)), began)
            flipped = self.live
            self.live = served
            if flipped != served:
                self.previous = flipped
            if served != self._base:
                self.loaded = [*(s for s in self.loaded if s != served), served]
        metrics.ACTIVATIONS.labels("active").inc()
        metrics.LIVE.clear()
        metrics.LIVE.labels(served.digest).set(1)
        log.info("adapter.live", digest=served.digest, name=served.name, previous=flipped.digest)
        report = self._report(wanted, served, "active", "; ".join(filter(None, (wanted.reason, asked.left_out))), asked, began)
        await self._retire()
        return report

    async def still_there(self) -> bool:
        """False where the engine has lost the live adapter (a restart): it must be brought up again. Raises TransientError where it is away."""
        names = await self.engine.models()
        self.loaded = [served for served in self.loaded if served.name in names]
        return self.live == self._base or self.live in self.loaded

    async def _restore(self) -> None:
        """Where the engine was restarted it has lost the old adapter too: load it again (its probes have been passed), or serve the base weights."""
        if self.live == self._base or self.live in self.loaded:
            return
        try:
            folder = await asyncio.to_thread(self.registry.fetch, ROLE, self.live.digest)
            await self.engine.load(self.live.name, str(folder.resolve()))
            self.loaded.append(self.live)
        except (PermanentError, ValueError, OSError) as error:
            log.error("adapter.lost", digest=self.live.digest, reason=str(error), serving=BASE_DIGEST)
            self.live, self.previous = self._base, None

    async def _bring_up(self, served: Served, wanted: ModelPublished) -> Asked:
        folder = await asyncio.to_thread(self._fetch, wanted)
        await self.engine.load(served.name, str(folder))
        try:
            return await self._probe(served, wanted.probes)
        except PermanentError:
            await self.engine.unload(served.name)
            raise

    def _fetch(self, wanted: ModelPublished) -> Path:
        if wanted.base != self.base:
            raise PermanentError(f"it was trained on base {wanted.base}, and the engine serves {self.base}")
        try:
            folder = self.registry.fetch(ROLE, wanted.digest)
        except OSError as error:
            raise TransientError(f"adapter {wanted.digest[:12]} can't be fetched now: {error}") from error
        check_adapter(folder, self.max_rank)
        return folder.resolve()

    async def _probe(self, served: Served, probes: list[Probe]) -> Asked:
        """Ask the known answers, those of label sets, tasks and labels that are not here left out: the trainer may know more than we were given, and a
        user may have removed a label set since, which must not cost what was learned of the others.
        Raises PermanentError where too few come back, where none can be asked, or where base weights seem to speak under the adapter's name."""
        if not probes:
            raise PermanentError("it came without known answers, so it can't be told from the base weights")
        tasks = [(_task_of(p), p) for p in probes]
        known = [(task, p) for task, p in tasks if task]
        strange = sorted({f"{p.task} of {p.collection}" for task, p in tasks if not task})
        if not known:
            raise PermanentError(f"its known answers are of tasks or labels that are not asked here: {', '.join(strange)}")
        left_out = ""
        if strange:
            left_out = f"{len(probes) - len(known)} of {len(probes)} known answers were not asked: this process does not know {', '.join(strange)}"
            log.warning("adapter.probes_left_out", name=served.name, reason=left_out)
        probes = [p for _, p in known]
        answers = await asyncio.gather(*(self.enricher.label(task, p.title, p.text, served.name) for task, p in known))
        agreed = sum(answer.label == probe.answer for answer, probe in zip(answers, probes, strict=True))
        telling = [(answer.label, probe) for answer, probe in zip(answers, probes, strict=True) if probe.answer != probe.base_answer]
        if telling and sum(label == probe.base_answer for label, probe in telling) > len(telling) / 2:
            raise PermanentError(f"the engine answers as the base weights do under the name {served.name}: the adapter is not applied")
        if agreed < AGREE * len(probes):
            raise PermanentError(f"only {agreed} of {len(probes)} known answers came back from the engine (at least {AGREE:.0%} must)")
        return Asked(agreed, len(probes), left_out)

    async def _retire(self) -> None:
        """Unload all but the live and the previous adapter, once nobody uses them any more."""
        keep = {self.live, self.previous}
        for served in [s for s in self.loaded if s not in keep]:
            async with self._idle:
                await self._idle.wait_for(partial(self._unused, served.name))
            async with self._change:
                if served in (self.live, self.previous):
                    continue  # it came back while we waited
                self.loaded.remove(served)
                try:
                    await self.engine.unload(served.name)
                except (TransientError, PermanentError) as error:
                    log.warning("adapter.not_unloaded", name=served.name, reason=str(error))

    def _unused(self, name: str) -> bool:
        return self._in_flight[name] == 0

    def _report(self, wanted: ModelPublished, served: Served, outcome: str, reason: str, asked: Asked, began: float) -> ModelActivated:
        return ModelActivated(
            replica=self.replica,
            role=wanted.role,
            digest=wanted.digest,
            name=served.name,
            outcome=outcome,
            reason=reason,
            serving=self.live.digest,
            probes_agreed=asked.agreed,
            probes=asked.of,
            seconds=round(time.monotonic() - began, 3),
            at=self.clock(),
        )


def _task_of(probe: Probe) -> Task | None:
    """The task that it is an answer to; None where this process does not have the label set, the task, or the label."""
    try:
        labels = label_set(probe.collection)
    except ValueError:
        return None  # no name of a collection
    task = labels.tasks.get(probe.task) if labels.collection == probe.collection else None
    return task if task and probe.answer in task.labels else None


def check_adapter(folder: Path, max_rank: int) -> None:
    """Raises PermanentError for an adapter the engine must not be given: a rank above its limit, or a weight that is not a finite number."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        config = json.loads((folder / "adapter_config.json").read_text())
        rank = int(config["r"])
        weights = load_file(folder / "adapter_model.safetensors")
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise PermanentError(f"it is no PEFT adapter: {one_line(error)}") from error
    if rank > max_rank:
        raise PermanentError(f"its rank is {rank}; the engine takes at most {max_rank}")
    for name, weight in weights.items():
        if "lora_A" in name and len(weight) > max_rank:
            raise PermanentError(f"weight {name} has rank {len(weight)}, whatever its config says; the engine takes at most {max_rank}")
        if not np.isfinite(weight.astype(np.float32)).all():
            raise PermanentError(f"weight {name} holds values that are not finite numbers")
