"""The part of a page that a benchmark writes: what stands between `<!-- NAME -->` and `<!-- /NAME -->`."""

import re
from pathlib import Path

TARGETS = "Targets"


def write_between(page: Path, name: str, text: str) -> None:
    """Replace what stands between the two marks. Raises ValueError where the page has not both, in this order, once each."""
    opened, closed = f"<!-- {name} -->", f"<!-- /{name} -->"
    whole = page.read_text(encoding="utf-8")
    if whole.count(opened) != 1 or whole.count(closed) != 1 or whole.index(opened) > whole.index(closed):
        raise ValueError(f"{page} must hold {opened} and, after it, {closed}, once each: put them where the figures belong")
    before, rest = whole.split(opened)
    page.write_text(f"{before}{opened}\n{text.strip()}\n{closed}{rest.split(closed)[1]}", encoding="utf-8")


def read_between(page: Path, name: str) -> str:
    """What stands there now. Raises ValueError as `write_between`."""
    whole = page.read_text(encoding="utf-8")
    found = re.fullmatch(rf".*<!-- {re.escape(name)} -->\n(.*)\n<!-- /{re.escape(name)} -->.*", whole, re.DOTALL)
    if not found:
        raise ValueError(f"{page} must hold <!-- {name} --> and, after it, <!-- /{name} -->")
    return found[1]


def with_newer(old: str, new: str) -> str:
    """A page's part with newer tables: sections (`### Title`) of `new` in the place of those of the same title, and of a table that both have under TARGETS
    the newer rows; the heading of `new` after the old one. Raises ValueError for a section that the old part has not."""
    (head, *parts), (newer_head, *newer) = (text.split("\n### ") for text in (old, new))
    places = {part.split("\n", 1)[0]: n for n, part in enumerate(parts)}
    for part in newer:
        title = part.split("\n", 1)[0]
        if title not in places:
            raise ValueError(f"there is no section {title!r} yet: measure the whole first")
        parts[places[title]] = _rows_of(parts[places[title]], part) if title == TARGETS else part.rstrip() + "\n"
    again = f"Measured again since: {', '.join(part.split(chr(10), 1)[0] for part in newer)}."
    kept = [paragraph for paragraph in head.strip().split("\n\n") if not paragraph.startswith(again)]  # what was measured twice counts once
    return "\n### ".join(["\n\n".join([*kept, f"{again} {newer_head.strip()}\n"]), *parts])


def _rows_of(old: str, new: str) -> str:
    """The old table, a row that the new one has too (by its first cell) as the new one has it."""
    rows = {line.split("|")[1]: line for line in new.split("\n") if line.startswith("| ")}
    return "\n".join(rows.get(line.split("|")[1], line) if line.startswith("| ") else line for line in old.split("\n"))
