"""Raw mails to a batch: parsed in a thread, each on its own, so that a broken one is refused alone."""

import asyncio
from collections.abc import Iterable, Mapping

from services.ingest.items import Batch, RawItem, Refused, Unusable
from services.ingest.mail import read_mail

MAX_MAIL = 32_000_000  # bytes of one mail, attachments and all
MAX_BATCH = 50  # mails
MAX_BATCH_BYTES = 8_000_000  # a batch is closed once it holds more
EVIDENCE = 1_000_000  # bytes kept of a mail that is too large


async def mail_batch(mails: Iterable[bytes], cursor: Mapping[str, str]) -> Batch:
    """The batch of these mails; one longer than MAX_MAIL comes cut and is refused."""

    def parse() -> tuple[RawItem | Refused, ...]:
        return tuple(_parse(data) for data in mails)

    return Batch(await asyncio.to_thread(parse), cursor)


def _parse(data: bytes) -> RawItem | Refused:
    if len(data) > MAX_MAIL:
        return Refused("too-large", f"the mail has more than {MAX_MAIL // 1_000_000} MB", data[:EVIDENCE])
    try:
        return read_mail(data)
    except Unusable as error:
        return Refused(error.reason, str(error), data)
