"""A neural head: a small ONNX graph on the encoder's vectors that gives a probability for each label of each task of one collection. No torch.

A head is a folder of two files: head.onnx, which reads `pooled` [n, 384], or `tokens` [n, length, 384] and `mask` [n, length], or in the place of `tokens`
`embedded`, which is what the tokens are before the encoder's layers (for a head that has layers of its own), or `ids`, the word pieces [n, length] (for
one that is an encoder of its own), and gives one output `says.<task>` a task, [n, labels]; and head.json, which says what the graph was trained for.
services.trainer.runs.train_head writes both. Large weights lie beside them in files that head.json names.

A folder `second` in it is a larger head, of the same tasks, which is asked of the texts that the first one is in doubt about and whose word then stands: a
cascade (Viola & Jones 2001), which costs a part of what asking the larger one of every text would. services.trainer.runs.distil writes it.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared.encoder import DIMS, Read, Vectors
from shared.errors import PermanentError, one_line
from shared.heads import CARD, GRAPH, MOST_BYTES, SECOND, Scores, in_doubt, run, scores_of, second_of, weights_of
from shared.logs import logger
from shared.onnx import session
from shared.taxonomy import LabelSet

log = logger(__name__)
Floats = NDArray[np.float32]


class HeadCard(BaseModel):
    """head.json: the collection that the head speaks for, what it reads, and the kind and the labels, in the graph's order, of each task."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: Literal[2]
    collection: str
    kind: str
    reads: Literal["pooled", "tokens", "embedded", "ids"]
    encoder: str  # shared.encoder.Encoder.digest of what it was trained on
    tasks: dict[str, list[str]]
    kinds: dict[str, Literal["single", "multi", "ordinal"]]
    files: dict[str, str] = {}  # weights beside the graph: name -> SHA-256
    asked_below: float = Field(default=0.0, ge=0, le=1)  # of a second head: asked where the first is less sure of some task (shared.heads.in_doubt)

    @model_validator(mode="after")
    def _is_sound(self) -> "HeadCard":
        if not self.tasks or set(self.tasks) != set(self.kinds):
            raise ValueError("it must name one task at least, and the kind of each")
        for task, labels in self.tasks.items():
            if len(set(labels)) != len(labels) or len(labels) < (1 if self.kinds[task] == "multi" else 2):
                raise ValueError(f"task {task!r} needs two different labels at least")
        return self


class Head:
    """The head of one collection, checked. `digest` names its files, and those of its second head. Build it by `load`. Safe to share between threads."""

    def __init__(self, card: HeadCard, session: Any, digest: str, second: "Head | None" = None) -> None:
        self.card, self.digest, self._session, self.second = card, digest, session, second
        self.trouble = ""  # why the second one did not have the word when it was last asked

    @classmethod
    def load(cls, folder: Path, digest: str = "", alone: bool = False) -> "Head":
        """Read a head's folder, with its second head unless it is to be `alone`, and try the graphs on made-up texts; without `digest` it is the SHA-256 of
        the files. Raises PermanentError naming what is wrong."""
        try:
            text = (folder / CARD).read_bytes()
            card = _card(text)
            if (folder / GRAPH).stat().st_size > MOST_BYTES:
                raise PermanentError(f"{GRAPH} is larger than {MOST_BYTES >> 20} MB: that is no head")
            data = (folder / GRAPH).read_bytes()
            weights = weights_of(folder, card.files)
        except OSError as error:
            raise PermanentError(f"no head in {folder.name}: {error.strerror}: {Path(str(error.filename)).name}") from error
        try:
            graph = session(data, files=weights)
        except Exception as error:  # onnxruntime raises classes of its own
            raise PermanentError(f"{GRAPH} is no graph that onnxruntime can read: {one_line(error)}") from error
        head = cls(card, graph, digest or hashlib.sha256(text + data).hexdigest())
        head._try()
        if (second := second_of(folder)) and not alone:
            head = head._with(cls.load(second, alone=True), digest)
        return head

    def _with(self, second: "Head", digest: str) -> "Head":
        """The same head, and a second one that it asks. Raises PermanentError where that one is of another kind, or would never be asked."""
        mine, other = self.card, second.card
        if not other.asked_below:
            raise PermanentError(f"the {SECOND} head's {CARD} has no `asked_below`: it would never be asked")
        if (mine.collection, mine.encoder, mine.tasks, mine.kinds) != (other.collection, other.encoder, other.tasks, other.kinds):
            raise PermanentError(f"the {SECOND} head is of another collection, other labels or another encoder than the first")
        return Head(mine, self._session, digest or hashlib.sha256(f"{self.digest}/{second.digest}".encode()).hexdigest(), second)

    def fits(self, encoder: str, labels: LabelSet) -> None:
        """Raises PermanentError where the head was trained on another encoder, or for tasks or labels that the label set does not have."""
        if self.card.encoder != encoder:
            raise PermanentError(
                f"the head for {self.card.collection} was trained on the encoder {self.card.encoder[:12]}, and the one in use is {encoder[:12]}: "
                "train it again (services.trainer.runs.train_head), or export the encoder again (`make setup`)"
            )
        if labels.collection != self.card.collection:
            raise PermanentError(f"the head speaks for the collection {self.card.collection!r}, which has no label set")
        for task, names in self.card.tasks.items():
            try:
                for label in names:
                    labels.check(task, label)
            except ValueError as error:
                raise PermanentError(f"the head speaks of what the label set does not have: {error}") from error
            if labels.tasks[task].kind != self.card.kinds[task]:
                raise PermanentError(
                    f"task {task!r} is {labels.tasks[task].kind} in the label set, and the head was trained on a {self.card.kinds[task]} one"
                )

    def answers(self, read: Read) -> dict[str, Floats]:
        """Task -> probabilities [n, labels], in the card's order, of one batch."""
        said: dict[str, Floats] = dict(zip(self.card.tasks, run(self._session, self.card.reads, self.card.tasks, read), strict=True))
        if self.second is not None and len(rows := in_doubt(said, self.card.kinds, self.second.card.asked_below)):
            second, trouble = self._second_says(read.only(rows))
            if trouble and trouble != self.trouble:
                log.error("head.second_failing", collection=self.card.collection, reason=trouble, effect="the first one speaks alone")
            self.trouble = trouble
            for task, chances in second.items():
                said[task][rows] = chances
        return said

    def _second_says(self, read: Read) -> tuple[dict[str, Floats], str]:
        """The second head's answers, or none and why: whatever it fails with, the first one has spoken."""
        assert self.second is not None
        try:
            said = self.second.answers(read)
        except Exception as error:  # noqa: BLE001 onnxruntime raises classes of its own
            return {}, f"{type(error).__name__}: {one_line(error)}"
        return (said, "") if all(np.isfinite(chances).all() for chances in said.values()) else ({}, "it says what is no number")

    def says(self, read: Read) -> Iterator[tuple[str, Sequence[str], Floats]]:
        """Task, its labels, and their probabilities [n, labels] of one batch."""
        for task, chances in self.answers(read).items():
            yield task, self.card.tasks[task], chances

    def scores(self, encoder: Vectors, texts: Sequence[str], batch: int = 32) -> list[Scores]:
        """For each text: task -> label -> probability. Blocking."""
        return scores_of(encoder, texts, self.says, batch=batch)

    def _try(self) -> None:
        """Made-up texts of one to five tokens: the answers must be probabilities, of the card's labels, and not the same for every text."""
        dice = np.random.default_rng(7)
        mask = (np.arange(5) < np.arange(1, 6)[:, None]).astype(np.float32)
        tokens = dice.normal(size=(5, 5, DIMS)).astype(np.float32) * mask[..., None]
        ids = dice.integers(1000, 2000, size=(5, 5)) * mask.astype(np.int64)  # pieces that any encoder has
        try:
            answers = self.answers(Read(list(range(5)), ids, tokens, mask, lambda vectors, _: vectors))
        except Exception as error:  # onnxruntime raises classes of its own for names, types and shapes that don't fit
            raise PermanentError(f"{GRAPH} does not do what {CARD} says: {one_line(error)}") from error
        for task, chances in answers.items():
            wanted = (5, len(self.card.tasks[task]))
            if chances.shape != wanted:
                raise PermanentError(f"{GRAPH} gives {list(chances.shape)} for task {task!r}, expected {list(wanted)}")
            if not np.isfinite(chances).all():
                raise PermanentError(f"{GRAPH} gives values that are not finite for task {task!r}")
            whole = self.card.kinds[task] == "multi" or np.allclose(chances.sum(axis=1), 1, atol=1e-3)
            if chances.min() < 0 or chances.max() > 1.0001 or not whole:
                raise PermanentError(f"{GRAPH} gives no probabilities for task {task!r}")
            if not np.ptp(chances, axis=0).any():
                raise PermanentError(f"task {task!r}: the head says the same of every text")


def card_in(folder: Path) -> HeadCard:
    """What a head's folder says of it, without its graph. Raises PermanentError naming what is wrong."""
    try:
        return _card((folder / CARD).read_bytes())
    except OSError as error:
        raise PermanentError(f"no head in {folder.name}: {error.strerror}: {CARD}") from error


def _card(text: bytes) -> HeadCard:
    try:
        data = json.loads(text)
        if isinstance(data, dict) and "format" not in data:
            raise PermanentError(f"{CARD} is of the old format, with safetensors: train the head again (services.trainer.runs.train_head)")
        return HeadCard.model_validate(data)
    except ValidationError as error:
        raise PermanentError(f"{CARD}: {one_line(error)}") from error
    except ValueError as error:
        raise PermanentError(f"{CARD} is no JSON: {error}") from error
