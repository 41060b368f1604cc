"""Texts without labels, for the teacher to label: sentences of our own texts, comments of GoEmotions (Demszky et al. 2020; CC BY 4.0; their words, not their
labels), and what a small language model wrote."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from services.trainer.runs.distil.writer import NOT_WRITTEN, lines, plain
from services.trainer.runs.heads.examples import Example
from shared.grounding import sentences

MOST_CHARS = 400
_HIDDEN = {"[NAME]": "Alex", "[RELIGION]": "Christian"}  # what stands for words that were taken out


def gathered(examples: Sequence[Example], data: Path, made: Path | None) -> list[tuple[str, str]]:
    """(source, text), each text once and none of the labelled ones among them. `made`: JSON lines of what was written. Raises OSError where a file is
    missing."""
    seen = {plain(one.text) for one in examples}
    found = []
    for source, texts in (("sentence", parts(examples)), ("comment", comments(data)), ("written", from_file(made))):
        for text in texts:
            key = plain(text)
            if key and key not in seen and len(text) <= MOST_CHARS and not NOT_WRITTEN.search(text):
                seen.add(key)
                found.append((source, text))
    return found


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


def from_file(made: Path | None) -> Iterator[str]:
    """What services.trainer.runs.distil.writer wrote."""
    for line in made.read_text(encoding="utf-8").splitlines() if made else ():
        yield from lines(json.loads(line)["text"] + "\n")
