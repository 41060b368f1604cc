"""From a document to its verdict: gathers what each part says, fuses task by task, and stamps what the verdict rests on.

Deterministic: the same document, rules, corrections and scores give the same bytes, so that replaying a topic changes nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from services.classifier.calibration import Fusions, calibration
from services.classifier.fusion import Correction, decide
from services.classifier.overlay import Bare, Overlay
from services.classifier.rulebook import RuleBook
from services.classifier.rules import Hit
from services.classifier.several import NOT_FOR
from shared.events import Decision, DocumentClassified, DocumentEnriched, DocumentIngested, LabelScore, ModelStamp, Stage
from shared.pooling import FusionFile
from shared.taxonomy import LabelSet, Task


@dataclass(frozen=True)
class Neural:
    """What the head says: task -> label -> probability, and the digest of the weights that said it. Empty where there is no head. `named`: the tasks
    that no head was trained for, of which the encoder said what the labels' names tell."""

    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    digest: str = ""
    named: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Ruled:
    """What the rules say of a text, and the digest of those that said it."""

    hits: Sequence[Hit]
    digest: str


@dataclass(frozen=True)
class _Voices:
    """What head and language model say of one text, and which weights said it."""

    neural: Neural
    verdict: Mapping[str, LabelScore]
    model: ModelStamp | None = None

    def digests(self) -> dict[str, str]:
        """Part -> digest of the adapter or head that spoke."""
        return {"neural": self.neural.digest} | ({"llm": self.model.adapter} if self.model else {})


@dataclass(frozen=True)
class Verdict:
    """The decisions on a bare text, and the digests of what they rest on; empty where a part is missing."""

    decision: dict[str, Decision]
    rules_digest: str
    head_digest: str
    fusion_digest: str


class Decider:
    """Holds the rules, the learned weights and the overlay; head's scores and rules' hits are handed in, because making them takes a thread."""

    def __init__(self, rulebook: RuleBook, overlay: Overlay, labels: Callable[[str], LabelSet], fusions: Fusions | None = None) -> None:
        self.rulebook, self.overlay, self.labels, self.fusions = rulebook, overlay, labels, fusions or Fusions()

    def ruled(self, document: DocumentIngested, text: str) -> Ruled:
        """What the rules say of a document whose whole text this is. May be called in a thread: a long text takes seconds."""
        rules = self.rulebook.rules  # once: a reload in between must not mix two digests
        # a document's own time decides which rules are in force, so that a replay finds the same ones
        return Ruled(rules.hits(document.title, text, self.labels(document.collection), document.received_at), rules.digest)

    def document(
        self, document: DocumentIngested, neural: Neural, feedback_at: datetime | None = None, ruled: Ruled | None = None, unread: str = ""
    ) -> DocumentClassified:
        """The verdict on an ingested, enriched or already classified document. `feedback_at` is the time of the feedback that asks for it, if one
        does; the verdict carries that or the newest that the overlay knows for the document. A task on which nobody speaks is left out. `ruled`: what
        the rules say of the whole text; if not given, they are asked about the text that the document carries. `unread`: why that was not all of it; what
        could be graver is unsure then."""
        verdict, as_of, stage = _reading(document)
        corrections = self.overlay.corrections(document)
        ruled = ruled or self.ruled(document, document.text)
        fusion = self.fusions.of(self.labels(document.collection).collection)
        said = _Voices(neural, verdict, document.model if isinstance(document, DocumentEnriched | DocumentClassified) else None)
        decision = self._decide(ruled.hits, fusion, document.collection, said, corrections)
        followed = any(name in decision and _is_followed(decision[name], correction) for name, correction in corrections.items())
        if unread:
            tasks = self.labels(document.collection).tasks
            decision = {name: _unsure(tasks[name], one, unread) for name, one in decision.items()}
        times = [time for time in (feedback_at, self.overlay.newest(document)) if time]
        fields = {name: getattr(document, name) for name in DocumentClassified.model_fields if hasattr(document, name)}
        return DocumentClassified(
            **fields
            | {
                "decision": decision,
                "stage": "corrected" if followed else stage,
                "as_of": as_of,
                "feedback_at": max(times, default=None),
                "rules_digest": ruled.digest,
                "head_digest": neural.digest,
                "fusion_digest": fusion.digest if fusion else "",
            }
        )

    def text(
        self, title: str, text: str, collection: str, neural: Neural, said: Mapping[str, LabelScore] | None = None, model: ModelStamp | None = None
    ) -> Verdict:
        """The decisions on a bare text, by rules, head, and the corrections of this text or of one that tells the same; and by what the language model
        `model` has `said` of it, where it was asked."""
        rules, fusion = self.rulebook.rules, self.fusions.of(self.labels(collection).collection)
        corrections = self.overlay.corrections(Bare(title, text, collection))
        decision = self._decide(rules.hits(title, text, self.labels(collection)), fusion, collection, _Voices(neural, said or {}, model), corrections)
        return Verdict(decision, rules.digest, neural.digest, fusion.digest if fusion else "")

    def _decide(
        self,
        hits: Sequence[Hit],
        fusion: FusionFile | None,
        collection: str,
        voices: "_Voices",
        corrections: Mapping[str, Correction],
    ) -> dict[str, Decision]:
        labels = self.labels(collection)

        def one(name: str, task: Task, correction: Correction | None) -> Decision | None:
            weights = calibration(fusion, labels, name, voices.digests())
            weights = weights.spoken(task, voices.model, labels.collection, name in voices.neural.named)
            return decide(task, hits, correction, voices.verdict.get(name), voices.neural.scores.get(name), weights)

        decided = {}
        for name, task in labels.tasks.items():
            correction = corrections.get(name)
            decided[name] = one(name, task, correction)
            if correction and task.safety_labels and not correction.of_this:
                decided[name] = _graver(task, decided[name], one(name, task, None), correction)
        return {name: decision for name, decision in decided.items() if decision}


def _is_followed(decision: Decision, correction: Correction) -> bool:
    """Whether the correction has a part in the decision: as it decides, as a safety rule says the same, or of several labels for those that none sets."""
    said = correction.reason()
    return decision.by == "correction" or any(reason == said or reason.startswith(f"{said}{NOT_FOR}") for reason in decision.reasons)


def _unsure(task: Task, decision: Decision, why: str) -> Decision:
    """The decision on a task of safety as one that a person is to look at, for the graver labels are possible too; unless it says the gravest there is."""
    graver = task.safety_labels[max(map(task.severity, decision.labels or [decision.label]), default=0) :]
    if not graver:
        return decision
    possible = list(dict.fromkeys([*decision.possible, *graver]))
    return decision.model_copy(update={"unsure": True, "possible": possible, "reasons": [*decision.reasons, why]})


def _graver(task: Task, corrected: Decision | None, without: Decision | None, correction: Correction) -> Decision | None:
    """The corrected decision, unless it would take back a safety label because of what a person said of another text: alike is not the same."""
    if without is None or corrected is None:
        return corrected or without
    after, before = ([label for label in one.labels or [one.label] if task.severity(label)] for one in (corrected, without))
    if task.kind == "multi":
        lowers = not set(before) <= set(after)
    else:
        lowers = max(map(task.severity, before), default=0) > max(map(task.severity, after), default=0)
    if not lowers:
        return corrected
    return without.model_copy(
        update={"reasons": [*without.reasons, f"{correction.reason()}: not followed, only one of this very text lowers a safety label"]}
    )


def _reading(document: DocumentIngested) -> tuple[dict[str, LabelScore], datetime, Stage]:
    """The LLM's verdict, the time of the newest reading, and the stage before any correction."""
    if isinstance(document, DocumentClassified):
        return document.verdict, document.as_of, "final" if document.model else "provisional"
    if isinstance(document, DocumentEnriched):
        return document.verdict, document.enriched_at, "final"
    return {}, document.received_at, "provisional"
