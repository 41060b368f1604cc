"""User and password that stand in an address: taken out of it at once, and sent to that one server only, wherever it redirects to."""

from base64 import b64encode
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Login:
    """`origin` is (scheme, host, port) of the server that the words are meant for; `header` is never shown."""

    origin: tuple[str, str, int]
    header: str

    def __repr__(self) -> str:
        return f"Login({self.origin})"

    def headers(self, url: str) -> dict[str, str]:
        """The Authorization header for a request to `url`: to the same server, or to the same host once it turned from http to https."""
        there = origin(url)
        upgraded = self.origin[:2] == ("http", there[1]) and self.origin[2] == 80 and there[::2] == ("https", 443)
        return {"Authorization": self.header} if there == self.origin or upgraded else {}


def without_login(url: str) -> tuple[str, Login | None]:
    """The address without its user and password, and these as a Login (Basic, RFC 7617) where it has them. Raises ValueError for a bad address."""
    parts = urlsplit(url)
    words, at, place = parts.netloc.rpartition("@")
    if not at:
        return url, None
    bare = parts._replace(netloc=place).geturl()
    user, _, password = words.partition(":")
    packed = b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
    return bare, Login(origin(bare), f"Basic {packed}") if words else None


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port (RFC 6454). Raises ValueError for a bad port."""
    parts: SplitResult = urlsplit(url)
    return parts.scheme, (parts.hostname or "").rstrip("."), parts.port or _PORTS.get(parts.scheme, 0)


def authority(url: str) -> str:
    """host:port, by which requests to one server are counted."""
    _, host, port = origin(url)
    return f"{host}:{port}"
