"""OPML 1.0 and 2.0 (opml.org/spec2.opml): the lists of feeds that readers exchange. Most of those found in the wild are not well-formed.

What only Feedloop knows of a source (its id, interval and collection, where they are not the usual ones) travels in attributes of a namespace, as OPML
2.0 allows, so that importing what was exported gives the same sources again.
"""

import html
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from pydantic import ValidationError

from services.ingest.logins import without_login
from services.ingest.sources import MAX_FOLDER, FeedSource, Source
from services.ingest.text import decode, one_line, without
from services.ingest.urls import canonical, http_of
from shared.errors import FeedloopError
from shared.errors import one_line as brief

MAX_BYTES = 10_000_000
NAMESPACE = "urn:feedloop:opml:1"
_WITHIN, _FOLDER = " within", " folder"  # beside the attributes: no name of one begins with a space
_OWN = {name: f"{{{NAMESPACE}}}{name}" for name in FeedSource.model_fields if name not in ("kind", "url", "title", "folder")}
_DECLARATION = re.compile(r"^\s*<\?xml[^>]*?(?:encoding\s*=\s*[\"']([\w.:-]+)[\"'][^>]*)?\?>")
_HEAD = 300  # characters in which an XML declaration stands
_ATTRIBUTE = re.compile(r"\s([A-Za-z_][\w:.-]*)\s*=\s*([\"'])")
_TAG_END = {quote: re.compile(rf"{quote}\s*/?>") for quote in "\"'"}
_ENTITY = re.compile(r"&(?:#\d+|#x[0-9A-Fa-f]+|\w+);")  # with its semicolon: the &copy in ?a=1&copy=2 is none
_NOT_XML = re.compile("[\ufffe\uffff]")


class NotOpml(FeedloopError):
    """What was given is no OPML, or declares entities."""


@dataclass(frozen=True)
class Outlines:
    """The feeds of a list, in its order; the outlines that are none, each in a line with the reason; and what is wrong with the list as a whole."""

    feeds: tuple[FeedSource, ...]
    refused: tuple[str, ...] = ()
    note: str = ""


def read_opml(data: bytes) -> Outlines:
    """All outlines, however deep, each with the folders that it stands in. CPU-bound. Raises NotOpml."""
    if len(data) > MAX_BYTES:
        raise NotOpml(f"the list is larger than {MAX_BYTES // 1_000_000} MB")
    text = _text(data)
    if "<!DOCTYPE" in text.upper() or "<!ENTITY" in text.upper():
        raise NotOpml("the list has a DTD (DOCTYPE or ENTITY), which can be an attack: take it out of the file")
    if not re.search(r"<opml\b", text, re.I):
        raise NotOpml("this is no OPML: there is no <opml> element in it")
    from lxml import etree

    broken = ""
    try:
        root = etree.fromstring(text.encode("utf-8", "replace"), etree.XMLParser(encoding="utf-8", resolve_entities=False, no_network=True))
        found = list(_outlines(root))
    except etree.XMLSyntaxError as error:
        found = list(_salvaged(text))
        broken = f"the list is not well-formed ({brief(error, 150)}); "
    feeds, refused = [], []
    for outline in found:
        source = _source(outline)
        if isinstance(source, FeedSource):
            feeds.append(source)
        elif source:
            refused.append(source)
    return Outlines(tuple(feeds), tuple(refused), broken and f"{broken}{len(feeds)} feeds could be read all the same, without their folders")


def write_opml(sources: Iterable[FeedSource]) -> bytes:
    """The list as OPML 2.0. A user and password that stand in an address are left out: lists are passed on."""
    from lxml import etree

    root = etree.Element("opml", {"version": "2.0"}, nsmap={"feedloop": NAMESPACE})
    etree.SubElement(etree.SubElement(root, "head"), "title").text = "Feedloop"
    body = etree.SubElement(root, "body")
    folders = {"": body}
    for source in sources:
        folder, parent = "", body
        for name in _names(_NOT_XML.sub("", one_line(source.folder, MAX_FOLDER))):
            folder = f"{folder}/{name}"
            if folder not in folders:
                folders[folder] = etree.SubElement(parent, "outline", {"text": name})
            parent = folders[folder]
        own = {_OWN[name]: f"{value:g}" if isinstance(value, float) else str(value) for name, value in written(source).items() if name in _OWN}
        title = _NOT_XML.sub("", one_line(source.title, 200))
        url, _ = without_login(source.url)
        etree.SubElement(parent, "outline", {"type": "rss", "text": title or url, **({"title": title} if title else {}), "xmlUrl": url, **own})
    return bytes(etree.tostring(root, encoding="utf-8", xml_declaration=True, pretty_print=True))


def written(source: Source) -> dict[str, Any]:
    """A source as it is written into feedloop.yaml: what is usual is left out."""
    said = source.model_dump(mode="json", exclude_defaults=True)
    first: dict[str, Any] = {
        name: said.pop(name) for name in ("kind", "url", "path", "host") if name in said
    }  # the address first: people look for it
    return {**first, **{name: int(value) if isinstance(value, float) and value.is_integer() else value for name, value in said.items()}}


def _text(data: bytes) -> str:
    """Decoded here, and not by the XML parser, so that no encoding can hide a declaration from the look that is taken for it."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = data.decode("utf-16", "replace")
    else:
        declared = _DECLARATION.match(data[:_HEAD].decode("ascii", "replace").lstrip("\ufeff\ufffd"))
        text = decode(data, declared[1] or "" if declared else "")
    text = text.lstrip("\ufeff")
    return (_DECLARATION.sub("", text[:_HEAD], count=1) + text[_HEAD:]).replace("\x00", "").lstrip()


def _outlines(root: Any) -> Iterator[dict[str, str]]:
    """The attributes of each outline, and what it is within. In linear time, however deep it goes."""
    from lxml import etree

    path = [""]
    for event, outline in etree.iterwalk(root, events=("start", "end"), tag="{*}outline"):
        if event == "end":
            path.pop()
            continue
        # attributes differ in case: xmlUrl, xmlURL, xmlurl
        said = {str(k) if "}" in str(k) else str(k).lower(): str(v) for k, v in outline.attrib.items()}
        yield {**said, _WITHIN: path[-1], **({_FOLDER: "yes"} if len(outline) else {})}
        name = "" if said.get("xmlurl") else one_line(said.get("text") or said.get("title") or "", MAX_FOLDER)
        inner = "/".join(_names(f"{path[-1]}/{name}"))
        path.append(inner if len(inner) <= MAX_FOLDER else path[-1])


def _names(folder: str) -> list[str]:
    return [name.strip() for name in folder.split("/") if name.strip()]


def _salvaged(text: str) -> Iterator[dict[str, str]]:
    """The attributes of all outlines of a list that is not well-formed: no XML parser reads what stands behind a bare & or a stray quote as it was meant.
    In linear time, whatever is in it."""
    for part in re.split(r"<outline(?=\s)", without(text, "<!--", "-->"), flags=re.I)[1:]:
        found: dict[str, str] = {}
        starts = list(_ATTRIBUTE.finditer(part))
        for start, after in zip_longest(starts, starts[1:]):
            # a value ends at the last quote before the next attribute: in the wild there are quotes and brackets inside of it
            value = part[start.end() : after.start()] if after else part[start.end() :]
            end = value.rfind(start[2]) if after else (tag.start() if (tag := _TAG_END[start[2]].search(value)) else -1)
            if end >= 0:
                prefix, _, local = start[1].rpartition(":")
                found.setdefault(_OWN.get(local, local) if prefix == "feedloop" else start[1].lower(), _ENTITY.sub(_unescaped, value[:end]))
        yield found | ({} if "/>" in part or "</outline" in part.lower() else {_FOLDER: "yes"})


def _unescaped(entity: re.Match[str]) -> str:
    return html.unescape(entity[0])


def _source(outline: Mapping[str, str]) -> FeedSource | str:
    """The feed of an outline; the reason why it is none, in words that name it; nothing for a folder."""
    title = _NOT_XML.sub("", one_line(outline.get("title") or outline.get("text") or "", 200))
    address = re.sub(r"\s+", "", outline.get("xmlurl", ""))
    name = title or address[:200] or "an outline without a title"
    if not address:
        page = outline.get("htmlurl") or outline.get("url") or ""
        if page:
            return f"{name}: has no xmlUrl; `feedloop sources add {page[:200]}` looks for its feed"
        return "" if outline.get(_FOLDER) else f"{name}: has no xmlUrl"
    url = http_of(address)
    if not canonical(url):
        return f"{name}: {address[:200]!r} is no http or https address"
    said = {field: outline[key] for field, key in _OWN.items() if key in outline}
    own = outline.get("title") is not None or title != url  # an outline must have a text; ours is the address where there is no title
    try:
        return FeedSource.model_validate({"kind": "feed", "url": url, "title": title if own else "", "folder": outline.get(_WITHIN, ""), **said})
    except ValidationError as error:
        return f"{name}: {brief(error)}"
