"""What the classifier does with the events that reach it. Nothing is decided before the corrections of the past are known."""

import asyncio
import time
from datetime import datetime

from services.classifier.copies import Copies
from services.classifier.decide import Decider
from services.classifier.live_head import LiveHead
from shared import metrics
from shared.bus import Bus
from shared.errors import PermanentError, TransientError
from shared.events import DocumentClassified, DocumentEnriched, DocumentIngested, FeedbackGiven, ModelPublished
from shared.heads import is_head
from shared.logs import logger

log = logger(__name__)
LOOK_EVERY_S = 2.0  # how often the rule files are looked at
HEAD_WAIT_S = 30.0  # how long verdicts wait, after a start, for the head that was live: an object store may hang


class Handlers:
    """A verdict for every document: provisional at once, final when the LLM has spoken, corrected when a person has."""

    def __init__(self, decider: Decider, head: LiveHead, bus: Bus, keep: int = 5_000) -> None:
        """`keep`: how many of the newest documents to hold, for the corrections that come to concern them."""
        self.decider, self.head, self.bus = decider, head, bus
        self.copies = Copies(decider.overlay, keep)
        self.ready = asyncio.Event()  # the overlay has caught up, and the head that was live is live again, or was waited for long enough
        self._wanted: dict[str, ModelPublished] = {}  # by role: what is yet to be brought about
        self._changed = asyncio.Event()
        self._heard: asyncio.Queue[FeedbackGiven] = asyncio.Queue()

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
                # the document that was judged comes along with the feedback, and its verdict is given there
                if event.document is None or document.id != event.document_id:
                    await self.bus.publish(await self._decide(document))

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

    async def _decide(self, document: DocumentIngested, feedback_at: datetime | None = None) -> DocumentClassified:
        await self.ready.wait()
        began = time.monotonic()
        [neural] = await asyncio.to_thread(self.head.score, [(document.title, document.text)], document.collection)
        classified = self.decider.document(document, neural, feedback_at)
        metrics.DECIDE_SECONDS.observe(time.monotonic() - began)
        for task, decision in classified.decision.items():
            metrics.DECISIONS.labels(task, decision.label, decision.by, classified.stage).inc()
        log.info("document.classified", id=document.id, stage=classified.stage, labels={t: d.label for t, d in classified.decision.items()})
        return classified
