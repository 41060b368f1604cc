"""The holder's side of a leash: start a program whose whole process group ends with us, even if we are killed with -9."""

import asyncio
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.local import leash
from deploy.local.errors import LocalError, explain_os_error

TAIL_BYTES = 64 * 1024


class Leashed:
    """One program at a time, under a leash (see leash.py); output in `log`, the previous run's in `log`.1."""

    def __init__(self, name: str, log: Path, grace: float) -> None:
        self.name = name
        self.log = log
        self._pid: int | None = None
        self._grace = grace
        self._leash: asyncio.subprocess.Process | None = None

    async def start(self, argv: Sequence[str], env: Mapping[str, str]) -> None:
        """Raises LocalError if the program cannot be started at all. `env` is the whole environment."""
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            if self.log.exists():
                self.log.replace(self.log.with_name(self.log.name + ".1"))
            self.log.touch()
        except OSError as error:
            raise explain_os_error(error, f"the log file {self.log}") from error
        self._leash = await asyncio.create_subprocess_exec(
            sys.executable, "-I", str(Path(leash.__file__)), str(self._grace), str(self.log), *argv,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=dict(env), start_new_session=True,
        )  # fmt: skip
        assert self._leash.stdout is not None
        line = (await self._leash.stdout.readline()).decode().strip()
        if not line.isdigit():
            await self.stop()
            raise LocalError(f"{self.name} could not be started: {line.removeprefix('error ') or 'its leash died'}")
        self._pid = int(line)

    @property
    def pid(self) -> int | None:
        """The program's own pid while it runs; it leads the group."""
        return self._pid if self.alive() else None

    def alive(self) -> bool:
        return self._leash is not None and self._leash.returncode is None

    async def wait(self) -> int:
        """The exit code once the program and its group are gone (128 + number for a signal)."""
        assert self._leash is not None, "wait before start"
        return await self._leash.wait()

    async def stop(self) -> None:
        """Ends the group: SIGTERM, SIGKILL after the grace. Returns when it is gone; safe to call at any moment, more than once."""
        if self._leash is None:
            return
        assert self._leash.stdin is not None
        self._leash.stdin.close()
        try:
            async with asyncio.timeout(self._grace + 5):
                await self._leash.wait()
        except TimeoutError:
            self._leash.kill()
            await self._leash.wait()
        self._pid = None

    def text(self) -> str:
        """The end of this run's log."""
        try:
            with self.log.open("rb") as file:
                file.seek(0, 2)
                file.seek(max(0, file.tell() - TAIL_BYTES))
                return file.read().decode("utf-8", "replace")
        except OSError:
            return ""

    def last_lines(self, count: int = 8) -> str:
        """The last lines of the log that are not stack frames, indented, for the end of an error message."""
        lines = (line for line in self.text().splitlines() if line.strip() and not line.startswith(("\tat ", "\t... ")))
        return "\n".join("    " + line for line in deque(lines, maxlen=count))
