"""Training rows hold trees: each branch must learn exactly what a prompt of its own would teach."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from services.trainer import examples as making
from services.trainer.runs import batches as rows
from services.trainer.runs.batches import Batches, mask_of, positions_of
from services.trainer.runs.pretrain import PRESETS, new_model
from services.trainer.runs.tokens import check_boundary, encode
from services.trainer.tasks import listed
from shared.taxonomy import label_set

MODEL = Path("deploy/model")


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(MODEL)


def labelled(text: str) -> list[making.Example]:
    chance = random.Random(1)
    task = label_set().tasks["category"]
    return [
        making.label_example(task, "health", "A title", text, chance, plain=True),
        listed("topic", "clinics", ["ships", "banks"], "A title", text, chance),
        making.label_example(label_set().tasks["urgency"], "low", "A title", text, chance, plain=True),
    ]


def cache(folder: Path, tokenizer: Any, trees: list[Any], prose: list[str]) -> Path:
    np.savez(folder / "examples.npz", **encode(tokenizer, trees, prose))
    return folder


def test_a_branch_is_computed_as_the_prompt_of_its_own(tmp_path: Path, tokenizer: Any) -> None:
    made = [*labelled("The clinic opened a new ward for children on Monday.")]
    other = labelled("The harbour was closed because of the storm.")
    folder = cache(tmp_path, tokenizer, [("label", False, made), ("label", False, other)] * 3, ["Some prose. " * 400])
    batch = Batches(folder, tokenizer.pad_token_id, 1, 3).draw("label")
    assert len(set(batch.trees[0].tolist())) > 2  # several trees share a row
    torch.manual_seed(0)
    model = new_model(PRESETS["tiny"], len(tokenizer), tokenizer.eos_token_id, tokenizer.pad_token_id).eval()
    mask = torch.where(mask_of(batch.trees, batch.branches), 0.0, -1e9)
    seen = 0
    with torch.inference_mode():
        together = model(input_ids=batch.inputs, attention_mask=mask, position_ids=batch.positions).logits
        for example in (*made, *other):
            prompt = tokenizer.apply_chat_template(example.messages, add_generation_prompt=True, return_dict=False)
            alone = model(torch.tensor([prompt])).logits[0, -1]
            answer = tokenizer.encode(example.answer)[0]
            places = [
                (row, at)
                for row, at in zip(*np.nonzero(batch.inputs.numpy() == prompt[-1]), strict=True)
                if batch.positions[row, at] == len(prompt) - 1 and torch.allclose(together[row, at], alone, atol=1e-4)
            ]
            assert places, f"no place of the batch computes what {example.answer!r} alone does"
            flat = [row * batch.inputs.shape[1] + at for row, at in places]
            scored = [n for n, at in enumerate(batch.at.tolist()) if at in flat]
            assert scored
            assert {int(batch.targets[n]) for n in scored} == {answer}
            assert all(float(batch.weights[n]) == rows.WEIGHTS[rows.LABEL] for n in scored)
            seen += 1
    assert seen == 6


def test_every_listed_label_is_marked_with_whether_it_fits(tmp_path: Path, tokenizer: Any) -> None:
    asked = listed("topic", "crude oil", ["grain", "interest rates", "oil and gas"], "", "Barrels.", random.Random(4))
    folder = cache(tmp_path, tokenizer, [("label", False, [asked])], ["Some prose. " * 400])
    batch = Batches(folder, tokenizer.pad_token_id, 1, 3).draw("label")
    assert asked.task
    marked = {mark: set(tokenizer.decode(batch.inputs[0][batch.fits[0] == mark]).split()) for mark in (rows.FITS, rows.UNFIT)}
    assert marked[rows.FITS] == set(asked.answer.split())
    assert marked[rows.UNFIT] == {word for label in asked.task.labels if label != asked.answer for word in label.split()}


def test_positions_go_on_where_the_trunk_ends() -> None:
    assert positions_of(np.array([0, 0, 0, 1, 1, 2, 2, 2])).tolist() == [0, 1, 2, 3, 4, 3, 4, 5]


def test_padding_and_quiet_text_count_nothing(tmp_path: Path, tokenizer: Any) -> None:
    made = labelled("A stranger's words.")
    folder = cache(tmp_path, tokenizer, [("label", True, made)], ["Some prose. " * 400])
    batch = Batches(folder, tokenizer.pad_token_id, 1, 3).draw("label")
    learnt = {int(t) for t, w in zip(batch.targets, batch.weights, strict=True) if w > 0}
    answers = {token for example in made for token in tokenizer.encode(example.answer)}
    assert learnt == answers | {tokenizer.eos_token_id}


def test_repeats_are_learnt_from_their_second_time_on(tmp_path: Path, tokenizer: Any) -> None:
    folder = cache(tmp_path, tokenizer, [("label", False, labelled("x"))], ["Some prose of several words, and then others. " * 200])
    batch = Batches(folder, tokenizer.pad_token_id, 1, 3).draw("repeat")
    width = batch.inputs.shape[1]
    for row in range(batch.inputs.shape[0]):
        weights = batch.weights.reshape(-1, width)[row].numpy()
        size = int((weights == 0).sum()) + 1
        ids = batch.inputs[row].tolist()
        assert ids[size : 2 * size] == ids[: len(ids[size : 2 * size])]
        assert weights[size:].min() == 1.0


def test_every_kind_can_come_at_any_time(tmp_path: Path, tokenizer: Any) -> None:
    folder = cache(tmp_path, tokenizer, [("label", False, labelled("x"))], ["Some prose. " * 400])
    batches = Batches(folder, tokenizer.pad_token_id, 1, 3)
    for progress in (0.0, 0.3, 0.99):
        assert {batches.kind(progress) for _ in range(2000)} == {"prose", "prose-long", "repeat", "label", "copy", "long"}


def test_a_tokenizer_that_joins_over_the_documents_end_is_refused() -> None:
    with pytest.raises(ValueError, match="document's end"):
        check_boundary([[1, 23]], [[1, 2]], [[3]])


def test_a_tree_that_asks_of_several_documents_is_refused(tokenizer: Any) -> None:
    with pytest.raises(ValueError, match="of one document"):
        encode(tokenizer, [("label", False, [*labelled("The clinic opened."), *labelled("The harbour was closed.")])], [])
