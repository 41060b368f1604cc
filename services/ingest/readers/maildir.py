"""A Maildir: new/ and cur/, a file a mail. The cursor is the set of file names read (hashed), without the flags that change when a mail is read."""

from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

from services.ingest.items import Batch, SourceProblem
from services.ingest.readers.changes import tell_of_changes
from services.ingest.readers.mailfiles import batches, hash_of
from services.ingest.threads import in_own_thread


class MaildirReader:
    def __init__(self, path: Path) -> None:
        self._path = path

    async def read(self, cursor: Mapping[str, str]) -> AsyncIterator[Batch]:
        """Batches of mails whose names are new. Raises SourceProblem or OSError."""
        files = await in_own_thread(_files, self._path)
        async for batch in batches(files, cursor, _moved):
            yield batch

    async def watch(self, news: Callable[[], None]) -> None:
        """Call `news` when mails have come or gone."""
        await tell_of_changes([self._path / "new", self._path / "cur"], news, lambda: False)


def _files(path: Path) -> dict[bytes, Path]:
    if not any((path / sub).is_dir() for sub in ("new", "cur")):
        raise SourceProblem(f"{path} is no Maildir: it has neither new/ nor cur/")
    try:
        found = [file for sub in ("cur", "new") if (path / sub).is_dir() for file in (path / sub).iterdir() if not file.name.startswith(".")]
        names = {file.name.split(":")[0]: file for file in found if file.is_file()}
    except PermissionError as error:
        raise SourceProblem(f"the Maildir {path} may not be read") from error
    return {hash_of(name): names[name] for name in sorted(names)}


def _moved(file: Path) -> Path | None:
    """A mail that its owner has opened since it was listed: in cur/ now, or with other flags."""
    return next(iter((file.parent.parent / "cur").glob(f"{_escaped(file.name.split(':')[0])}*")), None)


def _escaped(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)
