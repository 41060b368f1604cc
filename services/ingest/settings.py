"""The environment of ingest. What is polled stands in a file of the user's (feedloop.yaml), not here."""

from pathlib import Path

from pydantic import Field

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """FEEDLOOP_CONFIG names the file with the sources; see docs/operations.md for the table."""

    http_port: int = Field(default=8081, ge=0, le=65535)
    config: Path = Field(default=Path("feedloop.yaml"), description="the file that lists the sources")
    config_check_s: float = Field(default=2.0, gt=0, description="seconds between looks at the file for a change")
    feeds_at_once: int = Field(default=100, ge=1, description="feeds that are fetched and read side by side")
    host_connections: int = Field(default=4, ge=1, description="connections at once to one server (host and port)")
    host_delay_s: float = Field(default=0.5, ge=0, description="least seconds between two requests to one server")
