import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from deploy.local.errors import LocalError
from deploy.local.state import State, cache_folder, state_folder

HOLD = """
import sys
from pathlib import Path
from deploy.local.state import State
state = State("demo", Path(sys.argv[1]))
state.acquire()
print("held", flush=True)
sys.stdin.read()
"""


def test_folders_follow_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("FEEDLOOP_STATE", "FEEDLOOP_CACHE", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert state_folder() == tmp_path / ".local/state/feedloop"
    assert cache_folder() == tmp_path / ".cache/feedloop"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    assert state_folder() == tmp_path / "xdg/feedloop"
    monkeypatch.setenv("FEEDLOOP_STATE", str(tmp_path / "own"))
    assert State("demo").folder == tmp_path / "own/demo"


def test_two_stacks_never_share_a_profile(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path.cwd())
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(LocalError) as caught:
            State("demo", tmp_path).acquire()
        assert str(caught.value) == f"profile 'demo' is already in use by pid {holder.pid}: stop it or choose another with --profile"
        with State("other", tmp_path):
            pass
    finally:
        holder.kill()
        holder.communicate()
    with State("demo", tmp_path) as state:  # the lock of one that was killed does not stay
        assert (state.folder / "lock").read_text() == f"{os.getpid()}\n"


def test_running_tells_what_runs_and_nothing_once_it_is_over(tmp_path: Path) -> None:
    reader = State("demo", tmp_path)
    assert reader.running() is None
    with State("demo", tmp_path) as state:
        assert reader.running() is None, "it has started nothing yet"
        state.write_run({"pid": 5, "kafka": "127.0.0.1:1"})
        running = reader.running()
        assert running is not None and running["kafka"] == "127.0.0.1:1"
    assert reader.running() is None
    assert reader.read_run()["pid"] == 5


def test_a_broken_run_file_is_no_obstacle(tmp_path: Path) -> None:
    with State("demo", tmp_path) as state:
        state.run_file.write_text("{")
        assert state.read_run() == {}


def test_a_disk_almost_full_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1024**3))
    state = State("demo", tmp_path)
    with pytest.raises(LocalError, match=r"^only 1\.0 GB are free where .*: free some space or set FEEDLOOP_STATE [^\n]*$"):
        state.acquire()
    monkeypatch.undo()
    with State("demo", tmp_path):  # and the lock was given back
        pass


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalError, match=r"^the state folder .*FEEDLOOP_STATE[^\n]*$"):
        State("demo", tmp_path / "file").acquire()


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden"])
def test_a_profile_is_a_plain_name(name: str) -> None:
    with pytest.raises(LocalError):
        State(name)
