"""Corrections that act at once, on the document they were given on and on those that tell the same, until a retraction takes them back.

Order-tolerant: whatever order feedback comes in, and however often, the view is the same. Near-duplicates: the same story, or token sets with a
Jaccard index of at least SAME. A correction of the document itself stands above one of a near-duplicate; then the newest stands.
"""

import math
import re
import zlib
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from services.classifier.fusion import Correction
from shared.events import DocumentIngested, FeedbackGiven

SAME = 0.8
_TOKEN = re.compile(r"\w+")


def tokens(title: str, text: str) -> frozenset[str]:
    """The set of words of a text, folded."""
    return frozenset(_TOKEN.findall(f"{title} {text}".casefold()))


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    """Share of the words of either that both have; 0 where both are empty."""
    return len(a & b) / len(a | b) if a or b else 0.0


def _probes(words: frozenset[str]) -> list[str]:
    """The few words of a set of which a set with Jaccard >= SAME must share one with it (prefix filtering over one fixed order of all words)."""
    ordered = sorted(words, key=lambda word: (zlib.crc32(word.encode("utf-8", "surrogatepass")), word))
    return ordered[: len(ordered) - math.ceil(SAME * len(ordered) - 1e-9) + 1]


@dataclass(frozen=True)
class _Given:
    feedback: FeedbackGiven
    story: str
    words: frozenset[str]


class Overlay:
    """The view. `remember` feedback, then ask for the `corrections` of a document and for the time of the `newest` feedback it falls under."""

    def __init__(self) -> None:
        self._given: dict[str, _Given] = {}  # corrections by feedback id
        self._retracted: dict[str, datetime] = {}  # id of the feedback taken back -> newest time of that
        self._retracted_on: dict[str, datetime] = {}  # document id -> newest retraction on it
        self._by_document: defaultdict[str, set[str]] = defaultdict(set)
        self._by_story: defaultdict[str, set[str]] = defaultdict(set)
        self._by_word: defaultdict[str, set[str]] = defaultdict(set)

    def __len__(self) -> int:
        return len(self._given)

    def remember(self, event: FeedbackGiven) -> None:
        """Take in one feedback. Only corrections and retractions matter here; the same one again changes nothing."""
        if event.kind == "retraction":
            for view, key in ((self._retracted, event.retracts), (self._retracted_on, event.document_id)):
                view[key] = max(event.given_at, view.get(key, event.given_at))
        elif event.kind == "correction":
            before = self._given.get(event.id)
            if before and _order(before.feedback) >= _order(event):
                return
            if before:
                self._forget(event.id, before)
            judged = event.document
            title, text = (judged.title, judged.text) if judged else (event.title, event.text)
            # the label and who gave it are all that is needed of it later: the judged output is not held in memory
            given = _Given(
                event.model_copy(update={"document": None, "text": "", "title": ""}),
                event.story or (judged.story if judged else ""),
                tokens(title, text),
            )
            self._given[event.id] = given
            for index, key in self._places(event.id, given):
                index[key].add(event.id)

    def corrections(self, document: DocumentIngested) -> dict[str, Correction]:
        """Task -> the correction that stands for this document."""
        standing = sorted((g for g in self._about(document) if not self._is_retracted(g.feedback)), key=lambda g: self._rank(g, document))
        return {
            g.feedback.task: Correction(g.feedback.correct, g.feedback.why, g.feedback.by, g.feedback.document_id == document.id) for g in standing
        }

    def newest(self, document: DocumentIngested) -> datetime | None:
        """Time of the newest correction or retraction that the document falls under, None where there is none."""
        times = [self._retracted_on[document.id]] if document.id in self._retracted_on else []
        for given in self._about(document):
            times.append(given.feedback.given_at)
            if given.feedback.id in self._retracted:
                times.append(self._retracted[given.feedback.id])
        return max(times, default=None)

    def _about(self, document: DocumentIngested) -> list[_Given]:
        words = tokens(document.title, document.text)
        found = self._by_document.get(document.id, set()) | (self._by_story.get(document.story, set()) if document.story else set())
        close = {feedback for word in _probes(words) for feedback in self._by_word.get(word, ())} - found
        found = found | {feedback for feedback in close if jaccard(words, self._given[feedback].words) >= SAME}
        return [self._given[feedback] for feedback in found if self._given[feedback].feedback.collection == document.collection]

    def _is_retracted(self, feedback: FeedbackGiven) -> bool:
        return feedback.id in self._retracted and self._retracted[feedback.id] >= feedback.given_at

    def _rank(self, given: _Given, document: DocumentIngested) -> tuple[bool, datetime, str]:
        return given.feedback.document_id == document.id, given.feedback.given_at, given.feedback.id

    def _places(self, feedback: str, given: _Given) -> list[tuple[defaultdict[str, set[str]], str]]:
        places = [(self._by_document, given.feedback.document_id), *((self._by_word, word) for word in _probes(given.words))]
        return [*places, (self._by_story, given.story)] if given.story else places

    def _forget(self, feedback: str, given: _Given) -> None:
        for index, key in self._places(feedback, given):
            index[key].discard(feedback)


def _order(event: FeedbackGiven) -> tuple[datetime, str]:
    return event.given_at, event.event_id()
