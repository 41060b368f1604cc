"""What readers hand over: an item as it came, or the reason why it can't be one."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from shared.errors import FeedloopError
from shared.events import Attachment, Link

Reason = Literal["entities", "no-text", "broken-mail", "too-large", "not-a-feed", "unreadable"]  # bounded: they label a metric


@dataclass(frozen=True)
class RawItem:
    """One entry or mail, not yet cleaned. `key` is its stable name (empty: the address, else the content names it); `raw` is kept if it is refused.

    `channel` is what a mail came through (its list, else its sender) and `channel_title` that in words. `items` are what a digest holds, each an
    item of its own, or refused on its own.
    """

    key: str
    title: str = ""
    body: str = ""
    markup: bool = False  # whether `body` is HTML
    plain: bool = False  # whether `body` is clean text already: a tag in it is words
    url: str = ""
    author: str = ""
    published: datetime | None = None
    links: tuple[Link, ...] = ()
    raw: bytes = b""
    channel: str = ""
    channel_title: str = ""
    attachments: tuple[Attachment, ...] = ()
    items: tuple["RawItem | Refused", ...] = ()


@dataclass(frozen=True)
class Refused:
    """An item that is quarantined, with the reason in words."""

    reason: Reason
    detail: str
    raw: bytes = b""


@dataclass(frozen=True)
class Batch:
    """Part of one poll. `cursor` is where reading goes on once these items are durable; `note` goes into the source's state."""

    items: tuple[RawItem | Refused, ...]
    cursor: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    unchanged: bool = False


class Unusable(FeedloopError):
    """An item (or a whole answer) that no try will make usable."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason: Reason = reason


class SourceProblem(FeedloopError):
    """A source can't be read now. `retry_after` in seconds where the server named it; `gone` where it said that the source is no more, `missing` where
    it (or its server's name) is not found, which may pass."""

    def __init__(
        self, message: str, *, retry_after: float | None = None, gone: bool = False, missing: bool = False, evidence: Refused | None = None
    ) -> None:
        super().__init__(message)
        self.retry_after, self.gone, self.missing, self.evidence = retry_after, gone, missing, evidence


class Reader(Protocol):
    """One source. Reading never changes it: the cursor is the only memory, and the caller keeps it."""

    def read(self, cursor: Mapping[str, str]) -> AsyncIterator[Batch]:
        """The items after `cursor`, in batches that bound memory. Raises SourceProblem, OSError or TimeoutError."""
        ...
