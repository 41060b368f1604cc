"""Events to index: the retriever listens and publishes nothing."""

from services.retriever.indexer import Indexer
from shared.events import DocumentClassified, Event


class Handlers:
    def __init__(self, indexer: Indexer) -> None:
        self.indexer = indexer

    async def on_document_classified(self, event: DocumentClassified) -> list[Event]:
        """Make the index hold this verdict, unless it holds a newer one."""
        await self.indexer.apply(event)
        return []
