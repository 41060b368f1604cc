"""Feedback made by hand, a bus that keeps what it is given, and a tiny base model with random weights."""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from services.trainer.handlers import Handlers
from services.trainer.run import Runs
from services.trainer.settings import Settings
from shared.events import Event, FeedbackGiven, ModelPublished, TrainingFinished, TrainingRequested
from shared.objects import ObjectStore
from shared.prompts import label_messages
from shared.registry import Registry
from shared.taxonomy import label_set

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
Say = Callable[..., FeedbackGiven]


def _said(id: str, title: str = "", correct: str = "economy", *, minute: int = 0, **more: Any) -> FeedbackGiven:
    given = {"task": "category", "kind": "correction", "text": f"{title} and more of it", **more}
    return FeedbackGiven(id=id, document_id=f"doc-{id}", title=title, correct=correct, given_at=NOON + timedelta(minutes=minute), **given)


@pytest.fixture
def said() -> Say:
    """said(id, title, correct, minute=…): one correction, a minute's place in time after noon."""
    return _said


class RecordingBus:
    """As shared.bus.Bus to handlers: what is published is kept, and told to the projections at once. `broken` is raised in place of publishing."""

    def __init__(self) -> None:
        self.published: list[Event] = []
        self.listeners: dict[type[Event], Callable[[Any], Any]] = {}
        self.broken: Exception | None = None
        self.now = NOON

    def clock(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now

    async def caught_up(self) -> None:
        await asyncio.sleep(0)

    async def publish(self, *events: Event) -> None:
        if self.broken:
            raise self.broken
        for event in events:
            self.published.append(event)
            listener = self.listeners.get(type(event))
            if listener and (result := listener(event)) is not None:
                await result

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.published if isinstance(event, kind)]


@pytest.fixture
def bus() -> RecordingBus:
    return RecordingBus()


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two layers with random weights, and a byte-level BPE tokenizer with a chat template."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    special = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
    tasks = label_set().asked_of("llm")
    spoken = [message["content"] for task in tasks for message in label_messages(task, "title", "text")] * 3
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(spoken, trainers.BpeTrainer(vocab_size=700, special_tokens=special, initial_alphabet=alphabet, show_progress=False))
    template = (
        "{%- for m in messages -%}{{ '<|' + m['role'] + '|>\\n' + m['content'] + '<|end|>\\n' }}{%- endfor -%}"
        "{%- if add_generation_prompt -%}{{ '<|assistant|>\\n' }}{%- endif -%}"
    )
    folder = tmp_path_factory.mktemp("base")
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|pad|>", chat_template=template)
    fast.save_pretrained(folder)
    torch.set_num_threads(1)  # so small a model only waits for more
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=32,
        initializer_range=0.2,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=1024,
        eos_token_id=1,
        pad_token_id=0,
        bos_token_id=None,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@dataclass
class Program:
    """What the trainer starts in place of services.trainer.runs.train_adapter: it writes the judgement and the weights it is told to."""

    path: Path
    calls: Path

    def does(
        self, *, judgement: dict[str, Any] | None = None, weights: bytes = b"", out: str = "", err: str = "", code: int = 0, wait: float = 0
    ) -> None:
        self.path.write_text(
            f"#!{sys.executable}\n"
            "import json, pathlib, sys, time\n"
            f"open({str(self.calls)!r}, 'a').write(' '.join(sys.argv[1:]) + '\\n')\n"
            "folder = pathlib.Path(sys.argv[sys.argv.index('--out') + 1])\n"
            f"print({out!r}, end='', flush=True); print({err!r}, end='', file=sys.stderr, flush=True); time.sleep({wait})\n"
            f"judgement = {judgement!r}\n"
            "if judgement is not None:\n"
            "    adapter = folder / 'adapter'; adapter.mkdir(exist_ok=True)\n"
            f"    (adapter / 'adapter_model.safetensors').write_bytes({weights!r})\n"
            "    (folder / 'judgement.json').write_text(json.dumps({**judgement, 'adapter': str(adapter)}))\n"
            f"sys.exit({code})\n"
        )
        self.path.chmod(0o755)

    def starts(self) -> list[str]:
        return self.calls.read_text().splitlines() if self.calls.exists() else []


def judged(*, better: bool = True) -> dict[str, Any]:
    labels = ("security", "economy", "science", "sport")
    held_out = [
        {"gold": labels[i % 4], "incumbent": "world", "candidate": labels[i % 4] if better else "world", "task": "category"} for i in range(16)
    ]
    probe = {"task": "category", "title": "t", "text": "x", "answer": "economy", "base_answer": "world"}
    return {"finite": True, "training_examples": 40, "held_out": held_out, "untouched": [["low", "low"]], "probes": [probe]}


@pytest.fixture
def judgement() -> Callable[..., dict[str, Any]]:
    """judgement(better=…): what a run writes for the gate."""
    return judged


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    made = Program(tmp_path / "program", tmp_path / "calls")
    monkeypatch.setattr("services.trainer.run.sys", SimpleNamespace(executable=str(made.path)))
    made.does(judgement=judged())
    return made


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    folders = {"objects": str(tmp_path / "objects"), "models_cache": tmp_path / "models", "work": tmp_path / "work"}
    return Settings(**folders, model="tiny", train_after=3, train_wait_s=0.05, run_limit_s=60)


@pytest.fixture
def store(settings: Settings) -> ObjectStore:
    return ObjectStore(settings.objects)


@pytest.fixture
def runs(settings: Settings, store: ObjectStore, bus: RecordingBus) -> Runs:
    return Runs(settings, store, Registry(store, settings.models_cache), "tiny-base", bus.clock)


@pytest.fixture
def handlers(settings: Settings, store: ObjectStore, runs: Runs, bus: RecordingBus) -> Handlers:
    """Wired as in services.trainer.app."""
    made = Handlers(settings, bus, store, runs)  # type: ignore[arg-type]
    bus.listeners = {
        FeedbackGiven: made.on_feedback_given,
        ModelPublished: made.on_model_published,
        TrainingFinished: made.on_training_finished,
        TrainingRequested: made.on_training_requested_seen,
    }
    return made
