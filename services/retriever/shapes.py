"""What goes into a search and what comes out of it. Pure."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from services.retriever.passages import Passage


class Filters(BaseModel):
    """What a hit must be. `labels` maps task to label; `source` is a source's id or title; `since` bounds the time of publication."""

    model_config = ConfigDict(frozen=True)

    labels: dict[str, str] = {}
    source: str = ""
    since: datetime | None = None


class Hit(BaseModel):
    """One passage found. text[start:end] of its document is the passage; `score` orders the hits of one search and means nothing beyond it."""

    model_config = ConfigDict(frozen=True)

    document_id: str
    version: str
    title: str
    passage: str
    start: int
    end: int
    score: float
    source: str
    source_id: str
    published_at: datetime
    url: str
    labels: dict[str, str]
    stage: str


class Document(BaseModel):
    """What the index holds of a document: enough to show where a citation stands."""

    document_id: str
    version: str
    title: str
    text: str
    url: str
    source: str
    published_at: datetime
    labels: dict[str, str]
    stage: str
    passages: list[Passage]
