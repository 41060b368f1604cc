"""How the words of a rule are found in a text: folded alike, at word boundaries, with the sentence, the negation and the quotation around them."""

import re
from collections.abc import Iterable

_QUOTES = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "`": "'", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"'})
_APOSTROPHE = re.compile(r"(?<=\w)'(?=\w)")
_PARAGRAPH = re.compile(r"\n\s*\n")
_SENTENCE_END = re.compile(r"[.!?…]+(?=[\s\"')]|$)|\n")
_FIRST_PERSON = re.compile(r"(?<!\w)(?:i|im|ive|id|ill|me|my|mine|myself)(?!\w)")
_ATTRIBUTION = re.compile(
    r"(?<!\w)(?:said|says|say|told|tells|wrote|writes|sings|sang|sung|cried|shouted|lyrics?|chorus|song|line|novel|film|play|"
    r"character|quote[sd]?|asked|recalled|recalls|testified|according|posted|texted|read)(?!\w)"
)
NEGATION_REACH = 2  # words that may stand between a negation and what it negates
SENTENCE_REACH = 300  # characters looked at on either side of a hit, so that a text without full stops costs no more than another
QUOTE_REACH = 1000


def fold(text: str) -> str:
    """The text as rules see it: lower case, plain quotes, no apostrophes inside words ("don't" -> "dont"), single spaces; \\n between paragraphs."""
    plain = _APOSTROPHE.sub("", text.translate(_QUOTES).casefold())
    return "\n".join(" ".join(part.split()) for part in _PARAGRAPH.split(plain)).strip()


def words(phrases: Iterable[str]) -> str:
    """A regular expression that matches any of the phrases at word boundaries, the longest first. The phrases must be folded."""
    longest_first = sorted(set(phrases), key=lambda phrase: (-len(phrase), phrase))
    return rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)"


def sentence(text: str, start: int, end: int) -> tuple[int, int]:
    """Where the sentence begins and ends that text[start:end] stands in, SENTENCE_REACH characters away at most."""
    begin, stop = max(0, start - SENTENCE_REACH), min(len(text), end + SENTENCE_REACH)
    for mark in _SENTENCE_END.finditer(text, begin, stop):
        if mark.end() <= start:
            begin = mark.end()
        elif mark.start() >= end:
            stop = mark.start()
            break
    return begin, stop


def negation(phrases: Iterable[str]) -> re.Pattern[str]:
    """Matches at the end of what stands before a hit where one of the phrases negates it: close by, with no comma between."""
    return re.compile(rf"{words(phrases)}(?:\s+[\w-]+){{0,{NEGATION_REACH}}}\s*$")


def somebody_elses_words(text: str, start: int, end: int) -> bool:
    """True where text[start:end] stands in quotation marks, and around them somebody else is named as the speaker and nobody says "I"."""
    left = max(text.rfind("\n", 0, start) + 1, start - QUOTE_REACH)
    right = text.find("\n", end, end + QUOTE_REACH)
    right = min(len(text), end + QUOTE_REACH) if right < 0 else right
    before, after = text[left:start], text[end:right]
    if before.count('"') % 2 == 0 or '"' not in after:
        return False
    outside = " ".join(text[left:right].split('"')[::2])
    return bool(_ATTRIBUTION.search(outside)) and not _FIRST_PERSON.search(outside)


class Phrases:
    """Many phrases looked for at once, each found wherever it stands, also inside a longer one of them."""

    def __init__(self, phrases: Iterable[str]) -> None:
        known = set(phrases)
        # one alternation finds the longest phrase at a place; those that begin alike and end earlier are known beforehand
        self._shorter = {p: [q for q in known if p == q or (p.startswith(q) and not (p[len(q)].isalnum() or p[len(q)] == "_"))] for p in known}
        self._pattern = re.compile(f"(?=({words(known)}))") if known else None

    def find(self, text: str) -> list[tuple[str, int]]:
        """(phrase, where it begins) for every phrase in the folded text, in order of place."""
        if self._pattern is None:
            return []
        return [(phrase, found.start()) for found in self._pattern.finditer(text) for phrase in sorted(self._shorter[found[1]])]
