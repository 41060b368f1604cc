"""The rules in force: those of the folder, or those published to all replicas; kept as they were when what is new is bad.
At the start those that ship stand in for a bad folder.

The safety rules that ship (the block rules of SHIPPED) do not go missing by accident: a set without them, or in which they no longer find what their own
tests say, is refused unless somebody asks for that by name, and then a warning stays.
"""

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from services.classifier.rule_checks import Labels
from services.classifier.rule_files import Rule, check_size, parse, paths_in, read_files
from services.classifier.rules import RuleSet
from shared.clock import Clock, utc_now
from shared.errors import ConfigError, PermanentError
from shared.logs import logger
from shared.taxonomy import LABELS

log = logger(__name__)
FOLDER = "folder"  # the digest that stands for "each replica's own folder"
KEPT = "the rules of before stay in force"
STAND_IN = "the rules that ship are in force until the folder is sound"
SHIPPED = Path(__file__).parent / "rules"
_FOR_GOOD = datetime(9999, 12, 31, tzinfo=UTC)  # a safety rule that expires some day is one that goes missing


class RuleBook:
    """`rules` are those in force; `problem` says why the newest edit or publication is not among them, empty where it is; `source` is `folder`, or the
    digest of what was published.

    Where the folder is bad at the start the rules that ship stand in until it is sound: a process must not run without safety rules, and a restart must
    not end all verdicts. Raises ConfigError where those are bad too. `drop_safety_rules`: the folder may do without those that ship.
    """

    def __init__(self, folder: Path, labels: Labels, clock: Clock = utc_now, drop_safety_rules: bool = False) -> None:
        self._folder, self._labels, self._clock, self._drop_safety_rules = folder, labels, clock, drop_safety_rules
        self._lock = threading.Lock()  # the folder and the topic may bring news at the same time
        self._seen = self._stamp()
        bad = ""
        try:
            self._of_folder = self.rules = self._read_folder()
        except ConfigError as error:
            bad = str(error)
            self._of_folder = self.rules = RuleSet(read_files(SHIPPED), labels, clock)
        self._dropped = self.dropped_by(self.rules)
        self.problem, self.source = "", FOLDER
        self._folder_problem = ""  # why `_of_folder` is not what the folder holds
        self._told_expired: set[str] = set()
        self._tell(self.rules)
        if bad:
            self._refuse_folder(bad, STAND_IN)

    @property
    def warnings(self) -> list[str]:
        """What a person should look at: safety rules that are missing first, as long as they are."""
        return [*_missing(self._dropped), *self.rules.warnings]

    def refresh(self) -> bool:
        """Read the folder again if a file in it changed; True where new rules came into force by it. While published rules are in force the folder's wait."""
        with self._lock:
            self._tell_expired()
            stamp = self._stamp()
            if stamp == self._seen:
                return False
            self._seen = stamp
            try:
                rules = self._read_folder()
            except ConfigError as error:
                self._refuse_folder(str(error), KEPT)
                return False
            self._of_folder, before, self._folder_problem = rules, self._folder_problem, ""
            if self.problem == before:
                self.problem = ""  # also where published rules are in force, and the folder's wait
            return self.source == FOLDER and self._put(rules, FOLDER)

    def check(self, files: Sequence[tuple[str, bytes]]) -> RuleSet:
        """The rules of these files, not put in force. Raises ConfigError."""
        check_size(files)
        return RuleSet(files, self._labels, self._clock)

    def agreed(self, rules: RuleSet, drop_safety_rules: bool, how: str) -> list[str]:
        """The warnings of rules that are to be put in force. Raises ConfigError where they drop safety rules and nobody asked for that; `how` says how."""
        return _agreed(rules, self._labels, drop_safety_rules, how)

    def dropped_by(self, rules: RuleSet) -> list[str]:
        """Ids of the shipped block rules that a set does not hold, or that no longer hit there what their own tests say they do."""
        return _dropped(rules, self._labels)

    def _read_folder(self) -> RuleSet:
        return read_folder(self._folder, self._labels, self._clock, self._drop_safety_rules)[0]

    def take(self, digest: str, read: Callable[[], Sequence[tuple[str, bytes]]]) -> bool:
        """Put published rules in force, or the folder's for the digest `folder`; True where that changed something. `read` gives the files; where they are
        bad, missing or not those of the digest, `problem` says so and the rules of before stay. Whether safety rules may be dropped was asked where they were
        published; here it is told."""
        with self._lock:
            if digest == FOLDER:
                changed = self._put(self._of_folder, FOLDER)
                self.problem = self._folder_problem
                return changed
            if digest == self.rules.digest:
                return self._put(self.rules, digest)
            try:
                rules = self.check(read())
            except (ConfigError, PermanentError) as error:
                self._refuse(f"the published rules {digest[:12]} are refused: {error}")
                return False
            if rules.digest != digest:
                self._refuse(f"the published rules are not those of their digest: {digest[:12]} was announced, {rules.digest[:12]} came")
                return False
            return self._put(rules, digest)

    def later(self, digest: str, why: str) -> None:
        """Say that the published rules of this digest can't be had now."""
        with self._lock:
            self._refuse(f"the published rules {digest[:12]} can't be read now, and are tried again: {why}")

    def _put(self, rules: RuleSet, source: str) -> bool:
        changed = rules.digest != self.rules.digest
        if changed:
            self._dropped = self.dropped_by(rules)
        self.rules, self.source, self.problem = rules, source, ""
        if changed:
            self._told_expired.clear()
            self._tell(rules)
        return changed

    def _refuse_folder(self, why: str, instead: str) -> None:
        self._refuse(why, instead)
        self._folder_problem = self.problem

    def _refuse(self, why: str, instead: str = KEPT) -> None:
        self.problem = f"{why}; {instead}"
        log.error("rules.refused", reason=self.problem, digest=self.rules.digest)

    def _tell(self, rules: RuleSet) -> None:
        log.info("rules.loaded", digest=rules.digest, rules=len(rules), source=self.source)
        for line in self.warnings:
            log.warning("rules.suspicious", warning=line)
        self._tell_expired()

    def _tell_expired(self) -> None:
        """Once a rule: in the log, when its last day is over."""
        over = set(self.rules.expired())
        if new := sorted(over - self._told_expired):
            log.warning("rules.expired", rules=new)
        self._told_expired = over

    def _stamp(self) -> tuple[tuple[str, int, int], ...]:
        found = []
        for path in paths_in(self._folder):
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue  # an editor replaces files by renaming: gone now, back at the next look
            found.append((path.name, stat.st_mtime_ns, stat.st_size))
        return tuple(found)


def read_folder(folder: Path, labels: Labels, clock: Clock = utc_now, drop_safety_rules: bool = False) -> tuple[RuleSet, list[str]]:
    """The rules of a folder and their warnings, as a classifier with this folder takes them at its start. Raises ConfigError where it would not start:
    bad files, or safety rules that ship and are missing, which `drop_safety_rules` allows."""
    rules = RuleSet(read_files(folder), labels, clock)
    try:
        return rules, _agreed(rules, labels, drop_safety_rules, "FEEDLOOP_DROP_SAFETY_RULES=true")
    except ConfigError as error:
        raise ConfigError(f"rules in {folder}: {error}") from error


def _agreed(rules: RuleSet, labels: Labels, drop_safety_rules: bool, how: str) -> list[str]:
    dropped = _dropped(rules, labels)
    if dropped and not drop_safety_rules:
        raise ConfigError(
            f"these rules drop {len(dropped)} of the {len(_shipped())} safety rules that ship ({', '.join(dropped[:5])}{' …' if len(dropped) > 5 else ''}): "
            f"add safety.yaml as it ships, or ask for it with {how}"
        )
    return [*_missing(dropped), *rules.warnings]


def _dropped(rules: RuleSet, labels: Labels) -> list[str]:
    return [rule.id for collection, rule in _shipped() if not all(_hits(rules, labels, collection, rule, n) for n in range(len(rule.tests)))]


def _hits(rules: RuleSet, labels: Labels, collection: str, rule: Rule, test: int) -> bool:
    asked = rule.tests[test]
    wanted = asked.says or rule.softer or rule.label
    for its in map(labels, [collection] if collection else _collections()):
        if not asked.hit or rule.task not in its.tasks or not (least := its.tasks[rule.task].severity(wanted)):
            continue  # a label set of the user's own may have no such task
        looks = rules.look("", asked.text, its, _FOR_GOOD)
        mine = [look for look in looks if look.judge.rule.id == rule.id and look.judge.rule.kind == "block" and look.judge.rule.task == rule.task]
        if not any(look.outcome in ("hit", "softer") and its.tasks[rule.task].severity(look.label) >= least for look in mine):
            return False
    return True


@cache
def _shipped() -> tuple[tuple[str, Rule], ...]:
    """The block rules that ship, each with the collection of its file."""
    files = [parse(name, data) for name, data in read_files(SHIPPED)]
    return tuple((file.collection, rule) for file in files for rule in file.rules if rule.kind == "block")


@cache
def _collections() -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in LABELS.glob("*.yaml")))


def _missing(dropped: Sequence[str]) -> list[str]:
    return [f"{len(dropped)} of the {len(_shipped())} safety rules that ship are not in force: {', '.join(dropped)}"] if dropped else []
