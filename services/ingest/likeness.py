"""How alike two texts are, and whether they tell the same facts: what a template with other figures and names in it is told apart by."""

import re
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.events import DocumentIngested

Hashes = NDArray[np.uint32]
SKETCH = 192  # shingles that are kept of a text, those of the smallest hashes: likeness is estimated to about 0.04
LEAD_WORDS = 60
ROWS, WHOLE_BANDS, LEAD_BANDS = 2, 24, 6
LEAST_WORDS = 8  # shorter texts ("Read more") are alike without being one story
_MOST_TEXT = 20_000  # characters
_FACTS = 96  # figures, and names, that are kept
_ALIKE = 0.42  # share of common shingles from which two texts are one
_WITHIN, _LEAST_WITHIN = 0.5, 18  # or the share of the shorter one's, of at least so many: an excerpt, or one with other things around it
_TOLD_ANEW = 0.25  # or of this, where the facts agree besides
_ENOUGH, _NEARLY_ALL = 4, 0.75  # facts: what they agree in
_SAME_FIGURES, _SAME_NAMES = 0.6, 0.4  # least shares of the shorter list; names are written differently from house to house, figures are not
_WORDS = re.compile(r"\w+")
_FIGURE = re.compile(r"\d(?:[\d.,:/-]*\d)?")
_NAME = re.compile(r"(?<![.!?:•\n\"“(] )(?<![\n•\"“(])\b([^\W\d_]{2,})")
_PRIME = np.uint64((1 << 31) - 1)
_random = np.random.default_rng(20_240_601)  # fixed: signatures must agree between processes
_A = _random.integers(1, int(_PRIME), (WHOLE_BANDS + LEAD_BANDS) * ROWS, dtype=np.uint64)
_B = _random.integers(0, int(_PRIME), (WHOLE_BANDS + LEAD_BANDS) * ROWS, dtype=np.uint64)


@dataclass(frozen=True)
class Signature:
    """What is kept of a text. `bands` bring together texts that are probably alike; `url` is the page where it stands, `teller` the source."""

    bands: NDArray[np.uint64]
    sketch: Hashes
    figures: Hashes
    names: Hashes
    url: str = ""
    teller: str = ""


def signature(title: str, text: str, url: str = "", teller: str = "") -> Signature | None:
    """The signature of a document, None where it is too short to tell and has no address. Well under a millisecond for a page of text."""
    text = text[:_MOST_TEXT]
    words = _WORDS.findall(f"{title} {text}".casefold())
    if len(words) < LEAST_WORDS:
        empty = np.empty(0, np.uint32)
        return Signature(np.empty(0, np.uint64), empty, empty, empty, url, teller) if url else None
    whole = _shingles(words)
    # a text's beginning by itself: that is what an excerpt has
    lead = _shingles(_WORDS.findall(text[: LEAD_WORDS * 12].casefold())[:LEAD_WORDS])
    cut = WHOLE_BANDS * ROWS
    minima = np.concatenate([_minima(whole, slice(0, cut)), _minima(lead if len(lead) else whole, slice(cut, None))])
    return Signature(_bands(minima), np.sort(whole)[:SKETCH], _figures(f"{title}\n{text}"), _names(text), url, teller)


def likeness(one: Signature, other: Signature) -> float:
    """How alike two texts are, 0 to 1; 0 where they are too little so to tell one story, or tell other facts."""
    if not len(one.sketch) or not len(other.sketch):
        return 0.0
    # both sketches hold all the shingles with hashes up to the smaller of their ends
    ends = [int(sketch[-1]) for sketch in (one.sketch, other.sketch) if len(sketch) == SKETCH]
    end = min(ends, default=1 << 32)
    first, second = (sketch[: np.searchsorted(sketch, end, side="right")] for sketch in (one.sketch, other.sketch))
    if not len(first) or not len(second):
        return 0.0
    common = len(np.intersect1d(first, second, assume_unique=True))
    shorter = min(len(first), len(second))
    alike, within = common / (len(first) + len(second) - common), common / shorter
    if within < _TOLD_ANEW or _differ(one.figures, other.figures, _SAME_FIGURES) or _differ(one.names, other.names, _SAME_NAMES):
        return 0.0
    if alike >= _ALIKE or (within >= _WITHIN and shorter >= _LEAST_WITHIN):
        return max(alike, within)
    return within if shorter >= _LEAST_WITHIN and _agree(one, other) else 0.0


def _agree(one: Signature, other: Signature) -> bool:
    """Whether nearly all facts of the one with fewer are in the other, and they are enough to name an event."""
    common = fewer = 0
    for first, second in ((one.figures, other.figures), (one.names, other.names)):
        common += len(np.intersect1d(first, second, assume_unique=True))
        fewer += min(len(first), len(second))
    return common >= _ENOUGH and common >= _NEARLY_ALL * fewer


def _differ(one: Hashes, other: Hashes, least: float) -> bool:
    """Whether at least two of the shorter list's facts are missing in the longer one, and they are too many."""
    shorter = min(len(one), len(other))
    common = len(np.intersect1d(one, other, assume_unique=True))
    return shorter - common >= 2 and common < least * shorter


def _hashed(values: list[str]) -> Hashes:
    return np.unique(np.fromiter((zlib.crc32(value.encode("utf-8", "replace")) for value in values), np.uint32, len(values)))


def _shingles(words: list[str]) -> Hashes:
    return _hashed([" ".join(words[i : i + 3]) for i in range(len(words) - 2)])


def _minima(shingles: Hashes, part: slice) -> NDArray[np.uint64]:
    hashes = shingles.astype(np.uint64) & np.uint64(0x7FFFFFFF)
    return ((np.outer(_A[part], hashes) + _B[part][:, None]) % _PRIME).min(axis=1)


def _bands(minima: NDArray[np.uint64]) -> NDArray[np.uint64]:
    rows = np.ascontiguousarray(minima.astype(np.uint32)).reshape(-1, ROWS)
    return np.array([zlib.crc32(row.tobytes()) for row in rows], np.uint64)


def _figures(text: str) -> Hashes:
    return _hashed(list(dict.fromkeys(_FIGURE.findall(text)))[:_FACTS])


def _names(text: str) -> Hashes:
    """Words with a capital that do not begin a sentence."""
    return _hashed(list(dict.fromkeys(word.casefold() for word in _NAME.findall(text) if word[0].isupper()))[:_FACTS])


def signature_of(document: DocumentIngested) -> Signature | None:
    """The signature of a document as it is told: by its source, or the newsletter within it, under its address."""
    return signature(document.title, document.text, document.url, f"{document.source.id}\n{document.channel}")
