"""Logging in to a mail server: a password (PLAIN, RFC 4616, or LOGIN) or an OAuth 2 bearer token (OAUTHBEARER, RFC 7628, or XOAUTH2)."""

import asyncio
import base64
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from services.ingest.items import SourceProblem
from services.ingest.readers.imapnames import quoted
from services.ingest.readers.imapresponses import Refused
from services.ingest.readers.imapwire import Wire
from services.ingest.sources import ImapSource
from services.ingest.threads import in_own_thread

COMMAND_S = 30.0  # that a command may take to print a token
MAX_SECRET = 64_000  # bytes


async def log_in(wire: Wire, source: ImapSource, secret: Callable[[str], str]) -> None:
    """Raises SourceProblem that names what is missing or what the server says against it; never the secret itself."""
    if wire.preauthenticated:
        return
    if source.auth == "password":
        await _with_password(wire, source, await secret_of(source, secret))
    else:
        await _with_token(wire, source, await secret_of(source, secret))
    await wire.ask_capabilities()


async def secret_of(source: ImapSource, secret: Callable[[str], str]) -> str:
    """The password, or the token, as it is now: a token is renewed outside and read at each login."""
    if source.token_command:
        return await _printed(source.token_command)
    if source.token_file:
        return await in_own_thread(_first_line, source.token_file)
    name, key = (source.password_env, "password_env") if source.auth == "password" else (source.token_env, "token_env")
    if not (value := secret(name)):
        raise SourceProblem(f"the environment variable {name} ({key}) is not set")
    return value


async def _with_password(wire: Wire, source: ImapSource, password: str) -> None:
    if "AUTH=PLAIN" in wire.capabilities:
        await _authenticate(wire, "PLAIN", f"\0{source.user}\0{password}".encode(), b"*")
        return
    if "LOGINDISABLED" in wire.capabilities:
        raise SourceProblem(f"the mail server {wire.host} takes no password here: set `tls: true` or `tls: starttls`")
    if not (source.user + password).isascii():
        raise SourceProblem(f"the mail server {wire.host} has only LOGIN, which takes no letters beyond ASCII: change the password")
    await wire.command(f"LOGIN {quoted(source.user)} {quoted(password)}")


async def _with_token(wire: Wire, source: ImapSource, token: str) -> None:
    if source.auth == "oauthbearer":
        user = source.user.replace("=", "=3D").replace(",", "=2C")
        words = f"n,a={user},\1host={source.host}\1port={source.port}\1auth=Bearer {token}\1\1"
        await _authenticate(wire, "OAUTHBEARER", words.encode(), base64.b64encode(b"\1"))
    else:
        await _authenticate(wire, "XOAUTH2", f"user={source.user}\1auth=Bearer {token}\1\1".encode(), b"")


async def _authenticate(wire: Wire, mechanism: str, words: bytes, give_up: bytes) -> None:
    """AUTHENTICATE, with the words at once where the server takes them so (RFC 4959). A refused token comes with its reason in a challenge, which is to
    be answered with `give_up`."""
    if f"AUTH={mechanism}" not in wire.capabilities:
        offered = ", ".join(sorted(word.removeprefix("AUTH=") for word in wire.capabilities if word.startswith("AUTH="))) or "none"
        raise SourceProblem(f"the mail server {wire.host} does not take {mechanism}; it offers {offered}")
    first = base64.b64encode(words)
    at_once = "SASL-IR" in wire.capabilities
    pending = [] if at_once else [first]
    reasons: list[str] = []

    def answer(challenge: bytes) -> bytes:
        if pending:
            return pending.pop()
        reasons.append(_reason(challenge))
        return give_up

    try:
        await wire.command(b"AUTHENTICATE " + mechanism.encode() + (b" " + first if at_once else b""), answer=answer)
    except Refused as error:
        if reasons:
            raise SourceProblem(f"the mail server {wire.host} refuses the token ({reasons[0]}): renew it. It says: {error.text}") from error
        raise


def _reason(challenge: bytes) -> str:
    """RFC 7628, 3.2.2: JSON with a status."""
    try:
        status = json.loads(base64.b64decode(challenge)).get("status", "")
        return f"status {str(status)[:100]}"
    except (ValueError, AttributeError):
        return "no reason given"


def _first_line(path: Path) -> str:
    try:
        with path.open("rb") as file:
            line = file.read(MAX_SECRET).decode("utf-8", "replace").strip()
    except OSError as error:
        raise SourceProblem(f"the token can't be read from {path} (token_file): {error.strerror}") from error
    if not line:
        raise SourceProblem(f"{path} (token_file) is empty")
    return line.splitlines()[0].strip()


async def _printed(command: Sequence[str]) -> str:
    name = command[0]
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
    except OSError as error:
        raise SourceProblem(f"{name} (token_command) can't be started: {error.strerror}") from error
    try:
        async with asyncio.timeout(COMMAND_S):
            assert process.stdout is not None and process.stderr is not None
            out, err = await asyncio.gather(_bounded(process.stdout), _bounded(process.stderr))
            status = await process.wait()
    except TimeoutError as error:
        raise SourceProblem(f"{name} (token_command) did not end within {COMMAND_S:.0f} seconds") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    token = out.decode("utf-8", "replace").strip()
    if status or not token:
        said = " ".join(err.decode("utf-8", "replace").split())[:200]
        raise SourceProblem(f"{name} (token_command) gave no token: exit status {status}{f': {said}' if said else ''}")
    return token.splitlines()[0].strip()


async def _bounded(stream: asyncio.StreamReader) -> bytes:
    """What a stream says, of much the beginning: all of it is read, so that the command can end."""
    kept = b""
    while piece := await stream.read(65_536):
        kept = (kept + piece)[:MAX_SECRET]
    return kept
