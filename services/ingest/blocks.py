"""HTML as a person sees it: one block under another, each with its words, its links and whether it is a heading. What digests are recognised by."""

import re
from dataclasses import dataclass, field

from lxml import etree
from lxml.html import HtmlElement

_BLOCKS = frozenset(
    "address article aside blockquote br dd div dl dt figcaption figure footer form h1 h2 h3 h4 h5 h6 header hr li main nav ol p pre section table tr td th"
    " ul body html caption thead tbody tfoot details summary center".split()
)
_HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
_SPACES = re.compile(r"\s+")
_SOFT = frozenset({"br"})  # breaks a line, not a block
_BOLD = frozenset({"b", "strong"})
_LONGEST_HEADING = 200  # characters
MAX_NESTED = 8  # links in one another
BOLD_HEADING = 7  # level of a block that is bold from its first word to its last; h1 to h6 are 1 to 6


@dataclass(frozen=True)
class Anchor:
    """A link: where its words stand in the block (characters)."""

    url: str
    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Block:
    """`level` is that of a heading, 0 for none; `list_depth` of the list it stands in; `bold` its first words, as far as they are bold."""

    text: str
    tag: str
    level: int
    list_depth: int
    links: tuple[Anchor, ...]
    bold: str


@dataclass
class _Open:
    """The block that is being read. Pieces are joined once, at its end: a block of many thousands must not take minutes."""

    pieces: list[str] = field(default_factory=list)
    size: int = 0
    bold_size: int = 0  # characters from its beginning that are bold
    spaced: bool = True  # whether it ends in a space, or is empty
    links: list[tuple[str, int, int]] = field(default_factory=list)

    def add(self, words: str, bold: bool) -> None:
        words = _SPACES.sub(" ", words)
        words = words.lstrip() if self.spaced else words
        if not words:
            return
        if self.bold_size == self.size and (bold or not words.strip()):
            self.bold_size += len(words)
        self.pieces.append(words)
        self.size += len(words)
        self.spaced = words.endswith(" ")

    def block(self, tag: str, level: int, list_depth: int) -> Block | None:
        text = "".join(self.pieces)
        stripped = text.rstrip()
        if not stripped:
            return None
        anchors = []
        for url, start, end in self.links:
            words = text[start:end]
            if words.strip():
                begin = start + len(words) - len(words.lstrip())
                anchors.append(Anchor(url, words.strip(), begin, begin + len(words.strip())))
        bold = stripped[: self.bold_size].strip()
        if not level and not list_depth and len(bold) >= 0.9 * len(stripped) and len(stripped) <= _LONGEST_HEADING:
            level = BOLD_HEADING
        return Block(stripped, tag, level, list_depth, tuple(anchors), bold)


def blocks_of(tree: HtmlElement) -> list[Block]:
    """The blocks in the order of the text. Walks without recursion: nesting may be deep."""
    out: list[Block] = []
    current = _Open()
    tags: list[str] = []  # the blocks that are open,
    levels: list[int] = []  # those of them that are headings,
    bolds: list[bool] = []  # of all elements that are open, whether they make words bold,
    lists = bold = 0  # how many are list items, and how many bold elements are open
    anchors: list[tuple[str, int]] = []
    deeper = 0  # links in links beyond MAX_NESTED: not valid, and not counted

    def close() -> None:
        nonlocal current
        current.links += [(url, start, current.size) for url, start in anchors]
        if found := current.block(tags[-1] if tags else "", levels[-1] if levels else 0, lists):
            out.append(found)
        current = _Open()
        anchors[:] = [(url, 0) for url, _ in anchors]  # a link around several blocks goes on in each

    for event, element in etree.iterwalk(tree, events=("start", "end")):
        tag = element.tag if isinstance(element.tag, str) else ""
        breaks = tag in _BLOCKS and tag not in _SOFT
        if event == "start":
            if breaks:
                close()
                tags.append(tag)
                lists += tag == "li"
                if tag in _HEADINGS:
                    levels.append(int(tag[1]))
            elif tag in _SOFT:
                current.add(" ", bold > 0)
            elif tag == "a" and (url := _target(element)):
                if len(anchors) < MAX_NESTED:
                    anchors.append((url, current.size))
                else:
                    deeper += 1
            bolds.append(tag in _BOLD or _bold_style(element))
            bold += bolds[-1]
            if tag and element.text:
                current.add(element.text, bold > 0)
            continue
        if breaks:
            close()
            tags.pop()
            lists -= tag == "li"
            if tag in _HEADINGS:
                levels.pop()
        elif tag == "a" and (url := _target(element)):
            if deeper:
                deeper -= 1
            else:
                _, start = anchors.pop()
                current.links.append((url, start, current.size))
        bold -= bolds.pop()
        if element.tail:
            current.add(element.tail, bold > 0)
    close()
    return out


def _target(anchor: HtmlElement) -> str:
    """Where a link leads; empty where it stays on the page."""
    url = (anchor.get("href") or "").strip()
    return "" if url.startswith("#") else url


def _bold_style(element: HtmlElement) -> bool:
    style = (element.get("style") or "").lower().replace(" ", "") if isinstance(element.tag, str) else ""
    if "font-weight" not in style:
        return False
    return "font-weight:bold" in style or any(f"font-weight:{weight}" in style for weight in (600, 700, 800, 900))
