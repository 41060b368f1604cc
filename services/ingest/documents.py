"""A raw item becomes a clean Document: ids, version, text, title, dates, language. Pure but for the object store, where long texts go."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

from services.ingest.digest import item_of
from services.ingest.items import RawItem, Refused, Unusable
from services.ingest.markup import MAX_LINKS, Page, read_html
from services.ingest.text import clean, first_sentence, one_line
from services.ingest.urls import MAX_URL, canonical
from shared.events import DocumentIngested, Link, ObjectRef, SourceRef, digest_of
from shared.objects import ObjectStore

WHOLE_TEXT = 60_000  # characters that travel inline; a feedback event carries a text twice, and Kafka takes 1 MB
INLINE_TEXT = 20_000  # of a longer text, the beginning that travels; the whole lies in the object store
_TAG = re.compile(r"<(/?(p|br|div|a|b|i|em|strong|ul|ol|li|span|h[1-6]|table|img|html|body|script|style|blockquote)\b[^<>]*|!--)", re.I)
_LANGUAGE_FROM = 20  # bytes of UTF-8: fewer tell nothing; a letter of an alphabet of its own tells more, and has more
_LANGUAGE_OF = 2_000  # characters: more tell no more
_TITLE = 300  # characters
_EPOCH = datetime(1970, 1, 2, tzinfo=UTC)


def documents_of(
    item: RawItem, source: SourceRef, collection: str, received: datetime, store: ObjectStore, within: frozenset[str] = frozenset()
) -> tuple[list[DocumentIngested], list[Refused]]:
    """The document of an item, before those of what it holds (a digest's), and what of these was refused. As `document_of` otherwise. `within`: the keys
    of the digests that hold it."""
    page = None if item.items else _page_of(item, source)
    if page and page.items:
        item = _as_digest(item, page)
    whole = document_of(item, source, collection, received, store, None if item.items else page)
    if not item.items:
        return [whole], []
    documents: list[DocumentIngested] = []
    refused: list[Refused] = []
    children: list[str] = []
    names: dict[str, int] = {}
    for held in item.items:
        if isinstance(held, Refused):
            refused.append(held)
            continue
        name = held.key or held.url or held.title
        names[name] = names.get(name, 0) + 1
        # the item is named within its digest: by its address or title, and by its place where these come twice. A mail that bears the Message-ID of the
        # digest around it as well: a digest is not its own item
        if not held.key or held.key in within | {item.key}:
            place = [str(names[name])] if names[name] > 1 else []
            held = replace(held, key="\n".join(["item", whole.id, name, *place]))
        try:
            found, not_found = documents_of(held, source, collection, received, store, within | {item.key})
        except Unusable as error:
            refused.append(Refused(error.reason, f"in the digest {whole.title[:100]!r}: {error}", held.raw))
            continue
        children.append(found[0].id)
        documents += [found[0].model_copy(update={"parent": whole.id}), *found[1:]]
        refused += not_found
    return [whole.model_copy(update={"children": list(dict.fromkeys(children))}), *documents], refused


def document_of(
    item: RawItem, source: SourceRef, collection: str, received: datetime, store: ObjectStore, page: Page | None = None
) -> DocumentIngested:
    """The document; its story is its own until services.ingest.stories finds an older one. CPU-bound and writes: call it in a thread. `page` is its
    body, where that has been read already.

    Raises Unusable for an item without any words, TransientError where the object store can't be written.
    """
    url = canonical(item.url)
    page = page or _page_of(item, source)
    text = page.text
    title = one_line(item.title, _TITLE) or first_sentence(text)
    if not any(character.isalnum() for character in title):
        title = first_sentence(text)
    if not any(character.isalnum() for character in title + text):
        raise Unusable("no-text", "the item has neither a title nor a text")
    version = digest_of(title, text)
    identity = digest_of("doc", _key(item, source, url) or version)[:24]
    published = item.published
    reference: ObjectRef | None = None
    if len(text) > WHOLE_TEXT:
        reference, text = store.put(text.encode(), ".txt"), text[:INLINE_TEXT]
    return DocumentIngested(
        id=identity,
        version=version,
        source=source.model_copy(update={"title": item.channel_title}) if item.channel_title else source,
        title=title or url or "untitled",
        text=text,
        text_ref=reference,
        url=url,
        author=one_line(item.author, 200),
        links=_links((*item.links, *page.links), url),
        language=_language(f"{title}\n{text}"),
        published_at=published if published is not None and _EPOCH <= published <= received else received,
        received_at=received,
        story=identity,
        collection=collection,
        channel=item.channel,
        attachments=list(item.attachments),
    )


def _page_of(item: RawItem, source: SourceRef) -> Page:
    markup = item.markup or (not item.plain and _TAG.search(item.body[:20_000]))
    return read_html(item.body, canonical(item.url), feed=source.kind == "feed") if markup else Page(clean(item.body))


def _as_digest(item: RawItem, page: Page) -> RawItem:
    """A feed's item that tells many things, as the mail of a newsletter would come."""
    held = tuple(item_of(section, item, section.links) for section in page.items)
    return replace(item, body=page.outline, markup=False, plain=True, links=(*item.links, *page.links), items=held)


def _key(item: RawItem, source: SourceRef, url: str) -> str:
    """What names the item: a mail's Message-ID everywhere, a feed's id within its source, else the address. Empty where nothing does."""
    if item.key:
        return f"mail\n{item.key}" if source.kind == "mail" else f"{source.kind}\n{source.id}\n{item.key}"
    return f"url\n{url}" if url else ""


def _links(links: tuple[Link, ...], own: str) -> list[Link]:
    found: dict[str, Link] = {}
    for link in links:
        address = canonical(link.url)
        if address and address != own and len(address) <= MAX_URL:
            found.setdefault(address, Link(url=address, text=one_line(link.text, 150)))
    return list(found.values())[:MAX_LINKS]


def _language(text: str) -> str:
    text = text[:_LANGUAGE_OF].strip()
    if len(text.encode()) < _LANGUAGE_FROM:
        return ""
    found = str(_identifier().classify(text)[0])
    return found if len(found) == 2 else ""


@cache
def _identifier() -> Any:
    """The library's model for the languages of ISO 639-1, and for what is none (zxx). It knows creoles and dialects besides, which it sees in short texts
    of the large languages."""
    from py3langid import langid

    model = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE)
    model.set_languages([name for name in model.labels if len(name) == 2 or name == "zxx"])
    return model
