"""feedloop.yaml: which sources are read and which hosts may be. Everything wrong in it is one line that names the key and what is allowed."""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from services.ingest.sources import KINDS, EmlSource, ImapSource, MaildirSource, MboxSource, Source
from shared.errors import ConfigError

YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?")


class IngestConfig(BaseModel):
    """The whole file. `allow_hosts` are host names, addresses or CIDR ranges that may be fetched although they are not global."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sources: tuple[Annotated[Source, Field(discriminator="kind")], ...] = ()
    allow_hosts: tuple[str, ...] = ()

    @field_validator("sources", "allow_hosts", mode="before")
    @classmethod
    def _nothing_is_none(cls, value: Any) -> Any:
        return () if value is None else value  # a key whose entries are all commented out

    @field_validator("allow_hosts")
    @classmethod
    def _hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for host in value:
            try:
                ipaddress.ip_network(host, strict=False)
            except ValueError:
                if not _HOST_NAME.fullmatch(host) or re.fullmatch(r"[\d.]+", host):
                    raise ValueError(f"{host!r} is no host name, address or CIDR range such as 127.0.0.0/8") from None
        return value

    @model_validator(mode="after")
    def _ids_differ(self) -> "IngestConfig":
        seen: set[str] = set()
        for source in self.sources:
            if source.source_id in seen:
                raise ValueError(f"two sources have the id {source.source_id!r}: give one of them another `id`")
            seen.add(source.source_id)
        return self


def load(path: Path) -> IngestConfig:
    """Read the file; relative paths in it are relative to its folder. Raises ConfigError in one line."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigError(f"{path} is not there: copy feedloop.example.yaml to it, or name yours in FEEDLOOP_CONFIG") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} can't be read: {' '.join(str(error).split())}") from error
    config, _ = parse(text, path)
    return config.model_copy(update={"sources": tuple(_anchored(source, path.resolve().parent) for source in config.sources)})


def parse(text: str, path: Path) -> tuple[IngestConfig, dict[str, Any]]:
    """The file's text as it is meant and as it is written; `path` names it in errors. Raises ConfigError in one line."""
    try:
        data = yaml.load(text, YAML_LOADER)  # noqa: S506 the safe one, in C where there is one: ten times as fast
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # ValueError: a date that is none
        raise ConfigError(f"{path} can't be read: {' '.join(str(error).split())}") from error
    data = {} if data is None else data
    # the label sets stand in the same file and are not ingest's: shared.taxonomy reads them
    ours = {key: value for key, value in data.items() if key != "label_sets"} if isinstance(data, dict) else data
    try:
        return IngestConfig.model_validate(ours), data
    except ValidationError as error:
        raise ConfigError(f"{path}: {_explain(error, data)}") from error


def _anchored(source: Source, folder: Path) -> Source:
    if isinstance(source, MboxSource | MaildirSource | EmlSource):
        # the id is fixed first: it must not depend on where the file with the sources happens to lie
        return source.model_copy(update={"id": source.source_id, "title": source.ref.title, "path": folder / source.path.expanduser()})
    if isinstance(source, ImapSource):
        files = {name: folder / path.expanduser() for name in ("ca_file", "token_file") if (path := getattr(source, name)) is not None}
        return source.model_copy(update=files) if files else source
    return source


def _explain(error: ValidationError, data: Any) -> str:
    first = error.errors()[0]
    where = [str(part) for part in first["loc"]]
    if len(where) > 2 and where[0] == "sources" and where[2] in KINDS:
        kind = where.pop(2)
        fields = KINDS[kind].model_fields
    else:
        kind, fields = "", IngestConfig.model_fields
    if not isinstance(data, dict):
        return f"the file must be a mapping with {' and '.join(IngestConfig.model_fields)}"
    key = ".".join(where) or "the file"
    if first["type"] == "extra_forbidden":
        return f"{key} is not known{f' for kind {kind}' if kind else ''}; allowed: {', '.join(fields)}"
    if first["type"].startswith("union_tag"):
        return f"{key}.kind must be one of {', '.join(KINDS)}"
    if first["type"] == "missing":
        return f"{key} is missing; {f'kind {kind} has' if kind else 'allowed:'} {', '.join(fields)}"
    field = fields.get(where[-1]) if where else None
    choices = get_args(field.annotation) if field and field.annotation and hasattr(field.annotation, "__args__") else ()
    allowed = f" (allowed: {', '.join(map(str, choices))})" if choices and all(isinstance(c, str) for c in choices) else ""
    return f"{key}: {first['msg'].removeprefix('Value error, ')}{allowed}"
