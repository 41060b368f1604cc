"""Where items come from: one module a kind of source, each a Reader (services.ingest.items). `reader_of` picks the one for a configured source."""

from collections.abc import Callable

from services.ingest.config import FeedSource, ImapSource, MboxSource, Source
from services.ingest.fetch import Fetcher
from services.ingest.items import Reader


def reader_of(source: Source, fetcher: Fetcher, secret: Callable[[str], str]) -> Reader:
    """The reader for a source. `secret` looks up the environment variable that holds a password."""
    from services.ingest.readers.feed import FeedReader
    from services.ingest.readers.imap import ImapReader
    from services.ingest.readers.maildir import MaildirReader
    from services.ingest.readers.mbox import MboxReader

    if isinstance(source, FeedSource):
        return FeedReader(source.url, fetcher)
    if isinstance(source, MboxSource):
        return MboxReader(source.path)
    if isinstance(source, ImapSource):
        return ImapReader(source, secret)
    return MaildirReader(source.path)
