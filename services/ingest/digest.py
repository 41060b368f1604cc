"""A newsletter that tells many things, split into them: recognised by its structure (title, text and link, again and again), not by its sender.

Two shapes: titles that are links ("link roundups"), and headings over short texts with links. Precision goes before recall: what is not plainly one
of the two stays whole. What a feed lists is mostly one article, with headings and links in it: there (`strict`) nearly every item must lead on to a page
of its own, by its title or a "Read more".
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from lxml.html import HtmlElement

from services.ingest.blocks import Block, blocks_of
from services.ingest.items import RawItem
from services.ingest.text import clean, one_line
from services.ingest.urls import canonical
from shared.events import Link

MAX_ITEMS = 500  # a mail with more is left whole
_LEAST_TITLES, _LEAST_SECTIONS = 4, 4
_COVERED = 0.5  # of the mail's words that are in its items, from which it is a digest
_COVERED_LINKS, _WITH_LINKS = 0.4, 0.25  # or of its links and of its words: roundups of bare titles have much to say beside them
_LEAD_ON = 0.8  # share of the items of a feed's digest that lead on to pages of their own
_MOST_LINKS = 7  # of a section, at the median: what has more is a roundup itself
_LONGEST_MEDIAN, _LONGEST = 1_200, 6_000  # characters of a section: what is longer is a chapter of one article
_PREFIX = 60  # characters before the link of a title: a number, a date, "[video]"
_AFTER = re.compile(r"^\W*($|[-–—:|·•(\[/]|(by|via|from|at|in|on|with|and|hosted|posted|\d+)\b)", re.I)
_GENERIC = re.compile(
    r"(read|learn|see|find out|view|show|get|watch|listen|continue|click|sign|subscribe|unsubscribe|download|register|join|more|here|link|source|share|tweet|"
    r"reply|comments?|discuss|open|forward|privacy|manage|update|preferences|contact|follow|website|home|view in|en savoir|lire|weiter|mehr|leer|ver)\b",
    re.I,
)
_WORDY = 0.5  # share of headings that have more than two words: news have, chapters ("Installation") have not
_CHAPTER = re.compile(
    r"(\d+[.)]\s*)?(introduction|overview|background|summary|conclusions?|tl;?dr|features?|install(ation|ing)?|(quick|getting|get) ?start(ed)?|usage|documentation"
    r"|contribut(ing|ors?|e)|licen[cs]e|acknowledge?ments?|requirements|examples?|tests?|faq|references|appendix|what is \w+\??|why\b.{0,30}\?|how\b.{0,40}works?\??"
    r"|einleitung|fazit|zusammenfassung|introducción|conclusión)$",
    re.I,
)
_READ_ON = re.compile(r"^\W*(read|learn|see|continue|more|full|details|link|weiter|mehr|lire|en savoir|leer|ver)\b", re.I)
_CLOSING = re.compile(r"\bunsubscribe\b|you(’|')?(re| are)? receiv|copyright|©|all rights reserved|manage (your )?(subscription|preferences)", re.I)


@dataclass(frozen=True)
class Section:
    """One item of a digest. `url` is empty where no one link is plainly its own."""

    title: str
    text: str
    url: str = ""
    links: tuple[Link, ...] = ()


@dataclass(frozen=True)
class _Start:
    """Where an item begins: the block, its title, the title's own link, and what of the block comes after the title."""

    at: int
    title: str
    url: str
    rest: str
    level: int


def item_of(section: Section, whole: RawItem, links: tuple[Link, ...]) -> RawItem:
    """An item of a digest as an item of its own: what it does not say itself is as of the `whole`."""
    return RawItem(
        key="",
        title=section.title,
        body=section.text,
        plain=True,
        url=section.url,
        author=whole.author,
        published=whole.published,
        links=links,
        raw=whole.raw,
        channel=whole.channel,
        channel_title=whole.channel_title,
    )


def split(tree: HtmlElement, base: str = "", *, strict: bool = False) -> tuple[str, list[Section]]:
    """(the text of the whole with each item as one line, the items) of HTML without quotes and hidden parts; ("", []) for no digest."""
    blocks = blocks_of(tree)
    for starts in (_titles(blocks, base), _headings(blocks)):
        if 0 < len(starts) <= MAX_ITEMS:
            bodies = [_body(blocks, start, starts[n + 1].at if n + 1 < len(starts) else len(blocks)) for n, start in enumerate(starts)]
            sections = _sections(blocks, starts, bodies, base, strict)
            if len(sections) >= _LEAST_TITLES and _covers(blocks, sections) and not (strict and _stays(sections, base)):
                return _outline(blocks, starts, bodies), sections
    return "", []


def _outline(blocks: Sequence[Block], starts: Sequence[_Start], bodies: Sequence[Sequence[Block]]) -> str:
    """All that is in no item stays in the digest's own text, and each item as its title: nothing of the mail is lost."""
    lines = {start.at: f"• {start.title}" for start in starts}
    inside = {id(block) for body in bodies for block in body}
    return clean("\n".join(lines.get(at) or f"\n{block.text}\n" for at, block in enumerate(blocks) if id(block) not in inside))


def _titles(blocks: Sequence[Block], base: str) -> list[_Start]:
    """Blocks whose title is a link, in at least one shape that comes again and again."""
    found: list[tuple[tuple[str, bool], _Start]] = []
    for at, block in enumerate(blocks):
        link = next((link for link in block.links if link.text), None)
        if link is None or link.start > _PREFIX or (depth := block.list_depth) > 1:
            continue
        before, after = block.text[: link.start], block.text[link.end :]
        whole = block.level > 0 or len(link.text) >= 0.8 * len(block.text)
        if (
            len(link.text) < 8
            or len(link.text.split()) < 2
            or (_GENERIC.match(link.text) and len(link.text.split()) <= 4)
            or re.search(r"[.!?]\s", before)
        ):
            continue
        if not (whole or _AFTER.match(after)) or not (url := canonical(_joined(base, link.url))):
            continue
        if block.level == 0 and not depth and not whole and not block.bold.startswith(link.text[:20]):
            continue  # a paragraph that happens to begin with a link
        rest = re.sub(r"^\W*[-–—:|·•]\s+", "", after).strip() if not whole or after.strip() else ""
        kind = f"h{block.level}" if block.level else "li" if depth else block.tag
        found.append(((kind, bool(depth)), _Start(at, one_line(link.text, 300), url, rest, block.level or 9)))
    shapes = Counter(shape for shape, _ in found)
    starts = [start for shape, start in found if shapes[shape] >= _LEAST_TITLES]
    return starts if len({start.url for start in starts}) >= max(_LEAST_TITLES, 0.7 * len(starts)) else []


def _headings(blocks: Sequence[Block]) -> list[_Start]:
    """Headings of the one level (or bold beginnings of paragraphs) that most items have, each over a text with a link."""
    best: list[_Start] = []
    for level in sorted({block.level for block in blocks if block.level} | {0}):
        starts = []
        for at, block in enumerate(blocks):
            lead = block.bold.strip(" .:-–—")
            if level and block.level == level and len(block.text) > 3:
                starts.append(_Start(at, one_line(block.text, 300), "", "", level))
            elif not level and not block.level and not block.list_depth and 3 < len(lead) <= 120 and len(block.text) > len(block.bold) + 40:
                starts.append(_Start(at, one_line(lead, 300), "", block.text[len(block.bold) :].lstrip(" .:-–—"), 9))
        if len(starts) < _LEAST_SECTIONS:
            continue
        bodies = [_body(blocks, start, starts[n + 1].at if n + 1 < len(starts) else len(blocks)) for n, start in enumerate(starts)]
        sizes = [len(start.rest) + sum(len(block.text) for block in body) for start, body in zip(starts, bodies, strict=True)]
        linked = [len(blocks[start.at].links) + sum(len(block.links) for block in body) for start, body in zip(starts, bodies, strict=True)]
        roundups = sum(sum(bool(block.links and block.list_depth) for block in body) > 3 for body in bodies)
        if roundups > 0.3 * len(starts):
            continue
        filled = [start for start, size in zip(starts, sizes, strict=True) if size >= 40]
        if len(filled) < _LEAST_SECTIONS or sum(map(bool, linked)) < 0.8 * len(starts) or median(linked) > _MOST_LINKS:
            continue
        titles = [start.title for start in starts]
        wordy = sum(len(title.split()) > 2 for title in titles) / len(titles)
        if sum(bool(_CHAPTER.match(title.strip("#¶ "))) for title in titles) > 1 or wordy < (_WORDY if level else _WORDY / 2):
            continue  # the chapters of one text
        if median(sizes) > _LONGEST_MEDIAN or max(sizes) > _LONGEST:
            continue
        if len(filled) > len(best):
            best = filled
    return best


def _body(blocks: Sequence[Block], start: _Start, end: int) -> list[Block]:
    """The blocks after a start that belong to it: up to the next item, a heading above it, or the mail's closing."""
    body: list[Block] = []
    for block in blocks[start.at + 1 : end]:
        if (block.level and block.level <= start.level) or _CLOSING.search(block.text):
            break
        body.append(block)
    return body


def _stays(sections: Sequence[Section], base: str) -> bool:
    """Whether too few sections lead on to a page that is not the one they stand on."""
    return len({section.url for section in sections} - {"", canonical(base)}) < _LEAD_ON * len(sections)


def _sections(blocks: Sequence[Block], starts: Sequence[_Start], bodies: Sequence[Sequence[Block]], base: str, strict: bool) -> list[Section]:
    sections: dict[str, Section] = {}
    for start, body in zip(starts, bodies, strict=True):
        links: dict[str, Link] = {}
        for link in (link for block in [blocks[start.at], *body] for link in block.links):
            if url := canonical(_joined(base, link.url)):
                links.setdefault(url, Link(url=url, text=one_line(link.text, 150)))
        own = (
            start.url
            or next((link.url for link in links.values() if _READ_ON.match(link.text)), "")
            or (next(iter(links)) if len(links) == 1 and not strict else "")
        )
        text = clean("\n\n".join(part for part in [start.rest, *(block.text for block in body)] if part))
        name = own or start.title.casefold()
        if name in sections and sections[name].text == text:
            continue
        while name in sections:  # told twice in one mail, differently
            name += "+"
        sections[name] = Section(start.title, text, own, tuple(links.values()))
    return list(sections.values())


def _covers(blocks: Sequence[Block], sections: Sequence[Section]) -> bool:
    told = [block for block in blocks if not _CLOSING.search(block.text)]
    words = sum(len(section.title) + len(section.text) for section in sections) / max(1, sum(len(block.text) for block in told))
    links = len({section.url for section in sections} - {""}) / max(1, len({link.url for block in told for link in block.links}))
    return words >= _COVERED or (words >= _WITH_LINKS and links >= _COVERED_LINKS)


def _joined(base: str, url: str) -> str:
    from urllib.parse import urljoin

    try:
        return urljoin(base, url)
    except ValueError:
        return ""
