"""Near-duplicates: the same story told by several sources gets one story id, that of the document that told it first.

MinHash over three-word shingles, 32 permutations in 8 bands (documents 70% alike meet with a chance of 0.9), checked by the estimated likeness. The
index is in memory and bounded; it is rebuilt from documents.ingested at the start, so restarts and replicas agree.
"""

import re
import zlib
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

Signature = NDArray[np.uint32]
PERMUTATIONS, BANDS = 32, 8
ALIKE = 0.5  # share of equal minima from which two texts tell one story
LEAST_WORDS = 8  # shorter texts ("Read more") are alike without being one story
_WORDS = re.compile(r"\w+")
_MOST_TEXT = 20_000  # characters
_PRIME = np.uint64((1 << 31) - 1)
_random = np.random.default_rng(20_240_601)  # fixed: signatures must agree between processes
_A = _random.integers(1, int(_PRIME), PERMUTATIONS, dtype=np.uint64)
_B = _random.integers(0, int(_PRIME), PERMUTATIONS, dtype=np.uint64)


def signature(title: str, text: str) -> Signature | None:
    """The MinHash of a document, None where it is too short to tell. About 0.2 ms for a page of text."""
    words = _WORDS.findall(f"{title} {text[:_MOST_TEXT]}".casefold())
    if len(words) < LEAST_WORDS:
        return None
    shingles = {zlib.crc32(" ".join(words[i : i + 3]).encode("utf-8", "replace")) & 0x7FFFFFFF for i in range(len(words) - 2)}
    hashes = np.fromiter(shingles, dtype=np.uint64, count=len(shingles))
    return ((np.outer(_A, hashes) + _B[:, None]) % _PRIME).min(axis=1).astype(np.uint32)


class Stories:
    """The bounded index: document id -> signature and story, and the bands that lead to it. The oldest documents are forgotten first."""

    def __init__(self, most: int = 50_000) -> None:
        self._most = most
        self._documents: OrderedDict[str, tuple[Signature, str]] = OrderedDict()
        self._bands: list[dict[bytes, str]] = [{} for _ in range(BANDS)]

    def story_of(self, document: str, found: Signature | None) -> str:
        """The story of a document: the one it has, or that of the most similar one known, else its own id."""
        if document in self._documents:
            return self._documents[document][1]
        if found is None:
            return document
        candidates = {other for table, band in zip(self._bands, _bands(found), strict=True) if (other := table.get(band))}
        scored = [(float(np.mean(found == self._documents[other][0])), self._documents[other][1]) for other in sorted(candidates)]
        likeness, story = max(scored, default=(0.0, document), key=lambda pair: pair[0])
        return story if likeness >= ALIKE else document

    def add(self, document: str, found: Signature | None, story: str) -> None:
        """Remember that a document tells a story. The first document of a band keeps its place; a new version changes the signature only."""
        if found is None:
            return
        self._forget(document)
        self._documents[document] = (found, story)
        for table, band in zip(self._bands, _bands(found), strict=True):
            table.setdefault(band, document)
        if len(self._documents) > self._most:
            self._forget(next(iter(self._documents)))

    def _forget(self, document: str) -> None:
        known = self._documents.pop(document, None)
        if known is not None:
            for table, band in zip(self._bands, _bands(known[0]), strict=True):
                if table.get(band) == document:
                    del table[band]


def _bands(found: Signature) -> list[bytes]:
    rows = PERMUTATIONS // BANDS
    return [found[i : i + rows].tobytes() for i in range(0, PERMUTATIONS, rows)]
