"""The object store: bodies too large for Kafka, models, dataset snapshots. Content-addressed, over fsspec: a folder by default, S3 by address."""

import hashlib
import os
import uuid
from collections.abc import Iterable

from shared.errors import PermanentError, TransientError
from shared.events import ObjectRef


class ObjectStore:
    """`root` is a folder or an fsspec address (s3://bucket/prefix). Blocking: call it from a thread where the event loop matters."""

    def __init__(self, root: str) -> None:
        import fsspec  # heavy, and not needed to parse settings

        self.root = root.rstrip("/")
        self._fs, path = fsspec.core.url_to_fs(self.root)
        self._base = path.rstrip("/")
        self.local = "file" in (self._fs.protocol if isinstance(self._fs.protocol, tuple) else (self._fs.protocol,))

    def path(self, *parts: str) -> str:
        """Where an object lives, in the store's own terms. Raises ValueError for a name that would leave the store."""
        if any(part in ("", ".", "..") or "\\" in part for name in parts for part in name.split("/")):
            raise ValueError(f"not a name of an object: {'/'.join(parts)!r}")
        return "/".join((self._base, *parts))

    def write(self, name: str, data: bytes) -> None:
        """Write whole or not at all: beside the place, then renamed, so that no reader ever sees half a file."""
        target = self.path(name)
        self._fs.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
        if not self.local:
            self._fs.pipe_file(target, data)  # an object store's put is atomic by itself
            return
        beside = f"{target}.{uuid.uuid4().hex}.part"
        try:
            with open(beside, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, target)
        except OSError as error:
            if os.path.exists(beside):
                os.unlink(beside)
            raise TransientError(
                f"the object store {self.root} can't be written ({error.strerror}): free space or permissions are missing"
            ) from error

    def read(self, name: str) -> bytes:
        """Raises PermanentError where there is no such object."""
        try:
            return bytes(self._fs.cat_file(self.path(name)))
        except FileNotFoundError as error:
            raise PermanentError(f"the object store {self.root} has no {name}") from error

    def exists(self, name: str) -> bool:
        return bool(self._fs.exists(self.path(name)))

    def names(self, under: str) -> Iterable[str]:
        """Names of all objects under a folder, relative to it, sorted."""
        base = self.path(under)
        return sorted(found[len(base) + 1 :] for found in self._fs.find(base)) if self._fs.exists(base) else []

    def put(self, data: bytes, suffix: str = "") -> ObjectRef:
        """Store a blob under its own SHA-256; storing it again changes nothing."""
        digest = hashlib.sha256(data).hexdigest()
        name = f"blobs/{digest[:2]}/{digest}{suffix}"
        if not self.exists(name):
            self.write(name, data)
        return ObjectRef(uri=name, sha256=digest, size=len(data))

    def get(self, ref: ObjectRef) -> bytes:
        """The blob, checked. Raises PermanentError where it is missing or not what was stored."""
        data = self.read(ref.uri)
        if hashlib.sha256(data).hexdigest() != ref.sha256:
            raise PermanentError(f"object {ref.uri} is not what was stored: its SHA-256 differs")
        return data
