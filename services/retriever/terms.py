"""BM25 as a sparse vector: Qdrant multiplies the query's terms by their rarity (Modifier.IDF), so a passage carries only its saturated counts. Pure.

Computed here because the embedded engine can't make such vectors without a download, and a server before 1.15 can't at all.
"""

import hashlib
import re
from collections import Counter

from shared.grounding import STOP_WORDS

K1, B, MEAN_LENGTH = 1.2, 0.75, 100  # the usual constants; the mean length of a passage in terms is near enough fixed by how passages are cut
_TERM = re.compile(r"\w+(?:[-.'’]\w+)*")


def terms(text: str) -> list[str]:
    """Lower-cased words, stop words left out. A compound (CVE-2026-1234, 3.1.4, node.js) is a term itself, and so are its parts."""
    found: list[str] = []
    for word in _TERM.findall(text.lower()):
        parts = re.split(r"[-.'’]", word)
        found += [word, *parts] if len(parts) > 1 else parts
    return [term for term in found if term not in STOP_WORDS and (len(term) > 1 or term.isdigit())]


def passage_vector(text: str) -> tuple[list[int], list[float]]:
    """Indices and weights for a passage: each term's count, saturated, and less in a longer passage."""
    counts = Counter(terms(text))
    norm = K1 * (1 - B + B * sum(counts.values()) / MEAN_LENGTH)
    weights: dict[int, float] = {}
    for term, count in counts.items():
        index = _index(term)
        weights[index] = weights.get(index, 0.0) + count * (K1 + 1) / (count + norm)
    indices = sorted(weights)
    return indices, [weights[index] for index in indices]


def query_vector(text: str) -> tuple[list[int], list[float]]:
    """Indices and weights for a query: each of its terms once. Empty where it holds none."""
    indices = sorted({_index(term) for term in terms(text)})
    return indices, [1.0] * len(indices)


def _index(term: str) -> int:
    return int.from_bytes(hashlib.blake2b(term.encode(), digest_size=4).digest(), "big")
