"""The one error of this package."""

import errno


class LocalError(Exception):
    """Something about this machine stops the local stack. Its text is one line for a person: what is wrong and what to do."""


def explain_os_error(error: OSError, what: str) -> LocalError:
    """The one line for a folder or file that cannot be used; `what` names it, e.g. "Kafka's folder /x"."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return LocalError(f"{what}: the disk is full; free some space or set FEEDLOOP_STATE to a folder on another disk")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return LocalError(f"{what} cannot be written; fix its permissions or set FEEDLOOP_STATE and FEEDLOOP_CACHE to folders of yours")
    return LocalError(f"{what}: {error.strerror or error}; set FEEDLOOP_STATE or FEEDLOOP_CACHE to a folder that works")
