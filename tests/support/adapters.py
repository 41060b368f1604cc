"""Real adapters for the tests: one trained by the trainer's own run, and others made of it."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from deploy.local.environment import BUNDLED_MODEL
from services.trainer.dataset import snapshot
from shared.events import ModelPublished, Probe
from shared.registry import Registry, base_id
from tests.support.records import NOON, corrections
from tests.support.services import ROOT


@dataclass(frozen=True)
class Trained:
    """An adapter's folder and the answers that the run recorded for the engine to repeat."""

    folder: Path
    probes: list[Probe]


def train(work: Path, corrected: int = 48, epochs: int = 6) -> Trained:
    """A run on the sample's corrections, in a process of its own as in the trainer. Blocking, half a minute."""
    recipe = {"epochs": float(epochs), "learning_rate": 1e-3, "rank": 8.0}
    dataset = snapshot(corrections()[:corrected], role="adapter", base=base_id(str(BUNDLED_MODEL)), share=0.25, recipe=recipe)
    (work / "snapshot.json").write_text(dataset.model_dump_json())
    argv = [
        sys.executable,
        "-m",
        "services.trainer.runs.train_adapter",
        "--snapshot",
        str(work / "snapshot.json"),
        "--base",
        str(BUNDLED_MODEL),
        "--out",
        str(work),
    ]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=540)
    assert done.returncode == 0, done.stderr[-2000:]
    judgement = json.loads((work / "judgement.json").read_text())
    return Trained(work / "adapter", [Probe.model_validate(probe) for probe in judgement["probes"]])


def scaled(adapter: Path, into: Path, by: float) -> Path:
    """The same adapter with its update `by` times as strong; 0 leaves the base weights under an adapter's name."""
    from safetensors.numpy import load_file, save_file

    into.mkdir(parents=True)
    weights = load_file(adapter / "adapter_model.safetensors")
    save_file(
        {name: (weight * by).astype(weight.dtype) if "lora_B" in name else weight for name, weight in weights.items()},
        into / "adapter_model.safetensors",
    )
    (into / "adapter_config.json").write_bytes((adapter / "adapter_config.json").read_bytes())
    return into


def publish(registry: Registry, folder: Path, probes: list[Probe]) -> ModelPublished:
    """Put it into the registry, and say so as the trainer would."""
    base = base_id(str(BUNDLED_MODEL))
    manifest = registry.publish(folder, "adapter", base)
    return ModelPublished(role="adapter", digest=manifest.digest, base=base, run_id="tests", probes=probes, reason="a test", published_at=NOON)
