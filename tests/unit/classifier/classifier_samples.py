"""Documents and feedback to test with."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from shared.events import DocumentEnriched, DocumentIngested, FeedbackGiven, LabelScore, Metadata, ModelStamp, SourceRef

START = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
RULES = Path(__file__).parents[3] / "services" / "classifier" / "rules"
TEXT = "The maker of a small office router shipped firmware 3.2 on Monday evening and asks owners to install it before the weekend comes."


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def ingested(id: str = "doc-1", title: str = "Router maker ships firmware", text: str = TEXT, **more: Any) -> DocumentIngested:
    given = {"version": "v1", "story": f"story-{id}", "published_at": START, "received_at": START}
    return DocumentIngested(id=id, source=SourceRef(id="s", kind="feed"), title=title, text=text, **given | more)


def enriched(document: DocumentIngested, verdict: dict[str, tuple[str, float]], minutes: float = 5) -> DocumentEnriched:
    return DocumentEnriched(
        **document.model_dump(),
        metadata=Metadata(
            key_topics=[], entities=[], sentiment="neutral", urgency_level="normal", categories=[], related_links=[], summary="", action_items=[]
        ),
        verdict={task: LabelScore(label=label, probability=p) for task, (label, p) in verdict.items()},
        model=ModelStamp(base="b"),
        prompt_hash="p",
        enriched_at=at(minutes),
    )


def feedback(
    id: str, correct: str = "", minutes: float = 10, document_id: str = "doc-1", retracts: str = "", task: str = "category", **more: Any
) -> FeedbackGiven:
    kind = "retraction" if retracts else "correction"
    return FeedbackGiven(
        id=id, kind=kind, document_id=document_id, task=task, correct=correct, retracts=retracts, given_at=at(minutes), by="ana", **more
    )
