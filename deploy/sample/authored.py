"""What was written by hand: reads the YAML beside this module into items, corrections and questions."""

import re
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

HERE = Path(__file__).parent
FILES = {"desk": "desk.rss", "planet": "planet.atom", "wire": "wire.json", "newsletters": "newsletters.mbox"}
LINK = re.compile(r"\[([^\]]+)\]\s*\((https?://[^)\s]+)\)")


class Authored(BaseModel):
    """A value read from YAML; a misspelt field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Mail(Authored):
    """How a newsletter is encoded, and what surrounds its text."""

    charset: str = "utf-8"
    encoding: Literal["quoted-printable", "base64", "8bit"] = "quoted-printable"
    quoted: str = ""
    signature: str = ""


class Item(Authored):
    """One item. `text` may hold [anchor](address) links; `use` says what the demo does with it."""

    key: str
    title: str = ""
    text: str = ""
    author: str = ""
    published: datetime | None = None
    labels: dict[str, str] = {}
    via: str = ""
    list_: str = Field(default="", alias="list")
    use: Literal["correction", "heldout", "browse"] = "browse"
    incorrect: str = ""
    why: str = ""
    mail: Mail = Mail()
    # Only the hostile cases have these.
    case: str = ""
    file: str = ""
    expect: Literal["ingested", "quarantined"] = "ingested"
    then: str = ""
    same_story_as: str = ""

    @property
    def target(self) -> str:
        """The file that carries the item: desk.rss, planet.atom, wire.json, newsletters.mbox or a hostile one."""
        return self.file or FILES[self.via]

    @property
    def plain(self) -> str:
        """The text as a reader sees it, links reduced to their anchors."""
        return LINK.sub(r"\1", self.text)

    @property
    def when(self) -> datetime:
        """The date of publication. Raises ValueError for an item that has none."""
        if self.published is None:
            raise ValueError(f"sample item {self.key} has no `published`")
        return self.published


class Newsletter(Authored):
    """The sender of a newsletter and the line under each of its letters."""

    sender: str = Field(alias="from")
    id: str
    footer: str


class Extra(Authored):
    """A correction of a text that no feed carries."""

    title: str
    text: str
    correct: str
    incorrect: str
    why: str


class Question(Authored):
    """A question, the keys of the items that answer it, and the answer in short."""

    question: str
    keys: list[str]
    answer: str


def _read(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


@cache
def items() -> list[Item]:
    """The authored items of items/*.yaml, oldest first."""
    found = [Item.model_validate(entry) for path in sorted((HERE / "items").glob("*.yaml")) for entry in _read(path)]
    return sorted(found, key=lambda item: (item.when, item.key))


@cache
def hostile() -> list[Item]:
    """The hostile cases, in the order of the file."""
    return [Item.model_validate(entry) for entry in _read(HERE / "hostile.yaml")]


@cache
def newsletters() -> dict[str, Newsletter]:
    return {name: Newsletter.model_validate(entry) for name, entry in _read(HERE / "newsletters.yaml").items()}


@cache
def extras() -> list[Extra]:
    return [Extra.model_validate(entry) for entry in _read(HERE / "corrections.yaml")]


@cache
def questions() -> list[Question]:
    return [Question.model_validate(entry) for entry in _read(HERE / "questions.yaml")]
