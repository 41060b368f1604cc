"""Replacing a file of the user's: whole or not at all, and never over what somebody else wrote meanwhile."""

import contextlib
import errno
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from shared.errors import ConfigError

LOCK_S = 30.0  # an edit takes a fraction of a second; 10,000 sources at once take some seconds
_MODE = 0o644  # of a file that was not there


def content_of(path: Path) -> bytes | None:
    """The bytes, None where the file is not there. Raises ConfigError where it can't be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}") from error


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One editor at a time in a folder (flock; nothing is left behind). Raises ConfigError where another does not end within LOCK_S seconds."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise ConfigError(f"{folder} can't be opened: {error.strerror}") from error
    try:
        deadline = time.monotonic() + LOCK_S
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise ConfigError(f"another process edits a file in {folder} since {LOCK_S:g} seconds: try again when it is done") from None
                time.sleep(0.05)
        yield
    finally:
        os.close(handle)


def replace_file(path: Path, before: bytes | None, after: bytes) -> None:
    """Write beside, force to the disk, rename. Raises ConfigError where the file no longer holds `before`, or can't be replaced: it is as it was then."""
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with open(handle, "wb") as out:
            out.write(after)
            _keep_rights(path, out.fileno())
            out.flush()
            os.fsync(out.fileno())
        if content_of(path) != before:
            raise ConfigError(f"{path} was changed by somebody else meanwhile; nothing was written: do it again")
        os.replace(temporary, path)
        temporary = ""
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        mounted = error.errno in (errno.EBUSY, errno.EROFS)
        where = "it is mounted from elsewhere: change it there" if mounted else "nothing was written"
        raise ConfigError(f"{path} can't be replaced ({error.strerror}); {where}") from error
    finally:
        if temporary:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)


def _keep_rights(path: Path, handle: int) -> None:
    try:
        status = path.stat()
    except FileNotFoundError:
        os.fchmod(handle, _MODE)
        return
    with contextlib.suppress(PermissionError):  # another's file in a folder of ours: it becomes ours, as with any editor
        os.fchown(handle, status.st_uid, status.st_gid)
    os.fchmod(handle, status.st_mode & 0o7777)
