"""The shape of a rule file, and what is refused about one. docs/rules.md is the page for people who write them."""

import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from services.classifier.folding import fold
from services.classifier.rule_yaml import load
from shared.errors import ConfigError, one_line

Kind = Literal["block", "allow", "plain"]
Says = dict[str, str]  # task -> label
MOST_BYTES = 16 * 2**20  # of all files together
MOST_PHRASE = 300  # characters
_LISTS = ("phrases", "also", "negations", "unless", "without", "soften", "still")  # the fields that hold phrases, and may name a list as $name
_NAME = re.compile(r"\$([a-z][a-z0-9_-]*)")


class RuleTest(BaseModel):
    """hit: whether the rule must speak. says: and with which label, where that may be the `softer` one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    hit: bool
    says: str = ""


class Rule(BaseModel):
    """block: a safety label that nothing can lower. allow: takes back the labels it `clears`, and says `label` instead. plain: an ordinary decision, or with
    `odds` a voice among others.

    any, pattern: what to find, one of them at least. also: one of these must stand somewhere in the text too. negations: void a hit that they stand
    right before. unless: void a hit in the same sentence (idioms); of a block rule
    only across or right beside its words, elsewhere they soften it. without: void a hit whose own words hold one of these. own_words: void a hit in what somebody else says. soften: in the same sentence these
    (the past, the hypothetical) make it say the label `softer`, save where one of `still` stands there too. expires: the last day it is in force, in UTC.
    implies: what a hit says on other tasks; if not given, what the files say under `implies`. odds: where a trained head knows the label, the
    hit does not decide but makes its label so many times as likely beside what head and language model say; softer_odds: the same of a softer hit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    id: str = Field(min_length=1, max_length=100)
    task: str
    label: str
    kind: Kind
    phrases: list[str] = Field(default=[], alias="any")
    pattern: str = ""
    also: list[str] = []
    negations: list[str] = []
    unless: list[str] = []
    without: list[str] = []
    own_words: bool = False
    softer: str = ""
    soften: list[str] = []
    still: list[str] = []
    clears: list[str] = []
    implies: Says | None = None
    odds: float | None = Field(default=None, gt=1, le=10_000, allow_inf_nan=False)
    softer_odds: float | None = Field(default=None, gt=1, le=10_000, allow_inf_nan=False)
    expires: date | None = None
    reason: str = Field(min_length=1)
    owner: str = Field(min_length=1)
    priority: int = 0
    tests: list[RuleTest] = Field(min_length=1)

    @model_validator(mode="after")
    def _is_sound(self) -> "Rule":
        if not self.phrases and not self.pattern:
            raise ValueError("it has neither `any` nor `pattern`, so it can never hit")
        for name in _LISTS:
            shown = "any" if name == "phrases" else name
            for phrase in getattr(self, name):
                if not fold(phrase):
                    raise ValueError(f"an empty phrase in `{shown}` would match everywhere")
                if len(phrase) > MOST_PHRASE:
                    raise ValueError(f"a phrase in `{shown}` has {len(phrase)} characters, and {MOST_PHRASE} are allowed")
        if bool(self.soften) > bool(self.softer) or bool(self.still) > bool(self.soften):
            raise ValueError("`soften` needs `softer`, the label that the rule says then, and `still` needs `soften`")
        if self.softer == self.label:
            raise ValueError(f"`softer` is the rule's own label {self.label!r}")
        if self.clears and self.kind != "allow":
            raise ValueError("`clears` is for rules of `kind: allow`")
        if self.odds and self.kind != "plain":
            raise ValueError(
                "`odds` is for rules of `kind: plain`: what a block rule says outright can't be outvoted (of what it says softly: `softer_odds`)"
            )
        if self.softer_odds and (self.kind == "allow" or not self.softer):
            raise ValueError("`softer_odds` is for what a plain or block rule says softly, and needs `softer`")
        return self


class RuleFile(BaseModel):
    """collection: whose documents the rules read; empty for all whose label set has the rule's task and label. lists: phrases that rules may name as
    $name. implies: task -> label -> what a hit that says it says on other tasks, in this collection."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    collection: str = ""
    lists: dict[str, list[str]] = {}
    implies: dict[str, dict[str, Says]] = {}
    rules: list[Rule] = []

    @model_validator(mode="after")
    def _implies_for_a_collection(self) -> "RuleFile":
        if self.implies and not self.collection:
            raise ValueError("`implies` needs the file's `collection`: what follows from a label differs from one label set to another")
        return self


def parse(name: str, data: bytes) -> RuleFile:
    """One file's rules, with the lists that they name in place. Raises ConfigError naming the file, the rule and the field."""
    try:
        raw = load(data.decode("utf-8-sig"))
        if not isinstance(raw, dict):
            raise ValueError("the file must hold `rules:` with the rules under it")
        _fill_lists(raw)
        return RuleFile.model_validate(raw)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{name}: not readable as YAML: {one_line(error)}") from error
    except ValidationError as error:
        first = error.errors()[0]
        said = first["msg"].removeprefix("Value error, ")
        if first["type"] == "string_type" and isinstance(first["input"], bool | int | float):
            said += f", and {first['input']!r} is none to YAML: write words such as no, yes, on, off, and numbers, in quotes"
        raise ConfigError(f"{name}: {_who(raw, first['loc'])}: {said}") from error
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from error
    except (
        TypeError,
        AttributeError,
        LookupError,
        ArithmeticError,
    ) as error:  # YAML's own tags (!!set, !!timestamp …) make what is neither list, mapping nor text
        raise ConfigError(f"{name}: not readable as rules, which are lists, mappings and texts without tags: {one_line(error)}") from error


def _fill_lists(raw: dict[str, object]) -> None:
    """Put the phrases of `lists` where a rule names them. What has not the right form is left as it is, for the validation to name."""
    lists = raw.get("lists")
    known = {name: phrases for name, phrases in lists.items() if isinstance(phrases, list)} if isinstance(lists, dict) else {}
    rules = raw.get("rules")
    for rule in rules if isinstance(rules, list) else ():
        for field in ("any", *_LISTS):
            phrases = rule.get(field) if isinstance(rule, dict) else None
            if isinstance(phrases, list) and any(isinstance(phrase, str) and _NAME.fullmatch(phrase) for phrase in phrases):
                rule[field] = _filled(phrases, known, f"rule {rule.get('id')!r} {field}")


def _filled(phrases: list[object], lists: dict[str, list[object]], where: str) -> list[object]:
    found: list[object] = []
    for phrase in phrases:
        named = _NAME.fullmatch(phrase) if isinstance(phrase, str) else None
        if named and named[1] not in lists:
            raise ValueError(f"{where}: there is no list {phrase} under `lists` of this file; it has {', '.join(lists) or 'none'}")
        found += lists[named[1]] if named else [phrase]
    return found


def _who(raw: object, place: tuple[int | str, ...]) -> str:
    """Names the rule that a validation error is about, by its id where it has one."""
    rules = raw.get("rules") if isinstance(raw, dict) else None
    if isinstance(rules, list) and len(place) >= 2 and place[0] == "rules" and isinstance(place[1], int):
        rule = rules[place[1]]
        name = rule.get("id") if isinstance(rule, dict) else None
        return " ".join([f"rule {name!r}" if name else f"rule number {place[1] + 1}", ".".join(map(str, place[2:]))]).strip()
    return ".".join(map(str, place)) or "file"


def paths_in(folder: Path) -> list[Path]:
    """The rule files of a folder, by name; none where there is no such folder."""
    return sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])


def read_files(folder: Path) -> list[tuple[str, bytes]]:
    """The rule files of a folder. Raises ConfigError where there are none or one can't be read."""
    try:
        files = [(path.name, path.read_bytes()) for path in paths_in(folder)]
    except OSError as error:
        raise ConfigError(f"rules in {folder}: {error.strerror}") from error
    if not files:
        why = "no rule files (*.yaml, *.yml) in" if folder.is_dir() else "there is no folder"
        raise ConfigError(f"{why} {folder}: FEEDLOOP_RULES names the folder of the rule files")
    check_size(files)
    return files


def check_size(files: Sequence[tuple[str, bytes]]) -> None:
    """Raises ConfigError where the files are too large to be held."""
    if (size := sum(len(data) for _, data in files)) > MOST_BYTES:
        raise ConfigError(f"the rule files have {size / 2**20:.1f} MiB together, and {MOST_BYTES / 2**20:.0f} are allowed")
