"""One run: a subprocess that trains and gathers answers, the gate that judges them, the registry that takes what passes.

The result is written to the object store before any event is: after a kill -9 the request comes again, finds the result and only tells it again.
"""

import asyncio
import hashlib
import json
import sys
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from services.trainer import heads
from services.trainer.dataset import NEWS, Snapshot
from services.trainer.gate import Evidence, HeadEvidence, Judged, Kept, judge, judge_head
from services.trainer.settings import Settings
from shared.child_process import die_with_parent
from shared.clock import Clock
from shared.encoder import Encoder
from shared.errors import PermanentError
from shared.events import (
    BASE_DIGEST,
    GateCheck,
    GateReport,
    ModelPublished,
    Probe,
    TrainingFinished,
    TrainingProgressed,
    TrainingRequested,
    digest_of,
)
from shared.heads import CARD, GRAPH, collection_of, is_head, second_of
from shared.logs import logger
from shared.objects import ObjectStore
from shared.registry import Registry
from shared.taxonomy import label_set

log = logger(__name__)
ADAPTER = "adapter"
OFFERED = "candidate"  # the registry's role of adapters and heads that are offered ready-made and not yet judged
HEAD_LIMIT_S = 600.0  # a head takes seconds, and the adapters wait meanwhile
PROGRESS_EVERY_S = 1.0
LAST_LINES = 12
Progress = Callable[[TrainingProgressed], Awaitable[None]]


class Result(BaseModel):
    """What came of a run. `published` is there where the gate let it pass."""

    model_config = ConfigDict(frozen=True)

    finished: TrainingFinished
    published: ModelPublished | None = None


class Runs:
    """Carries out training requests, one at a time."""

    def __init__(self, settings: Settings, store: ObjectStore, registry: Registry, base: str, clock: Clock) -> None:
        self.settings, self.store, self.registry, self.base, self.clock = settings, store, registry, base, clock

    def offered_as(self, digest: str) -> str:
        """The role that a candidate is for: the adapter's, or that of its collection's head. Blocking. Raises PermanentError where it is not there."""
        if CARD not in self.registry.manifest(OFFERED, digest).files:
            return ADAPTER
        return heads.read_card(self.registry.fetch(OFFERED, digest)).role

    def ground(self, role: str) -> str:
        """What else than corrections and models a verdict hangs on: the base, or for a head the encoder, the label set and the shipped head. Where it
        changes, the same offer is another question. Blocking. Raises ConfigError where there is no encoder."""
        if not is_head(role):
            return self.base
        collection = collection_of(role)
        shipped = heads.shipped(self.settings.head, collection)
        folders = [shipped, *([second] if (second := second_of(shipped)) else [])] if shipped else []
        files = [folder / name for folder in folders for name in (CARD, GRAPH)]
        parts = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.is_file()]  # of a damaged second head what there is
        return digest_of(Encoder(self.settings.encoder).digest, label_set(collection).model_dump_json(), *parts)

    def left_to_the_loop(self, collection: str) -> bool:
        """Whether the loop trains the head of a collection: not where a head that comes with Feedloop speaks. Where a user's own label set stands in for
        the shipped one, that head says nothing of it. Blocking."""
        folder = heads.shipped(self.settings.head, collection)
        if folder is None:
            return True
        card = heads.read_card(folder)
        try:
            card.check(card.encoder, label_set(collection))  # on another encoder it only waits for that: it is no reason to replace it
        except PermanentError:
            return True
        return False

    def known(self, run_id: str) -> Result | None:
        """The result of a run that has been carried out."""
        name = f"runs/{run_id}/result.json"
        return Result.model_validate_json(self.store.read(name)) if self.store.exists(name) else None

    async def carry_out(self, request: TrainingRequested, incumbent: str, progress: Progress) -> Result:
        """Train (or take what is offered), judge, publish or refuse. `incumbent` is the digest that is live. Never raises for a run that goes wrong:
        that is a result too, with its reason."""
        began = time.monotonic()
        try:
            judgement, snapshot = await self._subprocess(request, incumbent, progress)
            await progress(TrainingProgressed(run_id=request.run_id, phase="publishing", at=self.clock()))
            report = self._judge(judgement, snapshot, request, incumbent)
            result = self._publish(request, snapshot, report, judgement, incumbent) if report.passed else self._refused(request, report)
        except (PermanentError, ValidationError, OSError, ValueError, KeyError, TypeError) as error:
            log.error("run.failed", run_id=request.run_id, reason=str(error))
            result = Result(finished=self._finished(request, "failed", reason=str(error)[:600]))
        finished = result.finished.model_copy(update={"seconds": round(time.monotonic() - began, 1)})
        result = result.model_copy(update={"finished": finished})
        if finished.outcome != "failed":  # a failed run may be tried again; a judged one is final
            await asyncio.to_thread(self.store.write, f"runs/{request.run_id}/result.json", result.model_dump_json(indent=1).encode())
        return result

    async def _subprocess(self, request: TrainingRequested, incumbent: str, progress: Progress) -> tuple[dict[str, Any], Snapshot]:
        if request.manifest is None:
            raise PermanentError("the request names no dataset")
        snapshot = Snapshot.model_validate_json(await asyncio.to_thread(self.store.get, request.manifest))
        out = self.settings.work / request.run_id
        out.mkdir(parents=True, exist_ok=True)
        (out / "snapshot.json").write_text(snapshot.model_dump_json())
        argv = await asyncio.to_thread(self._argv, request, incumbent)
        argv = [sys.executable, *argv, "--snapshot", str(out / "snapshot.json"), "--out", str(out), "--threads", str(self.settings.threads)]
        limit_s = min(HEAD_LIMIT_S, self.settings.run_limit_s) if is_head(request.role) else self.settings.run_limit_s
        await self._watch(argv, request.run_id, progress, limit_s)
        return json.loads((out / "judgement.json").read_text()), snapshot

    def _argv(self, request: TrainingRequested, incumbent: str) -> list[str]:
        """The program that carries the request out, and what it is to read. Blocking: fetches models."""
        if is_head(request.role):
            program = "judge_head" if request.candidate_uri else "train_own_head"
            argv = ["-m", f"services.trainer.runs.{program}", "--encoder", str(self.settings.encoder)]
        else:
            argv = ["-m", "services.trainer.runs.train_adapter", "--base", self.settings.model]
        argv += ["--labels", str(self.settings.labels)] if self.settings.labels else []
        live: Path | None = None
        if incumbent != BASE_DIGEST:
            live = self.registry.fetch(request.role, incumbent)
        elif is_head(request.role):
            live = heads.shipped(self.settings.head, collection_of(request.role))
        argv += ["--incumbent", str(live)] if live else []
        if request.candidate_uri:
            argv += ["--candidate", str(self.registry.fetch(OFFERED, request.candidate_uri))]
        return argv

    async def _watch(self, argv: list[str], run_id: str, progress: Progress, limit_s: float) -> None:
        """Start the run and pass its progress on. Raises PermanentError with its last words where it fails or takes too long."""
        process = await asyncio.create_subprocess_exec(
            *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, preexec_fn=die_with_parent(), limit=2**20
        )
        assert process.stdout and process.stderr
        last_words: deque[str] = deque(maxlen=LAST_LINES)

        async def listen() -> None:
            told, phase = 0.0, ""
            async for line in process.stdout:  # type: ignore[union-attr]
                told_now = json.loads(line)
                if told_now["phase"] != phase or time.monotonic() - told >= PROGRESS_EVERY_S or told_now["step"] == told_now["steps"]:
                    told, phase = time.monotonic(), told_now["phase"]
                    await progress(TrainingProgressed(run_id=run_id, at=self.clock(), **told_now))

        async def overhear() -> None:
            async for line in process.stderr:  # type: ignore[union-attr]
                last_words.append(line.decode(errors="replace").rstrip())

        try:
            async with asyncio.timeout(limit_s):
                await asyncio.gather(listen(), overhear())
                code = await process.wait()
        except TimeoutError as error:
            raise PermanentError(f"the run took longer than {limit_s:.0f} s and was ended") from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if code:
            raise PermanentError(f"the run ended with {code}: {' | '.join(last_words)[-400:]}")

    def _judge(self, judgement: dict[str, Any], snapshot: Snapshot, request: TrainingRequested, incumbent: str) -> GateReport:
        collection = collection_of(request.role) if is_head(request.role) else NEWS
        held_out = [
            Judged(row["gold"], row["incumbent"], row["candidate"], row["task"], row.get("collection", collection)) for row in judgement["held_out"]
        ]
        if is_head(request.role):
            found = [GateCheck.model_validate(check) for check in judgement["checks"]]
            own, live = (
                {task: heads.Figures.model_validate(f) if f else None for task, f in judgement[part].items()} for part in ("figures", "live")
            )
            return judge_head(
                HeadEvidence(found, held_out, own, live, incumbent, judgement.get("training_examples", 0)), self.settings.least_held_out
            )
        evidence = Evidence(
            held_out=held_out,
            untouched=[Kept(*row) for row in judgement["untouched"]],
            training_examples=judgement["training_examples"],
            finite=judgement["finite"],
            offered=bool(request.candidate_uri),
            probes=len(judgement["probes"]),
            incumbent_digest=incumbent,
            taught={} if request.candidate_uri else Counter(example.collection for example in snapshot.part("train")),
        )
        return judge(evidence, self.settings.least_held_out)

    def _publish(self, request: TrainingRequested, snapshot: Snapshot, report: GateReport, judgement: dict[str, Any], incumbent: str) -> Result:
        facts = {"run_id": request.run_id, "report": report.model_dump(), "recipe": snapshot.recipe, "examples": len(snapshot.examples)}
        folder, base = (judgement["head"], judgement["base"]) if is_head(request.role) else (judgement["adapter"], self.base)
        manifest = self.registry.publish(Path(folder), request.role, base, facts)
        published = ModelPublished(
            role=request.role,
            digest=manifest.digest,
            uri=f"models/{request.role}/{manifest.digest}",
            base=base,
            run_id=request.run_id,
            report=report,
            probes=[Probe.model_validate(probe) for probe in judgement["probes"]],
            taught=[] if request.candidate_uri else sorted({example.collection for example in snapshot.part("train")}),
            previous=incumbent,
            reason=request.reason,
            published_at=self.clock(),
        )
        # kept beside the model: a rollback publishes this very record again
        self.store.write(f"published/{request.role}/{manifest.digest}.json", published.model_dump_json(indent=1).encode())
        return Result(published=published, finished=self._finished(request, "published", digest=manifest.digest, report=report))

    def _refused(self, request: TrainingRequested, report: GateReport) -> Result:
        return Result(finished=self._finished(request, "refused", reason=report.refused_because, report=report, digest=request.candidate_uri))

    def _finished(
        self,
        request: TrainingRequested,
        outcome: Literal["published", "refused", "failed"],
        *,
        reason: str = "",
        digest: str = "",
        report: GateReport | None = None,
    ) -> TrainingFinished:
        said = {"outcome": outcome, "reason": reason, "digest": digest, "report": report}
        return TrainingFinished(run_id=request.run_id, role=request.role, finished_at=self.clock(), **said)

    def record_of(self, role: str, digest: str) -> ModelPublished:
        """How a model was published. Raises PermanentError where it never was."""
        return ModelPublished.model_validate_json(self.store.read(f"published/{role}/{digest}.json"))
