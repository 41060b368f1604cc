"""Which words mattered: those without which the head gives the decided label a clearly lower probability (occlusion; Zeiler & Fergus 2014, and Li et al.
2016, Understanding Neural Networks through Representation Erasure, for words).

One batch of at most MOST texts and the original, whatever the length: a long text is taken apart into runs of words of one sentence instead of words. It
tells what moved the head, which is one of the parts, and nothing of the language model.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from shared.events import Decision, Span
from shared.grounding import STOP_WORDS
from shared.heads import READ_CHARS, head_text
from shared.pooling import LEAST

MOST = 30  # re-encodings for one text: with the original 31 of 256 word pieces at most, which the encoder reads as one batch (MOST_TOKENS there)
SHOWN = 5  # spans for one task
LEAST_FALL = 0.3  # in log-odds, which is a factor of 1.35 in the odds: a word that moves them less explains nothing to a person
Scores = Mapping[str, Mapping[str, float]]  # task -> label -> probability
_WORD = re.compile(r"\w+(?:['’.-]\w+)*")
_END = re.compile(r"[.!?;:\n…]")


def mattered(title: str, text: str, decisions: Mapping[str, Decision], ask: Callable[[Sequence[str]], Sequence[Scores]]) -> dict[str, list[Span]]:
    """Task -> the spans that mattered, the weightiest first, of the tasks that the head had a voice in. `ask` gives the head's scores of texts that are
    encoded in one batch. Empty where no words stand out."""
    return moved(title, text, {task: one.label for task, one in decisions.items() if one.by in ("neural", "fusion") and one.label}, ask)


def moved(title: str, text: str, asked: Mapping[str, str], ask: Callable[[Sequence[str]], Sequence[Scores]]) -> dict[str, list[Span]]:
    """Task -> the words that moved the head most towards the label that is asked about, the weightiest first; of the tasks and labels that it answers."""
    places = pieces(title, text)
    if not asked or not places:
        return {}
    whole, *without = ask([head_text(title, text), *(_without(title, text, place) for place in places)])
    found = {}
    for task, label in asked.items():
        if label in (before := whole.get(task, {})):
            after = [(scores[task][label], place) for scores, place in zip(without, places, strict=True)]
            after = [(p, place) for p, place in after if _log_odds(before[label]) - _log_odds(p) >= LEAST_FALL]
            best = sorted(after, key=lambda pair: (pair[0], pair[1].field != "title", pair[1].start))[:SHOWN]
            found[task] = [place.model_copy(update={"drop": round(before[label] - p, 4)}) for p, place in best]
    return found


def _log_odds(p: float) -> float:
    bounded = min(max(p, LEAST), 1 - LEAST)
    return math.log(bounded / (1 - bounded))


def pieces(title: str, text: str) -> list[Span]:
    """What is left out in turn: the words of what the head reads; in a long text runs of words, never across the end of a sentence. At most MOST. Words
    such as "the" are left out only with others: a sentence without its "on" is another kind of sentence, and that tells nothing of "on"."""
    left = max(0, READ_CHARS - len(title.strip()) - 2) + len(text) - len(text.lstrip())
    words = [span for field, whole in (("title", title), ("text", text[:left])) for span in _words(field, whole)]
    size, of = 1, {"title": title, "text": text}
    while len(runs := _runs(words, size, of)) > MOST and size < len(words):
        size *= 2
    return runs[:MOST]  # more only where there are more sentences than that: the last ones are not tried


def _words(field: str, whole: str) -> list[Span]:
    return [Span.model_validate({"field": field, "start": m.start(), "end": m.end(), "words": m.group()}) for m in _WORD.finditer(whole)]


def _runs(words: Sequence[Span], size: int, of: Mapping[str, str]) -> list[Span]:
    """Neighbouring words of one sentence, `size` at a time."""
    if not words:
        return []
    runs = [[words[0]]]
    for before, word in pairwise(words):
        apart = word.field != before.field or _END.search(of[word.field][before.end : word.start])
        if apart or len(runs[-1]) == size:
            runs.append([])
        runs[-1].append(word)
    telling = [run for run in runs if any(word.words.casefold() not in STOP_WORDS for word in run)]
    return [
        run[0].model_copy(update={"end": run[-1].end, "words": of[run[0].field][run[0].start : run[-1].end]})  # as it stands, with what is between
        for run in telling
    ]


def _without(title: str, text: str, place: Span) -> str:
    if place.field == "title":
        return head_text(title[: place.start] + title[place.end :], text)
    return head_text(title, text[: place.start] + text[place.end :])
