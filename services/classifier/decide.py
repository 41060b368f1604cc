"""From a document to its verdict: gathers what each part says, fuses task by task, and stamps what the verdict rests on.

Deterministic: the same document, rules, corrections and scores give the same bytes, so that replaying a topic changes nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from services.classifier.fusion import Correction, decide
from services.classifier.overlay import Overlay
from services.classifier.rulebook import RuleBook
from services.classifier.rules import RuleSet
from shared.events import Decision, DocumentClassified, DocumentEnriched, DocumentIngested, LabelScore, Stage
from shared.taxonomy import LabelSet


@dataclass(frozen=True)
class Neural:
    """What the head says: task -> label -> probability, and the digest of the weights that said it. Empty where there is no head."""

    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    digest: str = ""


class Decider:
    """Holds the rules and the overlay; the head's scores are handed in, because making them takes a thread."""

    def __init__(self, rulebook: RuleBook, overlay: Overlay, labels: Callable[[str], LabelSet]) -> None:
        self.rulebook, self.overlay, self.labels = rulebook, overlay, labels

    def document(self, document: DocumentIngested, neural: Neural, feedback_at: datetime | None = None) -> DocumentClassified:
        """The verdict on an ingested, enriched or already classified document. `feedback_at` is the time of the feedback that asks for it, if one
        does; the verdict carries that or the newest that the overlay knows for the document. A task on which nobody speaks is left out."""
        verdict, as_of, stage = _reading(document)
        corrections = self.overlay.corrections(document)
        rules = self.rulebook.rules  # once: a reload in between must not mix two digests
        decision = self._decide(rules, document.title, document.text, document.collection, neural, verdict, corrections)
        times = [time for time in (feedback_at, self.overlay.newest(document)) if time]
        fields = {name: getattr(document, name) for name in DocumentClassified.model_fields if hasattr(document, name)}
        return DocumentClassified(
            **fields
            | {
                "decision": decision,
                "stage": "corrected" if corrections else stage,
                "as_of": as_of,
                "feedback_at": max(times, default=None),
                "rules_digest": rules.digest,
                "head_digest": neural.digest,
            }
        )

    def text(self, title: str, text: str, collection: str, neural: Neural) -> dict[str, Decision]:
        """The decisions on a bare text, by rules and head; no correction is looked up."""
        return self._decide(self.rulebook.rules, title, text, collection, neural, {}, {})

    def _decide(
        self,
        rules: RuleSet,
        title: str,
        text: str,
        collection: str,
        neural: Neural,
        verdict: Mapping[str, LabelScore],
        corrections: Mapping[str, Correction],
    ) -> dict[str, Decision]:
        labels = self.labels(collection)
        hits = rules.hits(title, text, labels)
        decided = {name: decide(task, hits, corrections.get(name), verdict.get(name), neural.scores.get(name)) for name, task in labels.tasks.items()}
        return {name: decision for name, decision in decided.items() if decision}


def _reading(document: DocumentIngested) -> tuple[dict[str, LabelScore], datetime, Stage]:
    """The LLM's verdict, the time of the newest reading, and the stage before any correction."""
    if isinstance(document, DocumentClassified):
        return document.verdict, document.as_of, "final" if document.model else "provisional"
    if isinstance(document, DocumentEnriched):
        return document.verdict, document.enriched_at, "final"
    return {}, document.received_at, "provisional"
