"""Settings of the trainer, from the environment."""

from pathlib import Path

from pydantic import Field

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """FEEDLOOP_MODEL and the rest; see docs/operations.md for the table."""

    http_port: int = Field(default=8086, ge=0, le=65535)
    model: str = Field(default="deploy/model", description="the base model to train adapters on: a folder or a hub id; the one the engine serves")
    models_cache: Path = Field(default=Path("build/models"), description="where adapters and heads are fetched to")
    encoder: Path = Field(default=Path("build/encoder"), description="folder of the sentence encoder, to judge neural heads that are offered")
    head: Path = Field(default=Path("deploy/model/heads"), description="the heads that come with Feedloop, a folder each, or one")
    work: Path = Field(default=Path("build/runs"), description="scratch folder of the runs")
    train_after: int = Field(default=40, ge=1, description="corrections not yet trained on that start a run by themselves")
    train_wait_s: float = Field(default=20.0, ge=0, description="how long it must have been quiet before such a run starts")
    held_out: float = Field(default=0.25, gt=0, lt=1, description="share of the stories that a run never trains on and the gate judges by")
    least_held_out: int = Field(default=12, ge=1, description="fewer held-out examples than this: the gate refuses")
    epochs: int = Field(default=8, ge=1)
    learning_rate: float = Field(
        default=1e-3, gt=0, description="at its peak, for the bundled model; for one of billions of weights take 1e-4 or less"
    )
    rank: int = Field(default=16, ge=1)
    threads: int = Field(default=1, ge=1, description="of a training run; on two shared cores two threads took four times the processor of one")
    run_limit_s: float = Field(default=3000.0, gt=0, description="a run that takes longer is ended and called failed")
