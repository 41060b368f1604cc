"""What is asked of an opened folder: its state, its UIDs, its mails. Bounded: a mail that is too large is not fetched whole."""

import re
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass

from services.ingest.items import Refused, SourceProblem
from services.ingest.readers import imapwire
from services.ingest.readers.imapnames import encoded
from services.ingest.readers.imapresponses import Refused as RefusedByServer
from services.ingest.readers.imapresponses import Response
from services.ingest.readers.imapwire import Wire
from services.ingest.readers.mails import EVIDENCE, MAX_BATCH, MAX_BATCH_BYTES, MAX_MAIL, too_large

MANY = 50_000  # mails in a folder from which on its UIDs are asked for in windows
WINDOW, MOST_WINDOW = 50_000, 1_000_000  # UIDs; a window that was empty makes the next one larger
SEARCH = 16_000_000  # bytes of an answer that lists UIDs: 11 each
SLOWEST = 100_000  # bytes a second; a server that is slower is given up
_VALIDITY = re.compile(rb"\[UIDVALIDITY (\d{1,10})\]", re.I)
_NEXT = re.compile(rb"\[UIDNEXT (\d{1,10})\]", re.I)
_EXISTS = re.compile(rb"\* (\d{1,10}) EXISTS", re.I)
_FETCHED = re.compile(rb"\* \d+ FETCH \(", re.I)
_UID = re.compile(rb"[( ]UID (\d{1,10})\b", re.I)
_SIZE = re.compile(rb"[( ]RFC822\.SIZE (\d{1,15})\b", re.I)
_BODY = re.compile(rb"[( ]BODY\[\](?:<\d{1,15}>)? ", re.I)
_CONTENT = re.compile(rb"(\{\d+\})|\"([^\"\\]*(?:\\.[^\"\\]*)*)\"|NIL", re.I)
_PASSING = re.compile(r"\[(UNAVAILABLE|INUSE|LIMIT|OVERQUOTA|SERVERBUG|AUTHENTICATIONFAILED|EXPIRED)\b", re.I)  # RFC 5530: another time it may work


@dataclass(frozen=True)
class Box:
    """A folder that is open. `next` is the UID that its next mail will have at least; 0 where the server does not say."""

    validity: str
    exists: int
    next: int


class Stuck(SourceProblem):
    """A mail that is there and that the server does not hand out."""

    def __init__(self, host: str, uid: int, said: str) -> None:
        super().__init__(f"the mail server {host} does not hand out the mail with the UID {uid}{f': {said}' if said else ''}")
        self.uid = uid


async def examine(wire: Wire, name: str) -> Box:
    """Open a folder without the right to change it. Raises imapresponses.Refused where there is none of that name."""
    text = b"\n".join(response.text for response in await wire.command(f"EXAMINE {encoded(name)}"))
    validity, following, exists = _VALIDITY.search(text), _NEXT.search(text), _EXISTS.search(text)
    return Box(validity[1].decode() if validity else "0", int(exists[1]) if exists else 0, int(following[1]) if following else 0)


async def uids_after(wire: Wire, box: Box, last: int) -> AsyncIterator[list[int]]:
    """The UIDs above `last`, ascending, in lists that bound memory."""
    if box.next and box.next <= last + 1:
        return
    if not box.next or box.exists <= MANY:
        yield await _search(wire, last + 1, "*")
        return
    window = WINDOW
    while last + 1 < box.next:
        end = min(last + window, box.next - 1)
        found = await _search(wire, last + 1, str(end))
        window = WINDOW if found else min(window * 2, MOST_WINDOW)
        if found:
            yield found
        last = end


async def _search(wire: Wire, first: int, end: str) -> list[int]:
    found: set[int] = set()
    for response in await wire.command(f"UID SEARCH UID {first}:{end}", SEARCH):
        if response.text.upper().startswith(b"* SEARCH"):
            found.update(int(word) for word in response.text.split()[2:] if word.isdigit() and len(word) <= 10)
    return sorted(uid for uid in found if uid >= first)  # `n:*` names the newest mail even where it is older than n


async def fetch(wire: Wire, uids: Sequence[int]) -> tuple[list[bytes | Refused], int]:
    """The mails of the first of these UIDs, up to a batch, and how many UIDs that took. One that is gone meanwhile is passed over; one that is too large is
    refused with its beginning. Raises Stuck where the very first is not handed out."""
    asked = uids[:MAX_BATCH]
    sizes = {uid: int(size[1]) for uid, text in _fetched(await _of(wire, asked, "RFC822.SIZE", 0)) if (size := _SIZE.search(text.text))}
    group: list[int] = []
    total = 0
    for uid in (uid for uid in asked if uid in sizes and sizes[uid] <= MAX_MAIL):
        if group and total + sizes[uid] > MAX_BATCH_BYTES:
            asked = asked[: asked.index(uid)]
            break
        group.append(uid)
        total += sizes[uid]
    bodies: dict[int, bytes] = {}
    if group:
        try:
            bodies = _bodies(await _of(wire, group, f"BODY.PEEK[]<0.{MAX_MAIL + 1}>", total))
        except RefusedByServer as error:
            _if_passing(error)
    mails: list[bytes | Refused] = []
    for taken, uid in enumerate(asked):
        try:
            mails += [bodies[uid]] if uid in bodies else await _alone(wire, uid, sizes.get(uid, 0)) if uid in sizes else []
        except Stuck:
            if not taken:
                raise
            return mails, taken
    return mails, len(asked)


async def _alone(wire: Wire, uid: int, size: int) -> list[bytes | Refused]:
    """One mail by itself: it is too large, or was not handed out with the others."""
    most = MAX_MAIL + 1 if size <= MAX_MAIL else EVIDENCE
    said = ""
    try:
        found = _bodies(await _of(wire, [uid], f"BODY.PEEK[]<0.{most}>", most))
        if uid in found:
            return [found[uid] if size <= MAX_MAIL else too_large(found[uid])]
        if uid not in dict(_fetched(await _of(wire, [uid], "RFC822.SIZE", 0))):
            return []  # deleted meanwhile
    except RefusedByServer as error:
        _if_passing(error)
        said = error.text
    raise Stuck(wire.host, uid, said)


async def _of(wire: Wire, uids: Sequence[int], what: str, size: int) -> list[Response]:
    """The answer to UID FETCH. `size` in bytes is what is expected; some servers give sizes that are not exact, so twice that is read."""
    most = imapwire.ANSWER + 2 * size
    return await wire.command(f"UID FETCH {','.join(map(str, uids))} (UID {what})", most, imapwire.TIMEOUT_S + size / SLOWEST)


def _fetched(responses: Iterable[Response]) -> list[tuple[int, Response]]:
    found = [(uid, response) for response in responses if _FETCHED.match(response.text) and (uid := _UID.search(response.text))]
    return [(int(uid[1]), response) for uid, response in found]


def _bodies(responses: Iterable[Response]) -> dict[int, bytes]:
    bodies = {}
    for uid, response in _fetched(responses):
        place = _BODY.search(response.text)
        if place and (body := _CONTENT.match(response.text, place.end())):
            literal = response.literals[0] if body[1] and response.literals else None
            bodies[uid] = literal if literal is not None else re.sub(rb"\\(.)", rb"\1", body[2] or b"")
    return bodies


def _if_passing(error: RefusedByServer) -> None:
    if _PASSING.search(error.text):
        raise SourceProblem(str(error)) from error
