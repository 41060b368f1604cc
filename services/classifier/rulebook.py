"""The rules in force: read again when a file changes, kept as they were when the edit is bad."""

from collections.abc import Callable
from pathlib import Path

from services.classifier.rule_files import read_files
from services.classifier.rules import RuleSet
from shared.errors import ConfigError
from shared.logs import logger
from shared.taxonomy import LabelSet

log = logger(__name__)


class RuleBook:
    """Rules of a folder. `rules` are those in force; `problem` says why the newest edit is not among them, empty where it is.

    Raises ConfigError where the folder is bad at the start: a process must not run without its safety rules.
    """

    def __init__(self, folder: Path, labels: Callable[[str], LabelSet]) -> None:
        self._folder, self._labels = folder, labels
        self._seen = self._stamp()
        self.rules = RuleSet(read_files(folder), labels)
        self.problem = ""

    def refresh(self) -> bool:
        """Read the folder again if a file in it changed; True where new rules came into force by it."""
        stamp = self._stamp()
        if stamp == self._seen:
            return False
        self._seen = stamp
        try:
            rules = RuleSet(read_files(self._folder), self._labels)
        except ConfigError as error:
            self.problem = f"{error}; the rules of before stay in force"
            log.error("rules.refused", reason=self.problem, digest=self.rules.digest)
            return False
        changed = rules.digest != self.rules.digest
        self.rules, self.problem = rules, ""
        if changed:
            log.info("rules.loaded", digest=rules.digest, rules=len(rules))
        return changed

    def _stamp(self) -> tuple[tuple[str, int, int], ...]:
        found = []
        for path in sorted(self._folder.glob("*.yaml")):
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue  # an editor replaces files by renaming: gone now, back at the next look
            found.append((path.name, stat.st_mtime_ns, stat.st_size))
        return tuple(found)
