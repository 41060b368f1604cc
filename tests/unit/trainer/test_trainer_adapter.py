"""The training program itself, in this process, on a Llama of two layers with random weights."""

import io
import json
import math
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from services.trainer.dataset import Example, Snapshot
from shared.taxonomy import label_set

torch = pytest.importorskip("torch")
TRAIN, HELD_OUT = 8, 4


@pytest.fixture(scope="module")
def chooser(tiny_base: Path) -> Any:
    from transformers import AutoTokenizer

    from services.trainer.runs.choose import Chooser

    return Chooser(AutoTokenizer.from_pretrained(tiny_base), label_set())


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
    assert all({before, after} <= known for before, after in judgement["untouched"])
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
    labels.write_text("collection: desk\ntasks:\n  shelf: {meaning: where it lies, labels: {desk-a: '', desk-ab: '', rest: ''}}\n")
    made = [e.model_copy(update={"task": "shelf", "label": ("desk-a", "desk-ab", "rest")[i % 3]}) for i, e in enumerate(examples())]
    judgement = run(tmp_path / "run", tiny_base, whole().model_copy(update={"examples": made}), "--labels", str(labels))
    assert {row["candidate"] for row in judgement["held_out"]} <= {"desk-a", "desk-ab", "rest"}
    assert judgement["untouched"] == []  # it has no other task
    labels.write_text("collection: desk\ntasks: {shelf: {meaning: '', labels: {one: ''}}}\n")
    with pytest.raises(ValueError, match=r"(?s)desk\.yaml.*at least two labels"):
        run(tmp_path / "run", tiny_base, whole(), "--labels", str(labels))


def test_it_says_what_each_phase_took(trained):
    spent = trained[1]["spent"]
    assert list(spent) == ["preparing", "training", "judging"]
    assert all(part["cpu_s"] > 0 and 0 < part["wall_s"] < 60 for part in spent.values())


def test_a_text_corrected_in_two_tasks_is_not_kept_as_it_was(chooser):
    from services.trainer.runs.train_adapter import _other_tasks

    one, two = examples()[0], examples()[0].model_copy(update={"task": "sentiment", "label": "negative", "feedback_id": "b"})
    both = whole().model_copy(update={"examples": [one, two]})
    assert {e.task for e in _other_tasks([one, two], both, label_set())} == {"urgency"}
    assert [e.task for e in _other_tasks([one], whole(), label_set())] == ["sentiment", "urgency"]


def test_only_the_choices_within_the_answer_are_learned(chooser):
    rows = [
        e.model_copy(update={"task": task, "label": label})
        for task, label in (("category", "economy"), ("sentiment", "negative"))
        for e in examples(3)
    ]
    batch = chooser.batch(rows)
    assert set(batch.rows.tolist()) == set(range(len(rows)))
    for row, example in enumerate(rows):
        prompt, choices = chooser.prompt(example), chooser.choices[example.task]
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
        for token in chooser.choices["category"].usual[example.label]:
            allowed = chooser.choices["category"].allowed(spoken)
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
