"""The large encoder written as a second head: it reads the small one's word pieces and says, in int8, what it said before."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from test_distil import ENCODER, WELLBEING, examples, exported

from services.trainer import heads as gate
from services.trainer.runs.distil import __main__ as distil
from services.trainer.runs.distil import second, teacher
from services.trainer.runs.heads import parts
from services.trainer.runs.heads.examples import Example, targets
from services.trainer.runs.heads.network import chances
from shared.encoder import Encoder
from shared.errors import ConfigError
from shared.heads import SECOND


def mpnet(folder: Path) -> Path:
    """An MPNet of two layers with the small encoder's word pieces, each four places further on."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import MPNetConfig, MPNetModel, PreTrainedTokenizerFast

    known = Encoder(ENCODER).tokenizer().get_vocab()
    pieces = ["<s>", "<pad>", "</s>", "<unk>", *sorted(known, key=lambda piece: known[piece]), "<mask>"]
    made = Tokenizer(models.WordPiece({piece: n for n, piece in enumerate(pieces)}, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    special = {"pad_token": "<pad>", "cls_token": "<s>", "sep_token": "</s>", "unk_token": "[UNK]"}
    PreTrainedTokenizerFast(tokenizer_object=made, **special).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 300}
    MPNetModel(MPNetConfig(vocab_size=len(pieces), **sizes)).save_pretrained(folder)
    return folder


@exported
def test_the_second_head_says_what_the_teacher_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    given = examples()
    target, encoder = targets(given, WELLBEING), Encoder(ENCODER)
    labelled = distil.Labelled(given, target, np.arange(30), np.arange(30, 35), np.arange(35, 40))
    work = tmp_path / "work"
    work.mkdir()
    folder, out = mpnet(tmp_path), tmp_path / "head"
    with pytest.raises(ConfigError, match="run `teach` first"):
        distil.add_second(labelled, folder, work, "wellbeing", encoder, out, 0.9, None)
    monkeypatch.setattr(teacher, "FROZEN", 0)
    model = teacher.taught(folder, labelled.texts, target, labelled.taught, 1, lambda line: None)
    torch.save(model.state_dict(), work / "teacher.pt")
    again = teacher.taught(folder, labelled.texts, target, np.arange(0), 1, lambda line: None, work / "teacher.pt")
    assert all(torch.equal(one, again.state_dict()[name]) for name, one in model.state_dict().items()), "it goes on from those weights"

    others = targets([Example(one.text, {"risk": one.labels["risk"]}) for one in given], WELLBEING)
    moved = teacher.taught(folder, labelled.texts, others, np.arange(0), 1, lambda line: None, work / "teacher.pt")
    assert torch.equal(moved.m.embeddings.word_embeddings.weight, model.m.embeddings.word_embeddings.weight) and len(moved.last) == 1

    texts = ["What a lovely day, I am glad", "I cried over a very long letter all night and all the next day, and then again?", "glad"]
    made = second.network(model, encoder.tokenizer().get_vocab())
    for text, one in zip(texts, zip(*model.float().all_logits(texts), strict=True), strict=True):
        [feed] = second.fed(encoder.tokenizer(), [text])
        own = made.logits(*(torch.from_numpy(feed[name]) for name in ("ids", "mask")))
        assert all(torch.allclose(a, b[0], atol=0.03) for a, b in zip(one, own, strict=True))  # the teacher may multiply in bfloat16
        shown = made(*(torch.from_numpy(feed[name]) for name in ("ids", "mask")))
        assert all(torch.allclose(chances(task.kind, a), b, atol=1e-5) for task, a, b in zip(target.tasks, own, shown, strict=True))

    monkeypatch.setattr(parts, "MOST_BYTES", 100_000)
    monkeypatch.setattr(second, "tradeoff", lambda *_: ["told"])
    distil.add_second(labelled, folder, work, "wellbeing", encoder, out, 0.9, tmp_path / "kept.jsonl")
    assert "told" in capsys.readouterr().out
    head = gate.Head(out / SECOND)
    assert head.card.reads == "ids" and head.card.asked_below == 0.9 and len(head.card.files) > 1
    temperatures = json.loads((out / SECOND / "head.json").read_text())["temperatures"]
    made.temperature = torch.tensor([temperatures[task.name] for task in target.tasks])
    for read in encoder.read(texts):
        for place, said in zip(read.places, head.scores(read), strict=True):
            [feed] = second.fed(encoder.tokenizer(), [texts[place]])
            for task, wanted in zip(target.tasks, made(*(torch.from_numpy(feed[name]) for name in ("ids", "mask"))), strict=True):
                assert list(said[task.name].values()) == pytest.approx(wanted[0].tolist(), abs=0.1)
    kept = [json.loads(line) for line in (tmp_path / "kept.jsonl").read_text().splitlines()]
    assert [row["text"] for row in kept] == [one.text for one in given[30:]] and kept[0]["emotion"] == given[30].labels["emotion"]


@exported
def test_the_gain_of_asking_is_told_by_how_sure_the_first_must_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = examples(16)
    target = targets(given, WELLBEING)
    tasks = {task.name: task.labels for task in target.tasks}
    sure = {name: np.full((16, len(labels)), 0.1 / (len(labels) - 1)) for name, labels in tasks.items()}
    for name in tasks:
        sure[name][np.arange(16), target.of[name]] = 0.9
    unsure = {name: np.where(np.arange(16)[:, None] < 12, chances, 1 / chances.shape[1]) for name, chances in sure.items()}
    said = iter([unsure, sure])
    monkeypatch.setattr(second, "Head", lambda folder, alone: folder)
    monkeypatch.setattr(second, "_scores", lambda head, encoder, texts: next(said))
    lines = second.tradeoff(tmp_path, target, np.arange(16), Encoder(ENCODER), [one.text for one in given])
    assert [line.split()[1] for line in lines[1:]] == ["0.0%", "0.0%", *["25.0%"] * 4, "100.0%", "100.0%"]
    assert lines[1].split()[2] < lines[3].split()[2] == lines[-1].split()[2]


def test_an_encoder_that_can_not_be_a_second_head_is_named(tmp_path: Path) -> None:
    class Tokenizer:
        pad_token, cls_token, sep_token = "<pad>", "<s>", "</s>"

        def get_vocab(self) -> dict[str, int]:
            return {"<s>": 0, "<pad>": 1, "</s>": 2, "a": 7}

    assert second.places_of({"[SEP]": 2, "a": 3, "[PAD]": 0, "[CLS]": 1}, Tokenizer()) == [1, 0, 2, 7]
    with pytest.raises(ConfigError, match="lacks word pieces"):
        second.places_of({"[PAD]": 0, "b": 1}, Tokenizer())

    class Other:
        width = 8

        class m:
            class config:
                model_type = "bert"

    with pytest.raises(ConfigError, match="MPNet alone"):
        second.Body(Other(), {})  # type: ignore[arg-type]
