"""A mail server for the tests, over one event loop: enough of IMAP4rev1 to be read from, and a place for each way to misbehave."""

import asyncio
import re
from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Answer = Callable[["Talk", bytes], Awaitable[bool]]  # of a command that misbehaves; True where it has answered


@dataclass
class Folder:
    mails: dict[int, bytes] = field(default_factory=dict)
    validity: int = 1

    @property
    def next(self) -> int:
        return max(self.mails, default=0) + 1


@dataclass
class Talk:
    """One connection."""

    server: "ImapServer"
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    folder: Folder = field(default_factory=Folder)

    def say(self, *lines: bytes) -> None:
        for line in lines:
            self.writer.write(line + b"\r\n")


@dataclass
class ImapServer:
    folders: dict[str, Folder] = field(default_factory=lambda: {"INBOX": Folder()})
    capabilities: str = "IMAP4rev1 IDLE AUTH=PLAIN SASL-IR"
    greeting: bytes = b"* OK ready"
    commands: list[str] = field(default_factory=list)
    hostile: dict[str, Answer] = field(default_factory=dict)  # beginning of a command -> what is done instead
    logins: list[bytes] = field(default_factory=list)
    port: int = 0
    talks: list[Talk] = field(default_factory=list)

    @property
    def inbox(self) -> Folder:
        return self.folders["INBOX"]

    def deliver(self, uid: int, data: bytes, folder: str = "INBOX") -> None:
        """A new mail, told to those who idle."""
        self.folders[folder].mails[uid] = data
        for talk in self.talks:
            if talk.folder is self.folders[folder]:
                talk.say(b"* %d EXISTS" % len(talk.folder.mails))

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = Talk(self, reader, writer)
        self.talks.append(talk)
        try:
            talk.say(self.greeting)
            while line := await reader.readline():
                tag, _, command = line.rstrip(b"\r\n").partition(b" ")
                self.commands.append(command.decode("utf-8", "replace"))
                for beginning, answer in self.hostile.items():
                    if self.commands[-1].startswith(beginning) and await answer(talk, tag):
                        break
                else:
                    if not await self._answer(talk, tag, self.commands[-1]):
                        return
        except ConnectionError:
            return
        finally:
            self.talks.remove(talk)
            writer.close()

    async def _answer(self, talk: Talk, tag: bytes, command: str) -> bool:
        words = command.split()
        status = b"OK done"
        match words[0].upper():
            case "CAPABILITY":
                talk.say(b"* CAPABILITY " + self.capabilities.encode())
            case "STARTTLS":
                status = b"BAD unknown command"
            case "LOGIN":
                self.logins.append(command.encode())
                status = b"OK in" if "right" in command else b"NO [AUTHENTICATIONFAILED] wrong password"
            case "AUTHENTICATE":
                status = await self._authenticate(talk, words)
            case "LIST":
                for name in self.folders:
                    talk.say(b'* LIST (\\HasNoChildren) "/" "%s"' % name.encode())
                talk.say(b'* LIST (\\Noselect) "/" "Nothing"')
            case "EXAMINE":
                found = self.folders.get(command.split(" ", 1)[1].strip('"'))
                if found is None:
                    status = b"NO no such folder"
                else:
                    talk.folder = found
                    talk.say(b"* %d EXISTS" % len(found.mails), b"* OK [UIDVALIDITY %d] x" % found.validity, b"* OK [UIDNEXT %d] x" % found.next)
            case "UID" if words[1] == "SEARCH":
                first, _, last = words[-1].partition(":")
                mails = talk.folder.mails
                uids = [uid for uid in sorted(mails) if int(first) <= uid and (last == "*" or uid <= int(last))]
                uids = uids or ([max(mails)] if mails and last == "*" else [])  # n:* always names the newest
                talk.say(b"* SEARCH " + " ".join(map(str, uids)).encode())
            case "UID":
                self._fetch(talk, [int(uid) for uid in words[2].split(",")], command)
            case "IDLE":
                talk.say(b"+ idling")
                while (await talk.reader.readline()).strip().upper() != b"DONE":
                    if talk.reader.at_eof():
                        return False
            case "LOGOUT":
                talk.say(b"* BYE", tag + b" OK")
                return False
        talk.say(tag + b" " + status)
        return True

    async def _authenticate(self, talk: Talk, words: list[str]) -> bytes:
        if len(words) < 3:
            talk.say(b"+ ")
            words.append((await talk.reader.readline()).decode().strip())
        told = b64decode(words[2])
        self.logins.append(told)
        if b"right" in told:
            return b"OK in"
        if words[1] != "PLAIN":
            talk.say(b"+ eyJzdGF0dXMiOiI0MDEifQ==")  # {"status":"401"}
            self.logins.append(await talk.reader.readline())
        return b"NO [AUTHENTICATIONFAILED] wrong password"

    def _fetch(self, talk: Talk, uids: list[int], command: str) -> None:
        window = re.search(r"BODY\.PEEK\[\]<0\.(\d+)>", command)
        for uid in uids:
            if (data := talk.folder.mails.get(uid)) is None:
                continue
            if window is None:
                talk.say(b"* 1 FETCH (UID %d RFC822.SIZE %d)" % (uid, len(data)))
            else:
                part = data[: int(window[1])]
                talk.say(b"* 1 FETCH (UID %d BODY[]<0> {%d}" % (uid, len(part)))
                talk.writer.write(part)
                talk.say(b")")


@asynccontextmanager
async def running(server: ImapServer) -> AsyncIterator[ImapServer]:
    listening = await asyncio.start_server(server.handle, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for talk in list(server.talks):
            talk.writer.transport.abort()
        await asyncio.sleep(0)
