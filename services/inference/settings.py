"""Settings of the inference service, from the environment."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """FEEDLOOP_ENGINE_URL and the rest; see docs/operations.md for the table."""

    http_port: int = Field(default=8082, ge=0, le=65535)
    engine_url: str = Field(default="http://127.0.0.1:8000", description="an OpenAI-compatible engine, reachable by this service alone")
    engine_kind: Literal["vllm", "openai"] = Field(
        default="vllm", description="openai: no adapters, no constrained choice beyond JSON schema (Ollama)"
    )
    engine_model: str = Field(default="base", description="the name under which the engine serves the base weights")
    engine_key: str = Field(default="", description="bearer token of the engine, where it asks for one")
    model: str = Field(default="deploy/model", description="the base model: a folder or a hub id; adapters must have been trained on it")
    models_cache: Path = Field(default=Path("build/models"), description="where adapters are fetched to; the engine must see the same path")
    at_once: int = Field(default=8, ge=1, description="documents enriched side by side")
    timeout_s: float = Field(default=60.0, gt=0, description="deadline of one request to the engine")
    document_s: float = Field(default=0.0, ge=0, description="deadline of all requests for one document; 0: three times that of one")
    label_meanings: bool = Field(default=False, description="put each label's meaning into the prompt: for models that can read it")
    free_summary: bool = Field(default=False, description="let the model write the summary instead of choosing a sentence")
    max_rank: int = Field(default=16, description="the engine's --max-lora-rank")
    check_every_s: float = Field(default=15.0, description="how often to ask the engine whether it still has the live adapter")

    @model_validator(mode="after")
    def _one_request_fits_into_a_document(self) -> "Settings":
        self.document_s = self.document_s or 3 * self.timeout_s
        if self.document_s < self.timeout_s:
            raise ValueError(
                f"FEEDLOOP_DOCUMENT_S is {self.document_s:g} and FEEDLOOP_TIMEOUT_S {self.timeout_s:g}: a request would never come to its own deadline, "
                "by which an engine that hangs is found out"
            )
        return self
