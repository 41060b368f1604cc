"""The head in use, and how another takes its place: fetched, checked, asked known answers, then swapped in; a failed step keeps the old one."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.classifier.decide import Neural
from services.classifier.head import Head, head_text
from shared.clock import Clock
from shared.errors import ConfigError, PermanentError, TransientError
from shared.events import BASE_DIGEST, ModelActivated, ModelPublished, Probe
from shared.logs import logger
from shared.registry import Registry, name_of
from shared.taxonomy import label_set

log = logger(__name__)
ROLE = "head-news"
AGREE = 0.9  # share of known answers that must come back: int8 vectors differ a little between processors


class Vectors(Protocol):
    """shared.encoder.Encoder, or anything that makes unit vectors of texts."""

    def encode(self, texts: Sequence[str], batch: int = ...) -> NDArray[np.float32]: ...


class LiveHead:
    """`shipped` is the folder of the head that comes with Feedloop; a ModelPublished with digest "base" goes back to it.

    Without an encoder or a head the service decides by the other parts; `problem` says so.
    """

    def __init__(self, encoder: Vectors, shipped: Path, registry: Registry, replica: str, clock: Clock) -> None:
        self.encoder, self.registry, self.replica, self.clock = encoder, registry, replica, clock
        self._shipped = shipped
        self.head: Head | None = None
        self.problem = ""
        self._serving = BASE_DIGEST

    def start(self) -> None:
        """Load the shipped head and the encoder. Blocking. Where one is missing or damaged the reason goes to `problem` and the log."""
        try:
            self.head = Head.load(self._shipped)
            self._vectors([("", "ready")])
        except (ConfigError, PermanentError) as error:
            self.head, self.problem = None, str(error)
            log.error("head.missing", reason=self.problem, effect="rules and the language model decide alone")

    def score(self, items: Sequence[tuple[str, str]], collection: str) -> list[Neural]:
        """What the head says of each (title, text). Blocking: a few milliseconds a text. Empty where it does not speak for the collection."""
        head = self.head
        if head is None or collection != head.card.collection:
            return [Neural() for _ in items]
        return [Neural(scores, head.digest) for scores in head.probabilities(self._vectors(items))]

    async def activate(self, wanted: ModelPublished) -> ModelActivated:
        """Swap to the published head, or keep the old one and say why. Raises TransientError where the store is away: try again later."""
        began, agreed = time.monotonic(), 0
        try:
            head = await asyncio.to_thread(self._fetch, wanted)
            agreed = await asyncio.to_thread(self._probe, head, wanted.probes)
        except OSError as error:
            raise TransientError(f"head {wanted.digest[:12]} can't be fetched now: {error}") from error
        except (ConfigError, PermanentError) as error:
            log.error("head.refused", digest=wanted.digest, reason=str(error), serving=self._serving)
            return self._report(wanted, "refused", str(error), agreed, began)
        self.head, self._serving, self.problem = head, wanted.digest, ""
        log.info("head.live", digest=wanted.digest)
        return self._report(wanted, "active", wanted.reason, agreed, began)

    def _vectors(self, items: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        # one text a call: the int8 encoder scales by batch, and a verdict must not depend on what happens to be decided beside it
        return np.concatenate([self.encoder.encode([head_text(title, text)]) for title, text in items])

    def _fetch(self, wanted: ModelPublished) -> Head:
        if wanted.digest == BASE_DIGEST:
            return Head.load(self._shipped)
        head = Head.load(self.registry.fetch(ROLE, wanted.digest), wanted.digest)
        known = label_set(head.card.collection)
        for task, labels in head.card.tasks.items():
            for label in labels:
                try:
                    known.check(task, label)
                except ValueError as error:
                    raise PermanentError(f"the head speaks of what the label set does not have: {error}") from error
        return head

    def _probe(self, head: Head, probes: list[Probe]) -> int:
        """How many known answers came back. Raises PermanentError where too few did."""
        if not probes:
            return 0
        answers = head.probabilities(self._vectors([(probe.title, probe.text) for probe in probes]))
        said = [max(answer[p.task], key=answer[p.task].__getitem__) if p.task in answer else "" for p, answer in zip(probes, answers, strict=True)]
        agreed = sum(label == probe.answer for label, probe in zip(said, probes, strict=True))
        if agreed < AGREE * len(probes):
            raise PermanentError(f"only {agreed} of {len(probes)} known answers came back: these are not the weights that the gate judged")
        return agreed

    def _report(self, wanted: ModelPublished, outcome: str, reason: str, agreed: int, began: float) -> ModelActivated:
        return ModelActivated(
            replica=self.replica,
            role=ROLE,
            digest=wanted.digest,
            name="shipped" if wanted.digest == BASE_DIGEST else name_of(ROLE, wanted.digest),
            outcome="active" if outcome == "active" else "refused",
            reason=reason,
            serving=self._serving,
            probes_agreed=agreed,
            probes=len(wanted.probes),
            seconds=round(time.monotonic() - began, 3),
            at=self.clock(),
        )
