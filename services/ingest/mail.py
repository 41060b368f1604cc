"""One mail, bytes to item: headers that may be malformed, the best of its text parts, its charset whatever it claims. Attachments are ignored."""

import re
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.message import Message
from email.utils import parseaddr, parsedate_to_datetime

from services.ingest.items import RawItem, Unusable
from services.ingest.markup import MAX_LINKS, Page, read_html
from services.ingest.quotes import cut
from services.ingest.text import clean, decode, is_noise, one_line
from services.ingest.urls import canonical
from shared.events import Link

MAX_DEPTH, MAX_PARTS = 20, 500
_SUBSTANTIAL = 0.4  # a plain part at least this long beside the HTML part says the same as it
_URL = re.compile(r"https?://[^\s<>\"'\])}]+", re.I)
_UUENCODED = re.compile(r"^begin [0-7]{3} .*?^(?:`\n)?end$", re.M | re.S)
_HTML_ONLY = re.compile(r"html (e-?mail|message|version)|(does|do) not support html|enable html", re.I)


def read_mail(data: bytes) -> RawItem:
    """A mail as an item of plain text. CPU-bound: call it in a thread. Raises Unusable for what has no text or can't be parsed."""
    try:
        message = message_from_bytes(data, policy=policy.default)
        parts: list[Page] = []
        _collect(message, parts, 0)
    except Unusable:
        raise
    except Exception as error:
        raise Unusable("broken-mail", f"the mail can't be parsed: {type(error).__name__}: {error}") from error
    sender, address = parseaddr(header(message, "from"))
    links = {link.url: link for part in parts for link in part.links if not re.search(r"unsubscri|preferences|opt-?out", link.url + link.text, re.I)}
    return RawItem(
        key=header(message, "message-id").strip(" <>"),
        title=one_line(header(message, "subject"), 300),
        body=cut(clean("\n\n".join(part.text for part in parts if part.text))),
        url=canonical(header(message, "archived-at").strip(" <>")),
        author=one_line(sender or address, 200),
        published=_date(header(message, "date")),
        links=tuple(links.values())[:MAX_LINKS],
        raw=data,
    )


def header(message: Message, name: str) -> str:
    """A header as text, whatever is wrong with it; empty where it is missing."""
    try:
        return str(message[name] or "")
    except Exception:  # noqa: BLE001 the structured header parser raises all sorts on malformed input; the raw words are kept then
        raw = next((value for key, value in message.raw_items() if key.lower() == name), "")  # type: ignore[attr-defined]
        try:
            return str(make_header(decode_header(raw)))
        except (ValueError, LookupError, TypeError):
            return str(raw)


def _collect(part: Message, out: list[Page], depth: int) -> None:
    if depth > MAX_DEPTH or len(out) > MAX_PARTS:
        raise Unusable("broken-mail", f"the mail nests deeper than {MAX_DEPTH} or has more than {MAX_PARTS} parts")
    payload = part.get_payload()
    if isinstance(payload, list):
        children = [child for child in payload if isinstance(child, Message)]
        if part.get_content_subtype() == "alternative":
            texts: list[list[Page]] = []
            for child in children:
                texts.append([])
                _collect(child, texts[-1], depth + 1)
            kinds = [_kind(child) for child in children]
            out += _best([(kind, pages) for kind, pages in zip(kinds, texts, strict=True) if any(page.text for page in pages)])
        else:
            for child in children:
                _collect(child, out, depth + 1)
    elif not _is_attachment(part) and part.get_content_type() in ("text/plain", "text/html"):
        out.append(_page(part))


def _kind(part: Message) -> str:
    return "plain" if part.get_content_type() == "text/plain" else "html"


def _best(alternatives: list[tuple[str, list[Page]]]) -> list[Page]:
    plain = next((pages for kind, pages in alternatives if kind == "plain"), None)
    rich = next((pages for kind, pages in reversed(alternatives) if kind == "html"), None)
    if not plain or not rich:
        return plain or rich or []
    short, long = sum(len(page.text) for page in plain), sum(len(page.text) for page in rich)
    if short >= _SUBSTANTIAL * long and not (short < 300 and _HTML_ONLY.search(plain[0].text)):
        links = tuple(link for page in rich for link in page.links)  # with anchor text
        return [Page("\n\n".join(page.text for page in plain), links or plain[0].links)]
    return rich


def _is_attachment(part: Message) -> bool:
    try:
        return part.get_content_disposition() == "attachment" or bool(part.get_filename())
    except Exception:  # noqa: BLE001 as in `header`: a malformed disposition marks no attachment
        return "attachment" in str(dict(part._headers).get("Content-Disposition", "")).lower()  # type: ignore[attr-defined]


def _page(part: Message) -> Page:
    payload = part.get_payload(decode=True)
    data = payload if isinstance(payload, bytes) else str(part.get_payload()).encode("utf-8", "surrogateescape")
    try:
        charset = str(part.get_param("charset") or "")
    except Exception:  # noqa: BLE001 as in `header`
        charset = ""
    text = decode(data, charset)
    if is_noise(text):
        raise Unusable("unreadable", f"its text can't be decoded: neither {charset[:40] or 'UTF-8'} nor any other charset makes words of it")
    if part.get_content_type() == "text/html":
        return read_html(text, mail=True)
    text = _UUENCODED.sub("", text) if "begin " in text else text  # an attachment of the time before MIME
    urls = dict.fromkeys(url for found in _URL.findall(text) if (url := canonical(found.rstrip(".,;:!?"))))
    return Page(clean(text), tuple(Link(url=url) for url in list(urls)[:MAX_LINKS]))


def _date(value: str) -> datetime | None:
    try:
        parsed = parsedate_to_datetime(value)
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
