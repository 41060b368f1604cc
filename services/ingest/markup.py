"""HTML to clean text and links. What comes out is text: no tag, script or handler can survive, for nothing but characters is taken over."""

import copy
import html as entities
from dataclasses import dataclass
from itertools import islice
from typing import Any
from urllib.parse import urljoin

from services.ingest.digest import Section, split
from services.ingest.hidden import drop, remove_hidden
from services.ingest.quotes import opens_forward, opens_with_head
from services.ingest.text import clean, one_line
from services.ingest.urls import canonical
from shared.events import Link

MAX_LINKS = 60
_BLOCKS = frozenset(
    "address article aside blockquote br dd div dl dt figcaption figure footer form h1 h2 h3 h4 h5 h6 header hr li main nav ol p pre section table tr ul"
    " body html caption thead tbody tfoot details summary center".split()
)
_PARAGRAPHS = frozenset("p blockquote h1 h2 h3 h4 h5 h6 table ul ol pre article section".split())
_QUOTES = (
    "//blockquote[@type='cite']|//*[contains(concat(' ',normalize-space(@class),' '),' gmail_quote ')]"
    "|//*[contains(concat(' ',normalize-space(@class),' '),' gmail_signature ')]"
    "|//*[contains(@class,'moz-cite-prefix') or contains(@class,'yahoo_quoted') or contains(@class,'moz-signature')]"
    "|//*[@id='OLK_SRC_BODY_SECTION' or @id='mail-editor-reference-message-container' or contains(@class,'protonmail_quote')]"
    "|//*[starts-with(@id,'AOLMsgPart') or contains(@class,'zmail_extra') or contains(@class,'ms-outlook-mobile-reference-message')]"
)
_BELOW = "(//*[@id='divRplyFwdMsg'])[1]|(//*[@id='divRplyFwdMsg'])[1]/following-sibling::*"  # Outlook's head of a quoted mail, and the mail
_OPENING = 60  # events of the tree in which the first words of a quoted mail are looked for
_EXTRACT_FROM = 1_500  # characters: below it a text is an excerpt, not a page with things around it
_EXTRACT_TO = 1_000_000  # above it finding the main text would take long, and all is kept
_LEAST_SHARE = 0.5  # an extraction that keeps less of the words has mistaken the text for decoration


@dataclass(frozen=True)
class Page:
    """The text and the links (http and https only, canonical, in order) of a piece of HTML; of a digest its items, and the text with each as a line.

    `source` is a plain text as it came, with the indents that tell a folded header.
    """

    text: str
    links: tuple[Link, ...] = ()
    items: tuple[Section, ...] = ()
    outline: str = ""
    source: str = ""


def read_html(html: str, base: str = "", *, mail: bool = False, feed: bool = False, whole_to: int = 0, forward: bool = False) -> Page:
    """Text and links of a page or fragment. In a mail the marked-up quotes and signatures go too, but not what it forwards: by a mark, or because it is
    a `forward` by its subject. Never raises for odd HTML.

    The items of a digest are looked for in a `mail`, and in what a `feed` lists. The main text is not searched for in a text of at most `whole_to` characters: for a caller who only wants to know its size.
    """
    from lxml import etree
    from lxml import html as lxml_html

    html = html.replace("\x00", "")
    if not html.strip():
        return Page("")
    try:
        # bytes, because lxml refuses text with an encoding declaration; a wrapper, because bare text before a tag must not be lost
        parser = lxml_html.HTMLParser(encoding="utf-8", huge_tree=True)
        tree = lxml_html.document_fromstring(html.encode("utf-8", "replace"), parser=parser)
        remove_hidden(tree)
        if mail:
            tree = _without_quotes(tree, forward)
        links = _links(tree, base)
        text = _flat(tree)
        outline, items = split(tree, base, strict=feed) if mail or feed else ("", [])
        if items:
            return Page(text, links, tuple(items), outline)
        if max(_EXTRACT_FROM, whole_to + 1) <= len(text) and len(html) <= _EXTRACT_TO:
            text = _main_text(tree, text)
    except (etree.LxmlError, ValueError, AssertionError, RecursionError):
        return Page(_stripped(html))
    return Page(clean(text), links)


def _main_text(tree: Any, whole: str) -> str:
    """The main text by trafilatura, unless it takes too little for it."""
    import trafilatura
    from lxml import etree

    try:
        source = etree.tostring(tree, encoding="unicode", method="html")
        found = trafilatura.extract(source, fast=True, include_comments=False, include_tables=True) or ""
    except Exception:  # noqa: BLE001 a third party's parser on hostile input: whatever it raises, the whole text is a good answer
        return whole
    return found if len(found) >= _LEAST_SHARE * len(whole) else whole


def _without_quotes(tree: Any, forward: bool) -> Any:
    """The tree without quoted mails and signatures; as it was where nothing else is in it. A forwarded mail stays, with its head."""
    own = copy.deepcopy(tree)
    quotes = [quote for quote in own.xpath(_QUOTES) if not _stays(quote, forward)] + ([] if forward else own.xpath(_BELOW))
    if not quotes:
        return tree
    drop(own, quotes)
    return own if _flat(own) else tree


def _stays(quote: Any, forward: bool) -> bool:
    opening = _opening(quote)
    return opens_forward(opening) or (forward and opens_with_head(opening)) or opens_forward(_before(quote))


def _before(element: Any) -> str:
    """The words right before an element, as far as they are its neighbour's."""
    for neighbour in islice(element.itersiblings(preceding=True), 4):
        if words := (neighbour.tail or "").strip() or _opening(neighbour).strip():
            return words
    return ""


def _opening(element: Any) -> str:
    """The first words in an element."""
    from lxml import etree

    out: list[str] = []
    for event, inner in islice(etree.iterwalk(element, events=("start", "end")), _OPENING):
        out.append((inner.text if event == "start" else inner.tail if inner is not element else "") or "")
    return "".join(out).lstrip()


def _flat(tree: Any) -> str:
    """All text, blocks on lines of their own. Walks without recursion: nesting may be deep."""
    from lxml import etree

    out: list[str] = []
    for event, element in etree.iterwalk(tree, events=("start", "end")):
        if not isinstance(element.tag, str):
            if event == "end" and element.tail:
                out.append(_spaced(element.tail))
            continue
        if element.tag in _BLOCKS:
            out.append("\n\n" if element.tag in _PARAGRAPHS else "\n")
        elif event == "end" and element.tag in ("td", "th"):
            out.append(" ")
        if event == "start" and element.text:
            out.append(element.text if element.tag == "pre" else _spaced(element.text))
        elif event == "end" and element.tail:
            out.append(_spaced(element.tail))
    return clean("".join(out))


def _spaced(text: str) -> str:
    return text.replace("\n", " ").replace("\r", " ")


def _links(tree: Any, base: str) -> tuple[Link, ...]:
    found: dict[str, Link] = {}
    for anchor in tree.iter("a"):
        href = (anchor.get("href") or "").strip()
        if not href or href.startswith("#"):
            continue
        try:
            url = canonical(urljoin(base, href))
        except ValueError:
            continue
        if url and url not in found:
            found[url] = Link(url=url, text=one_line("".join(anchor.itertext()), 150))
            if len(found) >= MAX_LINKS:
                break
    return tuple(found.values())


def _stripped(html: str) -> str:
    """The plainest way: all tags off. For what no HTML parser takes."""
    import nh3

    return clean(entities.unescape(nh3.clean(html, tags=set(), clean_content_tags={"script", "style"}, strip_comments=True)))
