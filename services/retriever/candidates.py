"""Which sentences of the passages found might answer a question, and how well. Pure: similarities are handed in."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import log

from services.retriever.passages import sentence_spans
from services.retriever.shapes import Hit
from services.retriever.terms import terms
from shared.grounding import fold

MOST = 3  # sentences offered to the LLM: the bundled one chooses no better than chance, so each must do
THRESHOLD = 0.44  # below it a sentence is about something else: on deploy/sample answerable questions reach 0.47, the others stay under 0.41
NEAR = 0.85  # a candidate scores at least this share of the best one
_OVERLAP = 0.35  # weight of shared words beside similarity of meaning
_LONGEST, _SHORTEST, _OFFERED_CHARS = 320, 20, 1600  # two of the longest fit into the tokens of an answer
_TWO_IN_ONE = re.compile(
    r"[,;]\s*(?:and|or|but)\s+(?=(?:in\s+)?(?:what|which|who|whom|whose|when|where|why|how|is|are|was|were|did|does|do|can)\b)", re.I
)
_ASKING = frozenset("what which who whom whose when where why how tell name list find give explain describe happened happen did does".split())


@dataclass(frozen=True)
class Candidate:
    """A sentence (white space folded) of a passage found."""

    sentence: str
    hit: Hit
    score: float = 0.0


def parts(question: str) -> list[str]:
    """The question, and where it asks two things ("which …, and why …?") each of them: no one sentence is near to both."""
    clauses = [clause.strip(" ?") for clause in _TWO_IN_ONE.split(question)]
    return [question, *(f"{clause}?" for clause in clauses if len(clause.split()) >= 4 and clause != question.strip(" ?"))]


def offered(hits: Sequence[Hit]) -> list[Candidate]:
    """Every usable sentence of the passages, in their order; one that several sources tell word for word once."""
    found: dict[str, Candidate] = {}
    for hit in hits:
        for start, end in sentence_spans(hit.passage):
            sentence = fold(hit.passage[start:end])
            if _SHORTEST <= len(sentence) <= _LONGEST and not sentence.endswith("?"):
                found.setdefault(sentence, Candidate(sentence, hit))
    return list(found.values())


def ranked(question: str, found: Sequence[Candidate], alone: Sequence[float], titled: Sequence[float]) -> list[Candidate]:
    """The candidates worth offering, best first; none where no sentence comes near the question.

    `alone` and `titled` say how near each sentence is to the question (cosine), by itself and under its document's title.
    """
    wanted = _weights(question, found)
    scored = []
    for candidate, near, near_titled in zip(found, alone, titled, strict=True):
        own = _stems(candidate.sentence)
        title = own | _stems(candidate.hit.title)
        passage = title | _stems(candidate.hit.passage)
        shared = sum(weight * (2 * (term in own) + (term in title) + (term in passage)) / 4 for term, weight in wanted.items())
        score = (1 - _OVERLAP) * (near + near_titled) / 2 + _OVERLAP * shared
        scored.append(Candidate(candidate.sentence, candidate.hit, round(score, 4)))
    scored.sort(key=lambda candidate: -candidate.score)
    best = scored[0].score if scored else 0.0
    chosen: list[Candidate] = []
    for candidate in scored[:MOST]:
        room = _OFFERED_CHARS - sum(len(other.sentence) for other in chosen)  # all that is offered must stand in the prompt
        if candidate.score >= max(THRESHOLD, NEAR * best) and len(candidate.sentence) <= room:
            chosen.append(candidate)
    return chosen


def _weights(question: str, found: Sequence[Candidate]) -> dict[str, float]:
    """How much each word of the question counts, one in all: the rarer among the passages found, the more. A name that none of them holds counts
    most, so that a question about something else is known by it."""
    passages = [_stems(f"{hit.title} {hit.passage}") for hit in {id(one.hit): one.hit for one in found}.values()]
    words = {_stem(term) for term in terms(question) if term not in _ASKING}
    weights = {word: log(1 + len(passages) / (sum(word in passage for passage in passages) + 0.5)) for word in words}
    whole = sum(weights.values()) or 1.0
    return {word: weight / whole for word, weight in weights.items()}


def _stems(text: str) -> set[str]:
    return {_stem(term) for term in terms(text)}


def _stem(term: str) -> str:
    """Crude on purpose: 'announces', 'announced' and 'announce' meet, and nothing has to be learnt or downloaded."""
    return re.sub(r"(?:ing|ed|es|s|e)$", "", term) if len(term) > 4 else term
