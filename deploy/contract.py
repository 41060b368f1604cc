"""The contract of the topics: a checked-in JSON schema of every event, and what may change in it.

python -m deploy.contract        refresh tests/contract/schemas from the code; refuses a breaking change
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shared.events import Event
from shared.topics import TOPICS

CONTRACT = Path(__file__).parent.parent / "tests" / "contract"
BREAKING = "a breaking change is a new topic (the next .vN), read beside the old one until that is empty"
REFRESH = "compatible, but the checked-in schema is older: run `python -m deploy.contract`"
Schema = dict[str, Any]
_LOWER, _UPPER = ("minimum", "exclusiveMinimum", "minLength", "minItems"), ("maximum", "exclusiveMaximum", "maxLength", "maxItems")
_FIXED = ("pattern", "format", "multipleOf", "uniqueItems")


def schema_path(topic: str) -> Path:
    return CONTRACT / "schemas" / f"{topic}.json"


def example_path(topic: str) -> Path:
    return CONTRACT / "examples" / f"{topic}.json"


def schema_of(event: type[Event]) -> Schema:
    """The JSON schema of an event's body, without the titles that pydantic makes of names."""
    return _untitled(event.model_json_schema())  # type: ignore[no-any-return]


def _untitled(node: Any, names: bool = False) -> Any:
    if isinstance(node, dict):  # under "properties" and "$defs" the keys are names, and "title" may be one
        return {key: _untitled(value, key in ("properties", "$defs")) for key, value in node.items() if names or key != "title"}
    return [_untitled(value) for value in node] if isinstance(node, list) else node


def breaks(old: Schema, new: Schema) -> list[str]:
    """What in `new` would refuse records written under `old`, or leave out what their readers need. Empty where the change is compatible."""
    return list(dict.fromkeys(_Comparison(old, new).nodes(old, new, "")))


class _Comparison:
    def __init__(self, old: Schema, new: Schema) -> None:
        self._old, self._new = old.get("$defs", {}), new.get("$defs", {})
        self._seen: set[tuple[str, str]] = set()

    def nodes(self, old: Schema, new: Schema, place: str) -> Iterator[str]:
        pair = (old.get("$ref", ""), new.get("$ref", ""))
        if all(pair):
            if pair in self._seen:
                return  # a class that holds itself, or one that has been compared elsewhere
            self._seen.add(pair)
        old, new = _resolved(old, self._old), _resolved(new, self._new)
        where = place or "the event"
        before, after = _variants(old, self._old), _variants(new, self._new)
        if before.keys() != after.keys():
            yield f"{where}: type changed from {_said(before)} to {_said(after)}"
            return
        for kind in before:
            yield from self._same_kind(before[kind], after[kind], where, place)

    def _same_kind(self, old: Schema, new: Schema, where: str, place: str) -> Iterator[str]:
        yield from _narrowed(old, new, where)
        fields, now = old.get("properties", {}), new.get("properties", {})
        required, must = set(old.get("required", [])), set(new.get("required", []))
        for name in fields:
            if name not in now:
                yield f"{_under(place, name)}: removed"
            else:
                yield from self.nodes(fields[name], now[name], _under(place, name))
        for name in sorted(must - required):
            yield f"{_under(place, name)}: {'required now' if name in fields else 'new and required'}"
        for key, at in (("items", f"{place}[]"), ("additionalProperties", f"{place}{{}}")):
            if isinstance(old.get(key), dict) and isinstance(new.get(key), dict):
                yield from self.nodes(old[key], new[key], at)
            elif old.get(key, True) is not False and new.get(key, True) is False:
                yield f"{where}: unknown fields are refused now"
            elif not isinstance(old.get(key), dict) and isinstance(new.get(key), dict):
                yield f"{at}: type changed from anything to {_said(_variants(new[key], self._new))}"


def _resolved(node: Schema, definitions: Schema) -> Schema:
    while "$ref" in node:
        node = definitions[node["$ref"].rsplit("/", 1)[1]]
    return node


def _variants(node: Schema, definitions: Schema) -> dict[str, Schema]:
    """Kind -> schema: one for a plain node, several for a union."""
    found: dict[str, Schema] = {}
    for variant in node.get("anyOf", [node]):
        whole = _resolved(variant, definitions)
        kind = str(whole.get("type", "anything"))
        while kind in found:
            kind += "'"
        found[kind] = whole
    return found


def _narrowed(old: Schema, new: Schema, where: str) -> Iterator[str]:
    before, after = _values(old), _values(new)
    if after is not None and (before is None or set(before) - set(after)):
        gone = "any other value" if before is None else ", ".join(sorted(set(before) - set(after)))
        yield f"{where}: narrowed, it no longer takes {gone}"
    for bound in _LOWER:
        if bound in new and (bound not in old or new[bound] > old[bound]):
            yield f"{where}: {bound} is {new[bound]} now, it was {old.get(bound, 'absent')}"
    for bound in _UPPER:
        if bound in new and (bound not in old or new[bound] < old[bound]):
            yield f"{where}: {bound} is {new[bound]} now, it was {old.get(bound, 'absent')}"
    for rule in _FIXED:
        if rule in new and new[rule] != old.get(rule):
            yield f"{where}: {rule} is {new[rule]!r} now, it was {old.get(rule, 'absent')!r}"


def _values(node: Schema) -> list[str] | None:
    values = [node["const"]] if "const" in node else node.get("enum")
    return None if values is None else [json.dumps(value) for value in values]


def _said(variants: dict[str, Schema]) -> str:
    return " or ".join(kind.rstrip("'") for kind in variants)


def _under(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def verdict(event: type[Event], topic: str) -> str:
    """What is wrong with the checked-in schema of a topic, in words; empty where it is the code's."""
    path, new = schema_path(topic), schema_of(event)
    if not path.exists():
        return f"{topic}: no schema is checked in: run `python -m deploy.contract`"
    old = json.loads(path.read_text(encoding="utf-8"))
    if found := breaks(old, new):
        return f"{topic}: {'; '.join(found)}: {BREAKING}"
    return "" if old == new else f"{topic}: {REFRESH}"


def main() -> int:
    """Write the schemas that may be written; the exit status is 1 where a change breaks one."""
    broken = 0
    for topic in TOPICS:
        said = verdict(topic.event, topic.name)
        if BREAKING in said:
            print(said, file=sys.stderr)
            broken = 1
        elif said:
            text = json.dumps(schema_of(topic.event), indent=1, ensure_ascii=False, sort_keys=True)
            schema_path(topic.name).write_text(f"{text}\n", encoding="utf-8")
            print(f"wrote {schema_path(topic.name).relative_to(CONTRACT.parent.parent)}")
    return broken


if __name__ == "__main__":
    sys.exit(main())
