"""Java, and the broker's jars: fetched once with Maven, kept in the cache folder under the digest of the pom that asked for them."""

import asyncio
import hashlib
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from deploy.local.errors import LocalError, explain_os_error

POM = Path(__file__).resolve().parent.parent / "kafka" / "pom.xml"
MINIMUM_JAVA = 17
INSTALL_JAVA = "install a JDK (Debian: apt-get install openjdk-17-jre-headless; macOS: brew install openjdk)"
INSTALL_MAVEN = "install Maven (Debian: apt-get install maven; macOS: brew install maven)"
ELSEWHERE = "or set KAFKA_BOOTSTRAP_SERVERS to a broker that runs elsewhere"


async def find_java() -> str:
    """The path of a Java that can run Kafka: JAVA_HOME's if set, else the one on PATH. Raises LocalError if there is none or it is too old."""
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=str(Path(home) / "bin")) if home else None
    java = java or shutil.which("java")
    need = f"Kafka needs Java {MINIMUM_JAVA} or newer"
    if java is None:
        raise LocalError(f"{need}: `java` was not found; {INSTALL_JAVA} {ELSEWHERE}")
    code, output = await _run([java, "-version"], timeout=30)
    found = re.search(r'version "(?:1\.)?(\d+)', output)
    if code != 0 or found is None:
        raise LocalError(f"{need}: `{java} -version` failed ({_last_line(output)}); {INSTALL_JAVA} {ELSEWHERE}")
    if int(found[1]) < MINIMUM_JAVA:
        raise LocalError(f"{need}: {java} is Java {found[1]}; {INSTALL_JAVA} {ELSEWHERE}")
    return java


async def ensure_jars(cache: Path, say: Callable[[str], None], pom: Path = POM) -> Path:
    """The folder with the broker's jars, filled by Maven if this pom's are not there yet. Raises LocalError, in one line, if that fails."""
    folder = cache / f"kafka-{hashlib.sha256(pom.read_bytes()).hexdigest()[:12]}"
    if folder.is_dir():
        return folder
    maven = shutil.which("mvn")
    if maven is None:
        raise LocalError(f"Kafka's jars have to be fetched once: `mvn` was not found; {INSTALL_MAVEN} {ELSEWHERE}")
    say("fetching Kafka's jars with Maven (once, about 45 MB)")
    try:
        cache.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".kafka-", dir=cache))
    except OSError as error:
        raise explain_os_error(error, f"the cache folder {cache}") from error
    try:
        command = [maven, "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={temporary}"]
        code, output = await _run([*command, "-DincludeScope=runtime"], timeout=600)
        if code != 0 or not any(temporary.glob("kafka_*.jar")):
            raise LocalError(f"Maven could not fetch Kafka's jars: {_maven_reason(output)}; check its network and settings.xml {ELSEWHERE}")
        with suppress(OSError):  # someone else was faster: theirs are the same
            temporary.rename(folder)
        return folder
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


async def _run(argv: list[str], timeout: float) -> tuple[int, str]:
    """Exit code and output (both streams). The command is ended, with what it started, on a timeout (code 124) and when we are cancelled."""
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, start_new_session=True
    )
    try:
        async with asyncio.timeout(timeout):
            output, _ = await process.communicate()
        return process.returncode or 0, output.decode("utf-8", "replace")
    except TimeoutError:
        return 124, f"it took longer than {timeout:.0f} s"
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


def _last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"


def _maven_reason(output: str) -> str:
    """Maven's first error line names the cause; the rest is advice on its own flags."""
    for line in output.splitlines():
        if line.startswith("[ERROR]") and len(line) > len("[ERROR] "):
            return line.removeprefix("[ERROR] ").strip()[:400]
    return _last_line(output)[:400]
