"""Where items come from: one module a kind of source, each a Reader (services.ingest.items). `reader_of` picks the one for a configured source."""

from collections.abc import Callable

from services.ingest.fetch import Fetcher
from services.ingest.hosts import Turn
from services.ingest.items import Reader
from services.ingest.sources import EmlSource, FeedSource, ImapSource, MboxSource, Source
from shared.objects import ObjectStore


def reader_of(source: Source, fetcher: Fetcher, secret: Callable[[str], str], store: ObjectStore, turn: Turn | None = None) -> Reader:
    """The reader for a source. `secret` looks up the environment variable that holds a password; `store` is where a folder's reader remembers what it has
    read; `turn` is asked before each server."""
    from services.ingest.readers.emlfolder import EmlReader
    from services.ingest.readers.feed import FeedReader
    from services.ingest.readers.imap import ImapReader
    from services.ingest.readers.maildir import MaildirReader
    from services.ingest.readers.mbox import MboxReader
    from services.ingest.readers.seen import Seen

    if isinstance(source, FeedSource):
        return FeedReader(source.url, fetcher, turn)
    if isinstance(source, MboxSource):
        return MboxReader(source.path)
    if isinstance(source, EmlSource):
        return EmlReader(source.path, Seen(store, source.source_id))
    if isinstance(source, ImapSource):
        return ImapReader(source, secret)
    return MaildirReader(source.path, Seen(store, source.source_id))
