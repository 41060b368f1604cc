"""One rule and the places where its words stand: does it speak there, and if not, why not."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from services.classifier.folding import Folded, fold
from services.classifier.matching import Pattern, Span
from services.classifier.rule_files import Rule
from services.classifier.scope import Negation, Speaker, negated, negation_of, own_clause, sentence, speaker, words
from shared.errors import ConfigError

Verdict = Literal["hit", "softer", "void"]


@dataclass(frozen=True)
class Judgement:
    """What came of one place. `why` says what voided or softened it, or spoke against it."""

    verdict: Verdict
    span: Span
    why: str = ""


class Guards:
    """Compiled lists of phrases. Many rules name the same list, which is compiled once; and many have the same guards, which are asked once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], tuple[re.Pattern[str], re.Pattern[str]]] = {}
        self._alike: dict[tuple[object, ...], int] = {}

    def of(self, phrases: Sequence[str]) -> re.Pattern[str] | None:
        return self._both(phrases)[0] if phrases else None

    def negation(self, phrases: Sequence[str]) -> re.Pattern[str] | None:
        return self._both(phrases)[1] if phrases else None

    def alike(self, rule: Rule) -> int:
        """The same number for rules that say the same of a place, but for their labels."""
        lists = (tuple(getattr(rule, name)) for name in ("also", "unless", "without", "negations", "soften", "still"))
        return self._alike.setdefault((*lists, rule.own_words, rule.kind == "block", bool(rule.softer)), len(self._alike))

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
        self.alike = guards.alike(rule)
        self._also, self._unless, self._without = guards.of(rule.also), guards.of(rule.unless), guards.of(rule.without)
        self._negation = guards.negation(rule.negations)
        self._soften, self._still = guards.of(rule.soften), guards.of(rule.still)

    def judge(self, folded: Folded, spans: Iterable[Span]) -> Judgement:
        """The strongest of the places: the first that is a hit, else the first that is a softer one, else the first, void. Looks at no more than it must."""
        best: Judgement | None = None
        for span in spans:
            if best is None and self._also and not self._also.search(folded.text):
                return Judgement("void", span, f"none of `also` stands in the text ({', '.join(self.rule.also[:3])} …)")
            one = self._at(folded, *span)
            if one.verdict == "hit":
                return one
            if best is None or (best.verdict, one.verdict) == ("void", "softer"):
                best = one
        assert best, "a rule is asked about one place at least"
        return best

    def _at(self, folded: Folded, start: int, end: int) -> Judgement:
        text = folded.lines
        begin, stop = sentence(text, start, end)
        still = bool(self._still and self._still.search(text, begin, stop))
        doubts = []
        aside = ""
        for guard in self._unless.finditer(text, begin, stop) if self._unless else ():
            if self.rule.kind != "block" or _touches(text, guard.span(), (start, end)):
                return Judgement("void", (start, end), f"`unless`: “{guard[0]}” in the same sentence")
            if not still and not aside and guard.start() >= own_clause(text, begin, start):
                aside = f"`unless`: “{guard[0]}” in the same sentence, and not beside it"
                doubts.append(aside)
        if self._without and (found := self._without.search(text[start:end])):
            return Judgement("void", (start, end), f"`without`: “{found[0]}” in the words themselves")
        if self._negation and (said := negated(self._negation, text, begin, start, end, stop)) is not Negation.NONE:
            if said is Negation.NEGATED:
                return Judgement("void", (start, end), f"negated: “{text[begin:start].strip()[-60:]}” stands before it")
            doubts.append("the writer doubts it")
        if self.rule.own_words and (whose := speaker(folded.text, start, end, text)) is not Speaker.WRITER:
            if whose is Speaker.OTHER or aside:
                return Judgement("void", (start, end), whose.value)
            doubts.append(whose.value)
        if self._soften and not still and (found := self._soften.search(text, begin, stop)):
            doubts.append(f"“{found[0]}”: past, or only imagined")
        if not doubts:
            return Judgement("hit", (start, end))
        if self.rule.softer:
            return Judgement("softer", (start, end), "; ".join(doubts))
        # a block rule that can say nothing softer says what it says: nothing but a guard right at the words takes it back
        return Judgement("hit" if self.rule.kind == "block" else "void", (start, end), "; ".join(doubts))


def _touches(text: str, one: Span, other: Span) -> bool:
    """Whether the two overlap, or nothing but spaces stands between them."""
    return not text[min(one[1], other[1]) : max(one[0], other[0])].strip()
