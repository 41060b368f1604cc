"""Models in the registry: there once the manifest is, what was published, and nothing that can run."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from shared.errors import PermanentError
from shared.objects import ObjectStore
from shared.registry import MANIFEST, Registry, base_id, name_of, weights_of


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return ObjectStore(str(tmp_path / "objects"))


@pytest.fixture
def registry(store: ObjectStore, tmp_path: Path) -> Registry:
    return Registry(store, tmp_path / "cache")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter_config.json").write_text('{"r": 8}')
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    return folder


def test_published_is_fetched(registry: Registry, folder: Path) -> None:
    manifest = registry.publish(folder, "adapter", "base-1", {"run_id": "r"})
    found = registry.fetch("adapter", manifest.digest)
    assert {path.name: path.read_bytes() for path in found.iterdir()} == {path.name: path.read_bytes() for path in folder.iterdir()}
    assert registry.manifest("adapter", manifest.digest).facts == {"run_id": "r"}
    assert name_of("adapter", manifest.digest) == f"adapter-{manifest.digest[:12]}"


def test_the_manifest_is_written_last(registry: Registry, store: ObjectStore, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    write = store.write
    monkeypatch.setattr(store, "write", lambda name, data: (written.append(name.rsplit("/", 1)[1]), write(name, data)))
    registry.publish(folder, "adapter", "base-1")
    assert written == ["adapter_config.json", "adapter_model.safetensors", MANIFEST]


def test_a_folder_without_a_manifest_is_no_model(registry: Registry, store: ObjectStore, folder: Path) -> None:
    digest = registry.publish(folder, "adapter", "base-1").digest
    Path(store.path(f"models/adapter/{digest}/{MANIFEST}")).unlink()
    with pytest.raises(PermanentError, match=r"has no models/adapter/.*/manifest\.json"):
        registry.fetch("adapter", digest)


@pytest.mark.parametrize("name", ["adapter_model.bin", "weights.pkl", "run.py", "notes"])
def test_what_can_run_is_refused(registry: Registry, store: ObjectStore, folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"\x80\x04.")
    with pytest.raises(PermanentError, match=rf"{name}: a model is made of safetensors, ONNX and JSON files only"):
        registry.publish(folder, "adapter", "base-1")
    assert list(store.names("models")) == []


def test_an_empty_folder_is_no_model(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(PermanentError, match="empty: an empty folder is no model"):
        registry.publish(tmp_path / "empty", "adapter", "base-1")


def test_publishing_twice_is_one(registry: Registry, store: ObjectStore, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = registry.publish(folder, "adapter", "base-1")
    monkeypatch.setattr(store, "write", lambda *_: pytest.fail("written a second time"))
    assert registry.publish(folder, "adapter", "base-1").digest == first.digest


def test_role_base_and_files_make_the_digest(registry: Registry, folder: Path) -> None:
    digests = {registry.publish(folder, role, base).digest for role in ("adapter", "candidate") for base in ("base-1", "base-2")}
    (folder / "adapter_model.safetensors").write_bytes(b"others")
    digests.add(registry.publish(folder, "adapter", "base-1").digest)
    assert len(digests) == 5


def test_a_changed_file_is_refused(registry: Registry, store: ObjectStore, folder: Path) -> None:
    digest = registry.publish(folder, "adapter", "base-1").digest
    store.write(f"models/adapter/{digest}/adapter_model.safetensors", b"WEIGHTS")
    with pytest.raises(PermanentError, match=r"adapter_model\.safetensors of adapter-.* is not what was published"):
        registry.fetch("adapter", digest)
    assert list((registry.cache / "adapter").iterdir()) == [], "nothing half fetched is left"


def test_changing_file_and_manifest_together_is_found_out(registry: Registry, store: ObjectStore, folder: Path) -> None:
    digest = registry.publish(folder, "adapter", "base-1").digest
    place = f"models/adapter/{digest}"
    store.write(f"{place}/adapter_model.safetensors", b"WEIGHTS")
    manifest = json.loads(store.read(f"{place}/{MANIFEST}"))
    manifest["files"]["adapter_model.safetensors"] = hashlib.sha256(b"WEIGHTS").hexdigest()
    store.write(f"{place}/{MANIFEST}", json.dumps(manifest).encode())
    with pytest.raises(PermanentError, match="its digest differs"):
        registry.fetch("adapter", digest)


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"role": "adapter"}'])
def test_a_damaged_manifest_is_one_clear_error(registry: Registry, store: ObjectStore, folder: Path, damage: bytes) -> None:
    digest = registry.publish(folder, "adapter", "base-1").digest
    store.write(f"models/adapter/{digest}/{MANIFEST}", damage)
    with pytest.raises(PermanentError, match=r"manifest of adapter-.* is damaged"):
        registry.fetch("adapter", digest)


def test_a_damaged_cache_is_repaired(registry: Registry, folder: Path) -> None:
    digest = registry.publish(folder, "adapter", "base-1").digest
    found = registry.fetch("adapter", digest)
    (found / "adapter_model.safetensors").write_bytes(b"half")
    (found / "adapter_config.json").unlink()
    assert (registry.fetch("adapter", digest) / "adapter_model.safetensors").read_bytes() == b"weights"
    assert (found / "adapter_config.json").exists()


def test_what_is_cached_is_not_fetched_again(registry: Registry, store: ObjectStore, folder: Path) -> None:
    digest = registry.publish(folder, "adapter", "base-1").digest
    registry.fetch("adapter", digest)
    Path(store.path(f"models/adapter/{digest}/adapter_model.safetensors")).unlink()
    assert registry.fetch("adapter", digest).is_dir()


def test_the_base_is_known_by_its_weights(tmp_path: Path) -> None:
    assert base_id("org/hub-model") == "org/hub-model"
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"one")
    before = base_id(str(model))
    (model / "README.md").write_text("of no matter")
    assert base_id(str(model)) == before
    (model / "model.safetensors").write_bytes(b"two")
    assert base_id(str(model)) != before


def test_weights_are_counted_from_the_headers(tmp_path: Path) -> None:
    save_file({"a": np.zeros((3, 5), dtype=np.float32), "b": np.zeros(7, dtype=np.float16)}, tmp_path / "one.safetensors", metadata={"format": "pt"})
    save_file({"c": np.zeros((2, 2, 2), dtype=np.float32)}, tmp_path / "two.safetensors")
    assert weights_of(str(tmp_path)) == 15 + 7 + 8
    (tmp_path / "two.safetensors").write_bytes(b"base weights")
    assert weights_of(str(tmp_path)) == weights_of("org/hub-model") == weights_of(str(tmp_path / "none")) == 0
    assert 5_000_000 < weights_of("deploy/model") < 60_000_000
