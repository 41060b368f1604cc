"""Rules on the topic: the files of a folder as one event, so that all replicas take the same ones. Large ones travel by reference."""

import re
from collections.abc import Sequence
from datetime import datetime

import orjson

from services.classifier.rulebook import FOLDER
from services.classifier.rules import RuleSet
from shared.errors import ConfigError, PermanentError
from shared.events import RulesPublished, RuleText
from shared.objects import ObjectStore

MOST_INLINE = 400_000  # bytes of all files; JSON may need twice as many, and an event holds 1 MB (shared.envelope)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.ya?ml")
Files = Sequence[tuple[str, bytes]]


def files_of(texts: Sequence[RuleText]) -> list[tuple[str, bytes]]:
    """Raises ConfigError for a name that is none of a rule file, or that comes twice: it may become the name of a file."""
    names = [text.name for text in texts]
    for name in names:
        if not _NAME.fullmatch(name):
            raise ConfigError(f"{name[:60]!r} is no name of a rule file: letters, digits, . _ - and .yaml at the end")
    if len(set(names)) < len(names):
        raise ConfigError(f"two rule files are called {max(names, key=names.count)!r}")
    return [(text.name, text.text.encode("utf-8", "surrogatepass")) for text in texts]


def announcement(rules: RuleSet, files: Files, store: ObjectStore, previous: str, by: str, reason: str, at: datetime) -> RulesPublished:
    """The event for these files, of which `rules` were made. Writes them to the object store where they are too large for the topic (blocking)."""
    texts = [RuleText(name=name, text=data.decode("utf-8", "replace")) for name, data in files]
    event = RulesPublished(digest=rules.digest, rules=len(rules), previous=previous, by=by, reason=reason, published_at=at)
    if sum(len(data) for _, data in files) <= MOST_INLINE:
        return event.model_copy(update={"files": texts})
    packed = orjson.dumps([text.model_dump() for text in texts])
    return event.model_copy(update={"files_ref": store.put(packed, ".json")})


def back_to_folder(previous: str, by: str, reason: str, at: datetime) -> RulesPublished:
    """The event that has each replica read its own folder again."""
    return RulesPublished(digest=FOLDER, previous=previous, by=by, reason=reason, published_at=at)


def files_in(event: RulesPublished, store: ObjectStore) -> list[tuple[str, bytes]]:
    """The files that an event brings or refers to (blocking). Raises ConfigError or PermanentError where they are none."""
    if not event.files_ref:
        return files_of(event.files)
    try:
        return files_of([RuleText.model_validate(one) for one in orjson.loads(store.get(event.files_ref))])
    except (orjson.JSONDecodeError, TypeError, ValueError) as error:
        raise PermanentError(f"object {event.files_ref.uri} holds no rule files: {type(error).__name__}") from error
