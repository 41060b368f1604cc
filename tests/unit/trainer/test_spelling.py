"""What a grammar of choices lets through: any spelling of a label, and the end where one is complete."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
LABELS = ("sport", "security", "sports-page", "économie", "category")


@pytest.fixture(scope="module")
def choices(tiny_base: Path) -> Any:
    from transformers import AutoTokenizer

    from services.trainer.runs.spelling import Choices, pieces_of

    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    return Choices(tokenizer, pieces_of(tokenizer), LABELS, int(tokenizer.eos_token_id))


def test_every_token_that_goes_on_towards_a_label_is_let_through(choices: Any) -> None:
    vocabulary = choices.tokenizer.get_vocab()
    plain = {n: choices.text((n,)) for n in vocabulary.values() if n not in choices.tokenizer.all_special_ids}
    wanted = {n for n, text in plain.items() if text and any(label.startswith(text) for label in LABELS)}
    usual = {ids[0] for ids in choices.usual.values()}
    assert set(choices.allowed(())) == wanted | usual
    assert {vocabulary["s"], vocabulary["c"]} < wanted  # and longer pieces of "category"


def test_all_paths_end_in_a_label(choices: Any) -> None:
    paths = [()]
    ends: set[str] = set()
    while paths:
        path = paths.pop()
        for token in choices.allowed(path):
            if token == choices.end:
                ends.add(choices.text(path))
            elif len(path) < 4:  # the shorter spellings: there are thousands
                paths.append((*path, token))
    assert ends <= set(LABELS) and ends


def test_a_label_that_begins_another_may_end_or_go_on(choices: Any) -> None:
    spoken = tuple(choices.tokenizer("sport", add_special_tokens=False)["input_ids"])
    allowed = choices.allowed(spoken)
    assert choices.end in allowed and len(allowed) > 1
    assert choices.end not in choices.towards("sports-page", spoken) and choices.towards("sports-page", spoken)
    assert choices.allowed(tuple(choices.tokenizer("security", add_special_tokens=False)["input_ids"])) == [choices.end]


def test_the_usual_spelling_is_let_through_even_through_parts_of_a_character(choices: Any) -> None:
    for label, ids in choices.usual.items():
        for k in range(len(ids)):
            assert ids[k] in choices.allowed(ids[:k]) and ids[k] in choices.towards(label, ids[:k])
        assert choices.end in choices.allowed(ids)
