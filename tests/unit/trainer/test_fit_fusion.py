"""Learning how the parts are pooled: on data whose truth is known, and from the command line."""

import json
import math
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from services.classifier.calibration import Fusions
from services.trainer.runs import fit_fusion
from services.trainer.runs.fit_fusion import arguments, deal, hear, learn, read_rows, report, run
from services.trainer.runs.pool_figures import ece, figures, macro_f1
from services.trainer.runs.pool_fit import Example, features, fit, predict, temperature
from services.trainer.runs.pool_thresholds import one_thresholds
from shared.errors import ConfigError
from shared.pooling import FusionFile, pool
from shared.taxonomy import Task, label_set, use

ROOT = Path(__file__).parents[3]
LABELS = ["up", "still", "down"]
MOOD = Task.model_validate({"name": "mood", "meaning": "m", "labels": dict.fromkeys(LABELS, "m")})
DECLARED = """
label_sets:
  desk:
    tasks:
      mood: {meaning: m, labels: {up: u, still: s, down: d}}
      rank: {meaning: m, kind: ordinal, labels: {up: u, still: s, down: d}}
      tags: {meaning: m, kind: multi, labels: {up: u, still: s, down: d}}
"""


def softened(chances: dict[str, float], temperature: float) -> dict[str, float]:
    mass = {label: p ** (1 / temperature) for label, p in chances.items()}
    return {label: p / sum(mass.values()) for label, p in mass.items()}


def examples(n: int, seed: int = 1) -> list[Example]:
    """The truth is drawn from what two parts see a share of each: the model overconfident, the head too modest."""
    dice, made = random.Random(seed), []
    for number in range(n):
        seen = [{label: math.exp(dice.gauss(0, 1.2)) for label in LABELS} for _ in range(2)]
        true = {label: seen[0][label] * seen[1][label] for label in LABELS}
        gold = dice.choices(LABELS, weights=[true[label] for label in LABELS])
        llm, head = ({label: p / sum(each.values()) for label, p in each.items()} for each in seen)
        made.append(Example(frozenset(gold), {"llm": softened(llm, 1 / 3), "neural": softened(head, 2)}, f"{seed}-{number}"))
    return made


def test_a_temperature_undoes_overconfidence() -> None:
    dice, made = random.Random(3), []
    for _ in range(3000):
        true = softened({label: dice.random() + 0.01 for label in LABELS}, 0.5)
        made.append(Example(frozenset(dice.choices(LABELS, weights=list(true.values()))), {"llm": softened(true, 1 / 3)}))
    assert temperature(made, "llm", False) == pytest.approx(3, rel=0.15)
    assert temperature(made, "neural", False) == 1.0
    flags = [
        Example(frozenset(["up"] if dice.random() < p else []), {"llm": {"up": 1 / (1 + (1 / p - 1) ** 3)}})
        for p in (dice.uniform(0.05, 0.95) for _ in range(3000))
    ]
    assert temperature(flags, "llm", True) == pytest.approx(3, rel=0.15)


def test_the_pool_learns_what_the_parts_are_worth() -> None:
    learned = learn(MOOD, examples(800), examples(400, 2))
    # the truth is proportional to the product of both: tempered by 3 and 1/2 the weights are 1 and 1, whatever the temperatures found
    for part, made_by in (("llm", 1 / 3), ("neural", 2)):
        worth = [learned.weights[part][label] / learned.temperatures[part] for label in LABELS]
        assert worth == pytest.approx([made_by] * 3, rel=0.2)
    tests = examples(1500, 3)
    rows = {name: (figure, cover) for name, figure, cover in report(MOOD, learned, tests, 0.1)}
    assert list(rows) == [f"{voices}, {when}" for voices in ("llm", "neural", "llm + neural") for when in ("before", "after")]
    for voices in ("llm", "neural", "llm + neural"):
        before, after = rows[f"{voices}, before"][0], rows[f"{voices}, after"][0]
        assert after.log_loss < before.log_loss and after.ece < before.ece
        cover = rows[f"{voices}, after"][1]
        assert cover and 0.87 <= cover.covered <= 0.94
        assert (1 - cover.unsure) * (1 - cover.right_when_sure) <= 0.1  # wrong and not marked
    best = rows["llm + neural, after"][0]
    assert best.ece <= 0.03 and best.accuracy > max(rows[f"{part}, after"][0].accuracy for part in ("llm", "neural"))


def test_noise_gets_no_weight() -> None:
    dice, made = random.Random(9), []
    for e in examples(800):
        guess = softened({label: dice.random() + 0.01 for label in LABELS}, 0.3)
        made.append(Example(e.gold, {"llm": guess, "neural": e.voices["neural"]}, e.group))
    learned = learn(MOOD, made[:600], made[600:])
    for label in LABELS:  # what a part's own log-probability is worth in the end
        assert learned.weights["llm"][label] / learned.temperatures["llm"] < 0.1
        assert learned.weights["neural"][label] / learned.temperatures["neural"] > 0.5


@pytest.mark.parametrize("multi", [False, True])
def test_what_is_fitted_is_what_the_classifier_computes(multi: bool) -> None:
    """Also where the head was never taught a label."""
    dice = random.Random(5)
    made = [
        Example(
            e.gold, {"llm": e.voices["llm"], "neural": {label: e.voices["neural"][label] for label in LABELS[: 2 + (dice.random() < 0.5)]}}, e.group
        )
        for e in examples(300)
    ]
    learned = fit(LABELS, made, ["llm", "neural"], multi)
    x, known = features(LABELS, made, learned.parts, learned.temperatures, multi)
    weights = np.array([[learned.weights[part][label] for label in LABELS] for part in learned.parts])
    bias = np.array([learned.bias.get(label, 0.0) for label in LABELS])
    fitted = predict(x, weights, bias, known, multi)
    for e, row, there in zip(made, fitted, known, strict=True):
        used = pool(LABELS, e.voices, learned, multi=multi)
        for label, p, counted in zip(LABELS, row, there, strict=True):
            if counted:
                assert used[label] == pytest.approx(p, abs=1e-9)


def test_several_labels_have_thresholds_of_their_own() -> None:
    dice, made = random.Random(6), []
    for number in range(2500):
        p = {"up": dice.uniform(0, 1), "still": dice.uniform(0, 0.3), "down": 0.01}
        made.append(Example(frozenset(label for label in p if dice.random() < p[label]), {"neural": p}, str(number)))
    task = MOOD.model_copy(update={"kind": "multi"})
    learned = learn(task, made[:1500], made[1500:])
    assert learned.parts == ["neural"] and 0.25 < learned.thresholds["up"] < 0.6 and learned.thresholds["still"] < 0.3
    rows = {name: figure for name, figure, _ in report(task, learned, examples_of(made), 0.1)}
    assert rows["neural, after"].macro_f1 > rows["neural, before"].macro_f1


def examples_of(made: list[Example]) -> list[Example]:
    return made[1500:]


def test_a_rare_label_gets_a_lower_threshold_where_that_pays() -> None:
    dice = np.random.default_rng(4)
    gold = (dice.random(3000) < 0.12).astype(int)  # the second label is rare, and its probability seldom the larger one
    p = 1 / (1 + np.exp(-(gold * 2.0 - 3.0 + dice.normal(0, 1, 3000))))
    chances, y = np.stack([1 - p, p], axis=1), np.eye(2)[gold]
    found = one_thresholds(["common", "rare"], chances, y)
    assert set(found) == {"rare"} and found["rare"] <= 0.6
    flat = np.full((3000, 2), 0.5)
    assert one_thresholds(["common", "rare"], flat, np.eye(2)[dice.integers(0, 2, 3000)]) == {}  # nothing to win
    assert one_thresholds(["common", "rare"], chances[:30], y[:30]) == {}


def test_figures() -> None:
    assert ece([(0.9, True)] * 9 + [(0.9, False)]) == pytest.approx(0)
    assert ece([(0.9, True), (0.9, False), (0.1, True)]) == pytest.approx((0.8 + 0.9) / 3)
    golds, chances = [frozenset(["up"]), frozenset(["down"])], [{"up": 0.6, "down": 0.4}, {"up": 0.8, "down": 0.2}]
    found = figures(golds, chances, LABELS, "single", {}, 0.5)
    assert (found.texts, found.accuracy) == (2, 0.5) and found.log_loss == pytest.approx(-(math.log(0.6) + math.log(0.2)) / 2)
    assert found.macro_f1 == pytest.approx((2 / 3 + 0) / 2)  # of up and down; nobody spoke of still
    several = figures([frozenset(), frozenset(["up"])], [{"up": 0.1}, {"up": 0.3}], LABELS, "multi", {"up": 0.2}, 0.5)
    assert several.accuracy == 1.0 and macro_f1([], [], LABELS) == 0.0


def test_a_group_is_never_split() -> None:
    made = [Example(frozenset(["up"]), {}, f"story-{n // 4}") for n in range(800)]
    parts = deal(made, (0.5, 0.25, 0.25))
    groups = [{e.group for e in part} for part in parts]
    assert sum(map(len, parts)) == 800 and not groups[0] & groups[1] and not groups[1] & groups[2] and not groups[0] & groups[2]
    assert [len(part) / 800 for part in parts] == pytest.approx([0.5, 0.25, 0.25], abs=0.08)
    assert hear(Example(frozenset(), {"llm": {"up": 1.0}, "neural": {"up": 0.5}}), ["neural"]) == {"neural": {"up": 0.5}}


@pytest.fixture
def desk(tmp_path: Path):
    (tmp_path / "feedloop.yaml").write_text(DECLARED)
    yield tmp_path
    use(None)


def rows(path: Path, n: int = 200) -> Path:
    lines = []
    for number, e in enumerate(examples(n)):
        gold, parts = next(iter(e.gold)), {part: dict(said) for part, said in e.voices.items()}
        lines.append({"task": "mood", "gold": gold, "parts": parts})
        lines.append({"task": "rank", "gold": gold, "group": f"g{number}", "parts": {"llm": {max(parts["llm"], key=parts["llm"].get): 0.6}}})
        lines.append({"task": "tags", "gold": [gold] if number % 2 else [], "parts": {"neural": parts["neural"], "llm": {}}})
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def test_from_rows_to_a_file_that_the_classifier_takes(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    use(desk / "feedloop.yaml")
    out = desk / "fusion" / "desk.json"
    given = ["--rows", str(rows(desk / "said.jsonl")), "--collection", "desk", "--out", str(out), "--learned-with", "neural=abc"]
    table = run(arguments(given))
    said = capsys.readouterr().out
    assert "mood: " in said and "llm + neural, after" in said and "ECE" in said and "unsure" in said
    assert {row["task"] for row in table} == {"mood", "rank", "tags"} and len(table) == 6 + 2 + 2
    fusions = Fusions(out.parent)
    assert fusions.problem == ""
    file = fusions.of("desk")
    assert file and file.learned_with == {"neural": "abc"} and fusions.digests() == {"desk": file.digest} and not file.until_taught
    run(arguments([*given, "--until-taught"]))
    assert fusions.refresh() and (kept := fusions.of("desk")) and kept.until_taught and kept.tasks == file.tasks
    assert file.tasks["rank"].parts == ["llm"] and file.tasks["tags"].parts == ["neural"]
    assert set(file.tasks["mood"].scores) == {"llm", "neural", "llm+neural"}
    with_test = run(arguments([*given, "--test", str(rows(desk / "other.jsonl", 100))]))
    assert next(row["texts"] for row in with_test if row["task"] == "mood") == 100


def test_the_same_rows_give_the_same_bytes_in_any_process(desk: Path) -> None:
    said, made = rows(desk / "said.jsonl", 200), []
    for seed in ("1", "2"):
        argv = ["--rows", str(said), "--collection", "desk", "--labels", str(desk / "feedloop.yaml"), "--out", str(desk / f"{seed}.json")]
        argv += ["--report", str(desk / f"{seed}-report.json")]
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, "-m", "services.trainer.runs.fit_fusion", *argv], cwd=desk, env=env, capture_output=True, text=True, timeout=250
        )
        assert done.returncode == 0, done.stderr
        made.append((desk / f"{seed}.json").read_bytes())
        assert len(json.loads((desk / f"{seed}-report.json").read_text())) == 10
    assert made[0] == made[1] and FusionFile.parse("x", made[0])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "said.jsonl line 1: "),
        ("[]", "line 1: "),
        ('{"task": "mood", "parts": {}}', "it has no 'gold'"),
        ('{"task": "moods", "gold": "up", "parts": {}}', "no task 'moods' in collection 'desk'"),
        ('{"task": "moods", "gold": [], "parts": {}}', "no task 'moods' in collection 'desk'"),
        ('{"task": "mood", "gold": "sideways", "parts": {}}', "no label 'sideways' in task 'mood'"),
        ('{"task": "mood", "gold": ["up", "down"], "parts": {}}', "takes one label, and gold holds 2"),
        ('{"task": "mood", "gold": "up", "parts": {}}', "no part said anything"),
        ('{"task": "mood", "gold": "up", "parts": {"oracle": {"up": 1}}}', "'oracle' does not answer task 'mood': its parts are llm, neural"),
        ('{"task": "mood", "gold": "up", "parts": {"llm": {"gay": 1}}}', "llm speaks of 'gay'"),
        ('{"task": "mood", "gold": "up", "parts": {"llm": {"up": 1.2}}}', "1.2, which is no probability"),
        ('{"task": "mood", "gold": "up", "parts": {"llm": {"up": NaN}}}', "nan, which is no probability"),
    ],
)
def test_a_row_that_is_wrong_is_named(desk: Path, line: str, said: str) -> None:
    use(desk / "feedloop.yaml")
    (desk / "said.jsonl").write_text(line + "\n")
    with pytest.raises(ConfigError) as caught:
        read_rows(desk / "said.jsonl", label_set("desk"))
    assert said in str(caught.value)


def test_too_little_writes_nothing(desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["fit_fusion", "--rows", str(rows(desk / "said.jsonl", 20)), "--collection", "desk", "--out", str(desk / "desk.json")]
    monkeypatch.setattr(sys, "argv", argv)
    with pytest.raises(SystemExit, match="there is no label set 'desk'"):
        fit_fusion.main()
    monkeypatch.setattr(sys, "argv", [*argv, "--labels", str(desk / "feedloop.yaml")])
    with pytest.raises(SystemExit, match="no task has enough texts"):
        fit_fusion.main()
    assert "mood: left out: 0 texts to fit on" in capsys.readouterr().out and not (desk / "desk.json").exists()
