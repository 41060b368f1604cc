"""The six services on a Kafka in memory, wired by their own app.py, with a feed, a mailbox and an engine beside them."""

import asyncio
import json
import os
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from email.message import EmailMessage
from pathlib import Path
from typing import Any, TypeVar

import httpx
import numpy as np
from aiohttp import web
from safetensors.numpy import save_file

from services.classifier import app as classifier
from services.classifier.settings import Settings as ClassifierSettings
from services.feedback import app as feedback
from services.feedback.settings import Settings as FeedbackSettings
from services.inference import app as inference
from services.inference.settings import Settings as InferenceSettings
from services.ingest import app as ingest
from services.ingest.settings import Settings as IngestSettings
from services.retriever import app as retriever
from services.retriever.settings import Settings as RetrieverSettings
from services.trainer import app as trainer
from services.trainer.run import Progress, Runs
from services.trainer.settings import Settings as TrainerSettings
from shared.bus import Bus
from shared.clock import utc_now
from shared.envelope import header, parse
from shared.events import DocumentClassified, Event, ModelPublished, Probe, TrainingProgressed
from shared.objects import ObjectStore
from shared.registry import Registry, base_id
from shared.service import Service
from shared.topics import topic_of
from tests.loop.engine import Engine
from tests.loop.memory_kafka import MemoryKafka
from tests.loop.running import running

E = TypeVar("E", bound=Event)
ENCODER = Path("build/encoder")
SECURITY = 4  # the place of the label among those of the task category: what an adapter of that number answers
TRAIN_AFTER = 6
NOWHERE = "http://127.0.0.1:9"

FEED = """<?xml version="1.0" encoding="utf-8"?>
<rss version="2.0"><channel><title>Coast Wire</title><link>https://wire.example/</link><description>d</description>
<item><guid>urn:wire:1</guid><title>Harbourgate patches a login flaw</title><link>https://wire.example/1</link>
<pubDate>Mon, 02 Nov 2026 08:30:00 GMT</pubDate>
<description>CVE-2026-10441 is being actively exploited, Harbourgate says. Administrators should update to version 6.2.4 before Friday.</description></item>
<item><guid>urn:wire:2</guid><title>Northmark holds its rate</title><link>https://wire.example/2</link>
<pubDate>Mon, 02 Nov 2026 09:00:00 GMT</pubDate>
<description>The key interest rate of Northmark stays at 4.25 percent. Governor Edda Rask expects cheaper borrowing in spring.</description></item>
</channel></rss>"""


class PreparedRuns(Runs):
    """Runs, but for the training itself: the subprocess's part is a judgement that the test has prepared."""

    prepared: Callable[[], dict[str, Any]]
    started: list[list[str]]

    async def _watch(self, argv: list[str], run_id: str, progress: Progress, limit_s: float) -> None:
        if "services.trainer.runs.train_adapter" not in argv:  # a head takes a few seconds: nothing needs preparing
            return await super()._watch(argv, run_id, progress, limit_s)
        type(self).started.append(argv)
        await progress(TrainingProgressed(run_id=run_id, phase="training", step=1, steps=1, loss=0.5, at=self.clock()))
        out = Path(argv[argv.index("--out") + 1])
        assert (out / "snapshot.json").exists()
        (out / "judgement.json").write_text(json.dumps(type(self).prepared()))


class World:
    """Start services by name, look at the topics, act as the person at the page."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.kafka, self.engine = folder, MemoryKafka(), Engine()
        self.clients: dict[str, httpx.AsyncClient] = {}
        self.services: dict[str, Service] = {}
        self._stacks: dict[str, AsyncExitStack] = {}
        self.objects = str(folder / "objects")
        # no head: rules and the language model decide, so that verdicts here do not hang on weights; a test may name both
        self.encoder = self.heads = folder / "absent"
        self.labels: Path | None = None  # a user's own label sets, for the programs that the trainer starts; here `use` has taken them
        self.model = folder / "model"
        self.model.mkdir()
        (self.model / "config.json").write_text("{}")
        (self.model / "model.safetensors").write_bytes(b"base weights")
        self.base = base_id(str(self.model))
        self.registry = Registry(ObjectStore(self.objects), folder / "cache")

    async def open(self) -> None:
        app = web.Application()
        app.add_routes([*self.engine.routes(), web.get("/feed.xml", self._feed)])
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def close(self) -> None:
        self.engine.hold = ""
        for name in list(self._stacks):
            await self.stop(name)
        await self.kafka.stop()
        await self._runner.cleanup()

    async def _feed(self, _: web.Request) -> web.Response:
        return web.Response(text=FEED, content_type="application/rss+xml")

    async def start(self, *names: str) -> None:
        for name in names:
            service: Service = getattr(self, f"_{name}")()
            self._stacks[name] = AsyncExitStack()
            self.services[name] = service
            self.clients[name] = await self._stacks[name].enter_async_context(running(service))
        await asyncio.gather(*(self.services[name].caught_up() for name in names))

    async def stop(self, name: str) -> None:
        await self._stacks.pop(name).aclose()

    def _ingest(self) -> Service:
        mail = EmailMessage()
        mail["From"], mail["Subject"], mail["Message-ID"] = "Ana Rivera <ana@letter.example>", "Comet returns", "<comet-1@letter.example>"
        mail["Date"] = "Mon, 02 Nov 2026 07:00:00 +0000"
        mail.set_content("Astronomers on Mount Ferro photographed comet Halvorsen on Saturday. It may be seen with binoculars in the evening sky.\n")
        box = self.folder / "letters.mbox"
        box.write_bytes(b"From ana@letter.example Mon Nov  2 07:00:00 2026\n" + mail.as_bytes() + b"\n")
        os.utime(box, (time.time() - 60, time.time() - 60))  # it has settled
        config = self.folder / "feedloop.yaml"
        config.write_text(
            f"sources:\n- {{kind: feed, id: wire, url: '{self.url}/feed.xml'}}\n- {{kind: mbox, id: letters, path: letters.mbox}}\n"
            "allow_hosts: [127.0.0.0/8]\n"
        )
        return ingest.build(IngestSettings(config=config, objects=self.objects))

    def _inference(self) -> Service:
        cache = self.folder / "models"
        return inference.build(
            InferenceSettings(engine_url=self.url, model=str(self.model), objects=self.objects, models_cache=cache, check_every_s=0.05)
        )

    def _classifier(self) -> Service:
        return classifier.build(ClassifierSettings(objects=self.objects, encoder=self.encoder, head=self.heads, models_cache=self.folder / "heads"))

    def _retriever(self) -> Service:
        return retriever.build(RetrieverSettings(objects=self.objects, encoder=ENCODER, QDRANT_PATH=self.folder / "qdrant"))

    def _feedback(self) -> Service:
        return feedback.build(
            FeedbackSettings(objects=self.objects, retriever_url=NOWHERE, trainer_url=NOWHERE, ingest_url=NOWHERE, classifier_url=NOWHERE)
        )

    def _trainer(self) -> Service:
        return trainer.build(
            TrainerSettings(
                model=str(self.model),
                objects=self.objects,
                models_cache=self.folder / "trained",
                work=self.folder / "runs",
                encoder=self.encoder,
                head=self.heads,
                labels=self.labels,
                train_after=TRAIN_AFTER,
                train_wait_s=0.05,
            )
        )

    def events(self, kind: type[E]) -> list[E]:
        return [parse(kind, record) for record in self.kafka.records(topic_of(kind).name)]

    def traces(self, kind: type[Event], key: str) -> set[str]:
        """The correlation ids of the events on one entity."""
        return {header(r, "traceparent").split("-")[1] for r in self.kafka.records(topic_of(kind).name) if r.key == key.encode()}

    async def until(self, there: Callable[[], Any], seconds: float = 20) -> Any:
        """What `there` returns, once it is something. Raises AssertionError with the dead letters after `seconds`."""
        deadline = time.monotonic() + seconds
        while not (found := there()):
            assert time.monotonic() < deadline, f"it did not come about; dead letters: {self.kafka.dead()}"
            await asyncio.sleep(0.01)
        return found

    async def item(self, document: str) -> DocumentClassified:
        """A document as the page shows it."""
        shown = (await self.clients["feedback"].get(f"/api/items/{document}")).json()
        return DocumentClassified.model_validate(shown)

    async def say(self, **said: Any) -> str:
        """Give feedback as the page does; its id."""
        answer = await self.clients["feedback"].post("/api/feedback", json=said)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    async def push(self, text: str, title: str = "Pushed") -> str:
        answer = await self.clients["ingest"].post("/api/documents", json={"title": title, "text": text})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    async def live(self) -> dict[str, Any]:
        return dict((await self.clients["inference"].get("/api/adapters")).json())

    async def publish(self, *events: Event) -> None:
        """As some other process would."""
        bus = Bus("memory", "outside")
        await bus.publish(*events)

    def adapter(self, picks: int, *, rank: int = 8, rows: int | None = None, fill: float | None = None) -> Path:
        """A PEFT folder; the engine with it answers with the option numbered `picks`. `fill` goes into a second weight."""
        folder = self.folder / f"adapter-{picks}-{rank}-{rows}-{fill}"
        folder.mkdir(exist_ok=True)
        (folder / "adapter_config.json").write_text(json.dumps({"r": rank, "peft_type": "LORA"}))
        a = np.zeros((rows or rank, 4), dtype=np.float32)
        a[0, 0] = picks
        b = np.full((4, rank), 0.0 if fill is None else fill, dtype=np.float32)
        save_file({"model.q_proj.lora_A.weight": a, "model.q_proj.lora_B.weight": b}, folder / "adapter_model.safetensors")
        return folder

    def published(self, folder: Path, answer: str = "security", probes: Sequence[Probe] | None = None, **given: Any) -> ModelPublished:
        """Put an adapter into the registry, and the event that asks for it. `answer` is what its probes expect."""
        manifest = self.registry.publish(folder, "adapter", self.base)
        usual: dict[str, Any] = {"role": "adapter", "digest": manifest.digest, "base": self.base, "published_at": utc_now()}
        asked = [Probe(task="category", title=f"T{n}", text="Some text.", answer=answer, base_answer="politics") for n in range(4)]
        return ModelPublished(**(usual | {"probes": asked if probes is None else list(probes)} | given))

    def judgement(self, folder: Path, right: bool = True) -> dict[str, Any]:
        """What a run hands to the gate: a candidate that is right of fourteen where the incumbent is not, or the other way round."""
        gold = ["security", "economy"] * 7
        rows = [{"gold": label, "incumbent": "politics", "candidate": label if right else "sport", "task": "category"} for label in gold]
        probes = [{"task": "category", "title": "T", "text": "Some text.", "answer": "security", "base_answer": "politics"}]
        return {
            "held_out": rows,
            "untouched": [["neutral", "neutral"]] * 10,
            "training_examples": 24,
            "finite": True,
            "probes": probes,
            "adapter": str(folder),
        }
