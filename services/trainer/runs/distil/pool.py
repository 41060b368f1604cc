"""Texts without labels, for the teacher to label: sentences of our own texts, our texts with other words in them, and the comments of GoEmotions (Demszky
et al. 2020; CC BY 4.0; their words, not their labels)."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from services.trainer.runs.heads.examples import Example
from shared.grounding import sentences

MOST_CHARS = 400
NEAR = 0.6  # as tests/unit/trainer/test_heads.py holds the labelled texts to
NOT_USED = re.compile(r"unstoppabl|https?:|www\.", re.IGNORECASE)  # the first is measured with (docs/classifier.md)
_HIDDEN = {"[NAME]": "Alex", "[RELIGION]": "Christian"}  # what stands for words that were taken out


def gathered(
    examples: Sequence[Example], taught: Sequence[Example], data: Path, others: Iterable[str] = (), apart: Iterable[str] = ()
) -> list[tuple[str, str]]:
    """(source, text), each text once, none of the labelled ones (`examples`) among them and none that is nearly like one of `apart`. `taught`: those whose
    sentences may be used; `others`: those with other words. Raises OSError where GoEmotions is not in the data folder."""
    seen = {plain(one.text) for one in examples}
    alike = Alike(apart)
    found = []
    for source, texts in (("sentence", parts(taught)), ("comment", comments(data)), ("changed", others)):
        for text in texts:
            key = plain(text)
            if key and key not in seen and len(text) <= MOST_CHARS and not NOT_USED.search(text) and not alike.to(key):
                seen.add(key)
                found.append((source, text))
    return found


class Alike:
    """Whether a text is nearly like one of a few: Jaccard of the words NEAR or more."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = [frozenset(plain(text).split()) for text in texts]
        self._holding: dict[str, list[int]] = {}
        for place, words in enumerate(self._texts):
            for word in words:
                self._holding.setdefault(word, []).append(place)

    def to(self, text: str) -> bool:
        words = frozenset(text.split())
        shared = Counter(place for word in words for place in self._holding.get(word, ()))
        return any(number >= NEAR * (len(words) + len(self._texts[place]) - number) for place, number in shared.items())


def parts(examples: Sequence[Example]) -> Iterator[str]:
    """The sentences of texts that have several."""
    for one in examples:
        several = sentences(one.text)
        if len(several) > 1:
            yield from (text.strip() for text in several if len(text.split()) >= 3)


def comments(data: Path) -> Iterator[str]:
    """The comments of GoEmotions' train split."""
    for line in (data / "goemotions" / "train.jsonl").read_text(encoding="utf-8").splitlines():
        text = json.loads(line)["text"].strip()
        for mark, word in _HIDDEN.items():
            text = text.replace(mark, word)
        yield text


def plain(text: str) -> str:
    """A text without case, marks and spaces, to know it again."""
    return " ".join(re.findall(r"\w+", text.lower()))
