"""Near-duplicates by word shingles (Broder 1997): a held-out text that mostly stands in a training text measures memory. Pure."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping

SIZE = 8  # words of a shingle
SAME = 0.5  # share of a text's shingles that stand in one other text: from here on it is the same text told again
_WORD = re.compile(r"\w+")


def shingles(text: str) -> set[int]:
    """Hashes of every eight words in a row, letters and digits only, lower case; a shorter text is one shingle."""
    words = _WORD.findall(text.lower())
    return {hash(tuple(words[at : at + SIZE])) for at in range(max(1, len(words) - SIZE + 1))}


def told_again(texts: Mapping[str, str], others: Iterable[str]) -> set[str]:
    """Names of the texts of which at least half the shingles stand in one of the others."""
    own = {name: shingles(text) for name, text in texts.items()}
    where: dict[int, list[str]] = {}
    for name, marks in own.items():
        for mark in marks:
            where.setdefault(mark, []).append(name)
    known, found = set(where), set[str]()
    for other in others:
        counts = Counter(name for mark in known & shingles(other) for name in where[mark])
        found |= {name for name, count in counts.items() if count >= SAME * len(own[name])}
    return found


def distinct(texts: Mapping[str, str]) -> list[str]:
    """Names of the texts, in order, without those that tell again what one before them told."""
    kept: list[tuple[str, set[int]]] = []
    for name, text in texts.items():
        marks = shingles(text)
        if all(len(marks & other) < SAME * min(len(marks), len(other)) for _, other in kept):
            kept.append((name, marks))
    return [name for name, _ in kept]
