"""The parts of a mail (RFC 2045 to 2049), as they come: the words to read, the files to list, the mails that a digest holds."""

import re
from dataclasses import dataclass, field
from email.message import Message
from itertools import islice

from services.ingest.attachments import MAX_ATTACHMENTS, attachment_of, is_attachment, parameter, payload_of
from services.ingest.flowed import unflow
from services.ingest.headers import header
from services.ingest.items import Unusable
from services.ingest.markup import Page, read_html
from services.ingest.mime import MAX_DEPTH, message_of
from services.ingest.quotes import is_forward
from services.ingest.text import clean, decode, is_noise
from services.ingest.urls import canonical
from shared.events import Attachment, Link

MAX_PARTS = 500
MAX_LINKS = 200  # of one part
_SUBSTANTIAL = 0.4  # a plain part at least this long beside the HTML part says the same as it
_URL = re.compile(r"https?://[^\s<>\"'\])}]+", re.I)
_UU_BEGIN = re.compile(r"^begin [0-7]{3} ", re.M)
_UU_END = re.compile(r"^end$", re.M)
_SIGNED = re.compile(r"^-----BEGIN PGP SIGNED MESSAGE-----[ \t]*\n(?:[\w-]{1,40}: [^\n]*\n)*[ \t]*\n", re.M)
_SIGNATURE, _SIGNATURE_END = "\n-----BEGIN PGP SIGNATURE-----", "\n-----END PGP SIGNATURE-----"
_HTML_ONLY = re.compile(r"html (e-?mail|message|version)|(does|do) not support html|enable html", re.I)
_BOUNDARY = re.compile(rb"(?:^|\n)--([^\r\n]{1,200}?)[ \t]*\r?\n(?=[A-Za-z-]+:|\r?\n)")
_META_CHARSET = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?([\w.:-]{2,40})", re.I)
_BASE64 = re.compile(r"(?:[ \t]*+[A-Za-z0-9+/=]*+[ \t\r!]*+\n)++(?:[A-Za-z0-9+/=]*+\Z)?")  # "!": where a server has cut a long line
_TEXTS = ("text/plain", "text/html", "text/enriched", "text/markdown", "text/x-amp-html")


@dataclass
class Content:
    """What was found. `messages` are the mails of a multipart/digest; `refused` says what of the words can't be read. `whole_to` and `forward` are those
    of services.ingest.markup.read_html."""

    pages: list[Page] = field(default_factory=list)
    attachments: list[Attachment] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    parts: int = 0
    whole_to: int = 0
    forward: bool = False


def content_of(message: Message) -> Content:
    """All parts of a mail. Raises Unusable where they nest too deep, are too many, or none of its words can be decoded."""
    content = Content(forward=is_forward(header(message, "subject")))
    _collect(message, content, 0)
    if content.refused and not any(page.text for page in content.pages):
        raise Unusable("unreadable", content.refused[0])
    return content


def _collect(part: Message, out: Content, depth: int) -> None:
    out.parts += 1
    if depth > MAX_DEPTH or out.parts > MAX_PARTS:
        raise Unusable("broken-mail", f"the mail nests deeper than {MAX_DEPTH} or has more than {MAX_PARTS} parts")
    kind = part.get_content_type()
    children = _children(part)
    if children and kind == "multipart/alternative":
        _alternatives(children, out, depth)
    elif children and kind == "multipart/digest":
        messages = [inner for child in children for inner in (_children(child) if child.get_content_type() == "message/rfc822" else [child])]
        if len(messages) > 1:
            out.messages += messages
        else:
            for inner in messages:
                _collect(inner, out, depth + 1)
    elif children:
        for child in children:
            _collect(child, out, depth + 1)
    elif isinstance(payload_of(part), list):
        return  # a multipart without any part
    elif is_attachment(part, first=kind in _TEXTS and not any(page.text for page in out.pages)) or not (
        kind in _TEXTS or part.get_content_maintype() == "multipart"
    ):
        if len(out.attachments) < MAX_ATTACHMENTS and (payload_of(part) or is_attachment(part)):
            out.attachments.append(attachment_of(part))
    elif kind != "text/x-amp-html":  # the same once more, for mail programs that run AMP
        _read(part, out)


def _children(part: Message) -> list[Message]:
    """The parts of a part. A multipart whose boundary was lost is cut at the one that its text shows; a nested mail in base64 is decoded."""
    payload = payload_of(part)
    encoding = str(part.get("content-transfer-encoding", "")).strip().lower()
    if isinstance(payload, list):
        packed = part.get_content_type() == "message/rfc822" and encoding in ("base64", "quoted-printable")
        if packed and len(payload) == 1 and not payload[0].keys():
            inner = Message()
            inner["Content-Transfer-Encoding"] = encoding
            inner.set_payload(str(payload_of(payload[0])))
            decoded = inner.get_payload(decode=True)
            return [message_of(decoded)] if isinstance(decoded, bytes) else payload
        return payload
    if part.get_content_maintype() == "multipart":
        data = payload.encode("utf-8", "surrogateescape")
        if match := _BOUNDARY.search(data):
            head = b'Content-Type: %s; boundary="%s"\n\n' % (part.get_content_type().encode("ascii", "replace"), match[1].replace(b'"', b'\\"'))
            again = payload_of(message_of(head + data))
            return again if isinstance(again, list) else []
    return []


def _alternatives(children: list[Message], out: Content, depth: int) -> None:
    """The best of several ways to say the same (RFC 2046, 5.1.4); what is no text among them (a calendar entry) is listed."""
    said: list[tuple[str, list[Page]]] = []
    for child in children:
        # beside a plain text that says the same, an HTML text of this size is not what will be read: finding its main part is half of all the work
        own = Content(parts=out.parts, whole_to=_outdone(said), forward=out.forward)
        _collect(child, own, depth + 1)
        if own.whole_to and (sum(len(page.text) for page in own.pages) > own.whole_to or any(page.items for page in own.pages)):
            own = Content(parts=out.parts, forward=out.forward)
            _collect(child, own, depth + 1)
        out.parts = own.parts
        out.attachments += own.attachments[: MAX_ATTACHMENTS - len(out.attachments)]
        out.messages += own.messages
        out.refused += own.refused
        if any(page.text for page in own.pages):
            said.append(("plain" if child.get_content_type() == "text/plain" else "html", own.pages))
    out.pages += _best(said)


def _outdone(alternatives: list[tuple[str, list[Page]]]) -> int:
    """The characters up to which an HTML part is passed over for the plain one before it."""
    plain = next((pages for kind, pages in alternatives if kind == "plain"), None)
    short = _length(plain) if plain else 0
    return int(short / _SUBSTANTIAL) if plain and not (short < 300 and _HTML_ONLY.search(plain[0].text)) else 0


def _best(alternatives: list[tuple[str, list[Page]]]) -> list[Page]:
    plain = next((pages for kind, pages in alternatives if kind == "plain"), None)
    rich = next((pages for kind, pages in reversed(alternatives) if kind == "html"), None)
    if not plain or not rich:
        return plain or rich or []
    if any(page.items for page in rich):
        return rich  # a digest shows its structure in HTML
    short, long = _length(plain), _length(rich)
    if short >= _SUBSTANTIAL * long and not (short < 300 and _HTML_ONLY.search(plain[0].text)):
        links = tuple(link for page in rich for link in page.links)  # with anchor text
        return [Page("\n\n".join(page.text for page in plain), links or plain[0].links, source="\n\n".join(page.source for page in plain))]
    return rich


def _length(pages: list[Page]) -> int:
    """Characters that are words: an address as long as a paragraph says nothing."""
    return sum(len(_URL.sub("", page.text)) for page in pages)


def _read(part: Message, out: Content) -> None:
    data = _decoded(part)
    kind, charset = part.get_content_type(), parameter(part, "charset")
    if not charset and kind == "text/html" and (match := _META_CHARSET.search(data[:4_000])):
        charset = match[1].decode("ascii", "replace")
    text = decode(data, charset)
    if is_noise(text):
        out.refused.append(f"its text can't be decoded: neither {charset[:40] or 'UTF-8'} nor any other charset makes words of it")
    elif kind == "text/html":
        out.pages.append(read_html(text, mail=True, whole_to=out.whole_to, forward=out.forward))
    else:
        if parameter(part, "format").lower() == "flowed":
            text = unflow(text, parameter(part, "delsp").lower() == "yes")
        out.pages.append(_plain(_without_armour(_without_uuencoded(text.replace("\r\n", "\n")))))


def _decoded(part: Message) -> bytes:
    """The bytes of a text. What a mailing list has appended to base64, in clear, is none: Python would read its letters as more of it."""
    said = payload_of(part)
    if str(part.get("content-transfer-encoding", "")).strip().lower() == "base64" and isinstance(said, str):
        whole = _BASE64.match(said)
        if whole and whole[0].strip() and whole.end() < len(said):
            part.set_payload(whole[0])
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def _without_uuencoded(text: str) -> str:
    """Without the attachments of the time before MIME, which stand in the text."""
    kept, place = [], 0
    while (begin := _UU_BEGIN.search(text, place)) and (end := _UU_END.search(text, begin.end())):
        kept.append(text[place : begin.start()])
        place = end.end()
    return "".join(kept) + text[place:]


def _without_armour(text: str) -> str:
    """A text that was signed in the clear (RFC 9580, 7) without the heads, the signature, and the mark before each line that begins with a hyphen."""
    kept, place = [], 0
    while (
        (begin := _SIGNED.search(text, place))
        and (mark := text.find(_SIGNATURE, begin.end() - 1)) >= 0
        and (end := text.find(_SIGNATURE_END, mark)) >= 0
    ):
        kept += [text[place : begin.start()], re.sub(r"^- ", "", text[begin.end() : mark], flags=re.M)]
        place = end + len(_SIGNATURE_END)
    return "".join(kept) + text[place:]


def _plain(text: str) -> Page:
    urls: dict[str, None] = {}
    for found in islice(_URL.finditer(text), 10 * MAX_LINKS):
        if url := canonical(found[0].rstrip(".,;:!?")):
            urls[url] = None
    return Page(clean(text), tuple(Link(url=url) for url in list(urls)[:MAX_LINKS]), source=text)
