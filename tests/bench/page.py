"""The part of a page that a benchmark writes: what stands between `<!-- NAME -->` and `<!-- /NAME -->`."""

from pathlib import Path


def write_between(page: Path, name: str, text: str) -> None:
    """Replace what stands between the two marks. Raises ValueError where the page has not both, in this order, once each."""
    opened, closed = f"<!-- {name} -->", f"<!-- /{name} -->"
    whole = page.read_text(encoding="utf-8")
    if whole.count(opened) != 1 or whole.count(closed) != 1 or whole.index(opened) > whole.index(closed):
        raise ValueError(f"{page} must hold {opened} and, after it, {closed}, once each: put them where the figures belong")
    before, rest = whole.split(opened)
    page.write_text(f"{before}{opened}\n{text.strip()}\n{closed}{rest.split(closed)[1]}", encoding="utf-8")
