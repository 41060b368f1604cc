"""What has been told already: a view in memory of documents.ingested and sources.polled, rebuilt from the topics at every start."""

import asyncio
from collections import OrderedDict

from services.ingest.stories import Stories, signature_of
from services.ingest.table import Table
from shared.events import DocumentIngested, SourcePolled

MAX_VERSIONS = 4_000_000  # documents whose version is remembered, the newest half of them at least: 18 to 36 bytes each
MAX_DOCUMENTS = 10_000  # documents that can be replayed
MAX_CHARACTERS = 50_000_000  # of their texts together


class Known:
    """`on_document` and `on_poll` are fed by the bus and, at once, by the intake itself: both are idempotent."""

    def __init__(self, stories: Stories) -> None:
        self.stories = stories
        self.polls: dict[str, SourcePolled] = {}
        self._versions, self._older = Table(), Table()  # the second takes the place of the first once it is full
        self._documents: OrderedDict[str, DocumentIngested] = OrderedDict()
        self._characters = 0
        self._counts: dict[str, int] = {}

    async def on_document(self, event: DocumentIngested) -> None:
        if self.tells(event):
            found = await asyncio.to_thread(signature_of, event)
            self.remember(event)
            self.stories.add(event.id, found, event.story)

    def on_poll(self, event: SourcePolled) -> None:
        self.polls[event.source.id] = event

    def tells(self, event: DocumentIngested) -> bool:
        """Whether this version is news, from this source. Two sources that tell one address differently do not take turns for ever."""
        return self._version(_key(event)) != _number(event)

    def remember(self, event: DocumentIngested) -> None:
        key, version = _key(event), self._version(_key(event))
        if version == _number(event):
            return
        if version is None:
            self._counts[event.source.id] = self._counts.get(event.source.id, 0) + 1
        self._versions.put(key, _number(event))
        if len(self._versions) >= MAX_VERSIONS // 2:
            self._versions, self._older = Table(), self._versions
        self._drop(event.id)
        self._documents[event.id] = event
        self._characters += len(event.text)
        while len(self._documents) > MAX_DOCUMENTS or self._characters > MAX_CHARACTERS:
            self._drop(next(iter(self._documents)))

    def document(self, identity: str) -> DocumentIngested | None:
        """The newest version, while it is among the documents that are held for replay."""
        return self._documents.get(identity)

    def count(self, source: str) -> int:
        """Documents of a source since the topic's beginning."""
        return self._counts.get(source, 0)

    def _version(self, key: int) -> int | None:
        return found if (found := self._versions.get(key)) is not None else self._older.get(key)

    def _drop(self, identity: str) -> None:
        gone = self._documents.pop(identity, None)
        if gone is not None:
            self._characters -= len(gone.text)


def _key(event: DocumentIngested) -> int:
    return hash((event.id, event.source.id))  # salted anew in each process: nobody can choose ids that fall together


def _number(event: DocumentIngested) -> int:
    """32 bits of the version: an edit is taken for the same once in four thousand million."""
    return hash(event.version) & 0xFFFF_FFFF
