"""Settings that every service shares. A service's own settings.py adds to them and is the only place that reads its environment."""

from pathlib import Path

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

LOOPBACK = ("127.0.0.1", "localhost", "::1")


class ServiceSettings(BaseSettings):
    """Read from the environment: KAFKA_* and FEEDLOOP_*. Raises pydantic.ValidationError naming the variable that is wrong."""

    model_config = SettingsConfigDict(env_prefix="FEEDLOOP_", extra="ignore", populate_by_name=True)

    kafka_bootstrap_servers: str = Field(default="127.0.0.1:9092", validation_alias="KAFKA_BOOTSTRAP_SERVERS")
    objects: str = Field(default="build/objects", description="object store: a folder, or an fsspec address such as s3://bucket/prefix")
    http_host: str = "127.0.0.1"
    http_port: int = Field(default=8080, ge=0, le=65535)
    token: str = Field(default="", description="asked of every caller of the API; needed where http_host is not loopback")
    replica: str = Field(default="0", description="ordinal of this replica: with the service's name, its identity to Kafka")
    log_level: str = "info"
    labels: Path | None = Field(default=None, description="your own label sets: a folder of files, or a YAML file with `label_sets:`")

    @model_validator(mode="after")
    def _open_doors_need_a_lock(self) -> "ServiceSettings":
        if self.http_host not in LOOPBACK and not self.token:
            raise ValueError(f"FEEDLOOP_HTTP_HOST is {self.http_host}, which others can reach: set FEEDLOOP_TOKEN, or listen on 127.0.0.1")
        return self
