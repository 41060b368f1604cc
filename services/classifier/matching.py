"""How the words of thousands of rules are found in a text in time that grows with the text and not with the rules, whatever the rules and the text hold.

Phrases: one pass of an Aho-Corasick automaton (Aho and Corasick, 1975; pyahocorasick). Patterns: RE2 (google-re2), which never backtracks; the same pass
tells which of them are worth running (services.classifier.literals). Both match at word boundaries alone, letters, digits and _ making words.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import merge

import ahocorasick
import re2

from services.classifier.literals import literals
from shared.errors import ConfigError

Span = tuple[int, int]
LONGEST_MATCH = 4_000  # bytes that a pattern may match: so every search ends soon, and all of them together are linear in the text
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
        self.text, self.literals = pattern, literals(pattern)

    def find(self, text: str) -> Iterator[Span]:
        """Where it matches, from left to right without overlap, one by one as they are asked for. Linear in the text, whatever the pattern."""
        raw = text.encode()
        at, chars, counted = 0, 0, 0
        while at < len(raw):
            found = self._wrapped.search(raw, at, min(at + 2 * LONGEST_MATCH, len(raw)))
            if not found:
                at = _begin_of_character(raw, at + LONGEST_MATCH)
            elif found.start() > at + LONGEST_MATCH:
                at = found.start()  # what begins late in the window may have been cut short at its end
            else:
                start, end = found.span(1)
                if end <= start:
                    return
                # bytes into characters, counting on from the last match
                chars += len(raw[counted:start].decode())
                first = chars
                chars += len(raw[start:end].decode())
                counted = at = end
                yield first, chars


def _begin_of_character(raw: bytes, at: int) -> int:
    """The place of the UTF-8 character before `at`: a word boundary is seen in it. The end where `at` is past it."""
    if at >= len(raw):
        return len(raw)
    at -= 1
    while raw[at] & 0xC0 == 0x80:
        at -= 1
    return at


def _refusal(error: Exception) -> str:
    said = error.args[0].decode("utf-8", "replace") if error.args and isinstance(error.args[0], bytes) else str(error)
    why = "RE2 takes neither look-around nor back-references, so that no pattern can hang it; word boundaries are put at both ends by themselves"
    return f"the pattern is not a regular expression of RE2 ({said}): {why if 'perl' in said or 'escape' in said else 'see its syntax page'}"


@dataclass(frozen=True)
class Places:
    """Where the words of one rule stand in a text, in order of place, found as they are asked for. `key` is equal for rules with the same places."""

    key: tuple[str, ...]
    phrases: Sequence[Sequence[Span]]
    pattern: Pattern | None
    text: str

    def __iter__(self) -> Iterator[Span]:
        last = None
        for span in merge(*self.phrases, self.pattern.find(self.text) if self.pattern else ()):
            if span != last:
                yield span
            last = span


class Finder:
    """Finds which of many rules have their words in a text. Each rule has folded phrases, a pattern, or both."""

    def __init__(self, rules: Sequence[tuple[Iterable[str], Pattern | None]]) -> None:
        self._automaton = ahocorasick.Automaton()
        self._by_phrase: dict[str, list[int]] = {}
        self._by_literal: dict[str, list[int]] = {}  # what announces a pattern -> its rules
        self._patterns: dict[int, Pattern] = {}
        self.always: list[int] = []  # rules whose pattern nothing announces: they are run on every text
        for number, (phrases, pattern) in enumerate(rules):
            for phrase in set(phrases):
                self._by_phrase.setdefault(phrase, []).append(number)
            if pattern:
                self._patterns[number] = pattern
                if pattern.literals is None:
                    self.always.append(number)
                for literal in pattern.literals or ():
                    self._by_literal.setdefault(literal, []).append(number)
        for literal in {**self._by_phrase, **self._by_literal}:
            self._automaton.add_word(literal, (literal, literal in self._by_phrase))
        if len(self._automaton):
            self._automaton.make_automaton()

    def find(self, text: str) -> Mapping[int, Places]:
        """Number of a rule -> where its words stand in the folded text. Rules that share a phrase share its places."""
        spans: dict[str, list[Span]] = {}
        for last, (literal, is_phrase) in self._automaton.iter(text) if len(self._automaton) else ():
            places = spans.setdefault(literal, [])
            if is_phrase and at_word_boundaries(text, last + 1 - len(literal), last + 1):
                places.append((last + 1 - len(literal), last + 1))
        phrases: dict[int, list[str]] = {}
        for phrase in sorted(spans):
            for number in self._by_phrase.get(phrase, ()) if spans[phrase] else ():
                phrases.setdefault(number, []).append(phrase)
        announced = {*self.always}.union(*(self._by_literal.get(literal, ()) for literal in spans))
        matching: dict[int, Pattern] = {}
        matches: dict[str, bool] = {}
        for number in announced:
            pattern = self._patterns[number]
            if pattern.text not in matches:
                matches[pattern.text] = next(pattern.find(text), None) is not None
            if matches[pattern.text]:
                matching[number] = pattern
        found: dict[int, Places] = {}
        alike: dict[tuple[str, ...], Places] = {}
        for number in sorted({*phrases, *matching}):
            said, by = phrases.get(number, []), matching.get(number)
            key = (*said, "", by.text) if by else (*said,)
            if key not in alike:
                alike[key] = Places(key, [spans[phrase] for phrase in said], by, text)
            found[number] = alike[key]
        return found


def at_word_boundaries(text: str, start: int, end: int) -> bool:
    """True where text[start:end] is not the part of a longer word. What begins or ends with a sign (an emoji) needs no boundary there."""
    before, after = text[start - 1 : start] if start else "", text[end : end + 1]
    return not (is_word(before) and is_word(text[start])) and not (is_word(after) and is_word(text[end - 1]))


def is_word(c: str) -> bool:
    return c.isalnum() or c == "_"
