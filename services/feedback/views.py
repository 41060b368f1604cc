"""The views behind the page: items with their newest verdict, what people said, and the state of the loop. Pure, in memory, order-tolerant."""

from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import datetime
from heapq import nlargest
from typing import Any, Literal, NamedTuple

from services.feedback.review import Review, review, tasks_of
from shared import care
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
Order = Literal["newest", "review"]


class Place(NamedTuple):
    """Where an item stands in each order, as strings that sort as the order does; the greatest comes first. `queue` is empty for what was judged."""

    review: Review
    newest: str
    queue: str

    @classmethod
    def of(cls, item: DocumentClassified, found: Review) -> "Place":
        newest = f"{item.received_at.timestamp():017.6f}|{item.id}"
        rank, weight = found.rank()
        return cls(found, newest, "" if found.why == "judged" else f"q{rank}{weight:.6f}|{newest}")


class Items:
    """The newest verdict on each document, at most `keep` of them. `help_text` goes with each whose verdict carries a safety label."""

    def __init__(self, keep: int = 20_000, changed: Listener = lambda kind, data: None, help_text: str = care.HELP) -> None:
        self._items: dict[str, DocumentClassified] = {}
        self._feedback: dict[str, dict[str, FeedbackGiven]] = defaultdict(dict)
        self._places: dict[str, Place] = {}  # as they were last asked for; an item that changes is forgotten
        self._keep, self._changed, self._help = keep, changed, help_text

    def on_document_classified(self, event: DocumentClassified) -> None:
        if not event.supersedes(self._items.get(event.id)):
            return
        self._items[event.id] = event
        self._places.pop(event.id, None)
        if len(self._items) > self._keep * 1.1:
            for old in sorted(self._items.values(), key=_age)[: len(self._items) - self._keep]:
                del self._items[old.id]
                self._feedback.pop(old.id, None)
                self._places.pop(old.id, None)
        self._changed("item", event.id)

    def on_feedback_given(self, event: FeedbackGiven) -> None:
        self._feedback[event.document_id][event.id] = event
        self._places.pop(event.document_id, None)
        self._changed("item", event.document_id)

    def get(self, document_id: str) -> DocumentClassified | None:
        return self._items.get(document_id)

    def said(self, document_id: str, feedback_id: str) -> FeedbackGiven | None:
        return self._feedback[document_id].get(feedback_id) if document_id in self._feedback else None

    def elsewhere(self, document_id: str, feedback_id: str) -> str:
        """Another document that feedback of this id was given on; empty where there is none."""
        return next((id for id, said in self._feedback.items() if id != document_id and feedback_id in said), "")

    def review(self, document_id: str) -> Review | None:
        """Where the item stands in the queue, None for one that is not here."""
        item = self._items.get(document_id)
        return None if item is None else self._place(item).review

    def shown(self, document_id: str) -> dict[str, Any] | None:
        """One item as the page shows it: the event, the feedback that still holds, its place in the queue, and what care a safety label asks for."""
        item = self._items.get(document_id)
        if item is None:
            return None
        fields = ("id", "kind", "task", "correct", "why", "by", "given_at")
        return {
            **item.model_dump(mode="json"),
            "feedback": [{field: said[field] for field in fields} for said in (one.model_dump(mode="json") for one in self._standing(document_id))],
            "review": self._place(item).review.model_dump(),
            "care": care.shown(item.decision, tasks_of(item.collection), self._help),
        }

    def page(self, limit: int, before: str, label: str, stage: str, words: str, order: Order = "newest") -> dict[str, Any]:
        """A page of items. `order`: `newest` first, or `review`, which leaves out what a person has judged (services.feedback.review). `before` is the
        `next` of the page before, in the same order; `label` is task:label; `words` must all occur. `look` counts what waits for a person, among all
        that the filters let through. Raises ValueError for a `before` of another order."""
        if before and before.startswith("q") != (order == "review"):
            raise ValueError(f"before: {before[:80]!r} is of another order than {order!r}; take `next` of a page in this order, or none to begin")
        task, _, wanted = label.partition(":")
        needles = words.lower().split()
        found = [
            item
            for item in self._items.values()
            if (not stage or item.stage == stage)
            and (not wanted or (task in item.decision and wanted in care.holding(item.decision[task])))
            and all(needle in f"{item.title}\n{item.text}\n{item.source.title}".lower() for needle in needles)
        ]
        places = [self._place(item) for item in found]
        look = Counter(place.review.why for place in places)
        cursors = [place.queue for place in places if place.queue] if order == "review" else [place.newest for place in places]
        shown = nlargest(limit + 1, (cursor for cursor in cursors if not before or cursor < before))
        return {
            "items": [self.shown(cursor.split("|", 2 if order == "review" else 1)[-1]) for cursor in shown[:limit]],
            "next": shown[limit - 1] if len(shown) > limit else "",
            "total": len(cursors),
            "look": {"safety": look["safety"], "unsure": look["unsure"], "rest": look["rest"]},
        }

    def counts(self) -> dict[str, int]:
        return {"documents": len(self._items), "corrected": sum(item.stage == "corrected" for item in self._items.values())}

    def _place(self, item: DocumentClassified) -> Place:
        found = self._places.get(item.id)
        if found is None:
            found = self._places[item.id] = Place.of(item, review(item, self._standing(item.id)))
        return found

    def _standing(self, document_id: str) -> list[FeedbackGiven]:
        """What people said of the item and did not take back, in time."""
        said = list(self._feedback[document_id].values()) if document_id in self._feedback else []
        retracted = {item.retracts for item in said}
        return sorted((item for item in said if item.kind != "retraction" and item.id not in retracted), key=lambda item: item.given_at)


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
