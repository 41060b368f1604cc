"""Grounding: what a document offers to choose from, and the JSON schema that lets a model choose nothing else.

A weak model invents; a schema whose enums are the document's own sentences, names, phrases and links makes provenance certain. Pure.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from shared.events import Link, Metadata
from shared.prompts import READ_CHARS

MAX_SENTENCE = 260  # characters; bounds the longest possible answer, so that generation always ends in time
MAX_SENTENCE_BYTES, MAX_NAME_BYTES = 400, 90  # of UTF-8: a byte-level tokenizer may need a token for each byte of a script it was not trained on
MAX_NAME = 60  # characters of an entity or a topic
LEAD, MAX_SENTENCES, MAX_ENTITIES, MAX_TOPICS, MAX_LINKS, MAX_ACTIONS = 6, 3, 10, 8, 4, 3

_SPACE = re.compile(r"\s+")
_ABBREVIATION = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|Prof|St|Sen|Rep|Gov|Gen|Inc|Ltd|Corp|Co|Jr|Sr|vs|etc|e\.g|i\.e|No|Fig|U\.S|U\.K|[A-Z])\.$")
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"'”’)\]]*\s+(?=[\"'“‘(\[]?[A-Z0-9À-Þ])|(?<=[。！？])\s*")
_NAME = re.compile(
    r"(?:[A-ZÀ-Þ][\w’'&.-]*[\w’']|[A-Z]{2,})(?:\s+(?:(?:of|for|and|the|de|van|von|der|la|du)\s+)?(?:[A-ZÀ-Þ0-9][\w’'&.-]*[\w’']|[A-Z]{2,}))*"
)
_POSSESSIVE = re.compile(r"['’]s$")
_WORD = re.compile(r"[^\W\d_][\w’'-]+")
_REQUEST = re.compile(
    r"\b(?:register|apply|submit|reply|respond|sign up|rsvp|update|upgrade|patch|install|renew|confirm|review|check|contact|call|send|join|vote|"
    r"download|rotate|restart|pay|book|return|report|deadline|due|must|should|urged to|asked to|advised to|needs? to|before|by)\b",
    re.IGNORECASE,
)
_DATE = re.compile(
    r"\b(?:\d{1,2}(?:st|nd|rd|th)?\s+)?(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*\.?(?:\s+\d{1,2})?\b|"
    r"\b(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day\b|\b(?:today|tonight|tomorrow|immediately|at once|as soon as possible|this week|next week)\b|\b\d{4}-\d\d-\d\d\b",
    re.IGNORECASE,
)
_IMPERATIVE = re.compile(
    r"^(?:please|register|apply|submit|reply|sign up|update|upgrade|patch|install|renew|confirm|review|check|contact|call|send|join|vote|download|"
    r"rotate|restart|book|return|report)\b",
    re.IGNORECASE,
)
STOP_WORDS = frozenset(
    """
    a about above after again against all also although am an and any are as at be because been before being below between both but by can
    cannot could did do does doing down during each even every few for from further get got had has have having he her here hers herself him
    himself his how however i if in into is it its itself just last like made make many may me might more most much must my myself new next
    no nor not now of off on once one only or other our ours out over own per said same say says she should since so some still such than
    that the their theirs them themselves then there these they this those through to too two under until up upon us use used using very was
    we were what when where which while who whom why will with within without would year years you your yours first week weeks day days
    month months today yesterday tomorrow people time way back well three four five monday tuesday wednesday thursday friday saturday sunday
    january february march april june july august september october november december
    """.split()
)


@dataclass(frozen=True)
class Candidates:
    """What the document offers: each value stands in it word for word (white space folded)."""

    sentences: list[str]
    entities: list[str]
    topics: list[str]
    links: list[str]
    actions: list[str]


def fold(text: str) -> str:
    """White space folded to single spaces: the form in which candidates are compared with the document."""
    return _SPACE.sub(" ", text).strip()


def sentences(text: str) -> list[str]:
    """Split prose into sentences, in order; abbreviations and initials do not end one. Pieces are folded, never rewritten."""
    pieces: list[str] = []
    for paragraph in re.split(r"\n\s*\n|\n(?=\s*[-*•\d])", text):
        start = 0
        folded = fold(paragraph)
        for match in _SENTENCE_END.finditer(folded):
            if _ABBREVIATION.search(folded, max(start, match.start() - 12), match.start()):  # near the end only: a long text must not cost its square
                continue
            pieces.append(folded[start : match.start()] + folded[match.start() : match.end()].rstrip())
            start = match.end()
        pieces.append(folded[start:])
    return [piece for piece in pieces if piece]


def entities(text: str) -> list[str]:
    """Names in the text, most frequent first, then in order: runs of capitalised words, less a sentence's own first word where nothing else says
    that it is a name."""
    counts: Counter[str] = Counter()
    for sentence in sentences(text):
        for match in _NAME.finditer(sentence):
            name = _POSSESSIVE.sub("", match.group().strip(" .,'’-"))
            first, *rest = name.split(" ")
            if match.start() <= 1 and (first.lower() in STOP_WORDS or not rest):
                if not rest:
                    continue  # a single capitalised word at the start of a sentence is as often a plain word
                name = " ".join(rest)
            if len(name) > 1 and name.lower() not in STOP_WORDS and _short(name):
                counts[name] += 1
    names = list(counts)
    for name in names:  # "Rivera" counts towards "Ana Rivera"
        longer = next((other for other in names if other != name and re.search(rf"\b{re.escape(name)}\b", other)), None)
        if longer:
            counts[longer] += counts.pop(name)
    return [name for name, _ in counts.most_common()]


def topics(title: str, text: str) -> list[str]:
    """Key phrases: runs of content words, scored by frequency, by standing in the title, and by length (the idea of RAKE, Rose et al. 2010)."""
    body = fold(f"{title}. {text}")
    words = Counter(word.lower() for word in _WORD.findall(body) if word.lower() not in STOP_WORDS)
    in_title = {word.lower() for word in _WORD.findall(title)}
    phrases: dict[str, float] = {}
    for chunk in re.split(r"[^\w\s’'-]+", body):
        for run in _runs(chunk.split()):
            for size in (3, 2, 1):
                for i in range(len(run) - size + 1):
                    part = run[i : i + size]
                    if len(part[0]) < 3 or len(part[-1]) < 3 or (size == 1 and len(part[0]) < 5):
                        continue
                    score = sum(words[w.lower()] + 1.5 * (w.lower() in in_title) for w in part) / size**0.5
                    if _short(phrase := " ".join(part)):
                        phrases.setdefault(phrase, score)
    chosen: list[str] = []
    for phrase, _ in sorted(phrases.items(), key=lambda item: -item[1]):
        tokens = set(phrase.lower().split())
        if all(len(tokens & set(other.lower().split())) * 2 < len(tokens) + 1 for other in chosen):
            chosen.append(phrase)
        if len(chosen) == MAX_TOPICS:
            break
    return chosen


def _runs(words: list[str]) -> Iterable[list[str]]:
    run: list[str] = []
    for word in words:
        if word.lower() in STOP_WORDS or not _WORD.fullmatch(word):
            if run:
                yield run
            run = []
        else:
            run.append(word)
    if run:
        yield run


def candidates(title: str, text: str, links: Sequence[Link]) -> Candidates:
    """What a document offers, bounded in number and length. An empty document offers its title as the one sentence."""
    lead = text[: READ_CHARS * 2]
    whole = sentences(lead)
    usable = [_cut(s) for s in whole if len(s) >= 25 and not s.lower().startswith(("unsubscribe", "view in browser"))]
    told = topics(title, lead)
    summary = telling(title, told, _unique(usable)[:LEAD]) or _unique([_cut(fold(title)), *(_cut(s) for s in whole)])[:1] or ["(no text)"]
    actions = [s for s in usable_actions(whole) if s == _cut(s)][:MAX_ACTIONS]
    urls = _unique([link.url for link in links if link.url.startswith(("http://", "https://")) and len(link.url) <= 200])[:MAX_LINKS]
    return Candidates(summary, entities(f"{title}.\n\n{lead}")[:MAX_ENTITIES], told, urls, actions)


def _cut(sentence: str) -> str:
    return sentence[:MAX_SENTENCE].encode(errors="ignore")[:MAX_SENTENCE_BYTES].decode(errors="ignore").strip()


def _short(name: str) -> bool:
    return len(name) <= MAX_NAME and len(name.encode(errors="ignore")) <= MAX_NAME_BYTES


def telling(title: str, told: Sequence[str], lead: Sequence[str]) -> list[str]:
    """The sentences of the lead that a summary may be chosen from, in their order: those that share most with the title and the key phrases, the
    first ones preferred. A weak model chooses no better than chance, so what it may choose from must be good throughout."""
    named = {word.lower() for word in _WORD.findall(title)} - STOP_WORDS
    phrased = {word.lower() for phrase in told for word in phrase.split()} - named

    def worth(place: int) -> float:
        words = {word.lower() for word in _WORD.findall(lead[place])}
        fits = 1.0 if 50 <= len(lead[place]) < MAX_SENTENCE else 0.0
        return 2 * len(words & named) + len(words & phrased) + fits + max(0.0, 2.0 - place)

    best = sorted(range(len(lead)), key=worth, reverse=True)[:MAX_SENTENCES]
    return [lead[place] for place in sorted(best)]


def usable_actions(whole: Sequence[str]) -> list[str]:
    """Sentences that ask somebody to do something: an imperative, or a request with a date."""
    return _unique([s for s in whole if len(s) >= 15 and (_IMPERATIVE.match(s) or (_REQUEST.search(s) and _DATE.search(s) and _asks(s)))])


def _asks(sentence: str) -> bool:
    return bool(re.search(r"\b(?:you|your|must|should|please|urged|asked|advised|deadline|due|need|needs)\b", sentence, re.IGNORECASE))


def _unique(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(value for value in values if value))


def metadata_schema(offered: Candidates, labels: dict[str, str], *, free_summary: bool = False) -> dict[str, Any]:
    """JSON schema of Metadata for one document: every value an enum of what the document offers, the labels pinned to the verdict.

    The properties stand in the order in which they are written; lists are bounded, so the longest answer is known. `free_summary` leaves the
    summary to a strong model.
    """

    def some(values: list[str], most: int, least: int = 0) -> dict[str, Any]:
        if not values:
            return {"type": "array", "items": {"type": "string", "enum": [""]}, "minItems": 0, "maxItems": 0}
        return {"type": "array", "items": {"type": "string", "enum": values}, "minItems": min(least, len(values)), "maxItems": min(most, len(values))}

    summary = {"type": "string", "minLength": 20, "maxLength": 400} if free_summary else {"type": "string", "enum": offered.sentences}
    properties = {
        "summary": summary,
        "key_topics": some(offered.topics, 4, 1),
        "entities": some(offered.entities, 5),
        "action_items": some(offered.actions, 2),
        "related_links": some(offered.links, 3),
        "sentiment": {"type": "string", "enum": [labels.get("sentiment", "neutral")]},
        "urgency_level": {"type": "string", "enum": [labels.get("urgency", "normal")]},
        "categories": {"type": "array", "items": {"type": "string", "enum": [labels.get("category", "world")]}, "minItems": 1, "maxItems": 1},
    }
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def read_metadata(answer: str, offered: Candidates, *, free_summary: bool = False) -> Metadata:
    """Parse a model's answer. Raises ValueError where it is not the form, or holds what the document does not offer.

    A grammar can't forbid that a list says a thing twice, and a small model does. A repeated name or topic gives its place to the first offered one that
    is not said (they stand in the order of their weight): the model said how many it wanted. Repeated requests and links are dropped.
    """
    found = Metadata.model_validate_json(answer)
    for field, allowed in (
        ("entities", offered.entities),
        ("key_topics", offered.topics),
        ("action_items", offered.actions),
        ("related_links", offered.links),
    ):
        if strange := [value for value in getattr(found, field) if value not in allowed]:
            raise ValueError(f"{field} holds what the document does not: {strange[0]!r}")
    if not free_summary and found.summary not in offered.sentences:
        raise ValueError(f"the summary is not a sentence of the document: {found.summary[:60]!r}")
    told = {name: _unique(getattr(found, name)) for name in ("key_topics", "entities", "action_items", "related_links", "categories")}
    for name, allowed in (("key_topics", offered.topics), ("entities", offered.entities)):
        unsaid = [value for value in allowed if value not in told[name]]
        told[name] += unsaid[: len(getattr(found, name)) - len(told[name])]
    return found.model_copy(update=told)
