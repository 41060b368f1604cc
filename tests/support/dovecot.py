"""A real mail server (Debian: dovecot-imapd) as an ordinary process of the test's own: a generated config, free ports, a certificate made for it."""

import base64
import grp
import hashlib
import hmac
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

PROGRAM = shutil.which("dovecot") or shutil.which("dovecot", path="/usr/sbin:/sbin")
USER, PASSWORD = "reader@desk.example", 'pass "word" ü'
START_S = 30.0

CONFIG = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/dovecot.log
auth_verbose = yes
auth_failure_delay = 0
protocols = imap
listen = 127.0.0.1
default_internal_user = {me}
default_internal_group = {group}
default_login_user = {login}
first_valid_uid = 1
mail_location = maildir:{folder}/mail/%u:LAYOUT=fs
mail_max_userip_connections = 50
auth_mechanisms = plain xoauth2 oauthbearer
ssl = yes
ssl_cert = <{folder}/cert.pem
ssl_key = <{folder}/key.pem
ssl_min_protocol = TLSv1.2
disable_plaintext_auth = yes
imap_idle_notify_interval = 2 secs
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {folder}/users
}}
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {folder}/oauth2.conf.ext
}}
userdb {{
  driver = static
  args = uid={mail_uid} gid={mail_gid} home={folder}/people/%u
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls_port}
    ssl = yes
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
namespace inbox {{
  inbox = yes
  separator = /
}}
"""
OAUTH = """
introspection_mode = local
local_validation_key_dict = fs:posix:prefix={folder}/keys/
username_attribute = sub
"""


class Dovecot:
    """Start it, put mails in, read from `port` (STARTTLS) or `tls_port`."""

    def __init__(self) -> None:
        # not pytest's folder: that one only its owner may enter, and the mail processes of a root's dovecot run as nobody
        self.folder = Path(tempfile.mkdtemp(prefix="feedloop-dovecot-"))
        self.folder.chmod(0o755)
        self.port, self.tls_port = _free_ports(2)
        self.certificate = self.folder / "cert.pem"
        self._key = os.urandom(32)
        root = os.geteuid() == 0
        self._owner = pwd.getpwnam("nobody") if root else pwd.getpwuid(os.geteuid())
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        # the users that the Debian package makes where dovecot may change to them (its login process refuses to be root), else all as we are
        me, group, login = ("dovecot", "dovecot", "dovenull") if os.geteuid() == 0 else (self._owner.pw_name, _group(), self._owner.pw_name)
        values = {
            "folder": self.folder, "me": me, "group": group, "login": login, "port": self.port, "tls_port": self.tls_port,
            "mail_uid": self._owner.pw_uid, "mail_gid": self._owner.pw_gid,
        }  # fmt: skip
        (self.folder / "dovecot.conf").write_text(CONFIG.format(**values))
        (self.folder / "oauth2.conf.ext").write_text(OAUTH.format(**values))
        (self.folder / "users").write_text(f"{USER}:{{PLAIN}}{PASSWORD}\n")
        keys = self.folder / "keys" / "default" / "HS256"
        keys.mkdir(parents=True)
        (keys / "default").write_text(base64.b64encode(self._key).decode())
        make_certificate(self.folder)
        for name in ("mail", "people"):
            self._made(self.folder / name)
        assert PROGRAM is not None
        command = [PROGRAM, "-F", "-c", str(self.folder / "dovecot.conf")]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=(self.folder / "stderr").open("wb"))
        self._wait_for_ports()

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(20)
            self._process = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def deliver(self, data: bytes, folder: str = "") -> None:
        """A mail, as a delivery agent leaves it: written beside, then moved into new/."""
        box = self.mailbox(folder)
        name = f"{time.time_ns()}.test"
        (box / "tmp" / name).write_bytes(data)
        os.chown(box / "tmp" / name, self._owner.pw_uid, self._owner.pw_gid)
        (box / "tmp" / name).rename(box / "new" / name)

    def mailbox(self, folder: str = "") -> Path:
        box = self.folder / "mail" / USER / folder
        for part in (*reversed([p for p in box.parents if p.is_relative_to(self.folder / "mail")]), box, box / "tmp", box / "new", box / "cur"):
            self._made(part)
        return box

    def renumber(self) -> None:
        """The mailbox gets another UIDVALIDITY, as after a restore from a backup."""
        for index in self.mailbox().glob("dovecot*"):
            if index.is_file():
                index.unlink()
        for index in (self.folder / "mail" / USER).glob("dovecot-uidvalidity*"):
            index.unlink()

    def token(self, seconds: float = 3600) -> str:
        """A JWT that it takes for USER."""
        now = int(time.time())
        parts = [{"alg": "HS256", "typ": "JWT", "kid": "default"}, {"sub": USER, "iat": now - 5, "nbf": now - 5, "exp": int(now + seconds)}]
        text = b".".join(_b64(json.dumps(part).encode()) for part in parts)
        return (text + b"." + _b64(hmac.new(self._key, text, hashlib.sha256).digest())).decode()

    def log(self) -> str:
        return "\n".join(path.read_text(errors="replace") for path in (self.folder / "dovecot.log", self.folder / "stderr") if path.exists())

    def _made(self, folder: Path) -> None:
        if not folder.exists():
            folder.mkdir(parents=True)
            os.chown(folder, self._owner.pw_uid, self._owner.pw_gid)

    def _wait_for_ports(self) -> None:
        end = time.monotonic() + START_S
        while True:
            try:
                for port in (self.port, self.tls_port):
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                assert self._process is not None and self._process.poll() is None and time.monotonic() < end, self.log()
                time.sleep(0.05)


def make_certificate(folder: Path) -> None:
    """A self-signed certificate for 127.0.0.1: cert.pem and key.pem."""
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out cert.pem"
    )
    subprocess.run(command.split(), check=True, cwd=folder, capture_output=True)


def _group() -> str:
    return grp.getgrgid(os.getegid()).gr_name


def _b64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports
