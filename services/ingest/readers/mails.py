"""Raw mails to a batch: parsed in a thread, each on its own, so that a broken one is refused alone."""

import asyncio
from collections.abc import Iterable, Mapping

from services.ingest.items import Batch, RawItem, Refused, Unusable
from services.ingest.mail import read_mail

MAX_MAIL = 32_000_000  # bytes of one mail, attachments and all
MAX_BATCH = 50  # mails
MAX_BATCH_BYTES = 8_000_000  # a batch is closed once it holds more
EVIDENCE = 1_000_000  # bytes kept of a mail that is too large


async def mail_batch(mails: Iterable[bytes | Refused], cursor: Mapping[str, str], note: str = "") -> Batch:
    """The batch of these mails; one longer than MAX_MAIL comes cut and is refused."""

    def parse() -> tuple[RawItem | Refused, ...]:
        return tuple(mail if isinstance(mail, Refused) else item_of(mail) for mail in mails)

    return Batch(await asyncio.to_thread(parse), cursor, note)


def item_of(data: bytes) -> RawItem | Refused:
    """A mail as an item, or the reason why it is none. CPU-bound: call it in a thread."""
    if len(data) > MAX_MAIL:
        return too_large(data)
    try:
        return read_mail(data)
    except Unusable as error:
        return Refused(error.reason, str(error), data)


def too_large(beginning: bytes) -> Refused:
    """The refusal of a mail of which only the beginning was read."""
    return Refused("too-large", f"the mail has more than {MAX_MAIL // 1_000_000} MB", beginning[:EVIDENCE])
