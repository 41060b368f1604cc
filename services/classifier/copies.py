"""The newest documents that this replica has judged, so that a correction reaches at once also those that tell the same and were judged before it.

A view in memory, bounded and empty at the start: what was judged longer ago, or before a restart, follows at its next event. Every replica hears all
feedback and keeps what it judged itself, so that each copy is judged again by one of them.
"""

from collections import defaultdict

from services.classifier.overlay import Given, Overlay, exact, probes, tokens
from shared.events import DocumentEnriched, DocumentIngested

Keys = list[tuple[defaultdict[str, set[str]], str]]


class Copies:
    """At most `most` documents, the newest; `overlay` says which feedback a document falls under."""

    def __init__(self, overlay: Overlay, most: int) -> None:
        self.overlay, self.most = overlay, most
        self._kept: dict[str, tuple[DocumentIngested, Keys]] = {}  # by id, the longest unseen first
        self._by_story: defaultdict[str, set[str]] = defaultdict(set)
        self._by_text: defaultdict[str, set[str]] = defaultdict(set)
        self._by_word: defaultdict[str, set[str]] = defaultdict(set)

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, document: DocumentIngested) -> None:
        """Take in a document that is about to be judged. One that comes a second time without its reading does not lose it."""
        before = self._kept[document.id][0] if document.id in self._kept else None
        if isinstance(before, DocumentEnriched) and not isinstance(document, DocumentEnriched) and before.version == document.version:
            document = before
        self._forget(document.id)
        keys = self._keys(document)
        self._kept[document.id] = document, keys
        for index, key in keys:
            index[key].add(document.id)
        while len(self._kept) > self.most:
            self._forget(next(iter(self._kept)))

    def of(self, given: Given) -> list[DocumentIngested]:
        """The kept documents that fall under this correction, whether it stands or was taken back; the one that it was given on too, also where it was edited
        since and no longer does: the verdict on what it is now must replace the one that follows the correction."""
        own = given.feedback.document_id
        ids = self._by_story.get(given.story, set()) | self._by_text.get(given.exact, set())
        ids = ids | ({own} & self._kept.keys())
        ids = ids.union(*(self._by_word.get(word, ()) for word in probes(given.words)))
        found = (self._kept[id][0] for id in sorted(ids))
        return [document for document in found if document.id == own or self.overlay.concerns(given, document)]

    def _keys(self, document: DocumentIngested) -> Keys:
        """Where it is found again."""
        text = document.title, document.text
        keys: Keys = [(self._by_word, word) for word in probes(tokens(*text))]
        keys.append((self._by_text, exact(*text)))
        return [*keys, (self._by_story, document.story)] if document.story else keys

    def _forget(self, id: str) -> None:
        _, keys = self._kept.pop(id, (None, []))
        for index, key in keys:
            index[key].discard(id)
            if not index[key]:
                del index[key]
