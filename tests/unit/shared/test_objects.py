"""The object store: whole or not at all, inside its root, and what was stored."""

import os
from pathlib import Path

import pytest

from shared.errors import PermanentError, TransientError
from shared.events import ObjectRef
from shared.objects import ObjectStore


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return ObjectStore(str(tmp_path / "objects"))


def test_written_is_read_and_listed(store: ObjectStore) -> None:
    store.write("runs/r1/result.json", b"{}")
    store.write("runs/r2/result.json", b"[]")
    assert store.read("runs/r1/result.json") == b"{}"
    assert store.exists("runs/r2/result.json")
    assert not store.exists("runs/r3/result.json")
    assert list(store.names("runs")) == ["r1/result.json", "r2/result.json"]
    assert list(store.names("nothing")) == []


def test_a_write_replaces_whole(store: ObjectStore) -> None:
    store.write("a", b"old")
    store.write("a", b"new")
    assert store.read("a") == b"new"


def test_a_write_that_fails_leaves_the_old_object_and_no_crumbs(store: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    store.write("folder/a", b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TransientError, match="free space or permissions"):
        store.write("folder/a", b"new")
    assert store.read("folder/a") == b"old"
    assert [path.name for path in (tmp_path / "objects" / "folder").iterdir()] == ["a"]


@pytest.mark.parametrize("name", ["../secret", "a/../../secret", "/etc/passwd", "a//b", "", ".", "a/./b", "a\\..\\b"])
def test_a_name_that_would_leave_the_store_is_refused(store: ObjectStore, name: str) -> None:
    for use in (store.read, store.exists, store.path):
        with pytest.raises(ValueError, match="not a name of an object"):
            use(name)
    with pytest.raises(ValueError, match="not a name of an object"):
        store.write(name, b"")


def test_a_blob_is_stored_once_under_its_own_digest(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = store.put(b"hello", ".txt")
    assert ref.uri == f"blobs/2c/{ref.sha256}.txt"
    assert ref.size == 5
    monkeypatch.setattr(store, "write", lambda *_: pytest.fail("stored a second time"))
    assert store.put(b"hello", ".txt") == ref
    assert store.get(ref) == b"hello"


def test_a_blob_that_was_changed_or_is_gone_is_refused(store: ObjectStore) -> None:
    ref = store.put(b"hello")
    store.write(ref.uri, b"HELLO")
    with pytest.raises(PermanentError, match="SHA-256 differs"):
        store.get(ref)
    with pytest.raises(PermanentError, match="has no blobs/zz"):
        store.get(ObjectRef(uri="blobs/zz", sha256="0", size=1))
