"""HTML that a person does not see: dropped before a text is made, for a model would read it and obey. In linear time, however deep it nests."""

import re
from collections.abc import Callable, Iterable

from lxml import etree
from lxml.html import HtmlElement

from services.ingest import css
from services.ingest.css import Declaration

_SIMPLE = re.compile(r"(?:[A-Za-z][\w-]*)?([.#])([\w-]+)")
_SHEET = 100_000  # characters of a style sheet that are looked at
_GONE = "feedloop-gone"
_NEVER_TEXT = frozenset(
    "script style template noscript iframe embed applet svg math head title select textarea button input audio video canvas".split()
)


def remove_hidden(tree: HtmlElement) -> None:
    """Drop scripts, styles and everything hidden by attribute, inline style or a simple rule of the document's own style sheet."""
    classes, ids = _hidden_by_rule(tree)
    doomed: list[HtmlElement] = []
    tiny: list[HtmlElement] = []
    white: list[HtmlElement] = []
    coloured: dict[HtmlElement, bool] = {}  # whether an element stands on a background that is not white
    for element in tree.iter():
        if not isinstance(element.tag, str):
            continue  # comments and processing instructions go with the doomed
        style = css.declarations(element.get("style") or "")
        coloured[element] = _on_colour(element, style, coloured)
        if (
            element.tag in _NEVER_TEXT
            or "hidden" in element.attrib
            or css.hides(style)
            or (classes and classes.intersection((element.get("class") or "").split()))
            or (ids and element.get("id") in ids)
        ):
            doomed.append(element)
        elif css.is_tiny(style):
            tiny.append(element)
        elif (css.is_white_text(style) or (element.tag == "font" and css.is_white(element.get("color") or ""))) and not coloured[element]:
            white.append(element)
    _silence(white, css.has_own_colour)
    _silence(tiny, css.has_own_size)
    drop(tree, doomed)


def drop(tree: HtmlElement, elements: Iterable[HtmlElement]) -> None:
    """Take elements out of a tree, and all comments; the words behind them stay. (drop_tree, one by one, copies those words again and again.)"""
    for element in elements:
        if element is not tree:
            element.tag = _GONE
    etree.strip_elements(tree, _GONE, etree.Comment, etree.ProcessingInstruction, with_tail=False)


def _silence(elements: Iterable[HtmlElement], own: Callable[[list[Declaration]], bool]) -> None:
    """Empty the text of elements and of what inherits their style; a descendant with a style of its `own` is seen (newsletters are laid out in
    cells of font size 0)."""
    done: set[HtmlElement] = set()
    for element in elements:
        if element in done:
            continue
        element.text = None
        todo = list(element)
        while todo:
            child = todo.pop()
            child.tail = None
            if isinstance(child.tag, str) and not own(css.declarations(child.get("style") or "")) and not child.get("bgcolor"):
                child.text = None
                done.add(child)
                todo.extend(child)


def _on_colour(element: HtmlElement, style: list[Declaration], above: dict[HtmlElement, bool]) -> bool:
    """Whether an element or what holds it has a background that is not white: white words on a coloured button are meant to be read."""
    if found := css.background(style) or element.get("bgcolor") or element.get("background"):
        return not css.is_white(found)
    return above.get(element.getparent(), False)


def _hidden_by_rule(tree: HtmlElement) -> tuple[set[str], set[str]]:
    classes: set[str] = set()
    ids: set[str] = set()
    for sheet in tree.iter("style"):
        for selectors, body in css.rules((sheet.text or "")[:_SHEET]):
            if css.hides(css.declarations(body)):
                for selector in selectors.split(","):
                    if match := _SIMPLE.fullmatch(selector.strip()):
                        (classes if match[1] == "." else ids).add(match[2])
    return classes, ids
