"""A Maildir: new/ and cur/, a file a mail. The cursor is the set of file names read (hashed), without the flags that change when a mail is read."""

import base64
import hashlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from services.ingest.items import Batch, SourceProblem
from services.ingest.readers.mails import MAX_BATCH, MAX_BATCH_BYTES, MAX_MAIL, mail_batch
from services.ingest.threads import in_own_thread

_HASH = 6  # bytes a name
MAX_SEEN = 50_000  # names remembered (400 kB): the newest; older mails are read again and recognised by their ids


class MaildirReader:
    def __init__(self, path: Path) -> None:
        self._path = path

    async def read(self, cursor: Mapping[str, str]) -> AsyncIterator[Batch]:
        """Batches of mails whose names are new. Raises SourceProblem or OSError."""
        packed = base64.b64decode(cursor.get("seen", ""))
        seen = {packed[i : i + _HASH] for i in range(0, len(packed), _HASH)}
        files = await in_own_thread(_files, self._path)
        known = [name for name in files if name in seen]  # names that are gone are forgotten
        new = [name for name in files if name not in seen]
        if not new:
            yield Batch((), cursor, unchanged=True)
            return
        while new:
            mails, count = await in_own_thread(_read, [files[name] for name in new[:MAX_BATCH]])
            known, new = known + new[:count], new[count:]
            yield await mail_batch(mails, {"seen": base64.b64encode(b"".join(known[-MAX_SEEN:])).decode()})


def _files(path: Path) -> dict[bytes, Path]:
    if not any((path / sub).is_dir() for sub in ("new", "cur")):
        raise SourceProblem(f"{path} is no Maildir: it has neither new/ nor cur/")
    try:
        found = [file for sub in ("cur", "new") if (path / sub).is_dir() for file in (path / sub).iterdir() if not file.name.startswith(".")]
        names = {file.name.split(":")[0]: file for file in found if file.is_file()}
    except PermissionError as error:
        raise SourceProblem(f"the Maildir {path} may not be read") from error
    return {hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[:_HASH]: names[name] for name in sorted(names)}


def _read(files: list[Path]) -> tuple[list[bytes], int]:
    """The mails, and how many names that took: one that has moved meanwhile (new/ to cur/) is passed over until its next listing."""
    mails: list[bytes] = []
    total = count = 0
    for file in files:
        try:
            with file.open("rb") as opened:
                mails.append(opened.read(MAX_MAIL + 1))
        except FileNotFoundError:
            moved = next(iter(file.parent.parent.glob(f"cur/{_escaped(file.name.split(':')[0])}*")), None)
            if moved is not None:
                mails.append(moved.read_bytes()[: MAX_MAIL + 1])
        count += 1
        total += len(mails[-1]) if mails else 0
        if total >= MAX_BATCH_BYTES:
            break
    return mails, count


def _escaped(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)
