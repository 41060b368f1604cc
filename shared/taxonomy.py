"""Label sets are data: YAML declares the tasks of a collection and their labels, and everything else reads them from here.

They ship in shared/labels, a file each. `use` adds a user's own: a folder of such files, or a feedloop.yaml with `label_sets:`. A set works at once with
rules, the language model and an encoder that goes by the labels' names; a neural head takes the encoder's place, once there is one.
"""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared.errors import ConfigError, one_line

LABELS = Path(__file__).parent / "labels"
NOTHING = "none"  # what a person says of a multi-label task where no label holds
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,40}")
_own: dict[str, "LabelSet"] = {}  # the user's, by collection; set once, at the start of a process


def is_name(label: str) -> bool:
    """Whether a label may be called so: printable, without commas and spaces at its ends."""
    return bool(label) and label == label.strip() and "," not in label and label.isprintable()


class Task(BaseModel):
    """One question asked of every document: its labels with a line of meaning each, and the parts that may answer it.

    kind: `single`, one label holds. `ordinal`, the same with labels in order (none, low, high): a wrong neighbour is the smaller error. `multi`, any number
    of labels hold, each decided on its own. safety: true (all labels but the default), or a list: labels that a block rule may set, in order of severity.
    threshold: from which probability on a label of a multi task holds, as long as none has been learned.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    meaning: str
    labels: dict[str, str]
    kind: Literal["single", "multi", "ordinal"] = "single"
    parts: list[Literal["rule", "llm", "neural"]] = ["rule", "llm", "neural"]
    safety: bool = Field(default=False, description="the whole task is about safety: every label but the default")
    safety_labels: list[str] = Field(default=[], description="in order of severity; written as a list under `safety`")
    default: str = ""
    threshold: float = Field(default=0.5, gt=0, lt=1)

    @model_validator(mode="before")
    @classmethod
    def _safety_is_yes_or_a_list(cls, data: Any) -> Any:
        if not isinstance(data, dict) or data.get("safety_labels"):
            return data
        safety, labels = data.get("safety"), data.get("labels")
        if isinstance(safety, list):
            return {**data, "safety": False, "safety_labels": safety}
        if safety is True and isinstance(labels, dict):
            return {**data, "safety_labels": [label for label in labels if label != data.get("default")]}
        return data

    @model_validator(mode="after")
    def _is_sound(self) -> "Task":
        if len(self.labels) < 2:
            raise ValueError(f"task {self.name!r} needs at least two labels")
        for label in self.labels:
            if not is_name(label):
                raise ValueError(f"task {self.name!r}: {label!r} is no name of a label: printable, without commas and spaces at its ends")
        if self.default and self.default not in self.labels:
            raise ValueError(f"task {self.name!r}: default {self.default!r} is not one of its labels {list(self.labels)}")
        if strange := [label for label in self.safety_labels if label not in self.labels]:
            raise ValueError(f"task {self.name!r}: safety label {strange[0]!r} is not one of its labels {list(self.labels)}")
        if self.safety_labels and "rule" not in self.parts:
            raise ValueError(f"task {self.name!r} has safety labels, so its parts must hold `rule`: only a rule can't be outvoted")
        return self

    def severity(self, label: str) -> int:
        """How grave a label is: 0 for one that is no safety label, then 1, 2, … in the order of the safety labels."""
        return self.safety_labels.index(label) + 1 if label in self.safety_labels else 0

    def chosen(self, said: str) -> list[str]:
        """The labels that a person's answer names, in the task's order: one; in a multi task those between commas, or `none`. Raises ValueError."""
        names = [name.strip() for name in said.split(",")] if self.kind == "multi" else [said]
        if self.kind == "multi" and names == [NOTHING] and NOTHING not in self.labels:
            return []
        for name in names:
            if name not in self.labels:
                more = f", several with commas, or {NOTHING}" if self.kind == "multi" else ""
                raise ValueError(f"no label {name!r} in task {self.name!r}; it has {', '.join(self.labels)}{more}")
        return [label for label in self.labels if label in names]


class LabelSet(BaseModel):
    """The tasks of one collection. error_rate: the share of verdicts that may be wrong without being marked as unsure (conformal prediction)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    collection: str = Field(pattern=f"^{_NAME.pattern}$")
    tasks: dict[str, Task]
    error_rate: float = Field(default=0.1, gt=0, lt=0.5)

    @model_validator(mode="before")
    @classmethod
    def _tasks_know_their_names(cls, data: Any) -> dict[str, Any]:
        given = data.get("tasks") if isinstance(data, dict) else None
        if not isinstance(given, dict) or not given or not all(isinstance(body, dict) for body in given.values()):
            raise ValueError("it must hold `collection`, and `tasks` with a task's body under each name")
        return {**data, "tasks": {name: {**body, "name": name} for name, body in given.items()}}

    def asked_of(self, part: str) -> list[Task]:
        """The tasks that a part ("rule", "llm", "neural") may answer."""
        return [task for task in self.tasks.values() if part in task.parts]

    def check(self, task: str, label: str) -> None:
        """Raises ValueError, naming what is allowed, for a task or label (of a multi task: labels, between commas) that the set does not have."""
        if task not in self.tasks:
            raise ValueError(f"no task {task!r} in collection {self.collection!r}; it has {', '.join(self.tasks)}")
        self.tasks[task].chosen(label)


def load(path: Path) -> LabelSet:
    """Read one label set file. Raises ValueError with the file's name for anything that is wrong with it."""
    try:
        return LabelSet.model_validate(_yaml(path))
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"label set {path}: {_said(error)}") from error


def read(place: Path) -> dict[str, LabelSet]:
    """Collection -> label set, of a folder of label set files, or of a YAML file with `label_sets:` (none where it has no such key).
    Raises ConfigError naming file, task and what is wrong."""
    found: dict[str, LabelSet] = {}
    try:
        if not place.is_dir():
            return _declared(place)
        for path in sorted([*place.glob("*.yaml"), *place.glob("*.yml")]):
            labels = load(path)
            if labels.collection in found:
                raise ValueError(f"label set {path}: another file in the folder declares {labels.collection!r} too")
            found[labels.collection] = labels
    except FileNotFoundError as error:
        raise ConfigError(f"label sets: there is no {place}: FEEDLOOP_LABELS names a folder of label sets, or a file with `label_sets:`") from error
    except (OSError, ValueError) as error:
        raise ConfigError(_said(error)) from error
    return found


def _declared(path: Path) -> dict[str, LabelSet]:
    try:
        data = _yaml(path)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {_said(error)}") from error
    given = data.get("label_sets") if isinstance(data, dict) else None
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise ValueError(f"{path}: label_sets: it must hold a label set under each collection's name")
    found = {}
    for collection, body in given.items():
        try:
            found[collection] = LabelSet.model_validate({**body, "collection": collection} if isinstance(body, dict) else body)
        except ValueError as error:
            raise ValueError(f"{path}: label_sets: {collection}: {_said(error)}") from error
    return found


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_bytes().decode("utf-8-sig"))


def _said(error: Exception) -> str:
    """A pydantic error as what was meant by it: the first of its lines, with the place in the file."""
    if isinstance(error, ValidationError):
        return one_line(error).removeprefix("body: ").replace("Value error, ", "")
    return " ".join(str(error).split())


def use(place: Path | None) -> Mapping[str, LabelSet]:
    """Take a user's own label sets into this process, beside the ones that ship; one of the same collection stands in for it. To be called before
    anything is built. Raises ConfigError like `read`, and then nothing has changed."""
    found = read(place) if place else {}
    _own.clear()
    _own.update(found)
    label_set.cache_clear()
    return found


def known() -> list[str]:
    """The collections that have a label set of their own: the user's, and those that ship."""
    return sorted({*_own, *(path.stem for path in LABELS.glob("*.yaml"))})


def is_own(collection: str) -> bool:
    """Whether its label set is the user's own, or stands in for one that ships."""
    return label_set(collection).collection in _own


@cache
def label_set(collection: str = "news") -> LabelSet:
    """The label set of a collection: the user's own, else shared/labels/<collection>.yaml, else `news`; its `collection` says which it is. Sources may be
    sorted into collections that have no set of their own; who is asked by name refuses one (`known`).
    Raises ValueError for what is no name of a collection: it comes from outside and becomes the name of a file."""
    if not _NAME.fullmatch(collection):
        raise ValueError(f"{collection[:60]!r} is no name of a collection: small letters, digits, - and _, at most 41")
    if collection in _own:
        return _own[collection]
    path = LABELS / f"{collection}.yaml"
    return load(path) if path.exists() else label_set()
