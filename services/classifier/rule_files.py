"""The shape of a rule file, and what is refused about one."""

from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from services.classifier.matching import fold
from shared.errors import ConfigError, one_line

Kind = Literal["block", "allow", "plain"]


class RuleTest(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    hit: bool


class Rule(BaseModel):
    """block: a safety label that nothing can lower. allow: clears a task. plain: an ordinary decision.

    any, pattern: what to find, one of them at least. also: one of these must stand somewhere in the text too. negations: void a hit that they stand
    right before. unless: void a hit in the same sentence (idioms). own_words: void a hit in a quotation of somebody else.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    id: str = Field(min_length=1)
    task: str
    label: str
    kind: Kind
    phrases: list[str] = Field(default=[], alias="any")
    pattern: str = ""
    also: list[str] = []
    negations: list[str] = []
    unless: list[str] = []
    own_words: bool = False
    reason: str = Field(min_length=1)
    owner: str = Field(min_length=1)
    priority: int = 0
    tests: list[RuleTest] = Field(min_length=1)

    @model_validator(mode="after")
    def _finds_something(self) -> "Rule":
        if not self.phrases and not self.pattern:
            raise ValueError("it has neither `any` nor `pattern`, so it can never hit")
        for name in ("phrases", "also", "negations", "unless"):
            if any(not fold(phrase) for phrase in getattr(self, name)):
                raise ValueError(f"an empty phrase in `{'any' if name == 'phrases' else name}` would match everywhere")
        return self


class RuleFile(BaseModel):
    """collection: whose documents the rules read; empty for all whose label set has the rule's task and label."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    collection: str = ""
    rules: list[Rule]


def parse(name: str, data: bytes) -> RuleFile:
    """One file's rules. Raises ConfigError naming the file, the rule and the field."""
    try:
        raw = yaml.safe_load(data.decode("utf-8"))
        return RuleFile.model_validate(raw)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name}: not readable as YAML: {one_line(error)}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"{name}: {_who(raw, first['loc'])}: {first['msg']}") from error


def _who(raw: object, place: tuple[int | str, ...]) -> str:
    """Names the rule that a validation error is about, by its id where it has one."""
    if isinstance(raw, dict) and len(place) >= 2 and place[0] == "rules" and isinstance(place[1], int):
        rule = raw["rules"][place[1]]
        name = rule.get("id") if isinstance(rule, dict) else None
        return " ".join([f"rule {name!r}" if name else f"rule number {place[1] + 1}", ".".join(map(str, place[2:]))]).strip()
    return ".".join(map(str, place)) or "file"


def read_files(folder: Path) -> list[tuple[str, bytes]]:
    """The rule files of a folder. Raises ConfigError where there are none or one can't be read."""
    try:
        files = [(path.name, path.read_bytes()) for path in sorted(folder.glob("*.yaml"))]
    except OSError as error:
        raise ConfigError(f"rules in {folder}: {error.strerror}") from error
    if not files:
        raise ConfigError(f"no rule files (*.yaml) in {folder}: FEEDLOOP_RULES names the folder")
    return files
