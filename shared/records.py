"""The small values that events are made of, and the digest that all ids are made of. They are imported from shared.events, as the events are."""

import hashlib
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


def digest_of(*parts: str) -> str:
    """SHA-256 (hex) of the parts, length-prefixed so that ("ab", "c") and ("a", "bc") differ. All ids are made of it."""
    h = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        h.update(str(len(data)).encode() + b":" + data)
    return h.hexdigest()


class Record(BaseModel):
    """A value: frozen, and tolerant of fields that a newer writer adds."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Link(Record):
    url: str
    text: str = ""


class SourceRef(Record):
    """Where a document came from: `id` is stable (it keys the cursor), `title` is for people."""

    id: str
    kind: Literal["feed", "mail", "api"]
    title: str = ""


class ObjectRef(Record):
    """A claim check: a body too large for Kafka, in the object store under its own SHA-256."""

    uri: str
    sha256: str
    size: int = Field(description="bytes")


class Attachment(Record):
    """A file that came with a mail or a feed's item. It is listed and never opened; `note` says what it is where the type alone would not."""

    name: str = ""
    type: str = Field(default="application/octet-stream", description="the media type that the mail names")
    size: int = Field(default=0, ge=0, description="bytes, decoded")
    note: str = ""


class Span(Record):
    """A place in the title or the text of a document, in characters (code points); `end` is the first after it."""

    field: Literal["title", "text"]
    start: int = Field(ge=0)
    end: int = Field(ge=0)
    words: str = ""
    drop: float | None = Field(default=None, description="by how much the decided label's probability falls without these words")


class RuleText(Record):
    """One rule file, whole."""

    name: str = Field(description="name of the file, without folder")
    text: str


class Probe(Record):
    """A known answer: what the adapter said at the gate, asked again of every engine that loads it."""

    task: str
    title: str
    text: str
    answer: str
    base_answer: str = Field(description="what the base weights say; where it differs, base weights under the adapter's name are found out")
    collection: str = Field(default="news", description="whose label set the task is of; events of before there was such a field are of the news")
