"""The kinds of sources: what each needs to be read, as it stands in feedloop.yaml. Everything wrong in it is said in words."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from shared.events import SourceRef, digest_of

MINUTE = 60.0
_UNITS = {"s": 1.0, "m": MINUTE, "h": 60 * MINUTE, "d": 24 * 60 * MINUTE}
MAX_FOLDER = 200  # characters
_VARIABLE = r"^([A-Za-z_][A-Za-z0-9_]*)?$"


def seconds(value: Any) -> float:
    """Seconds of 900, "900", "30s", "15m", "2h" or "1d". Raises ValueError for anything else."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhd]?)\s*", str(value))
    if not match or not 1 <= (result := float(match[1]) * _UNITS[match[2] or "s"]) <= 30 * _UNITS["d"]:
        raise ValueError(f"{value!r} is no interval: write seconds, or 30s, 15m, 2h, 1d (1 second to 30 days)")
    return result


class _Source(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(default="", pattern=r"^[A-Za-z0-9._-]{0,80}$", description="stable name; keys the cursor")
    title: str = Field(default="", max_length=200)
    collection: str = Field(default="news", pattern=r"^[a-z][a-z0-9_-]{0,40}$")
    interval: Annotated[float, BeforeValidator(seconds)] = 15 * MINUTE

    def place(self) -> str:
        """Where it is read from, for people; never holds a password."""
        raise NotImplementedError

    @property
    def source_id(self) -> str:
        kind = getattr(self, "kind", "")
        return self.id or f"{kind}-{digest_of(kind, self.place())[:12]}"

    @property
    def ref(self) -> SourceRef:
        kind: Literal["feed", "mail"] = "feed" if getattr(self, "kind", "") == "feed" else "mail"
        return SourceRef(id=self.source_id, kind=kind, title=self.title or self.place())


class FeedSource(_Source):
    """RSS, Atom, RDF or JSON Feed at an address."""

    kind: Literal["feed"]
    url: str
    folder: str = Field(default="", max_length=MAX_FOLDER, description="where it stands in other readers' lists (OPML): News, or News/Local")

    @field_validator("url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        try:
            parts = urlsplit(value)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and value.isprintable()
        except ValueError:  # a port beyond 65535, an unclosed bracket
            usable = False
        if not usable:
            raise ValueError("must be an http or https address")
        return value

    def place(self) -> str:
        parts = urlsplit(self.url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


class MboxSource(_Source):
    """A file of mails, new ones appended."""

    kind: Literal["mbox"]
    path: Path

    def place(self) -> str:
        return str(self.path)


class MaildirSource(_Source):
    """A folder with new/ and cur/, a file a mail."""

    kind: Literal["maildir"]
    path: Path

    def place(self) -> str:
        return str(self.path)


class EmlSource(_Source):
    """A folder into which .eml files are dropped, a file a mail."""

    kind: Literal["eml"]
    path: Path

    def place(self) -> str:
        return str(self.path)


class ImapSource(_Source):
    """Folders of a mail server. The password, or the token, comes from the environment variable that `password_env` (`token_env`) names, a token also
    from a file or from what a command prints; it is read at each login."""

    kind: Literal["imap"]
    host: str
    port: int = Field(default=993, ge=1, le=65535)
    tls: bool | Literal["starttls"] = True
    ca_file: Path | None = Field(default=None, description="certificates (PEM) that are trusted instead of the system's")
    user: str
    auth: Literal["password", "oauthbearer", "xoauth2"] = "password"
    password_env: str = Field(default="", pattern=_VARIABLE)
    token_env: str = Field(default="", pattern=_VARIABLE)
    token_file: Path | None = None
    token_command: tuple[str, ...] = Field(default=(), description="the command and its arguments; no shell")
    folder: str = "INBOX"
    folders: tuple[str, ...] = Field(default=(), max_length=1_000, description="names, or patterns such as Newsletters/*")
    idle: bool = Field(default=True, description="told of new mail as it comes, where the server has IDLE")

    @field_validator("tls", mode="before")
    @classmethod
    def _is_a_way(cls, value: Any) -> Any:
        if not isinstance(value, bool) and value != "starttls":
            raise ValueError(f"{value!r} is none of true (TLS from the start), starttls and false")
        return value

    @model_validator(mode="after")
    def _is_whole(self) -> "ImapSource":
        tokens = [name for name in ("token_env", "token_file", "token_command") if getattr(self, name)]
        if self.auth == "password" and (tokens or not self.password_env):
            raise ValueError("auth: password needs password_env, and no token" if tokens else "password_env is missing (auth: password)")
        if self.auth != "password" and (self.password_env or len(tokens) != 1):
            raise ValueError(f"auth: {self.auth} needs one of token_env, token_file and token_command, and no password_env")
        if self.auth != "password" and not self.tls:
            raise ValueError(f"auth: {self.auth} needs tls: true or tls: starttls (RFC 6750, 5.3)")
        if self.folders and "folder" in self.model_fields_set:
            raise ValueError("folder and folders exclude each other: list all of them in folders")
        if not all(self.names):
            raise ValueError("a folder needs a name")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The folders, or patterns of them."""
        return self.folders or (self.folder,)

    def place(self) -> str:
        return f"{self.user} at {self.host}:{self.port}/{', '.join(self.names)}"


Source = FeedSource | MboxSource | MaildirSource | EmlSource | ImapSource
KINDS: dict[str, type[_Source]] = {"feed": FeedSource, "mbox": MboxSource, "maildir": MaildirSource, "eml": EmlSource, "imap": ImapSource}
