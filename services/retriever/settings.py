"""Settings of the retriever; the only place that reads its environment."""

from pathlib import Path

from pydantic import Field

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """Beside the shared ones: QDRANT_* for the index, FEEDLOOP_ENCODER, and FEEDLOOP_INFERENCE_URL for the LLM that picks answers."""

    http_port: int = Field(default=8084, ge=0, le=65535)
    qdrant_url: str = Field(default="", validation_alias="QDRANT_URL", description="a Qdrant server; empty: the embedded engine at QDRANT_PATH")
    qdrant_path: Path = Field(default=Path("build/qdrant"), validation_alias="QDRANT_PATH", description="folder of the embedded engine, one process")
    qdrant_api_key: str = Field(default="", validation_alias="QDRANT_API_KEY")
    encoder: Path = Field(default=Path("build/encoder"), description="folder of the exported sentence encoder")
    encoder_threads: int = Field(default=1, ge=1, le=64)
    inference_url: str = Field(default="", description="inference's gateway; empty: answers are the best sentence as it stands, no LLM")
