"""The heads in use, one for each collection, and how another takes a place: fetched, checked, asked known answers, then swapped in; a failed step keeps
the old one."""

import asyncio
import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from services.classifier.decide import Neural
from services.classifier.head import Head, card_in
from shared.by_name import ByName, left_to_names
from shared.clock import Clock
from shared.encoder import Vectors
from shared.errors import ConfigError, PermanentError, TransientError, one_line
from shared.events import BASE_DIGEST, ModelActivated, ModelPublished, Probe
from shared.heads import AGREE, CARD, GRAPH, SECOND, Scores, collection_of, head_text, heads_in, scores_of, second_of
from shared.logs import logger
from shared.registry import Registry, name_of
from shared.taxonomy import label_set

log = logger(__name__)
FETCH_WAIT_S = 120.0  # how long one try waits for a published head: an object store may hang


@dataclass(frozen=True)
class _Speaker:
    """A collection's head, and the encoder's voice for the tasks that the head was not trained for; either may be missing."""

    head: Head | None = None
    names: ByName | None = None

    @property
    def digest(self) -> str:
        """The head's, or where there is none that of the names; empty where nobody speaks."""
        return next((part.digest for part in (self.head, self.names) if part), "")

    @property
    def named(self) -> frozenset[str]:
        return frozenset(self.names.tasks) if self.names else frozenset()

    def scores(self, encoder: Vectors, texts: Sequence[str]) -> list[Scores]:
        """For each text: task -> label -> probability. Each is read once. Blocking."""
        return scores_of(encoder, texts, *(part.says for part in (self.head, self.names) if part))


class LiveHead:
    """`shipped` is the folder of the heads that come with Feedloop, a folder each, or of one; a ModelPublished with digest "base" goes back to them. Their
    second heads are left out without `second`.

    Without an encoder or a head, or where one fails on a text, the service decides by the other parts; `problem` says so.
    """

    def __init__(self, encoder: Vectors, shipped: Path, registry: Registry, replica: str, clock: Clock, second: bool = True) -> None:
        self.encoder, self.registry, self.replica, self.clock = encoder, registry, replica, clock
        self._shipped, self._second = shipped, second
        self._fetching = ThreadPoolExecutor(1, "head")
        self.heads: dict[str, Head] = {}  # by collection; replaced as a whole, for other threads read it
        self._problems: dict[str, str] = {}
        self._failing: dict[str, str] = {}  # collection -> what went wrong when its head was last asked; gone once it answers again
        self._serving: dict[str, str] = {}
        self._names: dict[str, ByName] = {}  # by collection, made when first asked for
        self._reads = True  # False where the encoder is missing

    @property
    def problem(self) -> str:
        """Why a head that should be in use is not; empty where all are."""
        second = {name: f"the second head for {name} fails: {head.trouble}" for name, head in self.heads.items() if head.trouble}
        told = [*sorted(dict(self._problems).items()), *sorted(dict(self._failing).items()), *sorted(second.items())]
        return "; ".join(dict.fromkeys(reason for _, reason in told))  # a missing encoder is told once, and not by each head

    def digests(self) -> dict[str, str]:
        """Collection -> digest of the head in use."""
        return {collection: self.heads[collection].digest for collection in sorted(self.heads)}

    def start(self) -> None:
        """Load the encoder and the shipped heads. Blocking. Where one is missing or damaged the reason goes to `problem` and the log."""
        found = heads_in(self._shipped)
        if not found:
            self._miss("", f"no head in {self._shipped.name}: neither a head.json nor a folder that holds one")
        for graph in sorted(self._shipped.glob(f"*/{GRAPH}")):
            if not (graph.parent / CARD).exists() and graph.parent.name != SECOND:
                self._miss(graph.parent.name, f"the head in {graph.parent.name} is not used: it has no {CARD}")
        for name, folder in found.items():
            try:
                head = self._load(folder)
                self._check(head)
                head.scores(self.encoder, ["ready"])
                self.heads = {**self.heads, head.card.collection: head}
            except ConfigError as error:  # the encoder's
                self._miss(name, str(error))
            except PermanentError as error:
                self._miss(name, f"the head in {folder.name} is not used: {error}")
            except Exception as error:  # noqa: BLE001 as in `_ask`
                self._miss(name, f"the head in {folder.name} fails ({type(error).__name__}: {one_line(error)})")
        try:
            next(iter(self.encoder.read(["ready"])))
        except Exception as error:  # noqa: BLE001 as in `_ask`
            self._reads = False
            self._miss("encoder", str(error) if isinstance(error, ConfigError) else f"the encoder fails ({type(error).__name__}: {one_line(error)})")

    def score(self, items: Sequence[tuple[str, str]], collection: str) -> list[Neural]:
        """What the collection's head says of each (title, text), and the encoder by the labels' names where no head was trained. Blocking: a few
        milliseconds a text. Empty where neither speaks, and where they fail: the rules' verdict must not be lost with it. Empty for a text in which there
        is nothing to read, of which a head would say something, too."""
        texts = [head_text(title, text) for title, text in items]
        speaker, scores = self._ask(texts, collection)
        return [Neural(one, speaker.digest, speaker.named) if one and _readable(text) else Neural() for text, one in zip(texts, scores, strict=True)]

    def compare(self, texts: Sequence[str], collection: str) -> list[Scores]:
        """What the head says of texts as they stand, to compare them with one another. Blocking. Empty like `score`."""
        return self.compared(texts, collection)[1]

    def compared(self, texts: Sequence[str], collection: str) -> tuple[str, list[Scores]]:
        """The same with the digest of what said it."""
        speaker, scores = self._ask(texts, collection)
        return speaker.digest, scores

    def _ask(self, texts: Sequence[str], collection: str) -> tuple[_Speaker, list[Scores]]:
        speaker, speaks_for = _Speaker(), label_set(collection).collection
        try:
            speaker = self._speaker(collection)
            scores = speaker.scores(self.encoder, texts)
        except Exception as error:  # noqa: BLE001 onnxruntime and the tokenizer raise classes of their own; whatever it is, the other parts decide
            self._fails(speaks_for, f"the head for {speaks_for} fails ({type(error).__name__}: {one_line(error)})")
            return speaker, [{} for _ in texts]
        if strange := sorted({task for one in scores for task, chances in one.items() if not all(map(math.isfinite, chances.values()))}):
            self._fails(
                speaks_for,
                f"the head for {speaks_for} says what is no number of {', '.join(strange)}: publish another, or go back to the shipped one",
            )
        else:
            self._failing.pop(speaks_for, None)
        return speaker, scores

    def _fails(self, collection: str, reason: str) -> None:
        self._failing[collection] = reason
        log.error("head.failing", collection=collection, reason=reason, effect="rules and the language model decide alone")

    async def activate(self, wanted: ModelPublished) -> ModelActivated:
        """Swap to the published head, or keep the old one and say why. Raises TransientError where the store is away: try again later."""
        began, agreed, collection = time.monotonic(), 0, collection_of(wanted.role)
        try:
            async with asyncio.timeout(FETCH_WAIT_S):  # on a thread of its own: a store may hang, and going back to what ships must not wait for it
                fetching = None if wanted.digest == BASE_DIGEST else self._fetching
                head = await asyncio.get_running_loop().run_in_executor(fetching, self._fetch, wanted, collection)
            agreed = await asyncio.to_thread(self._probe, head, wanted.probes)
        except OSError as error:
            raise TransientError(f"head {wanted.digest[:12]} can't be fetched now: {error}") from error
        except TransientError:
            raise
        except Exception as error:  # noqa: BLE001 as in `_ask`: a head that can't answer is refused, whatever it fails with
            log.error("head.refused", role=wanted.role, digest=wanted.digest, reason=str(error), serving=self._serving.get(collection, BASE_DIGEST))
            return self._report(wanted, "refused", one_line(error), agreed, began)
        others = {name: other for name, other in self.heads.items() if name != collection}
        self.heads = others | ({collection: head} if head else {})
        self._serving[collection] = wanted.digest
        for reasons in (self._problems, self._failing):
            reasons.pop(collection, None)
        if head is None or head.second is not None or wanted.digest != BASE_DIGEST:  # of the shipped one loaded without it, `_load` has just said why
            self._problems.pop(_second(collection), None)
        log.info("head.live", role=wanted.role, digest=wanted.digest)
        return self._report(wanted, "active", wanted.reason, agreed, began)

    def _speaker(self, collection: str) -> _Speaker:
        """Who speaks for the label set that the collection is read by: one without a set of its own has those of `news` too."""
        labels = label_set(collection)
        head = self.heads.get(labels.collection)
        tasks = left_to_names(labels, list(head.card.tasks) if head else []) if self._reads else []
        if not tasks:
            return _Speaker(head)
        known = self._names.get(labels.collection)
        if known is None or list(known.tasks.values()) != tasks:
            known = self._names[labels.collection] = ByName.of(self.encoder, tasks)
        return _Speaker(head, known)

    def _miss(self, name: str, reason: str, effect: str = "rules and the language model decide alone") -> None:
        self._problems[name] = reason
        log.error("head.missing", head=name, reason=reason, effect=effect)

    def _load(self, folder: Path) -> Head:
        """A head that ships, without its second one where that is not wanted or of no use."""
        try:
            return Head.load(folder, alone=not self._second)
        except PermanentError as error:
            if second_of(folder) is None:
                raise
            head = Head.load(folder, alone=True)
            self._miss(_second(head.card.collection), f"the second head in {folder.name} is not used: {error}", "the first one speaks alone")
            return head

    def _check(self, head: Head) -> None:
        try:
            labels = label_set(head.card.collection)
        except ValueError as error:
            raise PermanentError(str(error)) from error
        head.fits(self.encoder.digest, labels)

    def _fetch(self, wanted: ModelPublished, collection: str) -> Head | None:
        if wanted.digest == BASE_DIGEST:
            return self._base(collection)
        head = Head.load(self.registry.fetch(wanted.role, wanted.digest), wanted.digest)
        if head.card.collection != collection:
            raise PermanentError(f"it was published as {wanted.role} and speaks for the collection {head.card.collection!r}")
        self._check(head)
        if not wanted.probes:
            raise PermanentError("it came without known answers: nothing tells whether these are the weights that the gate judged")
        return head

    def _base(self, collection: str) -> Head | None:
        """The head that ships; None for a label set that comes without one: there the encoder speaks by the labels' names again."""
        for folder in heads_in(self._shipped).values():
            if card_in(folder).collection == collection:
                head = self._load(folder)
                try:
                    self._check(head)
                except PermanentError:  # a label set of the user's own stands in for the shipped one: as at the start, that head is not used
                    return None
                return head
        if label_set(collection).collection != collection:
            raise PermanentError(f"the collection {collection!r} has no label set: there is nothing to go back to")
        return None

    def _probe(self, head: Head | None, probes: list[Probe]) -> int:
        """How many known answers came back. Raises PermanentError where too few did."""
        if head is None or not probes:
            return 0
        answers = head.scores(self.encoder, [head_text(probe.title, probe.text) for probe in probes])
        said = [max(answer[p.task], key=answer[p.task].__getitem__) if p.task in answer else "" for p, answer in zip(probes, answers, strict=True)]
        agreed = sum(label == probe.answer for label, probe in zip(said, probes, strict=True))
        if agreed < AGREE * len(probes):
            raise PermanentError(f"only {agreed} of {len(probes)} known answers came back: these are not the weights that the gate judged")
        return agreed

    def _report(self, wanted: ModelPublished, outcome: str, reason: str, agreed: int, began: float) -> ModelActivated:
        collection = collection_of(wanted.role)
        return ModelActivated(
            replica=self.replica,
            role=wanted.role,
            digest=wanted.digest,
            name=("shipped" if collection in self.heads else "by name") if wanted.digest == BASE_DIGEST else name_of(wanted.role, wanted.digest),
            outcome="active" if outcome == "active" else "refused",
            reason=reason,
            serving=self._serving.get(collection, BASE_DIGEST),
            probes_agreed=agreed,
            probes=len(wanted.probes),
            seconds=round(time.monotonic() - began, 3),
            at=self.clock(),
        )


def _second(collection: str) -> str:
    """What the problems of a collection's second head are kept under."""
    return f"{collection}/{SECOND}"


def _readable(text: str) -> bool:
    """Whether anything of it can be seen: no white space, control or format character."""
    return any(c.isprintable() and not c.isspace() for c in text)
