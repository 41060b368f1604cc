"""Near-duplicates between the texts that are learnt from and those that are tested on: a test text that stands in training measures memory. Pure.

MinHash over runs of three words (Broder 1997), by ingest's own signatures (services.ingest.likeness), without what those say of figures and names: the
same template with another figure in it is a near-duplicate here.
"""

import re
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from services.ingest.likeness import SKETCH, Signature, signature

ALIKE = 0.5  # share of common runs of words (Jaccard) from which two texts are one
WITHIN, LEAST_WITHIN = 0.8, 12  # or the share of the shorter one's, of at least so many: one stands in the other
_WORD = re.compile(r"\w+")


class Known:
    """Texts to compare with. `add` them, then ask whether one that is `like` a text was among them."""

    def __init__(self, texts: Sequence[str] = ()) -> None:
        self._exact: set[tuple[str, ...]] = set()
        self._signatures: list[Signature] = []
        self._by_band: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        for text in texts:
            self.add(text)

    def add(self, text: str) -> None:
        self._exact.add(_words(text))
        if (found := signature("", text)) is not None:
            for band in enumerate(found.bands.tolist()):
                self._by_band[band].append(len(self._signatures))
            self._signatures.append(found)

    def like(self, text: str) -> bool:
        """Whether a text that was added has the same words, or nearly."""
        if _words(text) in self._exact:
            return True
        if (found := signature("", text)) is None:
            return False  # too short to be compared otherwise
        candidates = {number for band in enumerate(found.bands.tolist()) for number in self._by_band.get(band, ())}
        return any(alike(found, self._signatures[number]) for number in sorted(candidates))


def alike(one: Signature, other: Signature) -> bool:
    """Whether two texts share so many runs of words, estimated from their sketches, that one is nearly the other or stands in it."""
    ends = [int(sketch[-1]) for sketch in (one.sketch, other.sketch) if len(sketch) == SKETCH]
    end = min(ends, default=1 << 32)  # both sketches hold all the hashes up to here
    first, second = (sketch[: np.searchsorted(sketch, end, side="right")] for sketch in (one.sketch, other.sketch))
    shorter = min(len(first), len(second))
    common = len(np.intersect1d(first, second, assume_unique=True))
    if not common:
        return False
    return common / (len(first) + len(second) - common) >= ALIKE or (shorter >= LEAST_WITHIN and common / shorter >= WITHIN)


def distinct(texts: Sequence[str], known: Known) -> list[int]:
    """Places of the texts that are like none that is known and none before them; these are added to what is known."""
    kept = []
    for place, text in enumerate(texts):
        if not known.like(text):
            known.add(text)
            kept.append(place)
    return kept


def _words(text: str) -> tuple[str, ...]:
    """Folded words; of a text without any, the text itself, so that two of those are not one."""
    return tuple(_WORD.findall(text.casefold())) or (text.strip(),)
