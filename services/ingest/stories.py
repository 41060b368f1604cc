"""Near-duplicates: the same story told by several sources gets one story id, that of the document that told it first.

MinHash over three-word shingles, of the whole text and of its beginning, in bands that bring candidates together (Broder 1997; Leskovec, Rajaraman and
Ullman, Mining of Massive Datasets, ch. 3); each candidate is then judged by services.ingest.likeness. Two documents of one address tell one story as
well. The index is in memory and bounded; it is rebuilt from documents.ingested at the start, so restarts and replicas agree.
"""

from collections import OrderedDict
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np

from services.ingest.likeness import LEAD_BANDS, WHOLE_BANDS, Signature, likeness, signature, signature_of

__all__ = ["Signature", "Stories", "signature", "signature_of"]

_BANDS = np.arange(WHOLE_BANDS + LEAD_BANDS)
_WAYS = 4  # documents a bucket remembers: the newest
_JUDGED = 16  # candidates that are looked at, those in most bands first


@dataclass(frozen=True)
class _Entry:
    document: str
    signature: Signature
    story: str


class Stories:
    """The bounded index of the last `most` documents. Its memory is fixed: about 1 kB a document."""

    def __init__(self, most: int = 50_000) -> None:
        self._entries: list[_Entry | None] = [None] * most
        self._slots: OrderedDict[str, int] = OrderedDict()  # document -> its place, the oldest first
        self._mask = np.uint64((1 << max(4, most.bit_length())) - 1)
        self._buckets = np.full((len(_BANDS), int(self._mask) + 1, _WAYS), -1, np.int32)
        self._pages: OrderedDict[str, int] = OrderedDict()  # address -> place; -1 where it names more than one thing

    def __len__(self) -> int:
        return len(self._slots)

    def story_of(self, document: str, found: Signature | None) -> str:
        """The story of a document: the one it has, or that of the most similar one known, else its own id."""
        known = self._slots.get(document)
        if known is not None and (entry := self._entries[known]):
            return entry.story
        if found is None:
            return document
        place = self._pages.get(_page(found.url), -1)
        if place >= 0 and (entry := self._entries[place]) and entry.signature.teller != found.teller:
            return entry.story  # the same page, told by another source
        scored = [(likeness(found, entry.signature), entry.story) for entry in self._candidates(found)]
        alike, story = max(scored, default=(0.0, document), key=lambda pair: pair[0])
        return story if alike > 0 else document

    def add(self, document: str, found: Signature | None, story: str) -> None:
        """Remember that a document tells a story; a new version changes the signature only. The oldest document is forgotten for a new one."""
        if found is None:
            return
        place = self._slots.get(document)
        if place is None:
            place = self._free()
            self._slots[document] = place
        entry = self._entries[place] = _Entry(document, found, story)
        self._remember_page(place, entry)
        if len(found.bands):
            at = (found.bands & self._mask).astype(np.int64)
            new = ~(self._buckets[_BANDS, at] == place).any(axis=1)
            bands, at = _BANDS[new], at[new]
            self._buckets[bands, at, 1:] = self._buckets[bands, at, :-1]
            self._buckets[bands, at, 0] = place

    def _candidates(self, found: Signature) -> list[_Entry]:
        """The documents that share a bucket, those that share most first. Some only happen to: they are judged, too."""
        if not len(found.bands):
            return []
        places = self._buckets[_BANDS, (found.bands & self._mask).astype(np.int64)].ravel()
        places, counts = np.unique(places[places >= 0], return_counts=True)
        order = np.lexsort((places, -counts))[:_JUDGED]
        return [entry for place in places[order] if (entry := self._entries[place])]

    def _free(self) -> int:
        if len(self._slots) < len(self._entries):
            return len(self._slots)
        _, place = self._slots.popitem(last=False)
        gone = self._entries[place]
        if gone is not None and self._pages.get(page := _page(gone.signature.url)) == place:
            del self._pages[page]
        return place

    def _remember_page(self, place: int, entry: _Entry) -> None:
        """An address names a story while no source tells it of two documents: a page that many items point at (a changelog, a forum) names none."""
        if not (page := _page(entry.signature.url)):
            return
        before = self._pages.get(page)
        if before is None:
            self._pages[page] = place
            if len(self._pages) > len(self._entries):
                self._pages.popitem(last=False)
        elif before not in (-1, place) and (other := self._entries[before]) and other.signature.teller == entry.signature.teller:
            self._pages[page] = -1


def _page(url: str) -> str:
    """The address without its scheme and "www."; empty for a home page, which tells many stories."""
    parts = urlsplit(url)
    if not parts.netloc or (parts.path in ("", "/") and not parts.query):
        return ""
    return f"{parts.netloc.removeprefix('www.')}{parts.path.rstrip('/')}?{parts.query}"
