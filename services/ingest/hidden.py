"""HTML that a person does not see: dropped before a text is made, for a model would read it and obey."""

import re

from lxml.html import HtmlElement

_HIDING = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*(hidden|collapse)|mso-hide\s*:\s*all|(?<![\w-])opacity\s*:\s*0*\.?0+\s*(;|!|$)"
    r"|(text-indent|left|top|margin-left)\s*:\s*-\d{3,}|clip\s*:\s*rect\(\s*0",
    re.I,
)
_ZERO_BOX = re.compile(r"(?<![\w-])(max-)?(height|width)\s*:\s*0+\s*(px|em|%)?\s*(;|!|$)", re.I)
_TINY = re.compile(r"font-size\s*:\s*(0+(\.\d+)?\s*(px|pt|em|rem|%)?|1\s*px)\s*(;|!|$)", re.I)
_OWN_SIZE = re.compile(r"font-size\s*:\s*([1-9]\d*(\.\d+)?\s*(px|pt|rem)|[a-z])", re.I)  # not em or %: a share of nothing is nothing
_WHITE = r"(#fff\b|#ffffff\b|white\b|rgba?\(\s*255\s*,\s*255\s*,\s*255|transparent\b|rgba\([^)]*,\s*0*\.?0+\s*\))"
_WHITE_TEXT = re.compile(rf"(?<![\w-])color\s*:\s*{_WHITE}", re.I)
_WHITE_VALUE = re.compile(_WHITE, re.I)
_OWN_COLOUR = re.compile(r"(?<![\w-])color\s*:|background", re.I)
_BACKGROUND = re.compile(r"background(-color|-image)?\s*:\s*([^;]+)", re.I)
_RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")
_AT_BLOCK = re.compile(r"@[^{};]*\{(?:[^{}]*\{[^{}]*\})*[^{}]*\}")
_COMMENT = re.compile(r"/\*.*?\*/", re.S)
_SIMPLE = re.compile(r"(?:[A-Za-z][\w-]*)?([.#])([\w-]+)")
_SHEET = 100_000  # characters of a style sheet that are looked at
_NEVER_TEXT = frozenset(
    "script style template noscript iframe embed applet svg math head title select textarea button input audio video canvas".split()
)


def remove_hidden(tree: HtmlElement) -> None:
    """Drop scripts, styles and everything hidden by attribute, inline style or a simple rule of the document's own style sheet."""
    classes, ids = _hidden_by_rule(tree)
    doomed, tiny, white = [], [], []
    for element in tree.iter():
        style = element.get("style") or "" if isinstance(element.tag, str) else ""
        if (
            not isinstance(element.tag, str)  # comments and processing instructions
            or element.tag in _NEVER_TEXT
            or "hidden" in element.attrib
            or (style and (_HIDING.search(style) or ("overflow" in style.lower() and _ZERO_BOX.search(style))))
            or (classes and classes.intersection((element.get("class") or "").split()))
            or (ids and element.get("id") in ids)
        ):
            doomed.append(element)
        elif style and _TINY.search(style):
            tiny.append(element)
        elif _WHITE_TEXT.search(style) or (element.tag == "font" and _WHITE_VALUE.match(element.get("color") or "")):
            white.append(element)
    for element in white:  # before anything is dropped: a background may stand above
        if not _on_colour(element):
            _silence(element, _OWN_COLOUR)
    for element in tiny:
        _silence(element, _OWN_SIZE)
    for element in doomed:
        if element.getparent() is not None:
            element.drop_tree()


def _silence(element: HtmlElement, own: re.Pattern[str]) -> None:
    """Empty the text of an element and of what inherits its style; a descendant with a style of its `own` is seen (newsletters are laid out in
    cells of font size 0)."""
    element.text = None
    todo = list(element)
    while todo:
        child = todo.pop()
        child.tail = None
        if isinstance(child.tag, str) and not own.search(child.get("style") or "") and not child.get("bgcolor"):
            child.text = None
            todo.extend(child)


def _on_colour(element: HtmlElement | None) -> bool:
    """Whether an element or what holds it has a background that is not white: white words on a coloured button are meant to be read."""
    while element is not None:
        if found := _BACKGROUND.search(element.get("style") or ""):
            return not _WHITE_VALUE.match(found[2].strip())
        if colour := (element.get("bgcolor") or element.get("background")):
            return not _WHITE_VALUE.match(colour.strip())
        element = element.getparent()
    return False


def _hidden_by_rule(tree: HtmlElement) -> tuple[set[str], set[str]]:
    classes: set[str] = set()
    ids: set[str] = set()
    for sheet in tree.iter("style"):
        # rules inside @media hold for some screens only: what a desktop shows stays
        for selectors, body in _RULE.findall(_AT_BLOCK.sub("", _COMMENT.sub("", (sheet.text or "")[:_SHEET]))):
            if _HIDING.search(body):
                for selector in selectors.split(","):
                    if match := _SIMPLE.fullmatch(selector.strip()):
                        (classes if match[1] == "." else ids).add(match[2])
    return classes, ids
