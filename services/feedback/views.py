"""The views behind the page: items with their newest verdict, what people said, and the state of the loop. Pure, in memory, order-tolerant."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from shared.events import (
    DocumentClassified,
    FeedbackGiven,
    ModelActivated,
    ModelPublished,
    SourcePolled,
    TrainingFinished,
    TrainingProgressed,
)
from shared.registry import name_of

Listener = Callable[[str, Any], None]


class Items:
    """The newest verdict on each document, at most `keep` of them."""

    def __init__(self, keep: int = 20_000, changed: Listener = lambda kind, data: None) -> None:
        self._items: dict[str, DocumentClassified] = {}
        self._feedback: dict[str, dict[str, FeedbackGiven]] = defaultdict(dict)
        self._keep, self._changed = keep, changed

    def on_document_classified(self, event: DocumentClassified) -> None:
        if not event.supersedes(self._items.get(event.id)):
            return
        self._items[event.id] = event
        if len(self._items) > self._keep * 1.1:
            for old in sorted(self._items.values(), key=_age)[: len(self._items) - self._keep]:
                del self._items[old.id]
                self._feedback.pop(old.id, None)
        self._changed("item", event.id)

    def on_feedback_given(self, event: FeedbackGiven) -> None:
        self._feedback[event.document_id][event.id] = event
        self._changed("item", event.document_id)

    def get(self, document_id: str) -> DocumentClassified | None:
        return self._items.get(document_id)

    def said(self, document_id: str, feedback_id: str) -> FeedbackGiven | None:
        return self._feedback[document_id].get(feedback_id) if document_id in self._feedback else None

    def shown(self, document_id: str) -> dict[str, Any] | None:
        """One item as the page shows it: the event and the feedback that still holds."""
        item = self._items.get(document_id)
        return None if item is None else {**item.model_dump(mode="json"), "feedback": self._standing(document_id)}

    def page(self, limit: int, before: str, label: str, stage: str, words: str) -> dict[str, Any]:
        """A page of items, newest first. `before` is the `next` of the page before; `label` is task:label; `words` must all occur."""
        task, _, wanted = label.partition(":")
        needles = words.lower().split()
        found = [
            item
            for item in self._items.values()
            if (not stage or item.stage == stage)
            and (not wanted or (task in item.decision and item.decision[task].label == wanted))
            and all(needle in f"{item.title}\n{item.text}\n{item.source.title}".lower() for needle in needles)
        ]
        found.sort(key=_age, reverse=True)
        rest = [item for item in found if not before or _cursor(item) < before]
        shown = rest[:limit]
        return {
            "items": [self.shown(item.id) for item in shown],
            "next": _cursor(shown[-1]) if len(rest) > limit else "",
            "total": len(found),
        }

    def counts(self) -> dict[str, int]:
        return {"documents": len(self._items), "corrected": sum(item.stage == "corrected" for item in self._items.values())}

    def _standing(self, document_id: str) -> list[dict[str, Any]]:
        said = list(self._feedback[document_id].values()) if document_id in self._feedback else []
        retracted = {item.retracts for item in said}
        fields = ("id", "kind", "task", "correct", "why", "by", "given_at")
        standing = [item for item in said if item.kind != "retraction" and item.id not in retracted]
        return [{field: value for field, value in item.model_dump(mode="json").items() if field in fields} for item in _in_time(standing)]


class Loop:
    """What is live, what was refused and why, training progress, the health of the sources."""

    def __init__(self, changed: Listener = lambda kind, data: None) -> None:
        self._live: dict[str, ModelPublished] = {}
        self._replicas: dict[str, ModelActivated] = {}
        self._runs: dict[str, TrainingFinished] = {}
        self._progress: TrainingProgressed | None = None
        self._sources: dict[str, SourcePolled] = {}
        self._changed = changed

    def on_model_published(self, event: ModelPublished) -> None:
        self._live[event.role] = event
        self._changed("loop", None)

    def on_model_activated(self, event: ModelActivated) -> None:
        self._replicas[event.key()] = event
        self._changed("loop", None)

    def on_training_progressed(self, event: TrainingProgressed) -> None:
        self._progress = event
        self._changed("loop", None)

    def on_training_finished(self, event: TrainingFinished) -> None:
        self._runs[event.run_id] = event
        self._changed("loop", None)

    def on_source_polled(self, event: SourcePolled) -> None:
        self._sources[event.source.id] = event
        self._changed("loop", None)

    def shown(self) -> dict[str, Any]:
        progress = self._progress
        done = self._runs.get(progress.run_id) if progress else None
        running = progress is not None and (done is None or done.finished_at < progress.at)  # a run that failed may be tried again
        return {
            "live": [
                {
                    "role": event.role,
                    "digest": event.digest,
                    "name": name_of(event.role, event.digest),
                    "previous": event.previous,
                    "since": event.published_at,
                    "reason": event.reason,
                    "report": event.report,
                }
                for event in self._live.values()
            ],
            "replicas": list(self._replicas.values()),
            "runs": sorted(self._runs.values(), key=lambda run: run.finished_at, reverse=True)[:50],
            "training": progress if running else None,
            "sources": sorted(self._sources.values(), key=lambda polled: (polled.state == "ok", polled.source.title)),
        }


def _age(item: DocumentClassified) -> tuple[datetime, str]:
    return item.received_at, item.id


def _cursor(item: DocumentClassified) -> str:
    return f"{item.received_at.timestamp():017.6f}|{item.id}"


def _in_time(said: Iterable[FeedbackGiven]) -> list[FeedbackGiven]:
    return sorted(said, key=lambda item: item.given_at)
