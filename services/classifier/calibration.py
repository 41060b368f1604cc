"""The learned weights in force: a file for each collection, read again when one changes, kept as they were when the new one is bad.

Without them the parts are pooled by hand-set weights and each decision says that it is uncalibrated: a verdict is due all the same.
"""

from collections.abc import Mapping
from pathlib import Path

from services.classifier.pooled import Calibration
from shared.errors import ConfigError
from shared.logs import logger
from shared.pooling import FusionFile
from shared.taxonomy import LabelSet

log = logger(__name__)


def calibration(file: FusionFile | None, labels: LabelSet, task: str, spoken_by: Mapping[str, str]) -> Calibration:
    """What was learned for a task. `spoken_by`: part -> digest of the adapter or head that speaks now."""
    fusion = file.tasks.get(task) if file else None
    if file is None or fusion is None:
        return Calibration(None, labels.error_rate)
    learned = file.learned_with
    stale = [part for part in fusion.parts if spoken_by.get(part) and learned.get(part) and spoken_by[part] != learned[part]]
    return Calibration(fusion, labels.error_rate, stale, base=learned.get("base", ""), until_taught=file.until_taught)


class Fusions:
    """`folder` holds <collection>.json. `problem` says why a file is not in force; empty where all are, and where there is none."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._files: dict[str, FusionFile] = {}
        self._seen: dict[str, tuple[int, int]] = {}
        self._problems: dict[str, str] = {}
        self.refresh()

    @property
    def problem(self) -> str:
        return "; ".join(self._problems[name] for name in sorted(self._problems))

    def digests(self) -> dict[str, str]:
        """Collection -> digest of the weights in force."""
        return {collection: self._files[collection].digest for collection in sorted(self._files)}

    def of(self, collection: str) -> FusionFile | None:
        """The weights in force for a collection. To be asked for once a decision: a reload in between must not mix two digests."""
        return self._files.get(collection)

    def refresh(self) -> bool:
        """Read the files that changed. True where other weights came into force by it."""
        there = self._stamps()
        gone = [name for name in self._seen if name not in there]
        for name in gone:
            del self._seen[name]
            self._problems.pop(name, None)
        # replaced as a whole: decisions are made in other threads meanwhile
        files = {collection: file for collection, file in self._files.items() if f"{collection}.json" not in gone}
        for name, stamp in there.items():
            if self._seen.get(name) == stamp:
                continue
            self._seen[name] = stamp
            try:
                files[name.removesuffix(".json")] = self._read(name)
                self._problems.pop(name, None)
            except ConfigError as error:
                self._problems[name] = f"{error}; {'the weights of before stay in force' if name.removesuffix('.json') in files else 'uncalibrated'}"
                log.error("fusion.refused", reason=self._problems[name])
        changed = files != self._files
        self._files = files
        if changed:
            log.info("fusion.loaded", digests=self.digests())
        return changed

    def _read(self, name: str) -> FusionFile:
        assert self._folder
        try:
            file = FusionFile.parse(name, (self._folder / name).read_bytes())
        except OSError as error:
            raise ConfigError(f"{name} can't be read: {error.strerror}") from error
        if f"{file.collection}.json" != name:
            raise ConfigError(f"{name}: it holds the weights of the collection {file.collection!r}")
        return file

    def _stamps(self) -> dict[str, tuple[int, int]]:
        found = {}
        for path in sorted(self._folder.glob("*.json")) if self._folder else []:
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue  # replaced by renaming: gone now, back at the next look
            found[path.name] = (stat.st_mtime_ns, stat.st_size)
        return found
