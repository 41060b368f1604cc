"""The rules of the tree that import-linter can't say: who reads the environment, what no module is called, how long one may get."""

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = [path for folder in ("services", "shared", "deploy") for path in sorted((ROOT / folder).rglob("*.py"))]
READERS = {"app.py", "settings.py", "__main__.py"}
LONGEST = 320  # lines; past 200 it is a design question, past this an answer


def reads_environment(path: Path) -> bool:
    tree = ast.parse(path.read_text())
    return any(isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv") for node in ast.walk(tree))


def test_only_app_and_settings_of_a_service_read_the_environment() -> None:
    guilty = [path for path in CODE if path.is_relative_to(ROOT / "services") and path.name not in READERS and reads_environment(path)]
    # a training run is started by hand: what it is pointed at may come from the environment
    guilty = [path for path in guilty if not path.is_relative_to(ROOT / "services" / "trainer" / "runs")]
    assert guilty == []


def test_no_module_is_a_drawer() -> None:
    assert [path for path in CODE if path.stem in ("utils", "util", "helpers", "misc", "common")] == []


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_one_thing(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST


def test_the_tree_names_no_registry_and_no_path_of_a_machine() -> None:
    pattern = r"index-url|find-links|\"resolved\": *\"http|<repository>|source = \{ registry|(^|[^A-Za-z.])/(work|root|home)/"
    found = subprocess.run(["git", "grep", "-nIE", pattern, "--", ".", ":!tests/unit/test_rules.py"], cwd=ROOT, capture_output=True, text=True)
    assert found.stdout.splitlines() == []
