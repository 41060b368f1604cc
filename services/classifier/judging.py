"""One rule and the places where its words stand: does it speak there, and if not, why not."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from services.classifier.folding import fold
from services.classifier.matching import Pattern, Span
from services.classifier.rule_files import Rule
from services.classifier.scope import Negation, Speaker, negated, negation_of, sentence, speaker, words
from shared.errors import ConfigError

Verdict = Literal["hit", "softer", "void"]


@dataclass(frozen=True)
class Judgement:
    """What came of one place. `why` says what voided or softened it."""

    verdict: Verdict
    span: Span
    why: str = ""


class Guards:
    """Compiled lists of phrases. Many rules name the same list, which is compiled once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], tuple[re.Pattern[str], re.Pattern[str]]] = {}

    def of(self, phrases: Sequence[str]) -> re.Pattern[str] | None:
        return self._both(phrases)[0] if phrases else None

    def negation(self, phrases: Sequence[str]) -> re.Pattern[str] | None:
        return self._both(phrases)[1] if phrases else None

    def _both(self, phrases: Sequence[str]) -> tuple[re.Pattern[str], re.Pattern[str]]:
        key = tuple(phrases)
        if key not in self._known:
            folded = [fold(phrase) for phrase in phrases]
            self._known[key] = (re.compile(words(folded)), negation_of(folded))
        return self._known[key]


class Judge:
    """A rule ready to be asked. Raises ConfigError where its pattern is none."""

    def __init__(self, rule: Rule, collection: str, file: str, guards: Guards) -> None:
        self.rule, self.collection, self.file = rule, collection, file
        try:
            self.pattern = Pattern(rule.pattern) if rule.pattern else None
        except ConfigError as error:
            raise ConfigError(f"rule {rule.id!r}: {error}") from error
        self.phrases = sorted({fold(phrase) for phrase in rule.phrases})
        self._also, self._unless, self._without = guards.of(rule.also), guards.of(rule.unless), guards.of(rule.without)
        self._negation = guards.negation(rule.negations)
        self._soften, self._still = guards.of(rule.soften), guards.of(rule.still)

    def judge(self, text: str, spans: Sequence[Span]) -> Judgement:
        """The strongest of the places: the first that is a hit, else the first that is a softer one, else the first, void."""
        if self._also and not self._also.search(text):
            return Judgement("void", spans[0], f"none of `also` stands in the text ({', '.join(self.rule.also[:3])} …)")
        best: Judgement | None = None
        for span in spans:
            one = self._at(text, *span)
            if one.verdict == "hit":
                return one
            if best is None or (best.verdict, one.verdict) == ("void", "softer"):
                best = one
        assert best, "a rule is asked about one place at least"
        return best

    def _at(self, text: str, start: int, end: int) -> Judgement:
        begin, stop = sentence(text, start, end)
        if self._unless and (found := self._unless.search(text[begin:stop])):
            return Judgement("void", (start, end), f"`unless`: “{found[0]}” in the same sentence")
        if self._without and (found := self._without.search(text[start:end])):
            return Judgement("void", (start, end), f"`without`: “{found[0]}” in the words themselves")
        doubts = []
        if self._negation and (said := negated(self._negation, text, begin, start, end)) is not Negation.NONE:
            if said is Negation.NEGATED:
                return Judgement("void", (start, end), f"negated: “{text[begin:start].strip()[-60:]}” stands before it")
            doubts.append("the writer doubts it")
        if self.rule.own_words and (whose := speaker(text, start, end)) is not Speaker.WRITER:
            if whose is Speaker.OTHER:
                return Judgement("void", (start, end), whose.value)
            doubts.append(whose.value)
        if self._soften and (found := self._soften.search(text[begin:stop])) and not (self._still and self._still.search(text[begin:stop])):
            doubts.append(f"“{found[0]}”: past, or only imagined")
        if not doubts:
            return Judgement("hit", (start, end))
        return Judgement("softer" if self.rule.softer else "void", (start, end), "; ".join(doubts))
