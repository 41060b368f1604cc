"""A folder of a mail server over IMAP, read-only (nothing is marked as seen). The cursor is the highest UID read, for one UIDVALIDITY."""

import imaplib
import ssl
from collections.abc import AsyncIterator, Callable, Mapping

from services.ingest.config import ImapSource
from services.ingest.items import Batch, SourceProblem
from services.ingest.readers.mails import MAX_BATCH, MAX_BATCH_BYTES, MAX_MAIL, mail_batch
from services.ingest.threads import in_own_thread

TIMEOUT_S = 30.0  # of each exchange with the server


class ImapReader:
    def __init__(self, source: ImapSource, secret: Callable[[str], str]) -> None:
        self._source, self._secret = source, secret

    async def read(self, cursor: Mapping[str, str]) -> AsyncIterator[Batch]:
        """Batches of mails above the UID of the cursor. Raises SourceProblem in words for a refused login, folder or certificate."""
        password = self._secret(self._source.password_env)
        if not password:
            raise SourceProblem(f"the environment variable {self._source.password_env} (password_env) is not set")
        client, validity = await in_own_thread(_said, self._open, password)
        try:
            last = int(cursor.get("uid", "0")) if cursor.get("validity") == validity else 0
            uids = await in_own_thread(_said, _uids_after, client, last)
            if not uids:
                yield Batch((), {"validity": validity, "uid": str(last)}, unchanged=True)
            while uids:
                mails, count = await in_own_thread(_said, _fetch, client, uids[:MAX_BATCH])
                last, uids = uids[count - 1], uids[count:]
                yield await mail_batch(mails, {"validity": validity, "uid": str(last)})
        finally:
            await in_own_thread(_close, client)

    def _open(self, password: str) -> tuple[imaplib.IMAP4, str]:
        source = self._source
        if source.tls:
            client: imaplib.IMAP4 = imaplib.IMAP4_SSL(source.host, source.port, ssl_context=ssl.create_default_context(), timeout=TIMEOUT_S)
        else:
            client = imaplib.IMAP4(source.host, source.port, timeout=TIMEOUT_S)
        try:
            client.login(source.user, password)
            quoted = source.folder.replace("\\", "\\\\").replace('"', '\\"')
            status, _ = client.select(f'"{quoted}"', readonly=True)
            if status != "OK":
                raise SourceProblem(f"{source.host} has no folder {source.folder!r}")
            validity = (client.response("UIDVALIDITY")[1] or [None])[0]
            return client, (validity or b"0").decode("ascii", "replace")
        except BaseException:
            _close(client)
            raise


def _said(work: Callable, *args: object):  # type: ignore[no-untyped-def, type-arg]
    """Run `work` and say in words what went wrong with the server."""
    try:
        return work(*args)
    except ssl.SSLError as error:
        raise SourceProblem(f"no safe connection to the mail server: {error.reason or error}") from error
    except (imaplib.IMAP4.error, OSError) as error:
        text = error.args[0] if error.args else error
        raise SourceProblem(f"the mail server refuses: {text.decode('utf-8', 'replace') if isinstance(text, bytes) else error}") from error


def _uids_after(client: imaplib.IMAP4, last: int) -> list[int]:
    _, data = client.uid("SEARCH", "UID", f"{last + 1}:*")
    uids = sorted(int(uid) for uid in (data[0] or b"").split() if uid.isdigit())
    return [uid for uid in uids if uid > last]  # `n:*` names the newest mail even where it is older than n


def _fetch(client: imaplib.IMAP4, uids: list[int]) -> tuple[list[bytes], int]:
    """The mails, and how many UIDs that took. Of one that is too large only the beginning is fetched."""
    mails: list[bytes] = []
    for count, uid in enumerate(uids, start=1):
        # a window of one byte over the limit, so that the mail is seen to be too large without fetching it whole
        _, data = client.uid("FETCH", str(uid), f"(BODY.PEEK[]<0.{MAX_MAIL + 1}>)")
        mails += [part[1] for part in data if isinstance(part, tuple) and isinstance(part[1], bytes)]
        if sum(map(len, mails)) >= MAX_BATCH_BYTES:
            return mails, count
    return mails, len(uids)


def _close(client: imaplib.IMAP4) -> None:
    try:
        client.logout()
    except (imaplib.IMAP4.error, OSError):
        client.shutdown()
