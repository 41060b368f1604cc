"""Settings of the feedback service, from the environment."""

from pathlib import Path

from pydantic import Field, field_validator, model_validator

from services.feedback.care import HELP
from shared.settings import ServiceSettings

LONGEST_HELP = 4000  # characters


class Settings(ServiceSettings):
    """FEEDLOOP_RETRIEVER_URL and the rest; see docs/operations.md for the table."""

    retriever_url: str = "http://127.0.0.1:8084"
    trainer_url: str = "http://127.0.0.1:8086"
    ingest_url: str = "http://127.0.0.1:8081"
    keep_items: int = Field(default=20_000, ge=100, description="documents held in memory for the page, the newest first")
    help_text: str = Field(default="", description="shown with every item whose verdict carries a safety label; empty: the words of care.py")
    help_text_file: Path | None = Field(default=None, description="a UTF-8 file that holds the help text; read at the start")

    @field_validator("help_text_file", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return value or None

    @model_validator(mode="after")
    def _help_can_be_read(self) -> "Settings":
        self.help()
        return self

    def help(self) -> str:
        """The help text, plain, paragraphs apart by an empty line. Raises ValueError naming the setting, what is wrong and what to do."""
        if self.help_text_file is None:
            text, name = self.help_text, "FEEDLOOP_HELP_TEXT"
        elif self.help_text.strip():
            raise ValueError("FEEDLOOP_HELP_TEXT and FEEDLOOP_HELP_TEXT_FILE are both set: which of the two texts is meant? Set one")
        else:
            name = f"FEEDLOOP_HELP_TEXT_FILE {self.help_text_file}"
            try:
                text = self.help_text_file.read_text(encoding="utf-8-sig")
            except (OSError, UnicodeDecodeError) as error:
                raise ValueError(f"{name} can't be read as UTF-8 text: {error}") from error
            if not text.strip():
                raise ValueError(f"{name} is empty: write the help text into it, or unset the setting for the text that ships")
        if len(text) > LONGEST_HELP:
            raise ValueError(f"{name} has {len(text)} characters; at most {LONGEST_HELP} are shown with an item: shorten it")
        return text.strip() or HELP
