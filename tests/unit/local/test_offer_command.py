"""`feedloop models offer`: which folder is what, and what of it goes into the registry."""

import json
from pathlib import Path
from typing import Any

import pytest

from deploy.local.commands import offer_folder
from deploy.local.errors import LocalError
from shared.objects import ObjectStore
from shared.registry import Registry


class Trainer:
    """In place of deploy.local.client.Client: keeps what is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str]]] = []

    async def post(self, service: str, path: str, body: dict[str, str]) -> dict[str, Any]:
        self.asked.append((service, path, body))
        return {"run_id": "r", "examples": 3}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FEEDLOOP_OBJECTS", str(tmp_path / "objects"))
    monkeypatch.setenv("FEEDLOOP_MODEL", "tiny/base")
    monkeypatch.setenv("FEEDLOOP_STATE", str(tmp_path / "state"))
    made = tmp_path / "mine"
    made.mkdir()
    (made / "README.md").write_text("not for the registry")
    return made


async def offered(folder: Path, tmp_path: Path) -> Any:
    trainer = Trainer()
    assert (await offer_folder(trainer, folder, "default"))["run_id"] == "r"  # type: ignore[arg-type]
    ((service, path, body),) = trainer.asked
    assert (service, path, body["reason"]) == ("trainer", "/api/offer", "offered: mine")
    return Registry(ObjectStore(str(tmp_path / "objects")), tmp_path / "cache").manifest("candidate", body["digest"])


async def test_a_folder_with_a_heads_card_is_a_head(folder: Path, tmp_path: Path) -> None:
    (folder / "head.json").write_text(json.dumps({"encoder": "e" * 64}))
    (folder / "head.onnx").write_bytes(b"graph")
    manifest = await offered(folder, tmp_path)
    assert set(manifest.files) == {"head.json", "head.onnx"} and manifest.base == "e" * 64


async def test_another_is_an_adapter(folder: Path, tmp_path: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    manifest = await offered(folder, tmp_path)
    assert set(manifest.files) == {"adapter_config.json", "adapter_model.safetensors"} and manifest.base == "tiny/base"


@pytest.mark.parametrize(
    ("card", "says"),
    [
        (None, "is no PEFT adapter, and no neural head: adapter_config.json can't be read"),
        ("{", "head.json is no head's card"),
        ("[]", "head.json is no head's card"),
        ("{}", "head.json is no head's card"),
        ('{"encoder": "e"}', "is no neural head: head.onnx can't be read"),
    ],
)
async def test_what_is_neither_is_named(folder: Path, card: str | None, says: str) -> None:
    if card is not None:
        (folder / "head.json").write_text(card)
    trainer = Trainer()
    with pytest.raises(LocalError, match=says):
        await offer_folder(trainer, folder, "default")  # type: ignore[arg-type]
    assert trainer.asked == []
