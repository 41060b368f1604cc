"""Mails that are a file each, which nobody writes to any more: which have been read (the cursor, a hash a name), and reading a batch of them."""

import base64
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

from services.ingest.items import Batch, SourceProblem
from services.ingest.readers import mails as limits
from services.ingest.readers.mails import mail_batch
from services.ingest.threads import in_own_thread

_HASH = 6  # bytes a name
MAX_SEEN = 50_000  # names remembered (400 kB): the newest; older mails are read again and recognised by their ids
_NAMED = 3  # files that are named in a message


def hash_of(name: str) -> bytes:
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[:_HASH]


async def batches(
    files: Mapping[bytes, Path], cursor: Mapping[str, str], moved: Callable[[Path], Path | None] = lambda path: None
) -> AsyncIterator[Batch]:
    """Batches of the files (hash of the name -> where it is, in the order of reading) that the cursor does not hold. `moved` finds one that is not there any
    more. Names that are gone are forgotten; a file that can't be read holds up none of the others, stays to be read, and is told of in SourceProblem."""
    packed = base64.b64decode(cursor.get("seen", ""))
    seen = {packed[i : i + _HASH] for i in range(0, len(packed), _HASH)}
    known = [name for name in files if name in seen]
    new = [name for name in files if name not in seen]
    failed: dict[Path, str] = {}
    if not new:
        yield Batch((), cursor, unchanged=True)
    while new:
        asked = new[: limits.MAX_BATCH]
        found, count = await in_own_thread(_read, {name: files[name] for name in asked}, moved, failed)
        known, new = known + list(found), new[count:]
        yield await mail_batch(found.values(), {"seen": base64.b64encode(b"".join(known[-MAX_SEEN:])).decode()})
    if failed:
        named = "; ".join(f"{path.name}: {why}" for path, why in list(failed.items())[:_NAMED])
        raise SourceProblem(f"{len(failed)} mails can't be read and wait: {named}")


def _read(files: Mapping[bytes, Path], moved: Callable[[Path], Path | None], failed: dict[Path, str]) -> tuple[dict[bytes, bytes], int]:
    """The mails by name, and how many names that took."""
    found: dict[bytes, bytes] = {}
    total = count = 0
    for name, path in files.items():
        count += 1
        try:
            try:
                data = _beginning(path)
            except FileNotFoundError:
                if (other := moved(path)) is None:
                    continue  # deleted, or on its way: the next listing tells
                data = _beginning(other)
        except FileNotFoundError:
            continue
        except OSError as error:
            failed[path] = error.strerror or type(error).__name__
            continue
        found[name] = data
        total += len(data)
        if total >= limits.MAX_BATCH_BYTES:
            break
    return found, count


def _beginning(path: Path) -> bytes:
    with path.open("rb") as opened:
        return opened.read(limits.MAX_MAIL + 1)
