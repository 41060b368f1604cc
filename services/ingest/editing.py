"""Editing feedloop.yaml as a careful person would: a source goes below the last one, or its lines are taken out, and every other character stays as it is.

The places are those that the YAML parser tells. What comes out is parsed again before it is written, and refused unless it says exactly what was meant:
a file that uses YAML in a way this module does not know is left alone.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from services.ingest.config import YAML_LOADER, IngestConfig, parse
from services.ingest.replacing import content_of, locked, replace_file
from shared.errors import ConfigError

_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_COMMA = re.compile(r"\s*,")
_NEW = "# What Feedloop reads; feedloop.example.yaml shows all that can stand here.\n\nsources:\n"
Decide = Callable[[IngestConfig], "Edit"]


@dataclass(frozen=True)
class Edit:
    """Sources to put below the others, as they are written, and the ids of those to take out."""

    add: Sequence[Mapping[str, Any]] = ()
    remove: frozenset[str] = frozenset()


def edit(path: Path, decide: Decide) -> IngestConfig:
    """Have `decide` look at the sources and make what it says so; returns what stands in the file then. A missing file is made. Blocking.

    Raises ConfigError where the file is wrong, can't be written, or changed meanwhile: then nothing was written. Raises what `decide` raises.
    """
    path = path.resolve()  # a link keeps pointing where it points
    with locked(path.parent):
        before = content_of(path)
        try:
            written = (before if before is not None else b"").decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path} can't be read: {error}") from error
        config, data = parse(written, path)
        wanted = decide(config)
        if not wanted.add and not wanted.remove:
            return config
        text = written if before is not None else _NEW
        places = [place for place, source in enumerate(config.sources) if source.source_id in wanted.remove]
        after = _edited(text, places, wanted.add, path)
        now = _checked(after, data, places, wanted.add, path)
        mark = b"\xef\xbb\xbf" if before and before.startswith(b"\xef\xbb\xbf") else b""
        replace_file(path, before, mark + after.encode())
        return now


def _checked(after: str, data: Mapping[str, Any], places: Sequence[int], add: Sequence[Mapping[str, Any]], path: Path) -> IngestConfig:
    """The config that the new text holds. Raises ConfigError unless it is the old one, but for what was to change."""
    kept = [source for place, source in enumerate(data.get("sources") or []) if place not in set(places)]
    expected = {**data, "sources": [*kept, *map(dict, add)]}
    try:
        now, found = parse(after, path)
    except ConfigError as error:
        raise ConfigError(f"this command can't make the change, nothing was written; edit the file by hand: {error}") from error
    if {**found, "sources": found.get("sources") or []} != expected:
        raise ConfigError(f"{path} is written in a way that this command can't edit (anchors, or several documents?): edit it by hand")
    return now


def _edited(text: str, places: Sequence[int], add: Sequence[Mapping[str, Any]], path: Path) -> str:
    try:
        root = yaml.compose(text, Loader=YAML_LOADER)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} can't be read: {' '.join(str(error).split())}") from error
    pair = next(((key, value) for key, value in root.value if key.value == "sources"), None) if isinstance(root, yaml.MappingNode) else None
    if pair is None:
        head = text if not text or text.endswith("\n") else text + _newline(text)
        return head + _newline(text).join(["sources:", ""]) + _block(add, 2, text)
    key, value = pair
    if not isinstance(value, yaml.SequenceNode) or not value.value:
        text = text[: value.start_mark.index] + text[value.end_mark.index :]
        return _inserted(text, key.end_mark.index, _block(add, 2, text))
    if places:
        for place in sorted(places, reverse=True):  # from the end, so that the places before it stay true
            text = _without_flow(text, value, place) if value.flow_style else _without_block(text, value, place)
        return _edited(text, (), add, path) if add else text
    end = _end(value.value[-1])
    return f"{text[:end]}, {_flow(add)}{text[end:]}" if value.flow_style else _inserted(text, end, _block(add, value.start_mark.column, text))


def _flow(add: Sequence[Mapping[str, Any]]) -> str:
    written = yaml.dump([dict(source) for source in add], Dumper=_DUMPER, sort_keys=False, allow_unicode=True, default_flow_style=True, width=10**6)
    return str(written).strip()[1:-1]


def _without_flow(text: str, sequence: yaml.SequenceNode, place: int) -> str:
    items = sequence.value
    if place + 1 < len(items):
        return text[: items[place].start_mark.index] + text[items[place + 1].start_mark.index :]
    end = _end(items[place])
    if place:
        return text[: _end(items[place - 1])] + text[end:]
    comma = _COMMA.match(text, end)  # the only item: a comma behind it would stand alone
    return text[: items[place].start_mark.index] + text[comma.end() if comma else end :]


def _without_block(text: str, sequence: yaml.SequenceNode, place: int) -> str:
    """The text without the lines from the item's dash to its last value. Comments above and below belong to whoever wrote them, and stay."""
    item, column = sequence.value[place], sequence.start_mark.column
    start = text.rfind("\n", 0, item.start_mark.index) + 1
    while start > 0 and not (text[start + column : start + column + 1] == "-" and not text[start : start + column].strip()):
        start = text.rfind("\n", 0, start - 1) + 1
    return text[:start] + text[_line_end(text, _end(item)) :]


def _inserted(text: str, after: int, new: str) -> str:
    """`new` on lines of its own below the line that holds the place `after`."""
    end = _line_end(text, after)
    gap = "" if end == 0 or text[end - 1] == "\n" else _newline(text)
    return text[:end] + gap + new + text[end:]


def _block(add: Sequence[Mapping[str, Any]], column: int, text: str) -> str:
    if not add:
        return ""
    lines = yaml.dump([dict(source) for source in add], Dumper=_DUMPER, sort_keys=False, allow_unicode=True, width=10**6).splitlines()
    return "".join(f"{' ' * column}{line}{_newline(text)}" for line in lines)


def _end(node: yaml.Node) -> int:
    """Where the last value of a node ends. A block's own end mark stands behind the comments that follow it."""
    if isinstance(node, yaml.ScalarNode) or getattr(node, "flow_style", False) or not node.value:
        return int(node.end_mark.index)
    parts = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
    return max(_end(part) for part in parts)


def _line_end(text: str, place: int) -> int:
    """The beginning of the next line; `place` itself where it begins one (behind a block of text)."""
    if place and text[place - 1] == "\n":
        return place
    found = text.find("\n", place)
    return len(text) if found < 0 else found + 1


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"
