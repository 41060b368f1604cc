"""What the classifier does with the events that reach it. Nothing is decided before the corrections of the past are known."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from services.classifier.copies import Copies
from services.classifier.decide import Decider
from services.classifier.live_head import LiveHead
from shared import metrics
from shared.bus import Bus
from shared.errors import PermanentError, TransientError, one_line
from shared.events import DocumentClassified, DocumentEnriched, DocumentIngested, FeedbackGiven, ModelPublished
from shared.guard import PERMANENT, TRANSIENT
from shared.heads import is_head
from shared.logs import logger
from shared.objects import ObjectStore

log = logger(__name__)
LOOK_EVERY_S = 2.0  # how often the rule files are looked at
HEAD_WAIT_S = 30.0  # how long verdicts wait, after a start, for the head that was live: an object store may hang
TEXT_WAIT_S = 30.0  # how long one try waits for the whole of a long text, for the same reason
READERS = 4  # threads that read long texts: where the store hangs these wait, and no thread that a verdict needs
BEGINNING_ONLY = "only the beginning of the text could be read: what stands further on was not judged"
MOST_CHARS = 2_000_000  # of a text that the rules read: they take some 4 s for a million, and a record must be done before Kafka gives it to another


class Handlers:
    """A verdict for every document: provisional at once, final when the LLM has spoken, corrected when a person has."""

    def __init__(self, decider: Decider, head: LiveHead, bus: Bus, store: ObjectStore, keep: int = 5_000) -> None:
        """`store` holds the whole of long texts. `keep`: how many of the newest documents to hold, for the corrections that come to concern them."""
        self.decider, self.head, self.bus, self.store = decider, head, bus, store
        self.copies = Copies(decider.overlay, keep)
        self.ready = asyncio.Event()  # the overlay has caught up, and the head that was live is live again, or was waited for long enough
        self._wanted: dict[str, ModelPublished] = {}  # by role: what is yet to be brought about
        self._changed = asyncio.Event()
        self._heard: asyncio.Queue[FeedbackGiven] = asyncio.Queue()
        self._readers = ThreadPoolExecutor(READERS, "text")

    async def on_document_ingested(self, document: DocumentIngested) -> list[DocumentClassified]:
        """The provisional verdict, by rules and head."""
        self.copies.keep(document)  # first: feedback may come while it is judged
        return [await self._decide(document)]

    async def on_document_enriched(self, document: DocumentEnriched) -> list[DocumentClassified]:
        """The final verdict, or the corrected one where a correction stands for the document."""
        self.copies.keep(document)
        return [await self._decide(document)]

    async def on_feedback_given(self, event: FeedbackGiven) -> list[DocumentClassified]:
        """A correction's or a retraction's effect on the document that was judged, where the event brings it along."""
        self.remember(event)
        if event.kind not in ("correction", "retraction") or event.document is None:
            return []
        if event.document.id != event.document_id:
            raise PermanentError(f"the feedback is on document {event.document_id}, and brings along {event.document.id}")
        return [await self._decide(event.document, event.given_at)]

    def remember(self, event: FeedbackGiven) -> None:
        """Take the feedback into the overlay; in every replica. Raises ValueError for a correction to what the label set does not have."""
        if event.kind == "correction":
            self.decider.labels(event.collection).check(event.task, event.correct)
        self.decider.overlay.remember(event)

    def on_feedback_heard(self, event: FeedbackGiven) -> None:
        """Feedback on whatever document, in every replica: remember it, and note it for `keep_copies`. Raises as `remember`."""
        self.remember(event)
        if self.ready.is_set():  # before that nothing has been judged without it
            self._heard.put_nowait(event)

    async def keep_copies(self) -> None:
        """Judge again the documents judged before that feedback on another text concerns. Runs as long as the service."""
        while True:
            event = await self._heard.get()
            given = self.decider.overlay.given(event)
            for document in self.copies.of(given) if given else ():
                # the document that was judged comes along with the feedback, and its verdict is given there: unless more is known of it here
                judged = event.document if document.id == event.document_id else None
                if judged is None or _knows_more(document, judged):
                    await self._judge_again(document)

    def on_model_published(self, event: ModelPublished) -> None:
        """Note which head is wanted; `keep_head` brings it about."""
        if is_head(event.role):
            self._wanted[event.role] = event
            self._changed.set()

    async def keep_head(self) -> None:
        """Catch up, bring about the wanted heads, report each. Runs as long as the service."""
        await self.bus.caught_up()
        asyncio.get_running_loop().call_later(HEAD_WAIT_S, self.ready.set)
        while True:
            self._changed.clear()
            for role in sorted(self._wanted):
                wanted = self._wanted.pop(role)
                try:
                    await self.bus.publish(await self.head.activate(wanted))
                except TransientError as error:
                    log.warning("head.waiting", role=role, reason=str(error))
                    self._wanted.setdefault(role, wanted)  # unless a newer one came meanwhile
            self.ready.set()  # where one waits, the old head decides meanwhile
            if self._wanted:
                await asyncio.sleep(LOOK_EVERY_S)
            else:
                await self._changed.wait()

    async def keep_rules(self) -> None:
        """Put edited rules and learned weights in force. Runs as long as the service."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await asyncio.to_thread(self.decider.rulebook.refresh)
            await asyncio.to_thread(self.decider.fusions.refresh)

    async def _judge_again(self, document: DocumentIngested) -> None:
        """Judge and publish, however long object store or Kafka are away: no record of the bus waits here to be tried again. What can't be published at all is
        named in the log."""
        while True:
            try:
                return await self.bus.publish(await self._decide(document))
            except PERMANENT as error:
                return log.error("copy.refused", id=document.id, reason=one_line(error))
            except TRANSIENT as error:
                if not getattr(error, "retriable", True):  # as Kafka's own errors say
                    return log.error("copy.refused", id=document.id, reason=str(error))
                log.warning("copy.waiting", id=document.id, reason=str(error))
                await asyncio.sleep(LOOK_EVERY_S)

    async def _decide(self, document: DocumentIngested, feedback_at: datetime | None = None) -> DocumentClassified:
        await self.ready.wait()
        text, unread = await self._whole(document)
        began = time.monotonic()
        [neural] = await asyncio.to_thread(self.head.score, [(document.title, document.text)], document.collection)
        ruled = await asyncio.to_thread(self.decider.ruled, document, text)
        classified = self.decider.document(document, neural, feedback_at, ruled, unread)
        metrics.DECIDE_SECONDS.observe(time.monotonic() - began)
        for task, decision in classified.decision.items():
            metrics.DECISIONS.labels(task, decision.label, decision.by, classified.stage).inc()
        log.info("document.classified", id=document.id, stage=classified.stage, labels={t: d.label for t, d in classified.decision.items()})
        return classified

    async def _whole(self, document: DocumentIngested) -> tuple[str, str]:
        """The text for the rules: of a long one the whole, of which the document carries only the beginning; that where the store has lost the whole. And why
        that is not all of it, empty where it is.

        Raises TransientError where the store is away: a verdict on the beginning alone may miss what a block rule looks for."""
        if document.text_ref is None:
            return document.text, ""
        try:
            async with asyncio.timeout(TEXT_WAIT_S):
                whole = await asyncio.get_running_loop().run_in_executor(self._readers, self.store.get, document.text_ref)
        except (PermanentError, ValueError) as error:  # ValueError: a name that no object can have
            log.warning("document.beginning_only", id=document.id, characters=len(document.text), reason=one_line(error))
            return document.text, BEGINNING_ONLY
        except Exception as error:  # an object store's client raises classes of its own
            raise TransientError(f"the whole text of document {document.id} can't be read now: {one_line(error)}") from error
        text = whole.decode("utf-8", "replace")
        return text[:MOST_CHARS], BEGINNING_ONLY if len(text) > MOST_CHARS else ""


def _knows_more(kept: DocumentIngested, judged: DocumentClassified) -> bool:
    """Whether the document is kept here in a newer version than the one that feedback was given on, or with a reading by the language model that is newer."""
    if kept.version != judged.version:
        return kept.received_at > judged.received_at
    return isinstance(kept, DocumentEnriched) and (judged.model is None or kept.enriched_at > judged.as_of)
