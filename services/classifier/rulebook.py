"""The rules in force: those of the folder, or those published to all replicas; kept as they were when what is new is bad."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from services.classifier.rule_files import check_size, read_files
from services.classifier.rules import RuleSet
from shared.clock import Clock, utc_now
from shared.errors import ConfigError, PermanentError
from shared.logs import logger
from shared.taxonomy import LabelSet

log = logger(__name__)
FOLDER = "folder"  # the digest that stands for "each replica's own folder"
KEPT = "the rules of before stay in force"


class RuleBook:
    """`rules` are those in force; `problem` says why the newest edit or publication is not among them, empty where it is; `source` is `folder`, or the
    digest of what was published.

    Raises ConfigError where the folder is bad at the start: a process must not run without its safety rules.
    """

    def __init__(self, folder: Path, labels: Callable[[str], LabelSet], clock: Clock = utc_now) -> None:
        self._folder, self._labels, self._clock = folder, labels, clock
        self._lock = threading.Lock()  # the folder and the topic may bring news at the same time
        self._seen = self._stamp()
        self._of_folder = self.rules = RuleSet(read_files(folder), labels, clock)
        self.problem, self.source = "", FOLDER
        self._told_expired: set[str] = set()
        self._tell(self.rules)

    def refresh(self) -> bool:
        """Read the folder again if a file in it changed; True where new rules came into force by it. While published rules are in force the folder's wait."""
        with self._lock:
            self._tell_expired()
            stamp = self._stamp()
            if stamp == self._seen:
                return False
            self._seen = stamp
            try:
                rules = RuleSet(read_files(self._folder), self._labels, self._clock)
            except ConfigError as error:
                self._refuse(str(error))
                return False
            self._of_folder = rules
            return self.source == FOLDER and self._put(rules, FOLDER)

    def check(self, files: Sequence[tuple[str, bytes]]) -> RuleSet:
        """The rules of these files, not put in force. Raises ConfigError."""
        check_size(files)
        return RuleSet(files, self._labels, self._clock)

    def take(self, digest: str, read: Callable[[], Sequence[tuple[str, bytes]]]) -> bool:
        """Put published rules in force, or the folder's for the digest `folder`; True where that changed something. `read` gives the files; where they are
        bad, missing or not those of the digest, `problem` says so and the rules of before stay."""
        with self._lock:
            if digest == FOLDER:
                return self._put(self._of_folder, FOLDER)
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

    def _put(self, rules: RuleSet, source: str) -> bool:
        changed = rules.digest != self.rules.digest
        self.rules, self.source, self.problem = rules, source, ""
        if changed:
            self._told_expired.clear()
            self._tell(rules)
        return changed

    def _refuse(self, why: str) -> None:
        self.problem = f"{why}; {KEPT}"
        log.error("rules.refused", reason=self.problem, digest=self.rules.digest)

    def _tell(self, rules: RuleSet) -> None:
        log.info("rules.loaded", digest=rules.digest, rules=len(rules), source=self.source)
        for line in rules.warnings:
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
        for path in sorted(self._folder.glob("*.yaml")):
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue  # an editor replaces files by renaming: gone now, back at the next look
            found.append((path.name, stat.st_mtime_ns, stat.st_size))
        return tuple(found)
