"""Rules: what a person has laid down, in YAML files, with the tests of each rule beside it. A bad file is refused whole.

Texts and phrases are folded before they meet (services.classifier.folding): lower case, "don't" as "dont", other spellings undone
(services.classifier.spelling). A `pattern` sees the folded text.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from services.classifier.folding import Folded, fold
from services.classifier.judging import Guards, Judge, Judgement
from services.classifier.matching import Finder
from services.classifier.matching import Span as Place
from services.classifier.rule_checks import Labels, applies, check_collection, check_implied, check_rule, fitting, knows
from services.classifier.rule_files import Rule, Says, parse
from services.classifier.rule_review import review
from services.classifier.spelling import Speller
from shared.clock import Clock, utc_now
from shared.errors import ConfigError
from shared.events import Span, digest_of
from shared.taxonomy import LabelSet

MOST_RULES = 50_000
_EDGES = " \t\r\n\"'“”„«»‘’.,;:!?…()[]{}<>|*_–—"
_WORDS_OF_PATTERN = re.compile(r"[a-z]{3,}")


@dataclass(frozen=True)
class Hit:
    """A rule that found its words. `rule` says the label that the hit stands for, also where that is the softer or an implied one. `words` and `spans`
    as they were written. `note` says what softened it, or what it follows from. `softened`: it is the rule's softer word, or follows from that."""

    rule: Rule
    words: str
    spans: tuple[Span, ...] = ()
    note: str = ""
    softened: bool = False

    def reason(self) -> str:
        return f"rule {self.rule.id}: {self.rule.reason} (“{self.words}”{'; ' if self.note else ''}{self.note})"


@dataclass(frozen=True)
class Look:
    """One rule whose words stand in a text, and what came of it at its strongest place. `label`: what it says of the label set that was asked about."""

    judge: Judge
    outcome: Literal["hit", "softer", "void", "expired", "cleared"]
    words: str
    span: Span
    label: str
    why: str = ""


class RuleSet:
    """The rules of all files, ready to match. `digest` is that of the files' bytes; `warnings` are for whoever writes them (services.classifier.rule_review).
    `tests` False leaves the rules' own tests to whoever asks for `failures`: for the command that lists them all. Raises ConfigError naming the rule and what is wrong with it."""

    def __init__(self, files: Iterable[tuple[str, bytes]], labels: Labels, clock: Clock = utc_now, tests: bool = True) -> None:
        given = sorted(files)
        self.digest = digest_of(*(part for name, data in given for part in (name, data.decode("utf-8", "replace"))))
        self._clock = clock
        self._judges: list[Judge] = []
        self._implied: dict[tuple[str, str, str], Says] = {}  # (collection, task, label) -> what follows
        guards, ids = Guards(), set[str]()
        left_out: dict[tuple[str, str], list[str]] = {}  # (file, why) -> ids of rules
        told: list[str] = []
        for name, data in given:
            parsed = parse(name, data)
            check_collection(name, parsed.collection, labels)
            told += check_implied(name, parsed, labels)
            sets = fitting(parsed.collection, labels)
            for task, by_label in parsed.implies.items():
                for label, says in by_label.items():
                    self._implied.setdefault((parsed.collection, task, label), {}).update(says)
            for rule in parsed.rules:
                if rule.id in ids:
                    raise ConfigError(f"{name}: rule {rule.id!r}: another rule has this id")
                ids.add(rule.id)
                fits, why = check_rule(f"{name}: rule {rule.id!r}", rule, sets)
                for reason in why:
                    left_out.setdefault((name, reason), []).append(rule.id)
                if not fits:
                    continue
                try:
                    self._judges.append(Judge(rule, parsed.collection, name, guards))
                except ConfigError as error:
                    raise ConfigError(f"{name}: {error}") from error
        if len(self._judges) > MOST_RULES:
            raise ConfigError(f"there are {len(self._judges)} rules, and {MOST_RULES} are allowed")
        self._finder = Finder([(judge.phrases, judge.pattern) for judge in self._judges])
        self._speller = Speller(*_vocabulary(self._judges))
        self.tests = sum(len(judge.rule.tests) for judge in self._judges)
        if tests and (failed := next(self._failures(), "")):
            raise ConfigError(failed)
        told += [f"{name}: {len(ids)} rules are left out of {why} ({', '.join(ids[:3])} …)" for (name, why), ids in left_out.items()]
        self.warnings = [*told, *review(self._judges, self._finder, self._speller.read, lambda collection: fitting(collection, labels))]

    def __len__(self) -> int:
        return len(self._judges)

    def expired(self, at: datetime | None = None) -> list[str]:
        """Ids of the rules that are in force no longer."""
        return [judge.rule.id for judge in self._judges if _is_over(judge.rule, at or self._clock())]

    def reads(self, raw: str) -> str:
        """The text as the rules see it: folded, other spellings undone."""
        return self._speller.read(raw).text

    def hits(self, title: str, text: str, labels: LabelSet, at: datetime | None = None) -> list[Hit]:
        """What the rules say of this text, in the order of the files, the hits that follow from a hit right after it. Only rules whose task and label the
        set has; nothing softer than what is said outright. `at` decides which are in force: if not given, now."""
        looks = [look for look in self.look(title, text, labels, at) if look.outcome in ("hit", "softer")]
        gravest: dict[str, int] = {}  # task -> of what is said outright
        for look in looks:
            if look.outcome == "hit":
                gravest[look.judge.rule.task] = max(gravest.get(look.judge.rule.task, 0), labels.tasks[look.judge.rule.task].severity(look.label))
        found = []
        for look in looks:
            rule = look.judge.rule
            if look.outcome == "hit":
                found.append(Hit(rule, look.words, (look.span,)))
            elif labels.tasks[rule.task].severity(look.label) >= gravest.get(rule.task, 0):
                kind = "plain" if rule.kind == "block" else rule.kind  # what is in doubt is not beyond doubt: the other parts may raise it
                soft = {"label": look.label, "kind": kind, "odds": rule.softer_odds}
                found.append(Hit(rule.model_copy(update=soft), look.words, (look.span,), f"softer, {look.why}", softened=True))
            else:
                continue
            found += self._following(found[-1], labels)
        return found

    def look(self, title: str, text: str, labels: LabelSet, at: datetime | None = None) -> list[Look]:
        """Every rule for this label set whose words stand in the text, and what came of it, in the order of the files."""
        at = at or self._clock()
        raw = f"{title}\n\n{text}"
        folded = self._speller.read(raw)
        looks = []
        fit: dict[tuple[str, str, str, str], bool] = {}
        judged: dict[tuple[int, tuple[str, ...]], tuple[Judgement, Span]] = {}  # rules with equal guards at the same places are judged once
        for number, places in self._finder.find(folded.text).items():
            judge = self._judges[number]
            rule = judge.rule
            if judge.collection not in ("", labels.collection):
                continue
            says = (rule.task, rule.label, rule.softer, rule.kind)
            if says not in fit:
                fit[says] = applies(rule, labels)
            if not fit[says]:
                continue
            key = (judge.alike, places.key)
            if key not in judged:
                judgement = judge.judge(folded, places)
                judged[key] = judgement, _span(folded, judgement.span, raw, len(title) + 2)
            judgement, span = judged[key]
            if _is_over(rule, at):
                looks.append(Look(judge, "expired", span.words, span, rule.label, f"in force until {rule.expires}"))
                continue
            outcome, label = judgement.verdict, rule.label
            if outcome == "softer" and knows(labels, rule.task, rule.softer):
                label = rule.softer
            elif outcome == "softer" and rule.kind != "block":  # what a block rule finds in doubt is said all the same, though not beyond doubt
                outcome = "void"
            looks.append(Look(judge, outcome, span.words, span, label, judgement.why))
        return list(_cleared(looks))

    def _following(self, hit: Hit, labels: LabelSet) -> Iterator[Hit]:
        rule = hit.rule
        of_label = self._implied.get((labels.collection, rule.task, rule.label), {})
        follows = of_label if rule.implies is None or hit.softened else rule.implies  # the rule's own are of what it says outright
        for task, label in follows.items():
            if knows(labels, task, label):
                block = rule.kind == "block" and labels.tasks[task].severity(label)
                said = rule.model_copy(update={"task": task, "label": label, "kind": "block" if block else "plain"})
                yield Hit(said, hit.words, hit.spans, f"{rule.task} {rule.label} implies it", hit.softened)

    def failures(self) -> list[str]:
        """What is wrong with the rules' own tests, a line each."""
        return list(self._failures())

    def _failures(self) -> Iterator[str]:
        for judge in self._judges:
            alone = Finder([(judge.phrases, judge.pattern)])  # what the other rules find is nothing to its tests, and could be much
            for test in judge.rule.tests:
                folded = self._speller.read(test.text)
                spans = alone.find(folded.text).get(0)
                said = judge.judge(folded, spans) if spans else None
                why = f" ({said.why})" if said and said.why else ""
                where = f"{judge.file}: rule {judge.rule.id!r}: its own test fails, it"
                hit = said is not None and said.verdict != "void"
                label = judge.rule.softer if said and said.verdict == "softer" else judge.rule.label
                if hit != test.hit:
                    yield f"{where} {'should hit and does not' if test.hit else 'should not hit and does'}: {test.text!r}{why}"
                elif hit and test.says and test.says != label:
                    yield f"{where} should say {test.says} and says {label}: {test.text!r}{why}"


def _vocabulary(judges: Iterable[Judge]) -> tuple[list[str], list[str]]:
    """The phrases, and the words of guards and patterns, that other spellings may stand for."""
    phrases: set[str] = set()
    words: set[str] = set()
    seen: set[int] = set()
    for judge in judges:
        phrases.update(judge.phrases)
        words.update(_WORDS_OF_PATTERN.findall(re.sub(r"\\.", " ", judge.rule.pattern.lower())))
        for guard in (judge.rule.also, judge.rule.unless, judge.rule.without, judge.rule.negations):
            key = hash(tuple(guard))
            if key not in seen:
                seen.add(key)
                words.update(map(fold, guard))
    return sorted(phrases), sorted(words)


def _cleared(looks: list[Look]) -> Iterator[Look]:
    """An allow rule takes back what plain rules of no higher priority say, where it names their label. Never what a block rule says."""
    allowing: dict[tuple[str, str], Rule] = {}  # (task, label that it takes back) -> the rule of the highest priority
    for look in looks:
        rule = look.judge.rule
        if look.outcome == "hit" and rule.kind == "allow":
            for label in rule.clears:
                before = allowing.setdefault((rule.task, label), rule)
                allowing[rule.task, label] = rule if rule.priority > before.priority else before
    for look in looks:
        rule = look.judge.rule
        by = allowing.get((rule.task, look.label))
        if by and by.priority >= rule.priority and rule.kind == "plain" and look.outcome in ("hit", "softer"):
            yield Look(look.judge, "cleared", look.words, look.span, look.label, f"by {by.id}: {by.reason}")
        else:
            yield look


def _span(folded: Folded, place: Place, raw: str, text_begins: int) -> Span:
    """The place as it was written, without what is attached at its ends."""
    start, end = folded.written(*place)
    while start < end and raw[start] in _EDGES:
        start += 1
    while end > start and raw[end - 1] in _EDGES:
        end -= 1
    words = " ".join(raw[start:end].split())
    if start >= text_begins:
        return Span(field="text", start=start - text_begins, end=end - text_begins, words=words)
    return Span(field="title", start=start, end=min(end, max(text_begins - 2, start)), words=words)


def _is_over(rule: Rule, at: datetime) -> bool:
    return rule.expires is not None and at.astimezone(UTC).date() > rule.expires
