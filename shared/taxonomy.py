"""Label sets are data: a YAML file declares the tasks of a collection and their labels, and everything else reads them from here."""

import re
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, model_validator

LABELS = Path(__file__).parent / "labels"
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,40}")


class Task(BaseModel):
    """One question asked of every document: its labels with a line of meaning each, and the parts that may answer it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    meaning: str
    labels: dict[str, str]
    parts: list[Literal["rule", "llm", "neural"]] = ["rule", "llm", "neural"]
    safety: bool = False
    default: str = ""

    @model_validator(mode="after")
    def _default_is_a_label(self) -> "Task":
        if len(self.labels) < 2:
            raise ValueError(f"task {self.name!r} needs at least two labels")
        if self.default and self.default not in self.labels:
            raise ValueError(f"task {self.name!r}: default {self.default!r} is not one of its labels {list(self.labels)}")
        return self


class LabelSet(BaseModel):
    """The tasks of one collection."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    collection: str
    tasks: dict[str, Task]

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
        """Raises ValueError, naming what is allowed, for a task or label that the set does not have."""
        if task not in self.tasks:
            raise ValueError(f"no task {task!r} in collection {self.collection!r}; it has {', '.join(self.tasks)}")
        if label not in self.tasks[task].labels:
            raise ValueError(f"no label {label!r} in task {task!r}; it has {', '.join(self.tasks[task].labels)}")


def load(path: Path) -> LabelSet:
    """Read one label set file. Raises ValueError with the file's name for anything that is wrong with it."""
    try:
        return LabelSet.model_validate(yaml.safe_load(path.read_text()))
    except (OSError, yaml.YAMLError, ValueError) as error:
        raise ValueError(f"label set {path}: {error}") from error


@cache
def label_set(collection: str = "news") -> LabelSet:
    """The label set of a collection, from shared/labels/<collection>.yaml; a collection without a file of its own uses `news`.
    Raises ValueError for what is no name of a collection: it comes from outside and becomes the name of a file."""
    if not _NAME.fullmatch(collection):
        raise ValueError(f"{collection[:60]!r} is no name of a collection: small letters, digits, - and _, at most 41")
    path = LABELS / f"{collection}.yaml"
    return load(path if path.exists() else LABELS / "news.yaml")
