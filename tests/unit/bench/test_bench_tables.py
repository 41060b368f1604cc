"""The bench's tables: what is told reaches the page between its markers, and nothing else of the page changes."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from tests.bench.model.__main__ import MARKS, PAGE
from tests.bench.model.figures import Figure
from tests.bench.model.tables import Section, as_json, markdown, show
from tests.bench.page import read_between, with_newer, write_between

SECTION = Section("Labels", ("set", "n", "LLM"), [("a | b", 1200, Figure(61.24, 1200, 58.0, 64.0))], "Said once.", {"detail": {"x": 1}})


def test_the_page_keeps_all_but_what_stands_between_the_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Top\n\n<!-- {MARKS} -->\nold\n<!-- /{MARKS} -->\n\n## Below\n")
    for _ in range(2):
        write_between(page, MARKS, "new\n")
        assert page.read_text() == f"# Top\n\n<!-- {MARKS} -->\nnew\n<!-- /{MARKS} -->\n\n## Below\n"


def test_the_page_of_this_project_has_the_marks(tmp_path: Path) -> None:
    copy = tmp_path / "model.md"
    copy.write_text(PAGE.read_text())
    write_between(copy, MARKS, "new figures")
    assert "new figures" in copy.read_text()
    copy.write_text("no marks")
    with pytest.raises(ValueError, match=MARKS):
        write_between(copy, MARKS, "new figures")


def test_a_table_is_markdown_json_and_on_the_screen_the_same() -> None:
    text = markdown("How it was measured.", [SECTION])
    assert text.startswith("How it was measured.\n\n### Labels\n\nSaid once.\n\n| set | n | LLM |\n|---|---|---|\n")
    assert text.endswith("| a \\| b | 1,200 | 61.2 % [58–64] |")
    told = json.loads(json.dumps(as_json([SECTION])))[0]
    assert told["rows"] == [{"set": "a | b", "n": 1200, "LLM": {"value": 61.24, "n": 1200, "low": 58.0, "high": 64.0, "unit": "%"}}]
    assert told["detail"] == {"x": 1}
    console = Console(width=120, record=True, file=io.StringIO())
    show(console, SECTION)
    assert "61.2 % [58–64]" in console.export_text()


OLD = "Measured on Monday.\n\n### Targets\n\n| target | found |\n|---|---|\n| a | 1 |\n| b | 2 |\n\n### One\n\n| x |\n|---|\n| 1 |\n\n### Two\n\nold"


def test_a_part_of_a_page_is_measured_again(tmp_path: Path) -> None:
    new = "Measured on Tuesday.\n\n### Targets\n\n| target | found |\n|---|---|\n| b | 3 |\n| c | 4 |\n\n### Two\n\nnew"
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- figures -->\nx\n<!-- /figures -->\nafter")
    write_between(page, "figures", OLD)
    assert read_between(page, "figures") == OLD
    found = with_newer(OLD, new)
    assert "| a | 1 |\n| b | 3 |\n\n### One\n\n| x |\n|---|\n| 1 |\n\n### Two\n\nnew" in found and "| c |" not in found and "old" not in found
    assert found.startswith("Measured on Monday.\n\nMeasured again since: Targets, Two. Measured on Tuesday.\n\n### Targets")
    third = with_newer(found, new.replace("Tuesday", "Sunday").replace("new", "newest"))
    assert (
        third.startswith("Measured on Monday.\n\nMeasured again since: Targets, Two. Measured on Sunday.\n\n### Targets") and "Tuesday" not in third
    )
    with pytest.raises(ValueError, match="no section 'Three' yet"):
        with_newer(OLD, "Now.\n\n### Three\n\nx")
    with pytest.raises(ValueError, match="must hold"):
        read_between(page, "others")
