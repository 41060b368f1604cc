"""Settings of the classifier, from the environment."""

from pathlib import Path

from pydantic import Field

from shared.care import CareSettings


class Settings(CareSettings):
    """FEEDLOOP_RULES and the rest; see docs/operations.md for the table."""

    http_port: int = Field(default=8083, ge=0, le=65535)
    rules: Path = Field(default=Path(__file__).parent / "rules", description="folder of the rule files; read again when one changes")
    drop_safety_rules: bool = Field(default=False, description="the folder of the rules may do without the safety rules that ship")
    encoder: Path = Field(default=Path("build/encoder"), description="folder of the sentence encoder")
    head: Path = Field(
        default=Path("deploy/model/heads"), description="the heads to begin with, a folder each, or one; published ones take their place"
    )
    head_second: bool = Field(
        default=True, description="a head that ships with a second, larger one asks it where it is in doubt: dearer, and right more often"
    )
    encoder_threads: int = Field(
        default=1, ge=1, le=64, description="batches that one call of the encoder or of a head reads side by side, a core each"
    )
    fusion: Path = Field(
        default=Path("deploy/model/fusion"), description="folder of the learned weights, <collection>.json; read again when one changes"
    )
    models_cache: Path = Field(default=Path("build/models"), description="where heads are fetched to")
    inference_url: str = Field(default="", description="where the language model is asked about texts that are no documents; empty: it is not")
    at_once: int = Field(default=4, ge=1, description="documents decided side by side")
    keep_documents: int = Field(default=5_000, ge=0, description="of the newest documents, so many follow at once when a copy of theirs is corrected")
