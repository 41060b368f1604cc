"""The locks by which programs keep out of one another's way in an mbox: NAME.lock beside it, flock and fcntl. A reader takes shared ones."""

import errno
import fcntl
import time
from pathlib import Path
from typing import BinaryIO

STALE_S = 600.0  # a lock file that is older was left behind by a program that died

_NO_LOCKS_HERE = (errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


def shared_lock(file: BinaryIO, path: Path) -> bool:
    """Lock an open mbox for reading; closing it gives the lock back. False where another program has it locked for writing."""
    try:
        if time.time() - path.with_name(path.name + ".lock").stat().st_mtime < STALE_S:
            return False
    except OSError:
        pass  # there is none, or none that we may see
    for lock in (fcntl.flock, fcntl.lockf):
        try:
            lock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _NO_LOCKS_HERE:  # a file system without this kind
                continue
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return False
            raise
    return True
