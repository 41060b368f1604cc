"""Settings of the feedback service, from the environment."""

from pydantic import Field

from shared.care import CareSettings


class Settings(CareSettings):
    """FEEDLOOP_RETRIEVER_URL and the rest; see docs/operations.md for the table."""

    retriever_url: str = "http://127.0.0.1:8084"
    trainer_url: str = "http://127.0.0.1:8086"
    ingest_url: str = "http://127.0.0.1:8081"
    classifier_url: str = "http://127.0.0.1:8083"
    keep_items: int = Field(default=20_000, ge=100, description="documents held in memory for the page, the newest first")
