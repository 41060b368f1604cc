"""The large encoder written as a second head: it reads the small one's word pieces and says, in int8, what it said before."""

import json
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from test_distil import ENCODER, WELLBEING, examples, exported

from services.trainer import heads as gate
from services.trainer.runs.distil import __main__ as distil
from services.trainer.runs.distil import second, teacher
from services.trainer.runs.heads import export, external
from services.trainer.runs.heads.examples import Example, targets
from services.trainer.runs.heads.network import Network, chances
from shared.encoder import DIMS, Encoder
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
    labelled = distil.Labelled("wellbeing", given, target, np.arange(30), np.arange(30, 35), np.arange(35, 40))
    work = tmp_path / "work"
    work.mkdir()
    folder, out = mpnet(tmp_path), tmp_path / "head"
    monkeypatch.setattr(teacher, "FROZEN", 0)
    model = teacher.taught(folder, labelled.texts, target, labelled.taught, 1, lambda line: None)
    torch.save(model.state_dict(), work / "teacher.pt")
    again = teacher.taught(folder, labelled.texts, target, np.arange(0), 1, lambda line: None, work / "teacher.pt")
    assert all(torch.equal(one, again.state_dict()[name]) for name, one in model.state_dict().items()), "it goes on from those weights"

    others = targets([Example(one.text, {"risk": one.labels["risk"]}) for one in given], WELLBEING)
    moved = teacher.taught(folder, labelled.texts, others, np.arange(0), 1, lambda line: None, work / "teacher.pt")
    assert torch.equal(moved.m.embeddings.word_embeddings.weight, model.m.embeddings.word_embeddings.weight) and len(moved.last) == 1

    before, other = (
        model.state_dict()["last.0.bias"].clone(),
        {name: one + 1 if one.is_floating_point() else one for name, one in model.state_dict().items()},
    )
    model.mix(other, 0.25)
    assert torch.allclose(model.state_dict()["last.0.bias"], before + 0.25, atol=1e-6)
    with pytest.raises(ConfigError, match="of another encoder"):
        model.begin_with({"m.embeddings.word_embeddings.weight": torch.zeros(3, 3)})

    texts = ["What a lovely day, I am glad", "I cried over a very long letter all night and all the next day, and then again?", "glad", "day?"]
    with torch.no_grad():
        for last in model.last:
            last.weight *= 8  # answers that are far apart
        for one in model.m.encoder.layer.parameters():
            one += torch.randn_like(one) * 1e-5  # no two alike: the exporter would write equal ones once, and those of a real encoder differ
    torch.save(model.state_dict(), work / "teacher.pt")
    made = second.network(model, encoder.tokenizer().get_vocab())
    fed = {
        place: (torch.from_numpy(read.ids), torch.from_numpy(read.mask))
        for n, text in enumerate(texts)
        for read in encoder.read([text])
        for place in [n]
    }
    monkeypatch.setattr(teacher, "autocast", nullcontext)  # in fp32, to compare what it says and not its rounding
    for n, one in enumerate(zip(*model.float().all_logits(texts), strict=True)):
        own, shown = made.logits(*fed[n]), made(*fed[n])
        assert all(torch.allclose(a, b[0], atol=1e-3) for a, b in zip(one, own, strict=True))
        assert all(torch.allclose(chances(task.kind, a), b, atol=1e-5) for task, a, b in zip(target.tasks, own, shown, strict=True))

    out.mkdir()
    with pytest.raises(ConfigError, match="no head that a second one could stand beside"):
        distil.add_second(labelled, folder, work, encoder, out, 0.9, None)
    first = Network(torch.nn.Identity(), DIMS, "pooled", target.tasks)
    export.write(out, first, {"collection": "wellbeing", "kind": "logistic", "encoder": "0" * 64})
    with pytest.raises(ConfigError, match="or of another encoder"):
        distil.add_second(labelled, folder, work, encoder, out, 0.9, None)
    export.write(out, first, {"collection": "wellbeing", "kind": "logistic", "encoder": encoder.digest})
    with pytest.raises(ConfigError, match="run `teach` first"):
        distil.add_second(labelled, folder, work, encoder, out, 0.9, None)
    (work / "teacher.json").write_text(json.dumps({**labelled.speaks_for, "collection": "mine"}))
    with pytest.raises(ConfigError, match="learned other tasks"):
        distil.add_second(labelled, folder, work, encoder, out, 0.9, None)
    (work / "teacher.json").write_text(json.dumps(labelled.speaks_for))
    monkeypatch.setattr(external, "MOST_BYTES", 100_000)
    monkeypatch.setattr(external, "LARGE", 100_000)
    distil.add_second(labelled, folder, work, encoder, out, 0.9, tmp_path / "kept.jsonl")
    assert capsys.readouterr().out.count("asked below") == 8
    head = gate.Head(out / SECOND)
    assert head.card.reads == "ids" and head.card.asked_below == 0.9 and len(head.card.files) > 1
    assert gate.Head(out).figures == head.card.figures != {}, "what was measured of the two together"
    temperatures = json.loads((out / SECOND / "head.json").read_text())["temperatures"]
    made.temperature = torch.tensor([temperatures[task.name] for task in target.tasks])
    together = gate.ask(head, encoder, texts)
    said = [[wanted[0].tolist() for wanted in made(*fed[n])] for n in range(len(texts))]
    for n, one in enumerate(together):
        assert [list(one[task.name].values()) for task in target.tasks] == [pytest.approx(row, abs=0.05) for row in said[n]]
        [alone] = gate.ask(head, encoder, [texts[n]])
        assert one == {task: pytest.approx(row, abs=1e-6) for task, row in alone.items()}, "whatever is read beside it"
    assert np.ptp([row[0][0] for row in said]) > 0.2, "or it would tell nothing"

    model.m.save_pretrained(folder)  # its embeddings, which no training would have moved
    again = teacher.taught(folder, labelled.texts, target, np.arange(0), 1, lambda line: None, out / SECOND)
    for one, other in zip(model.float().all_logits(texts), again.all_logits(texts), strict=True):
        assert torch.allclose(one, other, atol=0.3) and not torch.equal(one, other), "it goes on from what is shipped, which was rounded"
    monkeypatch.setattr(teacher, "FROZEN", 1)
    for name, one in again.begun(out / SECOND).items():
        assert torch.equal(one, again.state_dict()[name]) or not name.startswith(("m.embeddings", "m.encoder.layer.0.", "m.encoder.relative")), name
    graph, files = (out / SECOND / "head.onnx").read_bytes(), {name: (out / SECOND / name).read_bytes() for name in head.card.files}
    with pytest.raises(ConfigError, match="are not where the graph says"):
        external.whole(graph, {name: data[:-1] for name, data in files.items()})
    with pytest.raises(ConfigError, match="holds no second head to begin with"):
        again.begun(tmp_path)
    with pytest.raises(ConfigError, match="layers are not those of the encoder"):
        again.begun(out)
    kept = [json.loads(line) for line in (tmp_path / "kept.jsonl").read_text().splitlines()]
    assert [row["text"] for row in kept] == [one.text for one in given[30:]] and kept[0]["emotion"] == given[30].labels["emotion"]


def test_the_gain_of_asking_is_told_by_how_sure_the_first_must_be() -> None:
    given = examples(16)
    target = targets(given, WELLBEING)
    tasks = {task.name: task.labels for task in target.tasks}
    sure = {name: np.full((16, len(labels)), 0.1 / (len(labels) - 1)) for name, labels in tasks.items()}
    for name in tasks:
        sure[name][np.arange(16), target.of[name]] = 0.9
    unsure = {name: np.where(np.arange(16)[:, None] < 12, chances, 1 / chances.shape[1]) for name, chances in sure.items()}
    lines = second.tradeoff(unsure, sure, target, np.arange(16))
    assert [line.split()[2:4] for line in lines] == [
        [f"{least}:", share]
        for least, share in zip(
            ("0.00", "0.50", "0.60", "0.70", "0.80", "0.90", "0.95", "1.00"),
            ("0.0%", "0.0%", "25.0%", "25.0%", "25.0%", "25.0%", "100.0%", "100.0%"),
            strict=True,
        )
    ]
    assert "emotion 1.000" in lines[2] and "emotion 1.000" not in lines[0]
    said, asked = second.together(unsure, sure, {"emotion": "single", "risk": "ordinal"}, 0.8)
    assert asked.tolist() == [12, 13, 14, 15] and np.array_equal(said["emotion"], sure["emotion"])
    assert unsure["emotion"][12, 0] == 0.5, "what the first one said stays as it was"


def test_of_the_older_texts_those_with_rare_labels_are_drawn_more_often() -> None:
    given = [*examples(360), *(Example(f"I am afraid of number {n}", {"emotion": "fear", "risk": "high"}) for n in range(40))]
    target = targets(given, WELLBEING)
    places = np.arange(400)
    some = distil.drawn(target, places, 100)
    assert len(set(some)) == 100 and np.array_equal(some, distil.drawn(target, places, 100))
    assert 13 <= np.count_nonzero(some >= 360) <= 28, "10 as they come; 19 by the square root of how often"
    assert distil.drawn(target, places, 400) is places


def test_texts_that_come_later_move_none_to_the_other_side(tmp_path: Path) -> None:
    labels = "\n".join(f"positive: [{', '.join(f'glad {n}' for n in range(30))}]\nsadness: [{', '.join(f'sad {n}' for n in range(30))}]".splitlines())
    for name, text in (("one", labels), ("two", labels.replace("glad", "happy").replace("sad ", "blue "))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.yaml").write_text(text)
    alone = distil.Labelled.of("wellbeing", [tmp_path / "one"])
    both = distil.Labelled.of("wellbeing", [tmp_path / "one", tmp_path / "two"])
    assert (
        len(both.examples) == 120
        and set(both.held[both.held < 60]) == set(alone.held)
        and set(both.measured[both.measured < 60]) == set(alone.measured)
    )
    assert len(alone.held) == len(alone.measured) == 3 and len(both.held) == 6
    (tmp_path / "two" / "a.yaml").write_text(labels)
    with pytest.raises(ConfigError, match="stands there twice"):
        distil.Labelled.of("wellbeing", [tmp_path / "one", tmp_path / "two"])
    (tmp_path / "two" / "a.yaml").write_text("positive: [a, b, c, d, e]\nsadness: [f, g, h, i, j]")
    with pytest.raises(ConfigError, match="too few texts"):
        distil.Labelled.of("wellbeing", [tmp_path / "two"])


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
