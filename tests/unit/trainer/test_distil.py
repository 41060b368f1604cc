"""A head that learns from a large encoder: what is written, what is gathered, who is asked, and that the small one comes to say what the large one says."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from services.trainer.runs.distil import __main__ as distil
from services.trainer.runs.distil import changed, pool, student, teacher
from services.trainer.runs.export_encoder import sha256
from services.trainer.runs.heads import vectors
from services.trainer.runs.heads.examples import Example, Targets, targets
from services.trainer.runs.heads.network import log_chances
from shared.encoder import DIMS, Encoder
from shared.errors import ConfigError
from shared.events import digest_of
from shared.taxonomy import label_set

WELLBEING = label_set("wellbeing")
ENCODER = Path(__file__).resolve().parents[3] / "build" / "encoder"
exported = pytest.mark.skipif(not (ENCODER / "manifest.json").exists(), reason="the encoder is not exported: make setup")
GLAD, SAD = {"emotion": "positive", "risk": "none"}, {"emotion": "sadness", "risk": "low"}


def examples(n: int = 40) -> list[Example]:
    return [
        Example(f"What a lovely day number {k}, I am glad", GLAD) if k % 2 else Example(f"I cried all night over letter {k}", SAD) for k in range(n)
    ]


def test_words_are_changed_for_their_nearest_and_the_small_ones_stay(tmp_path: Path) -> None:
    dice = np.random.default_rng(3)
    words = ["[PAD]", "[UNK]", *(f"word{chr(97 + n)}" for n in range(26)), "the", "Cap", "ab"]
    vectors = dice.normal(size=(len(words), 8)).astype(np.float32)
    vectors[words.index("wordb")] = vectors[words.index("worda")] + 0.01
    Tokenizer(WordLevel({word: n for n, word in enumerate(words)}, unk_token="[UNK]")).save(str(tmp_path / "tokenizer.json"))
    save_file({"embeddings.word_embeddings.weight": vectors}, str(tmp_path / "model.safetensors"))
    near = changed.neighbours(tmp_path)
    assert set(near) == {f"word{chr(97 + n)}" for n in range(26)} | {"the"}, "no capital, nothing short, no mark"
    assert "wordb" in near["worda"] and "worda" not in near["worda"] and len(near["worda"]) == changed.NEAREST

    small = {"glad": ["happy"], "the": ["a"], "day": ["night"]}
    made = list(changed.changed(["The day I was GLAD, Glad", "nothing known"], small, times=60))
    assert {"The night I was GLAD, Glad", "The day I was HAPPY, Glad", "The day I was GLAD, Happy"} <= set(made)
    assert not any("nothing" in text or text.startswith("A ") for text in made)
    assert made == list(changed.changed(["The day I was GLAD, Glad"], small, times=60))


def test_the_pool_holds_each_text_once_and_no_labelled_one(tmp_path: Path) -> None:
    own = [Example("I ate soup today. Then I went to bed early.", GLAD), Example("Nobody rang.", SAD)]
    (tmp_path / "goemotions").mkdir()
    comments = ["Nobody  rang!", "Thanks, [NAME], that helps", "Thanks, [NAME], that helps", "I am unstoppable", "x" * 500]
    (tmp_path / "goemotions" / "train.jsonl").write_text("".join(json.dumps({"text": text, "label": ["joy"]}) + "\n" for text in comments))
    apart = ["Nobody swam so far before", "Then we went to bed"]
    more = ["I ate soup today.", "Nobody sang.", "Nobody ran so far before"]
    assert pool.gathered([*own, Example("Then I slept. Well!", GLAD)], own, tmp_path, more, apart) == [
        ("sentence", "I ate soup today."), ("sentence", "Then I went to bed early."), ("comment", "Thanks, Alex, that helps"), ("changed", "Nobody sang."),
    ]  # fmt: skip


def small_encoder(folder: Path) -> Path:
    """A BERT of two layers with a vocabulary of the texts' words."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    words = sorted({word.lower().strip(",.") for one in examples() for word in one.text.split()})
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ",", ".", *words]) + "\n")
    BertTokenizerFast(vocab_file=str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    BertModel(
        BertConfig(vocab_size=7 + len(words), hidden_size=32, num_hidden_layers=6, num_attention_heads=2, intermediate_size=64)
    ).save_pretrained(folder)
    return folder


def test_the_teacher_learns_the_labels_and_is_asked_once_about_a_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teacher, "PASSES", 40)
    monkeypatch.setattr(teacher, "RATE", 3e-3)
    given = examples()
    texts, target = [one.text for one in given], targets(given, WELLBEING)
    folder = small_encoder(tmp_path)
    model = teacher.taught(folder, texts, target, np.arange(30), 1, lambda line: None)
    torch.save(model.state_dict(), tmp_path / "teacher.pt")
    said = model.say(texts)
    emotion = target.tasks[0].labels
    assert [emotion[n] for n in said.chances["emotion"][30:].argmax(1)] == [one.labels["emotion"] for one in given[30:]], "texts that it had not seen"
    assert np.allclose(said.chances["risk"].sum(1), 1, atol=1e-5) and said.vectors.shape == (40, 32)

    labelled = distil.Labelled("wellbeing", given, target, np.arange(30), np.arange(30, 35), np.arange(35, 40))
    (tmp_path / "teacher.json").write_text(json.dumps(labelled.speaks_for))
    asked: list[list[str]] = []
    say = teacher.Large.say
    monkeypatch.setattr(teacher.Large, "say", lambda self, texts: (asked.append(list(texts)), say(self, texts))[1])
    for more in ([("comment", "a lovely letter")], [("comment", "another night"), ("comment", "a lovely letter")]):
        distil.say_all(labelled, folder, tmp_path, more)
    distil.say_all(labelled, folder, tmp_path, more)  # nothing new
    assert [len(one) for one in asked] == [41, 1] and asked[1] == ["another night"]
    told, kept = distil.said_of(tmp_path, target)
    assert told[-2:] == ["another night", "a lovely letter"]
    assert np.allclose(kept.chances["emotion"][:40], said.chances["emotion"], atol=0.02) and len(kept.vectors) == 42
    assert np.allclose(kept.vectors[told.index("a lovely letter")], say(model, ["a lovely letter"]).vectors[0], atol=0.05)


def test_what_is_missing_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = examples()
    target = targets(given, WELLBEING)
    labelled = distil.Labelled("wellbeing", given, target, np.arange(30), np.arange(30, 35), np.arange(35, 40))
    with pytest.raises(ConfigError, match="run `teach` first"):
        distil.say_all(labelled, tmp_path, tmp_path, [])
    with pytest.raises(ConfigError, match="run `say` first"):
        distil.learn(labelled, tmp_path, Encoder(ENCODER), tmp_path, None)
    said = said_by_rule(target, 40, np.random.default_rng(1))
    lines = "".join(json.dumps({"text": f"other {n}"}) + "\n" for n in range(40))
    (tmp_path / "texts.jsonl").write_text(lines)
    (tmp_path / "teacher.pt").write_bytes(b"weights")
    arrays: dict = {"vectors": said.vectors, "texts": digest_of(lines), "teacher": sha256(tmp_path / "teacher.pt")}
    np.savez(tmp_path / "said.npz", **arrays, **{f"of_{name}": one for name, one in said.chances.items()})
    with pytest.raises(ConfigError, match="of other labelled texts"):
        distil.learn(labelled, tmp_path, Encoder(ENCODER), tmp_path, None)
    for name, damage in (("teacher.pt", b"others"), ("texts.jsonl", b'{"text": "cut"}\n')):
        before = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(damage)
        with pytest.raises(ConfigError, match="of other texts, or by another teacher"):
            distil.said_of(tmp_path, target)
        assert distil.asked_before(tmp_path, target) == ({}, None)
        (tmp_path / name).write_bytes(before)
    (tmp_path / "said.npz").write_bytes((tmp_path / "said.npz").read_bytes()[:500])
    with pytest.raises(ConfigError, match="run `say` first"):
        distil.said_of(tmp_path, target)
    for argv, why in ((["learn"], "needs --out"), (["say"], "needs --large"), (["say", "--large", "x"], "needs --apart")):
        with pytest.raises(SystemExit):
            distil.main(argv)
        assert why in capsys.readouterr().err
    with pytest.raises(SystemExit, match="no texts come with Feedloop for"):
        distil.main(["teach", "--collection", "mine", "--large", str(tmp_path), "--work", str(tmp_path)])


def said_by_rule(target: Targets, n: int, dice: np.random.Generator) -> teacher.Said:
    shares = {task.name: dice.dirichlet(np.ones(len(task.labels)), n).astype(np.float32) for task in target.tasks}
    return teacher.Said(shares, dice.normal(size=(n, 16)).astype(np.float16))


def test_of_a_labelled_text_half_of_the_target_is_the_label_and_of_the_others_none() -> None:
    given = [*examples(10), Example("nothing is said of risk", {"emotion": "positive"})]
    target = targets(given, WELLBEING)
    said = said_by_rule(target, 14, np.random.default_rng(1))
    wanted = student.wanted_of(target, np.array([1, 2, 10]), said)
    emotion = next(task for task in target.tasks if task.name == "emotion").labels
    right = emotion.index("positive")
    assert wanted["emotion"][1, right] == pytest.approx(0.5 + 0.5 * said.chances["emotion"][1, right])
    assert np.allclose(wanted["emotion"].sum(1), 1, atol=1e-5)
    assert np.array_equal(wanted["emotion"][11:], said.chances["emotion"][11:]) and np.array_equal(wanted["emotion"][0], said.chances["emotion"][0])
    assert np.array_equal(wanted["risk"][10], said.chances["risk"][10]), "without a label the teacher's word is all"
    logits = torch.randn(3, 2)
    shares = np.array([[1, 0], [0, 1], [0.5, 0.5]], dtype=np.float32)
    each = -(log_chances("single", logits) * torch.from_numpy(shares)).sum(1)
    assert float(student._against("single", logits, shares, torch.tensor([1.0, 1.0]))) == pytest.approx(float(each.mean()))


@exported
def test_the_student_comes_to_say_what_the_teacher_says_of_texts_without_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(student, "PASSES", 6)
    monkeypatch.setattr(student, "BATCH", 8)
    given = examples(24)
    target = targets(given, WELLBEING)
    more = [f"The {thing} arrived on {day}" for thing in ("parcel", "parrot", "piano", "pastry") for day in ("Monday", "Friday", "Sunday")]
    store = vectors.store(Encoder(ENCODER), [*(one.text for one in given), *more], "embedded", with_pooled=False)
    assert not store.pooled.any()
    said = said_by_rule(target, 36, np.random.default_rng(2))
    emotion = next(task for task in target.tasks if task.name == "emotion").labels
    for n in range(24, 36):  # against the labels' drift: what the teacher alone says of these
        said.chances["emotion"][n] = np.eye(len(emotion))[emotion.index("sadness" if "Monday" in more[n - 24] else "positive")]
    network = student.learnt(store, target, np.arange(20), np.arange(20, 24), said, 1, lambda line: None)
    found = network.probabilities(store, np.arange(24, 36))["emotion"]
    assert [emotion[n] for n in found.argmax(1)] == ["sadness" if "Monday" in text else "positive" for text in more]
    assert network.body(*store.inputs("embedded", np.arange(2))).shape == (2, DIMS)
    tasks = [SimpleNamespace(kind="multi", name="m", labels=["a"])]
    with pytest.raises(ValueError, match="multi"):
        student.learnt(store, SimpleNamespace(tasks=tasks), np.arange(2), np.arange(2), said, 1, lambda line: None)  # type: ignore[arg-type]
