"""What the bundled model begins with: its pieces, what they mean, and the weights of an earlier model."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from services.trainer.runs import embeddings, make_tokenizer, pretrain
from services.trainer.runs.kept import journal_in, keep, log, resumed
from services.trainer.runs.pretrain import PRESETS, compute_in, export, fitting, kind_of, new_model, start_with
from services.trainer.supervision import held_out

MODEL = Path("deploy/model")


@pytest.fixture(scope="module")
def without_bare_words() -> Any:
    """A tokenizer that has words after a space alone."""
    from tokenizers import Tokenizer

    whole = json.loads((MODEL / "tokenizer.json").read_text())
    pieces = whole["model"]["vocab"]
    last = max(pieces[piece] for pair in whole["model"]["merges"] for piece in ("".join(pair),))
    whole["model"]["vocab"] = {piece: n for piece, n in pieces.items() if n <= last}
    whole["model"]["ignore_merges"] = False
    return make_tokenizer.as_fast(Tokenizer.from_str(json.dumps(whole)))


def test_a_word_is_one_piece_with_a_space_and_without(without_bare_words: Any) -> None:
    before = without_bare_words
    after = make_tokenizer.as_fast(make_tokenizer.with_bare_words(before.backend_tokenizer))
    assert len(before.encode("hockey")) > 1 == len(before.encode(" hockey"))
    assert len(after.encode("hockey")) == 1 == len(after.encode(" hockey"))
    text = 'Labels: hockey, money markets\nHockey is played in Oulu, naïvely. {"entities":["Microsoft"]}'
    assert after.decode(after.encode(text)) == text
    ids = after.get_vocab()
    assert all(ids[piece] == n for piece, n in before.get_vocab().items())  # what there was keeps its number


def test_weights_of_an_earlier_model_are_taken_over(tmp_path: Path, without_bare_words: Any) -> None:
    before, preset = without_bare_words, PRESETS["tiny"]
    after = make_tokenizer.as_fast(make_tokenizer.with_bare_words(before.backend_tokenizer))
    old = new_model(preset, len(before), before.eos_token_id, before.pad_token_id)
    old.save_pretrained(tmp_path)
    make_tokenizer.save(before, tmp_path)
    new = new_model(preset, len(after), after.eos_token_id, after.pad_token_id)
    start_with(tmp_path, new, after)
    table, theirs = new.model.embed_tokens.weight, old.model.embed_tokens.weight
    assert torch.equal(table[: len(before)], theirs)
    assert torch.equal(table[after.encode("hockey")[0]], theirs[before.encode(" hockey")[0]])
    ids = torch.tensor([before.encode("The bank of the river.")])
    with torch.inference_mode():
        assert torch.allclose(new(ids).logits[..., : len(before)], old(ids).logits, atol=1e-5)


def test_a_model_with_other_pieces_is_refused(tmp_path: Path, without_bare_words: Any) -> None:
    before, preset = without_bare_words, PRESETS["tiny"]
    old = new_model(preset, len(before), before.eos_token_id, before.pad_token_id)
    old.save_pretrained(tmp_path)
    make_tokenizer.save(before, tmp_path)
    before = AutoTokenizer.from_pretrained(tmp_path)
    before.add_tokens(["qwxyzzy"])
    with pytest.raises(ValueError, match="knows no piece 'qwxyzzy'"):
        start_with(tmp_path, new_model(preset, len(before), 1, 0), before)


def test_pieces_learn_to_mean_what_the_texts_with_them_mean() -> None:
    """Texts of two kinds of words lie at two places; in the end each kind of word means its place, and words of all texts weigh less."""
    chance = np.random.default_rng(0)
    places = chance.normal(size=(2, 384))
    texts, vectors = [], []
    for n in range(800):
        kind = n % 2
        texts.append([*(kind * 10 + chance.integers(0, 10, 6)), *([20] * 6)])
        vectors.append(places[kind] + 0.3 * chance.normal(size=384))
    words = 0.05 * chance.normal(size=(21, 384))
    meaning, weight = embeddings.meanings(texts, np.array(vectors), 100, words, np.full(21, 1 / 21), rounds=150)
    alike = meaning @ meaning.T
    assert float(alike[:10, :10].mean()) > 0.4 > 0 > float(alike[:10, 10:20].mean())
    assert float(weight[20]) < float(weight[:20].mean()) - 0.5
    assert torch.allclose(meaning.norm(dim=1), torch.ones(21), atol=1e-4)


def test_fitting_is_worst_where_wrong_labels_seem_right() -> None:
    wanted = torch.tensor([[0, 1, 1, 2, 0]])
    right, unsure, wrong = (float(fitting(torch.tensor([[9.0, *values, -9.0]]), wanted)) for values in ((-5, -5, 5), (0, 0, 0), (5, 5, -5)))
    assert right < 0.01
    assert unsure == pytest.approx(0.6931, abs=1e-3)
    assert wrong > 4.9


def test_weights_are_exported_in_parts_of_less_than_the_largest_and_none_of_an_earlier_model_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    model = new_model(PRESETS["tiny"], len(tokenizer), tokenizer.eos_token_id, tokenizer.pad_token_id)
    masters = [weight.detach().clone() for weight in model.parameters()]
    export(model, masters, tokenizer, tmp_path)
    assert (tmp_path / "model.safetensors").exists() and model.dtype == torch.float32
    monkeypatch.setattr(pretrain, "LARGEST", "10MB")
    for master in masters:
        master.add_(1.0)
    export(model, masters, tokenizer, tmp_path)
    assert max(path.stat().st_size for path in tmp_path.iterdir()) < 11e6 and not (tmp_path / "model.safetensors").exists()
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert again.dtype == torch.bfloat16 and torch.equal(again.model.norm.weight, masters[-1].bfloat16())


def test_a_run_goes_on_from_what_was_kept_and_says_what_is_wrong(tmp_path: Path) -> None:
    masters = [torch.ones(2, 3)]
    with pytest.raises(SystemExit, match="--state"):
        resumed(tmp_path / "checkpoint.pt", masters, "cpu")
    keep(tmp_path / "checkpoint.pt", 7, 1.5, masters, [torch.optim.AdamW(masters)])
    assert (resumed(tmp_path / "checkpoint.pt", masters, "cpu")["step"], sorted(path.name for path in tmp_path.iterdir())) == (7, ["checkpoint.pt"])
    with pytest.raises(SystemExit, match="--preset"):
        resumed(tmp_path / "checkpoint.pt", [torch.ones(3, 3)], "cpu")


def test_a_log_goes_on_with_its_run_and_begins_anew_with_another(tmp_path: Path) -> None:
    log(journal_in(tmp_path, resume=False), {"step": 20})
    log(journal_in(tmp_path, resume=True), {"step": 40})
    assert [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [20, 40]
    log(journal_in(tmp_path, resume=False), {"step": 1})
    assert (tmp_path / "log.jsonl").read_text() == '{"step": 1}\n'


def test_positions_are_turned_by_the_same_angles_in_training_as_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrain, "has_bf16", lambda: True)  # wherever the test runs
    model, fresh = (new_model(PRESETS["tiny"], 300, 1, 0) for _ in range(2))
    compute_in(model, "cpu")
    assert model.model.norm.weight.dtype == kind_of("cpu") == torch.bfloat16
    turning, theirs = model.model.rotary_emb, fresh.model.rotary_emb
    assert turning.inv_freq.dtype == torch.float32 and torch.equal(turning.inv_freq, theirs.inv_freq)
    state, places = torch.zeros(1, 2, 192), torch.tensor([[1, 2047]])
    for mine, his in zip(turning(state, places), theirs(state, places), strict=True):
        assert torch.equal(mine, his)


def test_the_tokenizer_does_not_see_what_is_held_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"id": f"r{n}", "title": "A title", "text": f"Text number {n}."} for n in range(600)]
    monkeypatch.setattr(make_tokenizer, "documents", lambda _: iter(rows))
    held = {row["text"] for row in rows if held_out(row["id"])}
    assert held and not held & set(make_tokenizer.sample(tmp_path, every=1))
    (tmp_path / "clickbait32k").mkdir()
    (tmp_path / "clickbait32k" / "train.jsonl").write_text("\n".join(json.dumps({"text": f"Headline {n}"}) for n in range(600)))
    found = set(make_tokenizer.short(tmp_path))
    assert all((f"Headline {n}" in found) != held_out(f"Headline {n}") for n in range(600))


def test_first_embeddings_are_laid_out_of_meaning_nearness_and_weight(tmp_path: Path, tiny_base: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    dice, count = np.random.default_rng(3), len(tokenizer)
    np.savez(tmp_path / "meanings.npz", meaning=dice.normal(size=(count, 384)).astype(np.float16), weight=np.full(count, -1.0, dtype=np.float32))
    table = embeddings.first(tokenizer, dice.integers(0, count, 20_000), 128, tmp_path)
    assert table.shape == (count, 128) and table.norm(dim=1).numpy() == pytest.approx(embeddings.NORM, rel=1e-3)
    # what stands around every document and between its labels weighs least; a word of a document weighs more
    around = {*tokenizer.all_special_ids, *tokenizer.encode(",", add_special_tokens=False)}
    weights = table[:, -2]
    assert {float(weights[n]) for n in around} == {float(weights.min())} and float(weights.max()) > float(weights.min())
    with pytest.raises(ValueError, match="no room for meanings"):
        embeddings.first(tokenizer, [], 64, tmp_path)
