"""Events of a small kind, to put into records."""

from datetime import UTC, datetime
from typing import Any

from shared.events import SourcePolled, SourceRef

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def polled(**given: Any) -> SourcePolled:
    """A source's state; what is given differs from the usual."""
    usual: dict[str, Any] = {"source": SourceRef(id="wire", kind="feed", title="The Wire"), "state": "ok", "at": NOON}
    return SourcePolled(**(usual | given))
