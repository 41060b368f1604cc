"""Events to begin with: numbered documents, the sample's corrections, the sample's items."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from shared.events import Decision, DocumentClassified, DocumentIngested, FeedbackGiven, SourceRef, digest_of

SAMPLE = Path(__file__).resolve().parent.parent.parent / "deploy" / "sample"
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def document(n: int, title: str = "", text: str = "", **more: object) -> DocumentIngested:
    """The n-th document; the same n is the same document."""
    fields: dict[str, object] = {
        "id": f"doc-{n:05d}",
        "version": "1",
        "source": SourceRef(id="tests", kind="feed", title="The Test Desk"),
        "title": title or f"Council of district {n} votes on the budget",
        "text": text or f"The council of district {n} voted on its budget of {n + 3} million on Tuesday. The mayor thanked both sides.",
        "url": f"https://desk.example/{n}",
        "published_at": NOON + timedelta(seconds=n),
        "received_at": NOON + timedelta(seconds=n, minutes=1),
        "story": f"story-{n}",
    }
    return DocumentIngested.model_validate(fields | more)


def classified(n: int, title: str = "", text: str = "", label: str = "politics", **more: object) -> DocumentClassified:
    """The n-th document with a verdict by hand."""
    base = document(n, title, text)
    decision = {
        "category": Decision(label=label, probability=0.8, by="neural", reasons=["the head says so"]),
        "sentiment": Decision(label="neutral", probability=0.7, by="neural", reasons=["the head says so"]),
        "urgency": Decision(label="normal", probability=0.55, by="neural", reasons=["the head says so"]),
        "risk": Decision(label="none", probability=1.0, by="default", reasons=["no rule speaks"]),
    }
    return DocumentClassified.model_validate({**base.model_dump(), "decision": decision, "stage": "provisional", "as_of": base.received_at, **more})


def corrections() -> list[FeedbackGiven]:
    """The corrections of the sample as the feedback service would make them."""
    lines = [json.loads(line) for line in (SAMPLE / "feedback.jsonl").read_text().splitlines()]
    return [
        FeedbackGiven(
            id=digest_of("test", line["title"], line["task"])[:24],
            kind="correction",
            document_id=f"text-{digest_of(line['title'], line['text'])[:20]}",
            task=line["task"],
            correct=line["correct"],
            incorrect=line["incorrect"],
            why=line["why"],
            title=line["title"],
            text=line["text"],
            given_at=NOON + timedelta(seconds=n),
        )
        for n, line in enumerate(lines)
    ]
