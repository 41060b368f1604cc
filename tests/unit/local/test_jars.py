"""What a person without Java or Maven reads: one line each."""

import asyncio
import os
import stat
from pathlib import Path

import pytest

from deploy.local.errors import LocalError
from deploy.local.jars import POM, ensure_jars, find_java

JARS_MAVEN = """#!/bin/sh
for word in "$@"; do case $word in -DoutputDirectory=*) folder=${word#-DoutputDirectory=};; esac; done
echo fetched >> "$(dirname "$0")/calls"
: > "$folder/kafka_2.13-4.3.0.jar"
"""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An otherwise empty PATH whose programs the test writes."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return folder


def program(path: Path, name: str, text: str) -> None:
    (path / name).write_text(text.replace("$(dirname", "$(/usr/bin/dirname"))
    (path / name).chmod((path / name).stat().st_mode | stat.S_IXUSR)


async def test_no_java(path: Path) -> None:
    with pytest.raises(LocalError) as caught:
        await find_java()
    line = str(caught.value)
    assert line.startswith("Kafka needs Java 17 or newer: `java` was not found; install a JDK (Debian: apt-get install openjdk-17-jre-headless")
    assert line.endswith("or set KAFKA_BOOTSTRAP_SERVERS to a broker that runs elsewhere") and "\n" not in line


@pytest.mark.parametrize(("version", "said"), [("1.8.0_412", "is Java 8;"), ("11.0.2", "is Java 11;")])
async def test_old_java(path: Path, version: str, said: str) -> None:
    program(path, "java", f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
    with pytest.raises(LocalError, match=said):
        await find_java()


async def test_java_that_does_not_run(path: Path) -> None:
    program(path, "java", "#!/bin/sh\necho 'no runtime present' >&2\nexit 1\n")
    with pytest.raises(LocalError, match=r"failed \(no runtime present\)"):
        await find_java()


async def test_java_home_comes_first(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(path, "java", "#!/bin/sh\necho 'version \"11\"' >&2\n")
    (tmp_path / "home" / "bin").mkdir(parents=True)
    program(tmp_path / "home" / "bin", "java", "#!/bin/sh\necho 'openjdk version \"21.0.1\"' >&2\n")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    assert await find_java() == str(tmp_path / "home" / "bin" / "java")


async def test_no_maven(path: Path, tmp_path: Path) -> None:
    with pytest.raises(LocalError, match=r"^Kafka's jars have to be fetched once: `mvn` was not found; install Maven [^\n]*$"):
        await ensure_jars(tmp_path / "cache", print)


async def test_maven_fails_in_one_line_and_leaves_nothing(path: Path, tmp_path: Path) -> None:
    program(path, "mvn", "#!/bin/sh\necho '[ERROR] Could not transfer artifact x: unknown host'\necho '[ERROR] Re-run with -X'\nexit 1\n")
    with pytest.raises(LocalError, match=r"^Maven could not fetch Kafka's jars: Could not transfer artifact x: unknown host; [^\n]*$"):
        await ensure_jars(tmp_path / "cache", print)
    assert os.listdir(tmp_path / "cache") == []


async def test_jars_are_fetched_once_a_pom_even_by_two_at_a_time(path: Path, tmp_path: Path) -> None:
    program(path, "mvn", JARS_MAVEN)
    said: list[str] = []
    both = await asyncio.gather(*(ensure_jars(tmp_path / "cache", said.append) for _ in range(2)))
    assert both[0] == both[1] and (both[0] / "kafka_2.13-4.3.0.jar").exists()
    assert os.listdir(tmp_path / "cache") == [both[0].name]
    (path / "mvn").unlink()
    assert await ensure_jars(tmp_path / "cache", said.append) == both[0]
    assert len(said) == 2

    other = tmp_path / "pom.xml"
    other.write_text(POM.read_text() + "\n<!-- changed -->\n")
    program(path, "mvn", JARS_MAVEN)
    assert await ensure_jars(tmp_path / "cache", said.append, other) != both[0]


async def test_cancelling_ends_maven(path: Path, tmp_path: Path, gone) -> None:  # type: ignore[no-untyped-def]
    program(path, "mvn", f"#!/bin/sh\necho $$ > {tmp_path}/pid.new\n/bin/mv {tmp_path}/pid.new {tmp_path}/pid\n/bin/sleep 60 & wait\n")
    task = asyncio.create_task(ensure_jars(tmp_path / "cache", print))
    while not (tmp_path / "pid").exists():
        await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert gone(int((tmp_path / "pid").read_text()))
    assert os.listdir(tmp_path / "cache") == []
