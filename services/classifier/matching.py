"""How the words of thousands of rules are found in a text in time that grows with the text and not with the rules, whatever the rules and the text hold.

Phrases: one pass of an Aho-Corasick automaton (Aho and Corasick, 1975; pyahocorasick). Patterns: RE2 (google-re2), which never backtracks; the same pass
tells which of them are worth running (services.classifier.literals). Both match at word boundaries alone, letters, digits and _ making words.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import ahocorasick
import re2

from services.classifier.literals import literals
from shared.errors import ConfigError

Span = tuple[int, int]
MOST_SPANS = 2_000  # places in one text at which one rule is looked at
MOST_PATTERN = 4_000  # characters
# Letters and digits in a few ranges: the exact classes (\pL, \pN) would make each compiled pattern many times as large. Signs, arrows and emoji are none.
_NO_WORD = r"[^0-9A-Za-z_\x{AA}\x{B5}\x{BA}\x{C0}-\x{1FFF}\x{2C00}-\x{2DFF}\x{3005}-\x{3007}\x{3021}-\x{D7FF}\x{F900}-\x{FFDC}]"


class Pattern:
    """A regular expression of RE2. It sees folded text, and matches at word boundaries by itself: `\\b` and the like need not be written."""

    def __init__(self, pattern: str) -> None:
        if len(pattern) > MOST_PATTERN:
            raise ConfigError(f"the pattern has {len(pattern)} characters, and {MOST_PATTERN} are allowed: make several rules of it")
        options = re2.Options()
        options.log_errors = False
        options.case_sensitive = False
        try:
            alone = re2.compile(pattern, options)  # before it is wrapped: the error must be about what was written
            self._wrapped = re2.compile(rf"(?:\A|{_NO_WORD})({pattern})(?:\z|{_NO_WORD})", options)
        except re2.error as error:
            raise ConfigError(_refusal(error)) from error
        if alone.search("") or alone.fullmatch(" "):
            raise ConfigError("the pattern matches the empty text, so it would hit everywhere")
        self.literals = literals(pattern)

    def find(self, text: str) -> Iterator[Span]:
        """Where it matches, from left to right without overlap, MOST_SPANS times at most. Linear in the text for each match."""
        raw = text.encode()
        at, chars, counted = 0, 0, 0
        for _ in range(MOST_SPANS):
            found = self._wrapped.search(raw, at)
            if not found:
                return
            start, end = found.span(1)
            if end <= start:
                return
            # bytes into characters, counting on from the last match
            chars += len(raw[counted:start].decode())
            first = chars
            chars += len(raw[start:end].decode())
            counted = at = end
            yield first, chars


def _refusal(error: Exception) -> str:
    said = error.args[0].decode("utf-8", "replace") if error.args and isinstance(error.args[0], bytes) else str(error)
    why = "RE2 takes neither look-around nor back-references, so that no pattern can hang it; word boundaries are put at both ends by themselves"
    return f"the pattern is not a regular expression of RE2 ({said}): {why if 'perl' in said or 'escape' in said else 'see its syntax page'}"


class Finder:
    """Finds which of many rules have their words in a text. Each rule has folded phrases, a pattern, or both."""

    def __init__(self, rules: Sequence[tuple[Iterable[str], Pattern | None]]) -> None:
        self._automaton = ahocorasick.Automaton()
        # what a literal stands for: the phrase's length, the rules that look for it, and the rules whose pattern it announces
        values: dict[str, tuple[str, list[int], list[int]]] = {}
        self._patterns: dict[int, Pattern] = {}
        self.always: list[int] = []  # rules whose pattern nothing announces: they are run on every text
        for number, (phrases, pattern) in enumerate(rules):
            for phrase in set(phrases):
                values.setdefault(phrase, (phrase, [], []))[1].append(number)
            if pattern:
                self._patterns[number] = pattern
                if pattern.literals is None:
                    self.always.append(number)
                for literal in pattern.literals or ():
                    values.setdefault(literal, (literal, [], []))[2].append(number)
        for literal, value in values.items():
            self._automaton.add_word(literal, value)
        if values:
            self._automaton.make_automaton()

    def find(self, text: str) -> Mapping[int, list[Span]]:
        """Number of a rule -> where its words stand in the folded text, in order of place."""
        spans: dict[int, list[Span]] = {}
        announced = set(self.always)
        for last, (phrase, by_phrase, by_pattern) in self._automaton.iter(text) if len(self._automaton) else ():
            announced.update(by_pattern)
            if by_phrase and at_word_boundaries(text, last + 1 - len(phrase), last + 1):
                for number in by_phrase:
                    places = spans.setdefault(number, [])
                    if len(places) < MOST_SPANS:
                        places.append((last + 1 - len(phrase), last + 1))
        for number in sorted(announced):
            if found := list(self._patterns[number].find(text)):
                spans[number] = sorted({*spans.get(number, ()), *found})
        return {number: sorted(spans[number]) for number in sorted(spans)}


def at_word_boundaries(text: str, start: int, end: int) -> bool:
    """True where text[start:end] is not the part of a longer word. What begins or ends with a sign (an emoji) needs no boundary there."""
    before, after = text[start - 1 : start] if start else "", text[end : end + 1]
    return not (is_word(before) and is_word(text[start])) and not (is_word(after) and is_word(text[end - 1]))


def is_word(c: str) -> bool:
    return c.isalnum() or c == "_"
