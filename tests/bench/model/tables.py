"""What the bench tells: tables for the screen, for docs/model.md and as JSON. Pure, but for the screen."""

from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench.model.figures import Figure

Cell = str | int | Figure


@dataclass(frozen=True)
class Section:
    """One table: rows of cells under columns, a line before it, and what else belongs to the JSON."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[Cell, ...]]
    about: str = ""
    more: dict[str, Any] = field(default_factory=dict)


def shown(cell: Cell) -> str:
    """A cell as text."""
    return cell.text() if isinstance(cell, Figure) else f"{cell:,}" if isinstance(cell, int) else cell


def show(console: Console, section: Section) -> None:
    """The table on the screen."""
    table = Table(*section.columns, title=section.title, caption=section.about or None, title_justify="left", caption_justify="left")
    for row in section.rows:
        table.add_row(*map(shown, row))
    console.print(table)


def markdown(heading: str, sections: list[Section]) -> str:
    """All tables as Markdown, under a line that says how they came about."""
    parts = [heading]
    for section in sections:
        lines = [f"### {section.title}", "", *([section.about, ""] if section.about else [])]
        lines += ["| " + " | ".join(section.columns) + " |", "|" + "---|" * len(section.columns)]
        lines += ["| " + " | ".join(shown(cell).replace("|", "\\|") for cell in row) + " |" for row in section.rows]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def as_json(sections: list[Section]) -> list[dict[str, Any]]:
    """All figures with their intervals, unrounded enough to compute with."""

    def cell(value: Cell) -> Any:
        if not isinstance(value, Figure):
            return value
        bounds = [None if bound is None else round(bound, 4) for bound in (value.low, value.high)]
        return {"value": round(value.value, 4), "n": value.n, "low": bounds[0], "high": bounds[1], "unit": value.unit}

    return [
        {"title": s.title, "about": s.about, "rows": [dict(zip(s.columns, map(cell, row), strict=True)) for row in s.rows], **s.more}
        for s in sections
    ]
