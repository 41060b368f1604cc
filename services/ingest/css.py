"""As much of CSS as tells what a person does not see: declarations, and rules for a class or an id. In linear time, whatever is written there.

No regular expression runs over what a sender wrote as a whole: `opacity:000…` and the like would keep a backtracking one busy for hours.
"""

import re
from collections.abc import Iterator

from services.ingest.text import without

Declaration = tuple[str, str]  # property and value, in lower case, spaces collapsed, without !important
_BRACE = re.compile(r"[{}]")
_SIZE = re.compile(r"(\d{0,6}(?:\.\d{0,6})?)\d* ?(px|pt|em|rem|%|)")
_AWAY = re.compile(r"-\d{3}")
_BOX = ("height", "width", "max-height", "max-width")
_WHITES = ("#fff", "#ffffff", "white", "transparent")
_SMALLEST = {"px": 1.0, "pt": 1.0, "em": 0.1, "rem": 0.1, "%": 10.0, "": 0.0}  # what is no larger is not read by anybody
_READABLE = {"px": 2.0, "pt": 2.0, "rem": 0.2}  # a size of its own from which on it is; em and % are a share of what is above, perhaps of nothing


def declarations(style: str) -> list[Declaration]:
    """All of them, in their order: one that a later one overrides counts for those who look for hiding."""
    if not style:
        return []
    found = []
    for part in style.split(";"):
        name, colon, value = part.partition(":")
        if colon:
            found.append((name.strip().lower(), " ".join(value.partition("!")[0].lower().split())))
    return found


def rules(sheet: str) -> Iterator[tuple[str, str]]:
    """(selectors, declarations) of the rules that hold everywhere: those inside @media hold for some screens only, and what a desktop shows stays."""
    text = without(sheet, "/*", "*/")
    depth = start = opened = 0
    head = ""
    for brace in _BRACE.finditer(text):
        at = brace.start()
        if brace[0] == "{":
            if depth == 0:
                head, opened = text[start:at].rpartition(";")[2].strip(), at + 1  # "@import …;" may stand before it
            depth += 1
            continue
        if depth == 1 and head and not head.startswith("@"):
            yield head, text[opened:at]
        depth, start = max(depth - 1, 0), at + 1


def hides(style: list[Declaration]) -> bool:
    """Whether it takes an element, and all that is in it, out of sight."""
    return any(_hides(name, value) for name, value in style) or (
        any("overflow" in name for name, _ in style) and any(name in _BOX and _is_zero(_bare(value)) for name, value in style)
    )


def is_tiny(style: list[Declaration]) -> bool:
    """Whether its letters are too small to be seen."""
    return any(name == "font-size" and (found := _size(value)) is not None and found[0] <= _SMALLEST[found[1]] for name, value in style)


def has_own_size(style: list[Declaration]) -> bool:
    """Whether it has a size of letters that does not depend on what it stands in."""
    for name, value in style:
        if name == "font-size":
            found = _size(value)
            if value[:1].isalpha() or (found is not None and found[0] >= _READABLE.get(found[1], float("inf"))):
                return True
    return False


def is_white_text(style: list[Declaration]) -> bool:
    return any(name == "color" and is_white(value) for name, value in style)


def has_own_colour(style: list[Declaration]) -> bool:
    return any(name == "color" or name.startswith("background") for name, _ in style)


def background(style: list[Declaration]) -> str:
    """The first background that is named; empty where none is."""
    return next((value for name, value in style if name in ("background", "background-color", "background-image") and value), "")


def is_white(value: str) -> bool:
    """Whether a colour is white or nothing, on a page that is white."""
    value = value.strip().lower()
    word = value.partition(" ")[0]
    if word in _WHITES:
        return True
    packed = value.replace(" ", "")
    if packed.startswith(("rgb(255,255,255", "rgba(255,255,255")):
        return True
    return packed.startswith("rgba(") and _is_zero(packed[5:].partition(")")[0].rpartition(",")[2])


def _hides(name: str, value: str) -> bool:
    if name == "display":
        return value.startswith("none")
    if name == "visibility":
        return value.startswith(("hidden", "collapse"))
    if name == "mso-hide":
        return value.startswith("all")
    if name == "opacity":
        return _is_zero(value)
    if name == "clip":
        return value.replace(" ", "").startswith("rect(0")
    return name.endswith(("text-indent", "left", "top")) and bool(_AWAY.match(value))


def _size(value: str) -> tuple[float, str] | None:
    """(number, unit) of a length; None for what is none."""
    match = _SIZE.fullmatch(value[:40])
    return (float(match[1]), match[2]) if match and match[1] not in ("", ".") else None


def _bare(value: str) -> str:
    for unit in ("px", "em", "%"):
        value = value.removesuffix(unit)
    return value.strip()


def _is_zero(value: str) -> bool:
    return "0" in value and not value.strip("0.") and value.count(".") <= 1
