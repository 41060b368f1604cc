"""One mail, bytes to item: what it came through, its own words, its links out of their trackers, its files by name, the items of a digest."""

from codecs import BOM_UTF8
from collections.abc import Collection
from dataclasses import replace
from email.message import Message

from services.ingest.digest import item_of
from services.ingest.digest_text import mails_of, sections_of
from services.ingest.headers import date_of, header
from services.ingest.items import RawItem, Refused, Unusable
from services.ingest.lists import channel_of, managing, page_of, readable, sender_of
from services.ingest.markup import MAX_LINKS
from services.ingest.mime import MAX_DEPTH, message_of
from services.ingest.parts import Content, content_of
from services.ingest.quotes import cut
from services.ingest.text import clean, one_line


def read_mail(data: bytes) -> RawItem:
    """A mail as an item of plain text; that of a digest holds its items. CPU-bound: call it in a thread.

    Raises Unusable for what has no text or can't be parsed.
    """
    try:
        # some programs write a byte order mark or an empty line before the headers, which would all be text then
        return _item(message_of(data.removeprefix(BOM_UTF8).lstrip(b"\r\n")), data, 0, None)
    except Unusable:
        raise
    except Exception as error:
        raise Unusable("broken-mail", f"the mail can't be parsed: {type(error).__name__}: {error}") from error


def _item(message: Message, data: bytes, depth: int, digest: RawItem | None) -> RawItem:
    """A mail by itself, or one that a `digest` holds: what that does not say is as of the digest, and it came through the digest's list."""
    if depth > MAX_DEPTH:
        raise Unusable("broken-mail", f"digests nest deeper than {MAX_DEPTH}")
    content = content_of(message)
    name, address = sender_of(message)
    channel, title = (digest.channel, digest.channel_title) if digest and digest.channel and not header(message, "list-id") else channel_of(message)
    subject = one_line(header(message, "subject"), 300)
    text = clean("\n\n".join(page.text for page in content.pages if page.text))
    own = managing(message)
    links = readable((link for page in content.pages for link in page.links), own)
    whole = RawItem(
        key=header(message, "message-id").strip(" <>"),
        title=subject,
        body=cut(text, name, subject),
        plain=True,
        url=page_of(message),
        author=one_line(name or address, 200),
        published=date_of(message) or (digest.published if digest else None),
        links=links[:MAX_LINKS],
        raw=data,
        channel=channel,
        channel_title=title,
        attachments=tuple(content.attachments),
    )
    if not (whole.title or whole.body) and (why := [file.note for file in content.attachments if file.note]):
        raise Unusable("no-text", f"the mail has no words beside a file: {why[0]}")
    return _as_digest(whole, content, text, own, depth)


def _as_digest(whole: RawItem, content: Content, text: str, own: Collection[str], depth: int) -> RawItem:
    """The item with what it holds: mails (multipart/digest, or RFC 1153 in plain text), or the sections of a newsletter."""
    before, mails = (text, content.messages) if content.messages else mails_of("\n\n".join(page.source or page.text for page in content.pages))
    if mails:
        held = tuple(_held(inner, whole, depth) for inner in mails)
        titles = "\n".join(f"• {inner.title}" for inner in held if isinstance(inner, RawItem) and inner.title)
        return replace(whole, body="\n\n".join(part for part in (cut(before) if before else "", titles) if part), items=held)
    sections = [section for page in content.pages for section in page.items]
    outline = "\n\n".join(page.outline or page.text for page in content.pages)
    if not sections and len(content.pages) == 1:
        outline, sections = sections_of(whole.body)
    if not sections:
        return whole
    return replace(
        whole,
        body=cut(outline, whole.author, whole.title),
        items=tuple(item_of(section, whole, readable(section.links, own)[:MAX_LINKS]) for section in sections),
    )


def _held(message: Message, digest: RawItem, depth: int) -> RawItem | Refused:
    try:
        return _item(message, digest.raw, depth + 1, digest)
    except Unusable as error:
        return Refused(error.reason, f"a mail in a digest: {error}", digest.raw)
