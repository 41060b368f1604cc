"""A real Kafka broker on this machine: one KRaft node on loopback whose data stay between runs."""

import asyncio
import base64
import fcntl
import os
import re
import shutil
import string
import uuid
from collections.abc import Callable
from pathlib import Path

from deploy.local.errors import LocalError, explain_os_error
from deploy.local.jars import POM, ensure_jars, find_java
from deploy.local.leashed import Leashed
from deploy.local.ports import LOOPBACK, reserve

__all__ = ["KafkaProcess", "ensure_jars", "find_java"]

TEMPLATE = POM.with_name("server.properties.template")
LOGGING = POM.with_name("log4j2.properties")
STARTED = "Kafka Server started"
START_SECONDS = 60.0
STOP_SECONDS = 20.0
JVM = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true", f"-Dlog4j2.configurationFile={LOGGING}")


class KafkaProcess:
    """Start and stop one broker; `folder` holds its data, cluster id, ports and configuration, `log` its output."""

    def __init__(self, folder: Path, log: Path, cache: Path, say: Callable[[str], None]) -> None:
        self.folder = folder
        self.port: int | None = None
        self._cache = cache
        self._say = say
        self._process = Leashed("Kafka", log, STOP_SECONDS)

    @property
    def bootstrap(self) -> str:
        """The address for clients, once started."""
        assert self.port is not None, "Kafka is not started"
        return f"{LOOPBACK}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The broker's own pid while it runs."""
        return self._process.pid

    async def start(self) -> str:
        """Starts the broker and returns its address once it answers. Formats the storage the first time; called again after the broker died,
        it keeps the address. Raises LocalError in one line (followed by the log's last lines when the broker said why)."""
        java = await find_java()
        jars = await ensure_jars(self._cache, self._say)
        classpath = f"{jars}/*"
        data = self.folder / "data"
        try:
            data.mkdir(parents=True, exist_ok=True)
            await self._previous_broker_ended(data)
            properties = self._configure(data)
            if not (data / "meta.properties").exists():
                await self._format(java, classpath, properties)
        except OSError as error:
            raise explain_os_error(error, f"Kafka's folder {self.folder}") from error
        try:
            await self._process.start([java, *JVM, "-cp", classpath, "kafka.Kafka", str(properties)], os.environ)
            await self._answers()
        except BaseException:
            await self._process.stop()
            raise
        return self.bootstrap

    async def stop(self) -> None:
        """SIGTERM, SIGKILL after 20 s; returns when it is gone. Safe at any moment."""
        await self._process.stop()

    async def wait(self) -> int:
        """The broker's exit code, when it ends."""
        return await self._process.wait()

    def _configure(self, data: Path) -> Path:
        """Writes server.properties. The log does not depend on the ports, so a taken one is simply replaced, but never under running clients."""
        ports_file = self.folder / "ports"
        words = ports_file.read_text().split() if ports_file.exists() else []
        remembered = dict(zip(("client", "controller"), (int(word) for word in words if word.isdigit()), strict=False))
        ports = reserve(("client", "controller"), remembered)
        if self.port is not None and self.port != ports["client"]:
            raise LocalError(f"Kafka cannot start again: something else has taken its port {self.port}; stop the stack and start it anew")
        self.port = ports["client"]
        ports_file.write_text(f"{ports['client']} {ports['controller']}\n")
        values = {"port": self.port, "controller_port": ports["controller"], "data": data}
        properties = self.folder / "server.properties"
        properties.write_text(string.Template(TEMPLATE.read_text()).substitute({k: str(v) for k, v in values.items()}))
        return properties

    async def _format(self, java: str, classpath: str, properties: Path) -> None:
        id_file = self.folder / "cluster.id"
        if not id_file.exists():
            # The tool's own form: a UUID in URL-safe base64; a leading "-" would read as an option.
            id_file.write_text("F" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:].rstrip("=") + "\n")
        tool = Leashed("Kafka's storage tool", self._process.log.with_name("kafka-format.log"), STOP_SECONDS)
        argv = [java, *JVM, "-cp", classpath, "kafka.tools.StorageTool", "format", "-t", id_file.read_text().strip(), "-c", str(properties)]
        try:
            await tool.start([*argv, "--ignore-formatted"], os.environ)
            async with asyncio.timeout(START_SECONDS):
                code = await tool.wait()
        except TimeoutError:
            code = -1
        finally:
            await tool.stop()
        if code != 0:
            raise self._failure(f"Kafka's storage in {self.folder} could not be formatted", tool)

    async def _previous_broker_ended(self, data: Path) -> None:
        """A broker whose stack was killed needs a moment to shut down, and holds the data's lock until then."""
        lock = data / ".lock"
        deadline = asyncio.get_running_loop().time() + STOP_SECONDS
        while lock.exists() and asyncio.get_running_loop().time() < deadline:
            with lock.open("r+b") as file:
                try:
                    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return
                except BlockingIOError:
                    await asyncio.sleep(0.2)

    async def _answers(self) -> None:
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        while asyncio.get_running_loop().time() < deadline:
            if not self._process.alive():
                raise self._failure("Kafka ended while it was starting", self._process)
            if STARTED in self._process.text() and await _accepts(self.port or 0):
                return
            await asyncio.sleep(0.1)
        raise self._failure(f"Kafka did not answer within {START_SECONDS:.0f} s", self._process)

    def _failure(self, what: str, process: Leashed) -> LocalError:
        text = process.text()
        # A full disk often swallows the message about itself.
        if "No space left on device" in text or shutil.disk_usage(self.folder).free < 1024**2:
            return LocalError(f"{what}: the disk is full; free some space or set FEEDLOOP_STATE to a folder on another disk")
        if re.search(r"AccessDeniedException|Permission denied|Read-only file system", text):
            return LocalError(f"{what}: {self.folder} cannot be written; fix its permissions or set FEEDLOOP_STATE to a folder of yours")
        if "Failed to acquire lock" in text:
            return LocalError(f"{what}: another broker uses {self.folder}; stop it or choose another profile with --profile")
        return LocalError(f"{what}; the last lines of {process.log}:\n{process.last_lines()}")


async def _accepts(port: int) -> bool:
    try:
        async with asyncio.timeout(2):
            _, writer = await asyncio.open_connection(LOOPBACK, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
