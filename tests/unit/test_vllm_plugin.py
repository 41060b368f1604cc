"""LoRA on a CPU inside vLLM: the same numbers as vLLM's own operations where every token has an adapter, and nothing where it has none."""

import inspect
from importlib.metadata import entry_points

import pytest
import torch

from deploy import vllm_plugin as ours

theirs = pytest.importorskip("vllm.lora.ops.torch_ops.lora_ops", reason="no vLLM here")
SLOTS, RANK, WIDE, OUT = 4, 8, 24, 40


def batch(indices: list[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(3)
    a, b = torch.randn(SLOTS, 1, RANK, WIDE), torch.randn(SLOTS, 1, OUT, RANK)
    return torch.randn(len(indices), WIDE), a, b, torch.tensor(indices)


@pytest.mark.parametrize("indices", [[2] * 7, [0, 1, 1, 3, 0, 2], [1]], ids=["one adapter", "mixed", "one token"])
@pytest.mark.parametrize("add", [True, False])
def test_the_numbers_are_those_of_vllm(indices: list[int], add: bool) -> None:
    x, a, b, where = batch(indices)
    before = torch.randn(len(indices), OUT + 6)
    found = []
    for made in (ours, theirs):
        low, whole, part = torch.randn(len(indices), RANK), before.clone(), before.clone()
        made.bgmv_shrink(x, a, low, where, 0.5)
        made.bgmv_expand(low, b, whole, where, add)
        made.bgmv_expand_slice(low, b, part, where, 5, OUT, add)
        found.append((low, whole, part))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_prompts_of_several_lengths_are_those_of_vllm() -> None:
    lengths, adapters = torch.tensor([3, 1, 4]), torch.tensor([1, 0, 1])
    x, a, b, _ = batch([0] * 8)
    about = (torch.tensor([0, 3, 4]), lengths, adapters, 3, 4, 8)
    found = []
    for made in (ours, theirs):
        low, whole, part = torch.zeros(8, RANK), torch.ones(8, OUT), torch.ones(8, OUT + 2)
        made.sgmv_shrink(x, a, low, *about, 2.0)
        made.sgmv_expand(low, b, whole, *about, True)
        made.sgmv_expand_slice(low, b, part, *about, 1, OUT, True)
        found.append((low, whole, part))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_a_token_without_an_adapter_is_left_as_it_is() -> None:
    x, a, b, where = batch([-1, 3, -1])
    low, whole = torch.full((3, RANK), 9.0), torch.ones(3, OUT)
    ours.bgmv_shrink(x, a, low, where)
    ours.bgmv_expand(low, b, whole, where)
    assert low[0].abs().sum() == low[2].abs().sum() == 0 and (whole[[0, 2]] == 1).all() and (whole[1] != 1).all()
    none = torch.ones(3, OUT)
    ours.bgmv_expand(low, b, none, torch.tensor([-1, -1, -1]))
    assert (none == 1).all()


def test_the_engine_is_told_of_it_and_calls_what_it_called_before(monkeypatch: pytest.MonkeyPatch) -> None:
    [entry] = [one for one in entry_points(group="vllm.general_plugins") if one.name == "feedloop_lora_on_cpu"]
    assert entry.load() is ours.register
    punica = pytest.importorskip("vllm.lora.punica_wrapper.punica_cpu")
    from vllm.platforms import current_platform

    for name in ours.PLACES:  # the plugin is called by position: a change there must not pass unseen
        kept, own = inspect.signature(getattr(theirs, name)), inspect.signature(getattr(ours, name))
        assert len(kept.parameters) == len(own.parameters), name
        monkeypatch.setattr(punica, name, getattr(theirs, name))
    monkeypatch.setattr(type(current_platform), "is_cpu", lambda self: False)
    ours.register()
    assert punica.bgmv_shrink is theirs.bgmv_shrink, "a GPU has kernels of its own"
    monkeypatch.setattr(type(current_platform), "is_cpu", lambda self: True)
    ours.register()
    assert all(getattr(punica, name).__wrapped__ is getattr(ours, name) for name in ours.PLACES)
    x, a, _, where = batch([-1, 2])
    low = torch.ones(2, RANK)
    punica.bgmv_shrink(x, a, low, where)
    assert (low[0] == 0).all(), "ours: no adapter, nothing added"
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    punica.bgmv_shrink(x, a, low, where)
    assert (low[0] != 0).all(), "theirs, while a graph is compiled"
    monkeypatch.setattr(punica, "bgmv_shrink", theirs.bgmv_shrink)
    monkeypatch.delattr(punica, "sgmv_expand")
    ours.register()
    assert punica.bgmv_shrink is theirs.bgmv_shrink
