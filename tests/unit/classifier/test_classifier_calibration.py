"""The learned weights in force: which are used for a decision, and what a bad file does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from classifier_samples import RULES, enriched, ingested

from services.classifier.calibration import Fusions
from services.classifier.decide import Decider, Neural
from services.classifier.overlay import Overlay
from services.classifier.rulebook import RuleBook
from shared.events import ModelStamp
from shared.pooling import FusionFile, TaskFusion
from shared.taxonomy import label_set

ROOT = Path(__file__).parents[3]
LEARNED = TaskFusion(
    parts=["llm", "neural"], temperatures={"llm": 1.7}, others={"llm": 0.1, "neural": 1.3}, scores={name: [n / 40 for n in range(40)]
    for name in ("llm", "neural", "llm+neural")}
)  # fmt: skip
NEURAL = Neural({"category": {"technology": 0.8, "business": 0.2}, "sentiment": {"neutral": 0.7, "negative": 0.3}}, "head-1")
VERDICT = {"category": ("business", 0.7), "sentiment": ("neutral", 0.6), "urgency": ("normal", 0.5)}


def write(folder: Path, collection: str = "news", name: str = "", **learned_with: str) -> FusionFile:
    file = FusionFile(collection=collection, learned_with=learned_with, tasks={"category": LEARNED}).signed()
    folder.mkdir(exist_ok=True)
    (folder / (name or f"{collection}.json")).write_text(file.model_dump_json())
    return file


def decider(folder: Path) -> Decider:
    return Decider(RuleBook(RULES, label_set), Overlay(), label_set, Fusions(folder))


def test_a_decision_rests_on_the_weights_of_its_collection_and_says_so(tmp_path: Path) -> None:
    file = write(tmp_path, neural="head-1", llm="base")
    document = enriched(ingested(), VERDICT)
    learned, by_hand = decider(tmp_path).document(document, NEURAL), decider(tmp_path / "none").document(document, NEURAL)
    assert (learned.decision["category"].label, by_hand.decision["category"].label) == ("technology", "business")
    assert (learned.fusion_digest, by_hand.fusion_digest) == (file.digest, "")
    assert not any("calibrated" in reason for reason in learned.decision["category"].reasons)
    assert "uncalibrated: the weights of the parts were set by hand" in learned.decision["sentiment"].reasons  # the file is silent on it
    elsewhere = decider(tmp_path).text("", "I went to the store", "wellbeing", Neural())
    assert elsewhere.fusion_digest == "" and elsewhere.decision["risk"].label == "none"


def test_weights_that_were_learned_with_another_head_are_used_and_said(tmp_path: Path) -> None:
    write(tmp_path, neural="head-0", llm="base")
    decision = decider(tmp_path).document(enriched(ingested(), VERDICT), NEURAL).decision["category"]
    assert "calibrated on other weights of the neural head than those that spoke" in decision.reasons
    assert not any("language model than" in reason for reason in decision.reasons)


@pytest.mark.parametrize("weights, learned", [(11_000_000, True), (70_000_000_000, False), (0, False)], ids=["small", "large", "unknown"])
def test_what_was_learned_of_one_language_model_does_not_silence_a_large_one(tmp_path: Path, weights: int, learned: bool) -> None:
    write(tmp_path, base="model-1", neural=NEURAL.digest)
    document = enriched(ingested(), VERDICT)
    same, another = (document.model_copy(update={"model": ModelStamp(base=base, weights=weights)}) for base in ("model-1", "model-2"))
    reasons = decider(tmp_path).document(same, NEURAL).decision["category"].reasons
    assert not any("calibrated" in reason for reason in reasons), "what spoke is what was learned from, whatever its size"
    decision = decider(tmp_path).document(another, NEURAL).decision["category"]
    assert ("calibrated on other weights of the language model than those that spoke" in decision.reasons) == learned
    assert ("uncalibrated: the weights of the parts were set by hand" in decision.reasons) != learned
    assert decision.label == ("technology" if learned else "business"), "the large model's own answer"


def test_what_was_learned_before_the_corrections_is_not_used_after_them(tmp_path: Path) -> None:
    learned_with = {"base": "model-1", "llm": "base", "neural": NEURAL.digest}
    file = FusionFile(collection="news", learned_with=learned_with, until_taught=True, tasks={"category": LEARNED}).signed()
    (tmp_path / "news.json").write_text(file.model_dump_json())
    assert Fusions(tmp_path).of("news") == file, "the flag is part of what is signed"
    document = enriched(ingested(), VERDICT)
    for taught, label in (([], "technology"), (["desk"], "technology"), (["news"], "business")):
        model = ModelStamp(base="model-1", weights=11_000_000, adapter="c0ffee" if taught else "base", taught=taught)
        decision = decider(tmp_path).document(document.model_copy(update={"model": model}), NEURAL).decision["category"]
        assert decision.label == label
        assert ("uncalibrated: the weights of the parts were set by hand" in decision.reasons) == (taught == ["news"])
        assert ("calibrated on other weights of the language model than those that spoke" in decision.reasons) == (taught == ["desk"])
    unflagged = file.model_copy(update={"until_taught": False}).signed()
    assert unflagged.digest != file.digest
    (tmp_path / "news.json").write_text(file.model_dump_json().replace('"until_taught":true', '"until_taught":false'))
    assert "damaged or was edited by hand" in Fusions(tmp_path).problem


def test_a_file_is_read_again_when_it_changes_and_a_bad_one_leaves_the_old(tmp_path: Path) -> None:
    fusions = Fusions(tmp_path)
    assert (fusions.of("news"), fusions.problem, fusions.refresh()) == (None, "", False)
    first = write(tmp_path)
    assert fusions.refresh() and fusions.of("news") == first and not fusions.refresh()
    (tmp_path / "news.json").write_text(first.model_dump_json().replace("1.7", "2.7"))
    assert not fusions.refresh() and fusions.of("news") == first
    assert fusions.problem == (
        "news.json: it is damaged or was edited by hand: make it anew with services.trainer.runs.fit_fusion; the weights of before stay in force"
    )
    write(tmp_path, "desk", name="other.json")
    assert not fusions.refresh() and "other.json: it holds the weights of the collection 'desk'; uncalibrated" in fusions.problem
    (tmp_path / "other.json").unlink()
    second = write(tmp_path, llm="base")
    assert fusions.refresh() and fusions.of("news") == second and fusions.problem == ""
    (tmp_path / "news.json").unlink()
    assert fusions.refresh() and fusions.of("news") is None and fusions.digests() == {}


SCRIPT = """
import sys
sys.path[:0] = [{root!r}, {here!r}]
from pathlib import Path
from test_classifier_calibration import NEURAL, VERDICT, decider
from classifier_samples import enriched, feedback, ingested
from services.classifier.overlay import Overlay
judge = decider(Path({folder!r}))
for n, label in enumerate(["business", "science"]):
    judge.overlay.remember(feedback(f"f{{n}}", label, n, document_id=f"d{{n}}", title="Router maker ships firmware", text=ingested().text))
text = "CVE-2026-1234 is actively exploited. I want to kill myself, and I am dying to see it."
for document in (ingested(), enriched(ingested(), VERDICT), enriched(ingested("doc-2", text=text), VERDICT)):
    print(judge.document(document, NEURAL).model_dump_json())
"""


def test_a_replay_gives_the_same_bytes_in_any_process(tmp_path: Path) -> None:
    write(tmp_path, neural="head-1")
    script = SCRIPT.format(root=str(ROOT), here=str(Path(__file__).parent), folder=str(tmp_path))
    said = []
    for seed in ("0", "1", "77"):
        env = {**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"}
        done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, timeout=250)
        assert done.returncode == 0, done.stderr
        said.append("".join(line for line in done.stdout.splitlines(keepends=True) if line.startswith("{")))  # the rest is the log
    assert said[0].count("\n") == 3 and "self_harm" not in said[0] and '"possible"' in said[0]
    assert len(set(said)) == 1


@pytest.mark.skipif(not (ROOT / "deploy" / "model" / "fusion").exists(), reason="no weights ship yet")
def test_what_ships_is_sound() -> None:
    fusions = Fusions(ROOT / "deploy" / "model" / "fusion")
    assert fusions.problem == ""
    for collection in fusions.digests():
        file, labels = fusions.of(collection), label_set(collection)
        assert file and labels.collection == collection and file.learned_with
        for name, learned in file.tasks.items():
            assert set(learned.bias) | {label for part in learned.weights.values() for label in part} <= set(labels.tasks[name].labels)
            assert learned.rows["fitted"] >= 40 and learned.scores
