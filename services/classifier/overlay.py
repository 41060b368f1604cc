"""Corrections that act at once, on the text they were given on and on those that tell the same, until a retraction takes them back.

Order-tolerant: whatever order feedback comes in, and however often, the view is the same. On the very same text: the same document in the same version, or
the same words in the same order. Near-duplicates: token sets with a Jaccard index of at least SAME that deny the same things. The same story: other words
on the same event. A document that was edited since is one of these, or none. A correction of the very text stands above the others, one of the document
itself above one of a copy; then the newest stands. What a correction of another text may not do is up to services.classifier.decide.
"""

import math
import re
import threading
import zlib
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from services.classifier.folding import fold
from services.classifier.fusion import Correction
from shared.events import DocumentIngested, FeedbackGiven, digest_of

SAME = 0.8
Key = tuple[str, str]  # of a feedback: document id and id
DENIED = 3  # words after a negation that tell what it denies
_TOKEN = re.compile(r"\w+")
_NEGATIONS = frozenset(
    "no not never none nothing nobody nowhere neither nor without cannot cant dont doesnt didnt wont wouldnt couldnt shouldnt isnt wasnt arent werent aint "
    "havent hasnt hadnt mustnt neednt hardly barely scarcely".split()
)


@dataclass(frozen=True)
class Bare:
    """A text that no document holds, to ask for its corrections."""

    title: str
    text: str
    collection: str
    id: str = ""
    version: str = ""
    story: str = ""


def tokens(title: str, text: str) -> frozenset[str]:
    """The set of words of a text, folded."""
    return frozenset(_TOKEN.findall(f"{title} {text}".casefold()))


def denials(title: str, text: str) -> str:
    """Digest of every negation of a text with the DENIED words after it, whatever their order: what one text denies and another does not sets them apart,
    however many words they share. English."""
    words = _TOKEN.findall(fold(f"{title} {text}"))
    return digest_of(*sorted(" ".join(words[place : place + 1 + DENIED]) for place, word in enumerate(words) if word in _NEGATIONS))


def exact(title: str, text: str) -> str:
    """What the very same text has in common with itself, white space aside."""
    return digest_of(" ".join(f"{title} {text}".split()))


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    """Share of the words of either that both have; 0 where both are empty."""
    return len(a & b) / len(a | b) if a or b else 0.0


def probes(words: frozenset[str]) -> list[str]:
    """The few words of a set of which a set with Jaccard >= SAME must share one with it (prefix filtering over one fixed order of all words)."""
    ordered = sorted(words, key=lambda word: (zlib.crc32(word.encode("utf-8", "surrogatepass")), word))
    return ordered[: len(ordered) - math.ceil(SAME * len(ordered) - 1e-9) + 1]


@dataclass(frozen=True)
class Given:
    """A correction, and what tells which documents fall under it."""

    feedback: FeedbackGiven
    story: str
    version: str  # of the document that was judged; empty where a bare text was
    exact: str  # empty where no text came with it
    words: frozenset[str]
    denials: str


class Overlay:
    """The view. `remember` feedback, then ask for the `corrections` of a document, for the time of the `newest` feedback it falls under, and whether
    one correction `concerns` it. Safe to share between threads: texts are judged in some while feedback comes in."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._given: dict[Key, Given] = {}
        self._retracted: dict[Key, datetime] = {}  # the feedback taken back -> newest time of that
        self._retracted_on: dict[str, datetime] = {}  # document id -> newest retraction on it
        self._by_document: defaultdict[str, set[Key]] = defaultdict(set)
        self._by_story: defaultdict[str, set[Key]] = defaultdict(set)
        self._by_word: defaultdict[str, set[Key]] = defaultdict(set)
        self._by_text: defaultdict[str, set[Key]] = defaultdict(set)

    def __len__(self) -> int:
        return len(self._given)

    def remember(self, event: FeedbackGiven) -> None:
        """Take in one feedback. Only corrections and retractions matter here; the same one again changes nothing."""
        with self._lock:
            if event.kind == "retraction":
                taken_back = event.document_id, event.retracts
                self._retracted[taken_back] = max(event.given_at, self._retracted.get(taken_back, event.given_at))
                self._retracted_on[event.document_id] = max(event.given_at, self._retracted_on.get(event.document_id, event.given_at))
            elif event.kind == "correction":
                self._take(event)

    def _take(self, event: FeedbackGiven) -> None:
        key = _key(event)
        before = self._given.get(key)
        if before and _order(before.feedback) >= _order(event):
            return
        if before:
            self._forget(key, before)
        judged = event.document
        title, text = (judged.title, judged.text) if judged else (event.title, event.text)
        # the label and who gave it are all that is needed of it later: the judged output is not held in memory
        given = Given(
            event.model_copy(update={"document": None, "text": "", "title": ""}),
            event.story or (judged.story if judged else ""),
            judged.version if judged else "",
            exact(title, text) if title or text else "",
            tokens(title, text),
            denials(title, text),
        )
        self._given[key] = given
        for index, place in self._places(given):
            index[place].add(key)

    def given(self, event: FeedbackGiven) -> Given | None:
        """The correction that this feedback gives, or takes back; None where there is none, or it is not known yet."""
        with self._lock:
            return self._given.get((event.document_id, event.retracts) if event.kind == "retraction" else _key(event))

    def concerns(self, given: Given, document: DocumentIngested) -> bool:
        """Whether the document falls under this correction, be it taken back or not."""
        with self._lock:
            return any(one is given for one in self._about(document, exact(document.title, document.text)))

    def corrections(self, document: DocumentIngested | Bare) -> dict[str, Correction]:
        """Task -> the correction that stands for this document or text."""
        text = exact(document.title, document.text)
        with self._lock:
            found = [(self._is_of(given, document, text), given) for given in self._about(document, text) if not self._is_retracted(given.feedback)]
        standing = sorted(found, key=lambda pair: (pair[0], *self._rank(pair[1], document)))
        return {g.feedback.task: Correction(g.feedback.correct, g.feedback.why, g.feedback.by, of_this) for of_this, g in standing}

    def newest(self, document: DocumentIngested) -> datetime | None:
        """Time of the newest correction or retraction that the document falls under, None where there is none. Feedback on an earlier version counts: the
        verdict on this one must replace the verdict that followed it."""
        with self._lock:
            times = [self._retracted_on[document.id]] if document.id in self._retracted_on else []
            earlier = [self._given[key] for key in self._by_document.get(document.id, ())]
            for given in [*earlier, *self._about(document, exact(document.title, document.text))]:
                if given.feedback.collection != document.collection:
                    continue
                times.append(given.feedback.given_at)
                if (key := _key(given.feedback)) in self._retracted:
                    times.append(self._retracted[key])
        return max(times, default=None)

    def _about(self, document: DocumentIngested | Bare, text: str) -> list[Given]:
        words = tokens(document.title, document.text)
        # of its own feedback the story says nothing: whether an edited text is still the one that was judged, its words say
        of_document = self._by_document.get(document.id, set())
        ids = self._by_text.get(text, set()) | ((self._by_story.get(document.story, set()) - of_document) if document.story else set())
        ids = ids | {feedback for feedback in of_document if self._is_of(self._given[feedback], document, text)}
        close = {feedback for word in probes(words) for feedback in self._by_word.get(word, ())} - ids
        near = [feedback for feedback in close if jaccard(words, self._given[feedback].words) >= SAME]
        denied = denials(document.title, document.text) if near else ""
        ids = ids | {feedback for feedback in near if self._given[feedback].denials == denied}
        return [self._given[feedback] for feedback in ids if self._given[feedback].feedback.collection == document.collection]

    def _is_of(self, given: Given, document: DocumentIngested | Bare, text: str) -> bool:
        """Whether it was given on this very text. One that came without any text is taken to be on the document that it names, whatever its version."""
        if given.exact == text:
            return True
        same = bool(document.id) and given.feedback.document_id == document.id
        return same and (not given.exact or (bool(given.version) and given.version == document.version))

    def _is_retracted(self, feedback: FeedbackGiven) -> bool:
        taken_back = self._retracted.get(_key(feedback))
        return taken_back is not None and taken_back >= feedback.given_at

    def _rank(self, given: Given, document: DocumentIngested | Bare) -> tuple[bool, datetime, str]:
        return given.feedback.document_id == document.id, given.feedback.given_at, given.feedback.id

    def _places(self, given: Given) -> list[tuple[defaultdict[str, set[Key]], str]]:
        places = [(self._by_document, given.feedback.document_id), *((self._by_word, word) for word in probes(given.words))]
        places += [(self._by_text, given.exact)] if given.exact else []
        return [*places, (self._by_story, given.story)] if given.story else places

    def _forget(self, key: Key, given: Given) -> None:
        for index, place in self._places(given):
            index[place].discard(key)


def _key(event: FeedbackGiven) -> Key:
    """An id is the sender's own, and may stand on feedback on another document too."""
    return event.document_id, event.id


def _order(event: FeedbackGiven) -> tuple[datetime, str]:
    return event.given_at, event.event_id()
