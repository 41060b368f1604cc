"""The model registry: immutable folders in the object store, named by the digest of what is in them, with the manifest written last.

A model is `models/<role>/<digest>/…` and is there once its manifest.json is: a reader that finds none sees no model, whatever files lie there. Only
safetensors, ONNX graphs and JSON are taken: they are data, and nothing in a registry can run on its own (an ONNX graph has the operators of its reader).
"""

import hashlib
import json
import math
import shutil
import tempfile
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from shared.errors import PermanentError, one_line
from shared.events import digest_of
from shared.objects import ObjectStore

ALLOWED = (".safetensors", ".onnx", ".json")
_KINDS = "safetensors, ONNX and JSON"
MANIFEST = "manifest.json"
MOST_HEADER = 16 * 1024 * 1024  # bytes of the header of a safetensors file


class Manifest(BaseModel):
    """What a model is made of. `files` maps each file to its SHA-256; `digest` is the digest of that map, the role and the base."""

    model_config = ConfigDict(frozen=True)

    role: str
    digest: str
    base: str
    files: dict[str, str]
    facts: dict[str, Any] = {}


def name_of(role: str, digest: str) -> str:
    """The name under which an engine serves it: of the digest, so that a name never means two things (vLLM's prefix cache is keyed by it)."""
    return f"{role}-{digest[:12]}"


class Registry:
    """Publish and fetch models."""

    def __init__(self, store: ObjectStore, cache: Path) -> None:
        self.store, self.cache = store, cache

    def publish(self, folder: Path, role: str, base: str, facts: dict[str, Any] | None = None) -> Manifest:
        """Copy a folder's files into the registry, manifest last. Publishing the same files again changes nothing. Raises PermanentError for a file
        of another kind (a pickle can run code when it is read)."""
        paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
        for path in paths:
            if path.suffix not in ALLOWED:
                raise PermanentError(f"{path.name}: a model is made of {_KINDS} files only")
        if not paths:
            raise PermanentError(f"{folder.name}: an empty folder is no model")
        files = {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
        digest = _digest(role, base, files)
        manifest = Manifest(role=role, digest=digest, base=base, files=files, facts=facts or {})
        place = self._place(role, digest)
        if not self.store.exists(f"{place}/{MANIFEST}"):
            for path in paths:
                self.store.write(f"{place}/{path.relative_to(folder)}", path.read_bytes())
            self.store.write(f"{place}/{MANIFEST}", manifest.model_dump_json(indent=1).encode())
        return manifest

    def manifest(self, role: str, digest: str) -> Manifest:
        """Raises PermanentError where the registry has no such model, or its manifest is not the one that the digest names."""
        try:
            manifest = Manifest.model_validate_json(self.store.read(f"{self._place(role, digest)}/{MANIFEST}"))
        except ValidationError as error:
            raise PermanentError(f"the manifest of {name_of(role, digest)} is damaged: {one_line(error)}") from error
        if manifest.role != role or manifest.digest != digest or _digest(role, manifest.base, manifest.files) != digest:
            raise PermanentError(f"the manifest of {name_of(role, digest)} is not what was published: its digest differs")
        if strange := [name for name in manifest.files if not name.endswith(ALLOWED) or ".." in name.split("/") or name.startswith("/")]:
            raise PermanentError(f"{strange[0]}: a model is made of {_KINDS} files only")
        return manifest

    def fetch(self, role: str, digest: str) -> Path:
        """A local folder with the model's files, each checked against the manifest. Raises PermanentError where one is missing or differs."""
        target = self.cache / role / digest
        manifest = self.manifest(role, digest)
        if target.exists() and all(_sha256(target / name) == sha for name, sha in manifest.files.items()):
            return target
        self.cache.joinpath(role).mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(dir=self.cache / role))
        try:
            for name, sha in manifest.files.items():
                data = self.store.read(f"{self._place(role, digest)}/{name}")
                if hashlib.sha256(data).hexdigest() != sha:
                    raise PermanentError(f"{name} of {name_of(role, digest)} is not what was published: its SHA-256 differs")
                (beside / name).parent.mkdir(parents=True, exist_ok=True)
                (beside / name).write_bytes(data)
            if target.exists():
                shutil.rmtree(target)
            beside.rename(target)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        return target

    def _place(self, role: str, digest: str) -> str:
        return f"models/{role}/{digest}"


def _digest(role: str, base: str, files: dict[str, str]) -> str:
    return digest_of(role, base, json.dumps(files, sort_keys=True))


def base_id(model: str) -> str:
    """Which base weights a model is: a digest of a folder's config and weights, or the hub id as it stands. Adapters fit one base only."""
    folder = Path(model)
    if not folder.is_dir():
        return model
    files = sorted(path for path in folder.iterdir() if path.name == "config.json" or path.suffix == ".safetensors")
    return f"{folder.name}-{digest_of(*(f'{path.name}:{_sha256(path)}' for path in files))[:12]}"


def weights_of(model: str) -> int:
    """How many weights a folder's safetensors files hold; 0 for a hub id, and where that can't be read: it is not worth failing for."""
    found = 0
    for path in Path(model).glob("*.safetensors"):
        try:
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                header = json.loads(file.read(min(length, MOST_HEADER)))
            found += sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return 0
    return found


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
