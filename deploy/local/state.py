"""Where a local stack keeps what it keeps: a folder a profile, locked while a stack runs on it, and a cache shared by all profiles."""

import fcntl
import json
import os
import re
import shutil
import time
from pathlib import Path
from typing import Any

from deploy.local.errors import LocalError, explain_os_error

MINIMUM_FREE_BYTES = 2 * 1024**3
FOLDERS = ("kafka", "objects", "qdrant", "logs")


def state_folder() -> Path:
    """FEEDLOOP_STATE, else $XDG_STATE_HOME/feedloop, else ~/.local/state/feedloop."""
    return _folder("FEEDLOOP_STATE", "XDG_STATE_HOME", ".local/state")


def cache_folder() -> Path:
    """FEEDLOOP_CACHE, else $XDG_CACHE_HOME/feedloop, else ~/.cache/feedloop: what can be fetched again."""
    return _folder("FEEDLOOP_CACHE", "XDG_CACHE_HOME", ".cache")


def _folder(ours: str, xdg: str, below_home: str) -> Path:
    if own := os.environ.get(ours):
        return Path(own).expanduser().absolute()
    base = os.environ.get(xdg)
    return (Path(base) if base else Path.home() / below_home) / "feedloop"


class State:
    """The folder of one profile. `with state:` locks it, so that two stacks never share one; reading needs no lock."""

    def __init__(self, profile: str, root: Path | None = None) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", profile):
            raise LocalError(f"profile {profile!r} is no name for a folder: use letters, digits, dots and dashes")
        self.profile = profile
        self.folder = (root or state_folder()) / profile
        self.kafka, self.objects, self.qdrant, self.logs = (self.folder / name for name in FOLDERS)
        self.cache = cache_folder()
        self.run_file = self.folder / "run.json"
        self._lock: int | None = None

    def acquire(self) -> None:
        """Makes the folders and takes the lock. Raises LocalError: in use by another stack, not writable, or under 2 GB free.
        Does nothing if this object holds the lock already."""
        if self._lock is not None:
            return
        try:
            for name in FOLDERS:
                (self.folder / name).mkdir(parents=True, exist_ok=True)
            lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise explain_os_error(error, f"the state folder {self.folder}") from error
        try:
            self._take(lock)
            self._check_disk()
        except BaseException:
            os.close(lock)
            raise
        self._lock = lock

    def _take(self, lock: int) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(lock, 32, 0).decode().strip() or "unknown"
            raise LocalError(f"profile {self.profile!r} is already in use by pid {pid}: stop it or choose another with --profile") from None
        try:
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            raise explain_os_error(error, f"the state folder {self.folder}") from error

    def _check_disk(self) -> None:
        free = shutil.disk_usage(self.folder).free
        if free < MINIMUM_FREE_BYTES:
            raise LocalError(
                f"only {free / 1024**3:.1f} GB are free where {self.folder} is and a stack needs 2 GB: "
                "free some space or set FEEDLOOP_STATE to a folder on another disk"
            )

    def release(self) -> None:
        """Gives the profile back; does nothing if it is not held."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> "State":
        self.acquire()
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()

    def read_run(self) -> dict[str, Any]:
        """run.json: {} if there is none, or none that can be read (it only remembers ports and addresses: nothing is lost with it)."""
        try:
            run = json.loads(self.run_file.read_text())
        except (OSError, ValueError):
            return {}
        return run if isinstance(run, dict) else {}

    def write_run(self, run: dict[str, Any]) -> None:
        """Replaces run.json in one step: a reader sees the old one or the new one."""
        temporary = self.run_file.with_suffix(".tmp")
        try:
            temporary.write_text(json.dumps(run | {"written": time.time()}, indent=2) + "\n")
            temporary.replace(self.run_file)
        except OSError as error:
            raise explain_os_error(error, f"the state folder {self.folder}") from error

    def running(self) -> dict[str, Any] | None:
        """run.json of the stack that runs on this profile now, for other commands; None if none does. Asks the lock, not a pid."""
        try:
            lock = os.open(self.folder / "lock", os.O_RDWR)
        except OSError:
            return None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            run = self.read_run()
            return run if run.get("pid") else None
        finally:
            os.close(lock)
        return None
