"""What a text must hold for a pattern to match at all: a few literal strings, one of them at least.

With them one pass over a text tells which of thousands of patterns are worth running (the idea of RE2's FilteredRE2; see Russ Cox, "Regular Expression
Matching with a Trigram Index", 2012). On the safe side: where the pattern is not understood the answer is None, and the pattern is run on every text.
"""

import re

SHORTEST = 3  # characters; a shorter literal stands in nearly every text
MOST = 64  # literals of one pattern; more would cost more than they save
_QUANTIFIER = re.compile(r"[*+?]\??|\{(\d+)(?:,\d*)?\}\??")
_CLASSES = "wWdDsSbBAz"  # escapes that stand for no character of their own


def literals(pattern: str) -> frozenset[str] | None:
    """Lower-case strings of which a matching text holds one at least (in the sense of `in`), None where none can be told."""
    try:
        found = _Reader(pattern.lower() if pattern.isascii() else pattern.casefold(), pattern).alternatives()
    except _Unknown:
        return None
    return found if found and len(found) <= MOST else None


class _Unknown(Exception):
    """The pattern holds something that this reader does not know."""


class _Reader:
    """A recursive descent over the pattern. Each step returns the literals that are needed, None where nothing is needed for certain."""

    def __init__(self, text: str, given: str) -> None:
        self.text, self.given, self.at = text, given, 0
        if len(text) != len(given):
            raise _Unknown

    def alternatives(self, depth: int = 0) -> frozenset[str] | None:
        """a|b|c, up to the closing bracket or the end: needs one of what each needs."""
        if depth > 50:
            raise _Unknown
        needed: list[frozenset[str] | None] = [self._sequence(depth)]
        while self._peek() == "|":
            self.at += 1
            needed.append(self._sequence(depth))
        if depth == 0 and self.at < len(self.text):
            raise _Unknown
        return None if any(one is None for one in needed) else frozenset().union(*(one for one in needed if one))

    def _sequence(self, depth: int) -> frozenset[str] | None:
        """One thing after another: needs what its most telling part needs."""
        best: frozenset[str] | None = None
        run = ""

        def offer(found: frozenset[str] | None) -> None:
            nonlocal best
            if found and min(map(len, found)) >= SHORTEST and (best is None or _telling(found) > _telling(best)):
                best = found

        while (c := self._peek()) not in ("", "|", ")"):
            if c == "(":
                offer(frozenset({run}))
                run = ""
                inside = self._group(depth)
                if self._least() >= 1:
                    offer(inside)
                continue
            letter = self._one()
            least = self._least()
            if letter and least == 1 and not self._repeated:
                run += letter
                continue
            offer(frozenset({run + letter if letter and least >= 1 else run}))
            run = ""
        offer(frozenset({run}))
        return best

    def _group(self, depth: int) -> frozenset[str] | None:
        self.at += 1
        if self._peek() == "?":
            opened = re.compile(r"\?(?:P?<\w+>|:)").match(self.text, self.at)
            if not opened:
                raise _Unknown  # flags may change what the rest means
            self.at = opened.end()
        inside = self.alternatives(depth + 1)
        if self._peek() != ")":
            raise _Unknown
        self.at += 1
        return inside

    def _one(self) -> str:
        """One character or class; the character, or nothing where it may be several."""
        c = self.text[self.at]
        self.at += 1
        if c == "\\":
            if self.at >= len(self.text):
                raise _Unknown
            escaped = self.given[self.at]
            self.at += 1
            if escaped in _CLASSES:
                return ""
            if escaped.isalnum():
                raise _Unknown
            return escaped
        if c == "[":
            end = re.compile(r"\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]", re.DOTALL).match(self.text, self.at - 1)
            if not end:
                raise _Unknown
            self.at = end.end()
            return ""
        return "" if c in ".^$" else c

    def _least(self) -> int:
        """How often what was just read stands there at least. `_repeated` says whether it may stand there more than once."""
        found = _QUANTIFIER.match(self.text, self.at)
        self._repeated = bool(found)
        if not found:
            return 1
        self.at = found.end()
        return int(found[1]) if found[1] else int(found[0][0] == "+")

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]


def _telling(found: frozenset[str]) -> tuple[int, int]:
    """Longer literals are rarer, and fewer of them cost less."""
    return min(map(len, found)), -len(found)
