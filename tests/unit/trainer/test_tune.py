"""Fine-tuning on the upper half: the halves make together what the whole makes, only the upper one changes, and nothing else is lost on the way."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from services.trainer.dataset import Example

torch = pytest.importorskip("torch")
RECIPE = {"rank": 4, "epochs": 2, "learning_rate": 1e-3}


def examples(n: int) -> list[Example]:
    labels = ("security", "economy", "science")
    return [Example(task="category", title=f"title {i}", text=f"text {'x' * i}", label=labels[i % 3], feedback_id=str(i)) for i in range(n)]


@pytest.fixture(scope="module")
def chooser(tiny_base: Path) -> Any:
    from transformers import AutoTokenizer

    from services.trainer.runs.choose import Chooser

    return Chooser(AutoTokenizer.from_pretrained(tiny_base), ["news"])


@pytest.fixture
def base(tiny_base: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32).eval()


def tuned(base: Any, chooser: Any, progress: Callable[..., None] = lambda *_: None) -> Any:
    from services.trainer.runs.tune import tune

    return tune(base, chooser, examples(10), [], RECIPE, progress)


def test_a_correction_of_a_multi_task_does_not_count_once_a_label(base: Any, chooser: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from services.trainer.runs import tune as module

    seen: dict[str, float] = {}
    real = module.batches
    monkeypatch.setattr(module, "batches", lambda rows, dice: (seen.update({e.title: w for e, w in rows}), real(rows, dice))[1])
    one, *parts = examples(5)
    parts = [e.model_copy(update={"label": "economy", "feedback_id": "multi"}) for e in parts]
    module.tune(base, chooser, [one, *parts], [], RECIPE, lambda *_: None)
    assert seen[one.title] == 2.0  # its label is a quarter as frequent
    assert [seen[e.title] for e in parts] == [0.5] * 4


def test_two_halves_make_what_the_whole_makes(base: Any, chooser: Any) -> None:
    from services.trainer.runs.halves import Halves

    halves, ids = Halves(base), chooser.batch(examples(3)).ids
    assert halves.trained == [1] and set(halves.linear()) == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    with torch.no_grad():
        whole = base.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state
        assert torch.allclose(halves.above(halves.below(ids)), whole, atol=1e-5)
    assert halves.sound(ids)
    assert [type(layer).__name__ for layer in base.get_decoder().layers] == ["LlamaDecoderLayer"] * 2  # the layers are back in their places


def test_a_decoder_that_does_more_to_its_input_is_found_out(base: Any, chooser: Any) -> None:
    from services.trainer.runs.halves import Halves

    halves, ids = Halves(base), chooser.batch(examples(3)).ids
    scaled = halves.decoder.register_forward_pre_hook(  # as Gemma scales what it is given
        lambda _, args, given: (args, {**given, "inputs_embeds": 3 * given["inputs_embeds"]} if "inputs_embeds" in given else given), with_kwargs=True
    )
    assert not halves.sound(ids)
    scaled.remove()
    assert halves.sound(ids)


def test_a_model_without_a_list_of_layers_is_trained_whole(base: Any, chooser: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from services.trainer.runs import tune as module

    monkeypatch.setattr(module.Halves, "sound", lambda *_: False)
    model = tuned(base, chooser)
    assert model.peft_config["default"].layers_to_transform is None
    assert {int(name.split("layers.")[1].split(".")[0]) for name, p in model.named_parameters() if p.requires_grad} == {0, 1}


def test_only_the_upper_half_is_trained_and_the_adapter_says_so(base: Any, chooser: Any) -> None:
    model = tuned(base, chooser)
    assert model.peft_config["default"].layers_to_transform == [1]
    assert {int(name.split("layers.")[1].split(".")[0]) for name, p in model.named_parameters() if p.requires_grad} == {1}
    assert any(float(p.detach().abs().max()) > 0 for name, p in model.named_parameters() if "lora_B" in name)


def test_of_the_two_matrices_b_learns_faster_all_the_time(base: Any, chooser: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from services.trainer.runs.tune import B_FASTER

    made: list[Any] = []
    real = torch.optim.AdamW
    monkeypatch.setattr(torch.optim, "AdamW", lambda *args, **how: made.append(real(*args, **how)) or made[-1])
    told: list[tuple[float, float]] = []
    model = tuned(base, chooser, lambda *_: told.append(tuple(group["lr"] for group in made[0].param_groups)))
    slow, fast = ({id(p) for p in group["params"]} for group in made[0].param_groups)
    names = {name: id(p) for name, p in model.named_parameters() if p.requires_grad}
    assert fast == {p for name, p in names.items() if "lora_B" in name} and slow == {p for name, p in names.items() if "lora_A" in name}
    assert len(told) == 4 and all(b == pytest.approx(B_FASTER * a) for a, b in told) and told[0] != told[-1]


def test_kept_states_teach_the_same_as_the_whole_pass(tiny_base: Path, chooser: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoModelForCausalLM

    from services.trainer.runs import tune as module

    losses: list[list[float]] = []
    for most in (module.MOST_STATES, 0):
        monkeypatch.setattr(module, "MOST_STATES", most)
        told: list[float] = []
        tuned(
            AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32).eval(),
            chooser,
            lambda step, steps, loss, told=told: told.append(loss),
        )
        losses.append(told)
    assert losses[0] == pytest.approx(losses[1], rel=0.03) and len(losses[0]) == 4  # bfloat16 where the processor has it


def test_batches_hold_every_row_once_and_neighbours_in_length() -> None:
    from services.trainer.runs.tune import BATCH, batches

    rows = [(e.model_copy(update={"text": "x" * (n * 37 % 100)}), 1.0) for n, e in enumerate(examples(30))]
    cut = batches(rows, random.Random(1))
    assert sorted(e.feedback_id for batch in cut for e, _ in batch) == sorted(e.feedback_id for e, _ in rows)
    assert max(map(len, cut)) == BATCH and len(cut) == 4
    widths = [max(len(e.text) for e, _ in batch) - min(len(e.text) for e, _ in batch) for batch in cut]
    assert max(widths) < 40  # of 0 to 99
