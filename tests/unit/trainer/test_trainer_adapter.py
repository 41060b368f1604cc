"""The training program itself, in this process, on a Llama of two layers with random weights."""

import io
import json
import math
import random
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from services.trainer.dataset import Example, Snapshot
from services.trainer.runs.asked import Heard, heard
from shared.errors import ConfigError
from shared.events import LabelScore
from shared.taxonomy import NOTHING, label_set, use

torch = pytest.importorskip("torch")
TRAIN, HELD_OUT = 8, 4


@pytest.fixture(autouse=True)
def _no_label_sets_of_an_earlier_run():
    """The program takes a user's own into its process, which here is that of all tests."""
    yield
    use(None)


@pytest.fixture(scope="module")
def chooser(tiny_base: Path) -> Any:
    from transformers import AutoTokenizer

    from services.trainer.runs.choose import Chooser

    return Chooser(AutoTokenizer.from_pretrained(tiny_base), ["news", "wellbeing"])


def examples(n: int = TRAIN + HELD_OUT) -> list[Example]:
    labels = ("security", "economy", "science")
    return [
        Example(
            task="category",
            title=f"title {i}",
            text=f"text {'x' * i}",
            label=labels[i % 3],
            feedback_id=str(i),
            split="train" if i < TRAIN else "held_out",
        )
        for i in range(n)
    ]


def whole(**recipe: float) -> Snapshot:
    return Snapshot(role="adapter", base="tiny-1", recipe={"epochs": 1, "learning_rate": 1e-3, "rank": 4, **recipe}, examples=examples())


def run(out: Path, base: Path, snapshot: Snapshot, *more: str) -> dict[str, Any]:
    from services.trainer.runs.train_adapter import main

    out.mkdir(exist_ok=True)
    (out / "snapshot.json").write_text(snapshot.model_dump_json())
    main(["--snapshot", str(out / "snapshot.json"), "--base", str(base), "--out", str(out), *more])
    return json.loads((out / "judgement.json").read_text())


@pytest.fixture(scope="module")
def trained(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    """An adapter of one epoch on the twelve examples, its judgement, and what the program told."""
    out = tmp_path_factory.mktemp("run")
    with redirect_stdout(io.StringIO()) as told:
        judgement = run(out, tiny_base, whole())
    return out / "adapter", judgement, told.getvalue()


def test_it_writes_an_adapter_that_a_registry_takes(trained, tmp_path):
    from safetensors.numpy import load_file

    from services.trainer.settings import Settings
    from shared.objects import ObjectStore
    from shared.registry import Registry

    adapter, judgement, _ = trained
    assert judgement["adapter"] == str(adapter)
    config = json.loads((adapter / "adapter_config.json").read_text())
    assert (config["r"], config["base_model_name_or_path"]) == (4, "tiny-1")
    weights = load_file(adapter / "adapter_model.safetensors")
    assert any(abs(weight).max() > 0 for name, weight in weights.items() if "lora_B" in name)
    assert all(math.isfinite(float(weight.sum())) for weight in weights.values())
    manifest = Registry(ObjectStore(str(tmp_path)), Settings().models_cache).publish(adapter, "adapter", "tiny-1")
    assert set(manifest.files) == {"adapter_config.json", "adapter_model.safetensors"}


def test_the_judgement_has_what_the_gate_asks(trained):
    judgement = trained[1]
    tasks = label_set().tasks
    assert (judgement["finite"], judgement["training_examples"]) == (True, TRAIN)
    assert [row["gold"] for row in judgement["held_out"]] == [e.label for e in examples()[TRAIN:]]
    for row in judgement["held_out"]:
        assert {row["incumbent"], row["candidate"]} <= set(tasks["category"].labels)
    assert len(judgement["untouched"]) == HELD_OUT * 2  # sentiment and urgency of the held-out texts; risk is a rule's
    known = {*tasks["sentiment"].labels, *tasks["urgency"].labels}
    assert all({before, after} <= known and collection == "news" for before, after, collection in judgement["untouched"])
    assert judgement["probes"] and len(judgement["probes"]) <= 16
    for probe in judgement["probes"]:
        assert {probe["answer"], probe["base_answer"]} <= set(tasks["category"].labels)


def test_it_tells_its_progress_a_line_a_step(trained):
    told = [json.loads(line) for line in trained[2].splitlines()]
    assert [line["phase"] for line in told] == ["preparing", "training", "training", "judging"]  # 8 corrections and 8 of the rest, 8 a batch
    assert [(line["step"], line["steps"]) for line in told[1:3]] == [(1, 2), (2, 2)]
    assert all(line["loss"] > 0 for line in told[1:3])


def test_it_learns_and_a_second_generation_starts_from_the_base(trained, tiny_base, tmp_path, capsys):
    from safetensors.numpy import load_file

    adapter, first, _ = trained
    judgement = run(tmp_path, tiny_base, whole(epochs=4, learning_rate=2e-2), "--incumbent", str(adapter))
    losses = [line["loss"] for line in map(json.loads, capsys.readouterr().out.splitlines()) if line["phase"] == "training"]
    assert sum(losses[-2:]) / 2 < 0.9 * losses[0]
    assert [row["incumbent"] for row in judgement["held_out"]] == [row["candidate"] for row in first["held_out"]]
    ours, theirs = (load_file(folder / "adapter_model.safetensors") for folder in (adapter, tmp_path / "adapter"))
    assert set(ours) == set(theirs)  # one adapter, under the usual names
    telling = [probe["answer"] != probe["base_answer"] for probe in judgement["probes"]]
    assert telling == sorted(telling, reverse=True)  # those that tell the adapter from the base come first


def spoilt(adapter: Path, into: Path, value: float) -> Path:
    from safetensors.numpy import load_file, save_file

    into.mkdir()
    weights = load_file(adapter / "adapter_model.safetensors")
    name = sorted(weights)[0]
    weights[name][0, 0] = value
    save_file(weights, into / "adapter_model.safetensors")
    (into / "adapter_config.json").write_text((adapter / "adapter_config.json").read_text())
    return into


def test_a_candidate_with_a_weight_that_is_no_number_is_found_out(trained, tiny_base, tmp_path):
    candidate = spoilt(trained[0], tmp_path / "candidate", math.nan)
    judgement = run(tmp_path, tiny_base, whole(), "--candidate", str(candidate))
    assert (judgement["finite"], judgement["training_examples"], judgement["adapter"]) == (False, 0, str(candidate))
    assert not (tmp_path / "adapter").exists()


def test_a_candidate_is_judged_by_the_answers_it_gave_when_it_was_trained(trained, tiny_base, tmp_path):
    adapter, first, _ = trained
    judgement = run(tmp_path, tiny_base, whole(), "--candidate", str(adapter))
    assert judgement["held_out"] == first["held_out"] and judgement["untouched"] == first["untouched"]


def test_another_label_set_is_named_by_a_file(tiny_base, tmp_path):
    labels = tmp_path / "desk.yaml"
    labels.write_text("label_sets: {desk: {tasks: {shelf: {meaning: where it lies, labels: {desk-a: '', desk-ab: '', rest: ''}}}}}\n")
    shelf = {"task": "shelf", "collection": "desk"}
    made = [e.model_copy(update={**shelf, "label": ("desk-a", "desk-ab", "rest")[i % 3]}) for i, e in enumerate(examples())]
    judgement = run(tmp_path / "run", tiny_base, whole().model_copy(update={"examples": made}), "--labels", str(labels))
    assert {row["candidate"] for row in judgement["held_out"]} <= {"desk-a", "desk-ab", "rest"}
    assert judgement["untouched"] == []  # it has no other task
    with pytest.raises(ValueError, match="'desk' has no label set here"):
        run(tmp_path / "run", tiny_base, whole().model_copy(update={"examples": made}))
    labels.write_text("label_sets: {desk: {tasks: {shelf: {meaning: '', labels: {one: ''}}}}}\n")
    with pytest.raises(ConfigError, match=r"(?s)desk\.yaml.*at least two labels"):
        run(tmp_path / "run", tiny_base, whole(), "--labels", str(labels))


def test_one_adapter_learns_from_all_label_sets(tiny_base, tmp_path):
    news, labels = examples(), ("positive", "negative", "neutral")
    messages = {"task": "sentiment", "collection": "wellbeing"}
    more = [e.model_copy(update={**messages, "label": labels[i % 3], "feedback_id": f"w{i}"}) for i, e in enumerate(news)]
    judgement = run(tmp_path, tiny_base, whole().model_copy(update={"examples": [*news, *more]}))
    assert judgement["training_examples"] == 2 * TRAIN
    assert [(row["collection"], row["task"]) for row in judgement["held_out"]] == [("news", "category")] * HELD_OUT + [
        ("wellbeing", "sentiment")
    ] * HELD_OUT
    kept = {name: {label for *both, of in judgement["untouched"] if of == name for label in both} for name in ("news", "wellbeing")}
    tasks = {name: label_set(name).tasks for name in kept}
    assert kept["news"] <= {*tasks["news"]["sentiment"].labels, *tasks["news"]["urgency"].labels}
    assert kept["wellbeing"] <= {label for task in ("emotion", "stress", "risk") for label in tasks["wellbeing"][task].labels}
    assert len(judgement["untouched"]) == HELD_OUT * 2 + HELD_OUT * 3
    assert {(probe["collection"], probe["task"]) for probe in judgement["probes"]} <= {("news", "category"), ("wellbeing", "sentiment")}


TOPICS = "label_sets: {desk: {tasks: {topics: {meaning: m, kind: multi, threshold: 0.4, labels: {pay: wages, food: meals, air: ''}}}}}\n"


def test_of_a_multi_task_each_label_is_taught_and_judged_together(tiny_base, tmp_path):
    (tmp_path / "desk.yaml").write_text(TOPICS)
    said = {"task": "topics", "collection": "desk"}
    made = [e.model_copy(update={**said, "label": ("pay, air", NOTHING, "food")[i % 3]}) for i, e in enumerate(examples())]
    judgement = run(tmp_path / "run", tiny_base, whole().model_copy(update={"examples": made}), "--labels", str(tmp_path / "desk.yaml"))
    assert (judgement["training_examples"], [row["gold"] for row in judgement["held_out"]]) == (TRAIN, ["food", "pay,air", NOTHING, "food"])
    assert {row["task"] for row in judgement["held_out"]} == {"topics"}
    assert {name for row in judgement["held_out"] for name in row["candidate"].split(",")} <= {"pay", "food", "air", NOTHING}
    assert {probe["answer"] for probe in judgement["probes"]} <= {"pay", "food", "air"}  # the likeliest, as the engine is asked


def test_the_questions_of_a_multi_task_are_those_of_use(tmp_path):
    from services.trainer.runs.asked import asked, gold

    (tmp_path / "desk.yaml").write_text(TOPICS)
    use(tmp_path / "desk.yaml")
    one = examples()[0].model_copy(update={"task": "topics", "collection": "desk", "label": "air,pay"})
    questions = asked([one])
    assert [(q.task, q.label) for q in questions] == [("topics: pay, wages", "yes"), ("topics: food, meals", "no"), ("topics: air, ", "yes")]
    assert gold(one) == "pay,air" and {q.label for q in asked([one.model_copy(update={"label": ""})])} == {""}
    answers = [LabelScore(label="yes", probability=0.9), LabelScore(label="no", probability=0.55), LabelScore(label="no", probability=0.8)]
    said = heard(one, dict(zip(questions, answers, strict=True)))
    assert (said.label, said.known, round(said.sure, 6)) == ("pay,food", "pay", 0.45)  # food holds with 0.45 of at least 0.4
    lone = examples()[0]
    assert asked([lone]) == [lone] and heard(lone, {lone: answers[0]}).label == "yes"


def test_what_is_taught_is_asked_in_the_very_words_of_use(tmp_path, tiny_base):
    from transformers import AutoTokenizer

    from services.inference.enrich import Enricher
    from services.trainer.runs.asked import asked
    from services.trainer.runs.choose import Chooser
    from shared.prompts import label_messages

    (tmp_path / "desk.yaml").write_text(TOPICS)
    use(tmp_path / "desk.yaml")
    one = examples()[0].model_copy(update={"label": ""})
    chooser, enricher = Chooser(AutoTokenizer.from_pretrained(tiny_base), ["news", "desk", "wellbeing"]), Enricher(None, None, "base")
    for collection in ("news", "desk", "wellbeing"):
        for task in label_set(collection).asked_of("llm"):
            taught = [chooser.tasks[q.question] for q in asked([one.model_copy(update={"task": task.name, "collection": collection})])]
            assert [label_messages(t, one.title, one.text) for t in taught] == enricher._prompts(task, one.title, one.text)
            assert all(list(t.labels) == (["yes", "no"] if task.kind == "multi" else list(task.labels)) for t in taught)


def test_of_two_labels_that_hardly_hold_none_is_a_known_answer(tiny_base, tmp_path, monkeypatch):
    """The engine computes a little differently: it may name the other, and would be refused for it."""
    from services.trainer.runs import train_adapter

    (tmp_path / "desk.yaml").write_text(TOPICS)
    said = {"task": "topics", "collection": "desk", "label": "pay"}
    news = examples()
    more = [e.model_copy(update={**said, "feedback_id": f"w{i}"}) for i, e in enumerate(news)]
    monkeypatch.setattr(train_adapter, "heard", lambda e, answers: Heard("pay", "pay", 0.01) if e.task == "topics" else heard(e, answers))
    judgement = run(tmp_path / "run", tiny_base, whole().model_copy(update={"examples": [*news, *more]}), "--labels", str(tmp_path / "desk.yaml"))
    assert {probe["collection"] for probe in judgement["probes"]} == {"news"}


def test_a_label_set_with_few_corrections_is_drawn_as_often_as_one_with_many():
    from services.trainer.runs.train_adapter import _drawn

    few = [e.model_copy(update={"task": "sentiment", "collection": "wellbeing"}) for e in examples(3)]
    drawn = _drawn([*examples(), *few], 8, random.Random(1))
    assert [sum(e.collection == name for e in drawn) for name in ("news", "wellbeing")] == [5, 3] and len(set(drawn)) == 8
    assert _drawn(examples(), 5, random.Random(1)) == random.Random(1).sample(examples(), 5)
    assert _drawn([], 5, random.Random(1)) == []


def test_a_multi_task_counts_as_its_labels_where_questions_are_dear(tmp_path):
    from services.trainer.runs.train_adapter import _within

    (tmp_path / "desk.yaml").write_text(TOPICS)
    use(tmp_path / "desk.yaml")
    topics = [e.model_copy(update={"task": "topics", "collection": "desk", "label": ""}) for e in examples(4)]
    assert _within(topics, 7) == topics[:2] and _within(examples(4), 7) == examples(4)


def test_it_says_what_each_phase_took(trained):
    spent = trained[1]["spent"]
    assert list(spent) == ["preparing", "training", "judging"]
    assert all(part["cpu_s"] > 0 and 0 < part["wall_s"] < 60 for part in spent.values())


def test_a_text_corrected_in_two_tasks_is_not_kept_as_it_was(chooser):
    from services.trainer.runs.train_adapter import _other_tasks

    one, two = examples()[0], examples()[0].model_copy(update={"task": "sentiment", "label": "negative", "feedback_id": "b"})
    both = whole().model_copy(update={"examples": [one, two]})
    assert {e.task for e in _other_tasks([one, two], both)} == {"urgency"}
    assert [e.task for e in _other_tasks([one], whole())] == ["sentiment", "urgency"]


def test_a_text_is_kept_under_the_tasks_of_its_own_label_set():
    from services.trainer.runs.train_adapter import _other_tasks

    one = examples()[0].model_copy(update={"task": "sentiment", "collection": "wellbeing"})
    both = whole().model_copy(update={"examples": [*examples(), one]})
    assert [e.question for e in _other_tasks([one], both)] == [("wellbeing", task) for task in ("emotion", "stress", "risk")]


def test_only_the_choices_within_the_answer_are_learned(chooser):
    rows = [
        e.model_copy(update={"task": task, "label": label})
        for task, label in (("category", "economy"), ("sentiment", "negative"))
        for e in examples(3)
    ]
    batch = chooser.batch(rows)
    assert set(batch.rows.tolist()) == set(range(len(rows)))
    for row, example in enumerate(rows):
        prompt, choices = chooser.prompt(example), chooser.choices[example.question]
        answer = [*chooser.tokenizer(example.label, add_special_tokens=False)["input_ids"], chooser.eos]
        assert batch.ids[row][: len(prompt) + len(answer)].tolist() == prompt + answer  # the boundary is where the engine begins to write
        assert set(batch.ids[row][len(prompt) + len(answer) :].tolist()) <= {chooser.pad}
        mine = (batch.rows == row).nonzero().flatten().tolist()
        for n in mine:
            spoken = tuple(answer[: int(batch.places[n]) - len(prompt) + 1])
            allowed = [option for option in batch.options[n].tolist() if option >= 0]
            assert allowed == choices.allowed(spoken) and allowed[int(batch.right[n])] == answer[len(spoken)]


def test_the_loss_is_the_answers_share_among_what_the_grammar_lets_through(chooser, tiny_base):
    from transformers import AutoModelForCausalLM

    from services.trainer.runs.precision import autocast

    model = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32).eval()
    asked = [e.model_copy(update={"title": "t" * n}) for n, e in enumerate(examples(3))]  # of different lengths: filled up on the right
    batch = chooser.batch(asked)
    with torch.no_grad(), autocast():
        hidden = model.get_decoder()(input_ids=batch.ids, use_cache=False).last_hidden_state
        losses = chooser.losses(model, hidden, batch)
    for example, loss in zip(asked, losses, strict=True):
        prompt, spoken, expected = chooser.prompt(example), (), 0.0
        for token in chooser.choices["news", "category"].usual[example.label]:
            allowed = chooser.choices["news", "category"].allowed(spoken)
            with torch.no_grad():
                logits = model(torch.tensor([[*prompt, *spoken]])).logits[0, -1, allowed]
            expected -= float(logits.log_softmax(-1)[allowed.index(token)])
            spoken = (*spoken, token)
        assert float(loss) == pytest.approx(expected, rel=0.05)  # bfloat16 where the processor has it


def test_the_prompt_ends_where_the_assistant_begins(chooser):
    from shared.prompts import label_messages

    example = examples()[0]
    text = chooser.tokenizer.decode(chooser.prompt(example))
    assert text.endswith("<|assistant|>\n")
    assert label_messages(label_set().tasks["category"], example.title, example.text)[1]["content"] in text


def test_answers_are_labels_with_the_probability_among_them(chooser, tiny_base):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32).eval()
    asked = [e.model_copy(update={"task": task}) for e in examples(4) for task in ("category", "sentiment", "urgency")]
    answers = chooser.answers(model, asked)
    for example, score in zip(asked, answers, strict=True):
        assert score.label in label_set().tasks[example.task].labels and 0 < score.probability <= 1
    # in the order given, and the same alone as in a batch
    alone = [chooser.answers(model, [example])[0] for example in asked[:6]]
    assert [a.label for a in alone] == [a.label for a in answers[:6]]
    assert all(abs(a.probability - b.probability) < 1e-3 for a, b in zip(alone, answers, strict=False))
    assert chooser.answers(model, []) == []
