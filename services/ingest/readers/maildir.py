"""A Maildir: new/ and cur/, a file a mail, known by its name without the flags that change when a mail is read."""

import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from services.ingest.items import Batch, SourceProblem
from services.ingest.readers.changes import tell_of_changes
from services.ingest.readers.mailfiles import File, batches
from services.ingest.readers.seen import Seen, hash_of


class MaildirReader:
    def __init__(self, path: Path, seen: Seen) -> None:
        self._path, self._seen = path, seen

    async def read(self, cursor: Mapping[str, str]) -> AsyncIterator[Batch]:
        """Batches of mails whose names are new. Raises SourceProblem, OSError or TransientError (the object store)."""
        async for batch in batches(partial(_files, self._path), cursor, self._seen, _moved):
            yield batch

    async def watch(self, news: Callable[[], None]) -> None:
        """Call `news` when mails have come or gone."""
        await tell_of_changes([self._path / "new", self._path / "cur"], news, lambda: False)


def _files(path: Path) -> Iterator[File]:
    """All of them, in no order; one that is opened meanwhile perhaps twice."""
    folders = [path / sub for sub in ("new", "cur") if (path / sub).is_dir()]  # mails go from new/ to cur/: none is missed
    if not folders:
        raise SourceProblem(f"{path} is no Maildir: it has neither new/ nor cur/")
    try:
        for folder in folders:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if not entry.name.startswith(".") and entry.is_file():
                        name = entry.name.split(":")[0]
                        yield (name,), hash_of(name), entry.path
    except PermissionError as error:
        raise SourceProblem(f"the Maildir {path} may not be read") from error


def _moved(file: Path) -> Path | None:
    """A mail that its owner has opened since it was listed: in cur/ now, or with other flags."""
    return next(iter((file.parent.parent / "cur").glob(f"{_escaped(file.name.split(':')[0])}*")), None)


def _escaped(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)
