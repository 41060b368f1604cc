"""Files that come with a mail: listed by name, type and size, never opened. What they say of themselves is taken as words, not as truth."""

from email.message import Message

from services.ingest.headers import raw_header, words
from services.ingest.text import one_line
from shared.events import Attachment

MAX_ATTACHMENTS = 50
_TNEF = ("application/ms-tnef", "application/vnd.ms-tnef")
_NOTES = {
    "text/calendar": "calendar entry",
    "application/ics": "calendar entry",
    "text/vcard": "business card",
    "text/x-vcard": "business card",
    "application/pgp-encrypted": "encrypted (PGP/MIME, RFC 3156): not read",
    "application/pkcs7-mime": "encrypted or signed (S/MIME, RFC 8551): not read",
    "application/x-pkcs7-mime": "encrypted or signed (S/MIME, RFC 8551): not read",
    "application/pgp-signature": "signature",
    "application/pkcs7-signature": "signature",
    "application/x-pkcs7-signature": "signature",
    "message/external-body": "lies elsewhere (RFC 2046, 5.2.3): not fetched",
    "message/partial": "a piece of a longer mail (RFC 2046, 5.2.2): the pieces are not put together",
}


def attachment_of(part: Message) -> Attachment:
    """What a part says of itself. Its size is that of the decoded bytes, counted without decoding where it is base64."""
    kind = part.get_content_type()
    name = one_line(_name(part), 200)
    note = _NOTES.get(kind, "")
    if kind in _TNEF or name.lower() == "winmail.dat":
        note = "skipped: Outlook's winmail.dat (TNEF) is not opened"
    elif note == "calendar entry" and (method := parameter(part, "method")):
        note = f"calendar entry ({one_line(method, 20).lower()})"
    return Attachment(name=name, type=kind[:100], size=_size(part), note=note)


def is_attachment(part: Message, *, first: bool = False) -> bool:
    """Whether a part is a file rather than words to read: it says so, or it has a file name. The `first` text of a mail is its words, named or not."""
    return part.get_content_disposition() == "attachment" or (not first and bool(_name(part)))


def parameter(part: Message, name: str) -> str:
    """A parameter of the Content-Type; empty where it is missing."""
    found = part.get_param(name)
    return str(found[2] if isinstance(found, tuple) else found or "")


def payload_of(part: Message) -> list[Message] | str:
    """The parts of a part, or its content as it was sent (its bytes above 127 as surrogates).

    Message.get_payload would decode it by whatever codec the mail names, and Python has some that fail or take minutes.
    """
    payload = part._payload  # type: ignore[attr-defined]
    if isinstance(payload, list):
        return [child for child in payload if isinstance(child, Message)]
    return payload if isinstance(payload, str) else ""


def _name(part: Message) -> str:
    # read from headers that are decoded already: Python's own reading loses bytes above 127 (RFC 6532, and the older habits)
    head = Message()
    for field in ("content-disposition", "content-type"):
        if raw := raw_header(part, field):
            head[field] = raw
    return words(head.get_filename() or "")


def _size(part: Message) -> int:
    payload = payload_of(part)
    if isinstance(payload, list):
        return sum(map(_size, payload))
    if str(part.get("content-transfer-encoding", "")).strip().lower() == "base64":
        signs = len(payload) - sum(payload.count(space) for space in "\n\r ")
        return max(0, signs * 3 // 4 - payload.rstrip()[-2:].count("="))
    decoded = part.get_payload(decode=True)
    return len(decoded) if isinstance(decoded, bytes) else len(payload)
