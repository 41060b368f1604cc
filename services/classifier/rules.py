"""Rules: what a person has laid down, in YAML files, with the tests of each rule beside it. A bad file is refused whole.

Texts and phrases are folded before they meet (services.classifier.matching.fold): lower case, "don't" as "dont". A `pattern` sees the folded text.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from services.classifier.matching import Phrases, fold, negation, sentence, somebody_elses_words, words
from services.classifier.rule_files import Rule, parse
from shared.errors import ConfigError
from shared.events import digest_of
from shared.taxonomy import LabelSet

MOST_CHARS = 20_000  # what a rule looks at; longer texts carry on unread


@dataclass(frozen=True)
class Hit:
    """A rule that found its words. `words` as they stand in the folded text."""

    rule: Rule
    words: str

    def reason(self) -> str:
        return f"rule {self.rule.id}: {self.rule.reason} (“{self.words}”)"


class _Compiled:
    def __init__(self, rule: Rule, collection: str) -> None:
        self.rule, self.collection = rule, collection
        try:
            self.pattern = re.compile(rule.pattern, re.IGNORECASE) if rule.pattern else None
        except re.error as error:
            raise ConfigError(f"rule {rule.id!r}: the pattern is not a regular expression ({error})") from error
        if self.pattern and self.pattern.search(""):
            raise ConfigError(f"rule {rule.id!r}: the pattern matches the empty text, so it would hit everywhere")
        self.also = re.compile(words(map(fold, rule.also))) if rule.also else None
        self.negation = negation(map(fold, rule.negations)) if rule.negations else None
        self.unless = re.compile(words(map(fold, rule.unless))) if rule.unless else None

    def first_hit(self, text: str, spans: Iterable[tuple[int, int]]) -> Hit | None:
        """The first of the spans that nothing around it voids."""
        if self.also and not self.also.search(text):
            return None
        for start, end in spans:
            begin, stop = sentence(text, start, end)
            if self.negation and self.negation.search(text[begin:start]):
                continue
            if self.unless and self.unless.search(text[begin:stop]):
                continue
            if self.rule.own_words and somebody_elses_words(text, start, end):
                continue
            return Hit(self.rule, text[start:end])
        return None


class RuleSet:
    """The rules of all files, ready to match. `digest` is that of the files' bytes. Raises ConfigError naming the rule and what is wrong with it."""

    def __init__(self, files: Iterable[tuple[str, bytes]], labels: Callable[[str], LabelSet]) -> None:
        given = sorted(files)
        self.digest = digest_of(*(part for name, data in given for part in (name, data.decode("utf-8", "replace"))))
        self._compiled: list[_Compiled] = []
        for name, data in given:
            parsed = parse(name, data)
            for rule in parsed.rules:
                self._add(name, rule, parsed.collection, labels(parsed.collection or "news"))
        self._phrases = Phrases(fold(phrase) for c in self._compiled for phrase in c.rule.phrases)
        self._by_phrase: dict[str, list[_Compiled]] = {}
        for compiled in self._compiled:
            for phrase in {fold(phrase) for phrase in compiled.rule.phrases}:
                self._by_phrase.setdefault(phrase, []).append(compiled)
        self._test()

    def __len__(self) -> int:
        return len(self._compiled)

    def hits(self, title: str, text: str, labels: LabelSet) -> list[Hit]:
        """Every rule that speaks of this text, one hit each, in the order of the files. Only rules whose task and label the set has."""
        known = labels.tasks
        return [
            hit
            for compiled, hit in self._find(f"{title}\n\n{text}"[:MOST_CHARS])
            if compiled.collection in ("", labels.collection)
            and compiled.rule.task in known
            and compiled.rule.label in known[compiled.rule.task].labels
        ]

    def _find(self, raw: str) -> list[tuple[_Compiled, Hit]]:
        text = fold(raw)
        spans: dict[int, list[tuple[int, int]]] = {}
        for phrase, start in self._phrases.find(text):
            for compiled in self._by_phrase[phrase]:
                spans.setdefault(id(compiled), []).append((start, start + len(phrase)))
        found = []
        for compiled in self._compiled:
            places = spans.get(id(compiled), [])
            if compiled.pattern:
                places = sorted([*places, *(m.span() for m in compiled.pattern.finditer(text) if m.group())])
            if places and (hit := compiled.first_hit(text, places)):
                found.append((compiled, hit))
        return found

    def _add(self, file: str, rule: Rule, collection: str, labels: LabelSet) -> None:
        where = f"{file}: rule {rule.id!r}"
        if any(rule.id == other.rule.id for other in self._compiled):
            raise ConfigError(f"{where}: another rule has this id")
        try:
            labels.check(rule.task, rule.label)
        except ValueError as error:
            raise ConfigError(f"{where}: {error}") from error
        if "rule" not in labels.tasks[rule.task].parts:
            raise ConfigError(f"{where}: task {rule.task!r} is not decided by rules (its parts are {labels.tasks[rule.task].parts})")
        if rule.kind == "block" and not labels.tasks[rule.task].safety:
            raise ConfigError(f"{where}: `kind: block` is for safety tasks, and {rule.task!r} is none; use plain")
        try:
            self._compiled.append(_Compiled(rule, collection))
        except ConfigError as error:
            raise ConfigError(f"{file}: {error}") from error

    def _test(self) -> None:
        for compiled in self._compiled:
            for test in compiled.rule.tests:
                hit = any(other is compiled for other, _ in self._find(test.text))
                if hit != test.hit:
                    wanted = "should hit and does not" if test.hit else "should not hit and does"
                    raise ConfigError(f"rule {compiled.rule.id!r}: its own test fails, it {wanted}: {test.text!r}")
