"""The bench's tables: what is told reaches the page between its markers, and nothing else of the page changes."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from tests.bench.model.__main__ import MARKS, PAGE
from tests.bench.model.figures import Figure
from tests.bench.model.tables import Section, as_json, markdown, show
from tests.bench.page import write_between

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
