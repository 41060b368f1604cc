"""Passages: a text cut into overlapping runs of whole sentences, each knowing where it stands. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shared.grounding import sentences

WORDS = 120  # a passage; with its title it fits the encoder's 256 word pieces
_BLOCK = 1500  # characters; a text of abbreviations alone would take the splitter quadratic time
_CHARS_PER_WORD = 8  # bounds texts that write no spaces between words


@dataclass(frozen=True)
class Passage:
    """`text` is the document's text[start:end], character for character."""

    start: int
    end: int
    text: str


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Where each sentence of the text begins and ends (characters), in order. A sentence longer than a passage is cut between words."""
    spans: list[tuple[int, int]] = []
    cursor = 0
    for sentence in (sentence for block in _blocks(text) for sentence in sentences(block)):
        start = -1
        for word in sentence.split(" "):  # sentences fold white space and change nothing else: word by word the text is met again
            at = text.find(word, cursor)
            start = at if start < 0 else start
            cursor = at + len(word)
        spans += _cut(text, start, cursor)
    return spans


def passages(text: str, words: int = WORDS) -> list[Passage]:
    """Runs of sentences of about `words` words, each beginning with the last sentence of the one before where there is room for it. A text without a
    sentence gives none."""
    spans = sentence_spans(text)
    sizes = [_size(text, *span) for span in spans]
    found: list[Passage] = []
    first = fresh = 0  # the passage begins at `first`; sentences before `fresh` stood in the one before
    while fresh < len(spans):
        end, room = first, float(words)
        while end < len(spans) and (end <= fresh or sizes[end] <= room):
            room -= sizes[end]
            end += 1
        found.append(_passage(text, spans[first:end]))
        fresh = end
        last = end - 1
        overlap = fresh < len(spans) and last > first and sizes[last] + sizes[fresh] <= words
        first = last if overlap else fresh
    return found


def rebuilt(parts: Sequence[Passage]) -> str:
    """The text that passages came from, exact wherever one stands; between them white space is spaces."""
    whole = [" "] * max((part.end for part in parts), default=0)
    for part in parts:
        whole[part.start : part.end] = part.text
    return "".join(whole)


def _blocks(text: str) -> Iterator[str]:
    """The text in blocks that end where a paragraph or a sentence does, as far as a look at the characters tells."""
    start = 0
    while len(text) - start > _BLOCK:
        piece = text[start : start + _BLOCK]
        ends = (piece.rfind(mark, _BLOCK // 2) + len(mark) for mark in ("\n\n", ". ", ".\n", "\n", " ") if mark in piece[_BLOCK // 2 :])
        end = next(ends, _BLOCK)
        yield piece[:end]
        start += end
    yield text[start:]


def _passage(text: str, spans: Sequence[tuple[int, int]]) -> Passage:
    start, end = spans[0][0], spans[-1][1]
    return Passage(start, end, text[start:end])


def _size(text: str, start: int, end: int) -> float:
    return max(len(text[start:end].split()), (end - start) / _CHARS_PER_WORD)


def _cut(text: str, start: int, end: int) -> list[tuple[int, int]]:
    longest = WORDS * _CHARS_PER_WORD
    spans: list[tuple[int, int]] = []
    while end - start > longest or (len(text[start:end].split()) > WORDS):
        piece = text[start : start + longest]
        words = piece.split(maxsplit=WORDS)
        at = len(piece) - len(words[WORDS]) if len(words) > WORDS else max(piece.rfind(" "), piece.rfind("\n"), 0) or len(piece)
        spans.append((start, start + len(text[start : start + at].rstrip())))
        start += at
        start += len(text[start:end]) - len(text[start:end].lstrip())
    return [*spans, (start, end)] if start < end else spans
