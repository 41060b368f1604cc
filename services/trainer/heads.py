"""A neural head as the gate reads it: its card, whether it fits, and what it says of texts. No torch.

The two files are those that services.classifier.head puts in use. What both must agree on is in shared.heads; the gate reads the figures and the known
answers too, and says in its own words what does not fit.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from shared.encoder import Encoder, Read
from shared.errors import PermanentError, one_line
from shared.events import Probe
from shared.heads import CARD, GRAPH, MOST_BYTES, SECOND, Scores, heads_in, in_doubt, role_of, run, second_of, weights_of
from shared.onnx import session
from shared.taxonomy import NOTHING, LabelSet

MOST = {GRAPH: MOST_BYTES, CARD: 1024 * 1024}  # bytes
MOST_PROBES, PROBE_CHARS = 32, 4000  # of one as JSON: they travel in an event
Share = Annotated[float, Field(ge=0, le=1)]


class Figures(BaseModel):
    """What train_head measured of a task, on texts that were not trained on; `accuracy` and `majority`, the share of the commonest label, not of a multi
    task."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    macro_f1: Share
    accuracy: Share | None = None
    majority: Share | None = None


class Card(BaseModel):
    """head.json. The collection becomes part of a role and of names in the object store, so it must be a name."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: Literal[2]
    collection: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,40}$")
    reads: Literal["pooled", "tokens", "embedded", "ids"]
    encoder: str
    tasks: dict[str, list[str]] = Field(min_length=1)
    kinds: dict[str, str]
    figures: dict[str, Figures] = {}
    probes: list[Probe] = Field(default=[], max_length=MOST_PROBES)
    files: dict[str, str] = {}  # weights beside the graph
    asked_below: Share = 0.0  # of a second head: see services.classifier.head

    @field_validator("probes")
    @classmethod
    def _are_short(cls, probes: list[Probe]) -> list[Probe]:
        if any(len(probe.model_dump_json()) > PROBE_CHARS for probe in probes):
            raise ValueError(f"a known answer is longer than {PROBE_CHARS} characters")
        return probes

    @property
    def role(self) -> str:
        return role_of(self.collection)

    def speaks_for(self) -> tuple[object, ...]:
        """What a second head must have in common with the first."""
        return self.collection, self.encoder, {task: tuple(labels) for task, labels in self.tasks.items()}, self.kinds

    def check(self, encoder: str, labels: LabelSet) -> None:
        """Raises PermanentError where the head was trained on another encoder, or for tasks or labels that the label set does not have."""
        if labels.collection != self.collection:
            raise PermanentError(f"it speaks for the collection {self.collection!r}, which has no label set")
        if self.encoder != encoder:
            raise PermanentError(
                f"it was trained on the encoder {self.encoder[:12]}, and the one in use is {encoder[:12]}: train it again on this one, "
                "or export the encoder again (`make setup`)"
            )
        for task, names in self.tasks.items():
            if task not in labels.tasks or "neural" not in labels.tasks[task].parts:
                raise PermanentError(f"it speaks of the task {task!r}, which is none that a head of {self.collection!r} is asked")
            if self.kinds.get(task) != labels.tasks[task].kind:
                raise PermanentError(
                    f"task {task!r} is {labels.tasks[task].kind} in the label set, and {self.kinds.get(task, 'nothing')} to the head"
                )
            if strange := [name for name in names if name not in labels.tasks[task].labels]:
                raise PermanentError(f"it says {strange[0]!r} of the task {task!r}, which has no such label")
            if len(set(names)) != len(names) or len(names) < (1 if self.kinds[task] == "multi" else 2):
                raise PermanentError(f"task {task!r} needs two different labels at least")


def read_card(folder: Path) -> Card:
    """Raises PermanentError naming what is wrong with head.json."""
    try:
        return Card.model_validate_json(_bytes(folder / CARD))
    except ValidationError as error:
        raise PermanentError(f"{CARD}: {one_line(error)}: train the head again (services.trainer.runs.train_head)") from error


def shipped(folder: Path, collection: str) -> Path | None:
    """Where the collection's head that comes with Feedloop lies; `folder` holds one head, or a folder for each (FEEDLOOP_HEAD). One that can't be read is
    none: the classifier tells of it, and goes without."""
    for one in heads_in(folder).values():
        try:
            if read_card(one).collection == collection and (one / GRAPH).is_file():
                return one
        except PermanentError:
            continue
    return None


class Head:
    """A head that can be asked, with the second one that it asks where it is in doubt unless it is to be `alone`. Raises PermanentError, naming what is
    wrong, where a graph is none, does not do what its card says, or the second one is of another kind."""

    def __init__(self, folder: Path, alone: bool = False) -> None:
        self.card, data = read_card(folder), _bytes(folder / GRAPH)
        weights = weights_of(folder, self.card.files)
        try:
            self._session = session(data, files=weights)
        except Exception as error:  # onnxruntime raises classes of its own
            raise PermanentError(f"{GRAPH} is no graph that onnxruntime can read: {one_line(error)}") from error
        place = None if alone else second_of(folder)
        self.second = Head(place, alone=True) if place else None
        if self.second and self.second.card.speaks_for() != self.card.speaks_for():
            raise PermanentError(f"the {SECOND} head is of another collection, other labels or another encoder than the first")

    @property
    def figures(self) -> dict[str, Figures]:
        """What was measured of it, together with its second one where it has one."""
        return self.second.card.figures if self.second else self.card.figures

    def fits(self, encoder: str, labels: LabelSet) -> None:
        """Raises PermanentError where it was trained on another encoder, or for tasks or labels that the label set does not have."""
        self.card.check(encoder, labels)

    def scores(self, read: Read) -> list[Scores]:
        """What it says of one batch. Raises PermanentError where that is no probability of each label."""
        found: list[Scores] = [{} for _ in read.places]
        for task, chances in self._answers(read).items():
            for one, row in zip(found, chances.tolist(), strict=True):
                one[task] = dict(zip(self.card.tasks[task], row, strict=True))
        return found

    def _answers(self, read: Read) -> dict[str, Any]:
        card = self.card
        try:
            answers = run(self._session, card.reads, card.tasks, read)
        except Exception as error:  # names, types and shapes that don't fit, in classes of onnxruntime's own
            raise PermanentError(f"{GRAPH} does not do what {CARD} says: {one_line(error)}") from error
        said = dict(zip(card.tasks, answers, strict=True))
        for task, chances in said.items():
            if chances.shape != (len(read.places), len(card.tasks[task])) or not _are_chances(chances, card.kinds[task] == "multi"):
                raise PermanentError(f"{GRAPH} gives no probabilities for the {len(card.tasks[task])} labels of the task {task!r}")
        if self.second is not None and len(rows := in_doubt(said, card.kinds, self.second.card.asked_below)):
            for task, chances in self.second._answers(read.only(rows)).items():
                said[task][rows] = chances
        return said


def _are_chances(chances: Any, several: bool) -> bool:
    import numpy as np  # the service itself can do without

    sound = bool(np.isfinite(chances).all()) and chances.min(initial=0) >= 0 and chances.max(initial=0) <= 1.0001
    return sound and (several or bool(np.allclose(chances.sum(axis=1), 1, atol=1e-3)))


def ask(head: Head, encoder: Encoder, texts: Sequence[str]) -> list[Scores]:
    """What the head says of each text. Blocking. Raises PermanentError like `scores`."""
    found: list[Scores] = [{} for _ in texts]
    for read in encoder.read(texts):
        for place, scores in zip(read.places, head.scores(read), strict=True):
            found[place] = scores
    return found


def likeliest(scores: Scores, task: str) -> str:
    """The label with the highest probability, as a replica asks known answers; empty where the head does not speak of the task."""
    return max(scores[task], key=scores[task].__getitem__) if scores.get(task) else ""


def answer(scores: Scores, task: str, labels: LabelSet) -> str:
    """As a person writes it: a label, or of a multi task those that hold, between commas. Empty where the head does not speak of the task."""
    if labels.tasks[task].kind != "multi" or task not in scores:
        return likeliest(scores, task)
    said = [name for name in labels.tasks[task].labels if scores[task].get(name, 0) >= labels.tasks[task].threshold]
    return ",".join(said) or NOTHING


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > MOST[path.name]:
            raise PermanentError(f"{path.name} is larger than {MOST[path.name] >> 20} MB: that is no head")
        return path.read_bytes()
    except OSError as error:
        raise PermanentError(f"no head in {path.parent.name}: {error.strerror}: {path.name}") from error
