"""Real services as processes of their own, as a stack starts them; each can be killed and started again."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from deploy.local.environment import service_environment
from deploy.local.http import status_of
from deploy.local.ports import LOOPBACK, free_port
from deploy.local.state import State
from shared.child_process import die_with_parent
from tests.support.waiting import until

ROOT = Path(__file__).resolve().parent.parent.parent


class ServiceProcess:
    """One service. It dies with the test process, even with one that is killed."""

    def __init__(self, name: str, state: State, env: Mapping[str, str], argv: list[str] | None = None) -> None:
        self.name, self.state, self.port = name, state, free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"
        self.log = state.folder / f"{name}.log"
        self._argv = argv or [sys.executable, "-m", "services", "run", name]
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("FEEDLOOP_", "KAFKA_", "QDRANT_"))}
        self._env = {**service_environment(name, inherited, state), "FEEDLOOP_HTTP_PORT": str(self.port), **env}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} is not started"
        return self._process.pid

    def start(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._argv,
                cwd=ROOT,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent(),
            )

    async def ready(self, seconds: float = 60.0) -> None:
        """Returns when /ready answers 200."""

        async def asked() -> bool:
            assert self._process is not None and self._process.poll() is None, f"{self.name} ended:\n{self.last_lines()}"
            return await status_of(f"{self.url}/ready") == 200

        await until(f"{self.name} is ready; its log ends:\n{self.last_lines()}", seconds, asked, every=0.2)

    def kill(self) -> None:
        """kill -9 of the service alone, as an out-of-memory killer would."""
        os.kill(self.pid, signal.SIGKILL)
        assert self._process is not None
        self._process.wait()

    def stop(self) -> None:
        """SIGTERM, SIGKILL after 15 s; does nothing where it has ended."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def last_lines(self, lines: int = 6) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""
