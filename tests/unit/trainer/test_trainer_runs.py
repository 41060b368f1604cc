"""One run: a program that trains, the gate, the registry; and what is told when it goes wrong."""

import json
import time
from pathlib import Path

import pytest

from services.trainer.dataset import effective, snapshot
from services.trainer.run import Runs
from shared.errors import PermanentError
from shared.events import TrainingRequested
from shared.registry import Registry


@pytest.fixture
def request_for(said, store, bus):
    """request_for(run_id, candidate): a request on four corrections."""

    def make(run_id: str = "run1", candidate: str = "") -> TrainingRequested:
        whole = snapshot(effective([said(str(n), f"text {n}") for n in range(4)]), role="adapter", base="tiny-base", share=0.3, recipe={"epochs": 1})
        ref = store.put(whole.model_dump_json().encode(), ".json")
        return TrainingRequested(run_id=run_id, manifest=ref, candidate_uri=candidate, examples=4, reason="asked", requested_at=bus.clock())

    return make


async def carry_out(runs: Runs, request: TrainingRequested, incumbent: str = "base"):
    told = []

    async def tell(progress):
        told.append(progress)

    return await runs.carry_out(request, incumbent, tell), told


async def test_what_passes_is_published_with_its_report_and_probes(runs, store, program, judgement, request_for):
    lines = "".join(json.dumps({"phase": "training", "step": n, "steps": 3, "loss": 1.0 / n}) + "\n" for n in (1, 2, 3))
    program.does(judgement=judgement(), weights=b"weights", out=lines)
    result, told = await carry_out(runs, request_for())
    assert (result.finished.outcome, result.published.previous, result.published.reason) == ("published", "base", "asked")
    assert result.published.report.passed and result.published.probes[0].answer == "economy"
    assert (
        Registry(store, runs.registry.cache).fetch("adapter", result.published.digest).joinpath("adapter_model.safetensors").read_bytes()
        == b"weights"
    )
    assert runs.record_of("adapter", result.published.digest) == result.published
    assert [(p.phase, p.step) for p in told] == [("training", 1), ("training", 3), ("publishing", 0)]  # a line a second at most, and the last


async def test_the_result_is_known_after_a_crash(runs, program, request_for):
    result, _ = await carry_out(runs, request_for())
    again = Runs(runs.settings, runs.store, runs.registry, runs.base, runs.clock)
    assert again.known("run1") == result
    assert again.known("another") is None


async def test_a_refused_candidate_leaves_nothing_in_the_registry(runs, store, program, judgement, request_for):
    program.does(judgement=judgement(better=False), weights=b"bad")
    result, _ = await carry_out(runs, request_for())
    assert (result.finished.outcome, result.published) == ("refused", None)
    assert "better than what is live" in result.finished.reason and result.finished.report.refused_because == result.finished.reason
    assert list(store.names("models")) == [] and list(store.names("published")) == []
    assert runs.known("run1") == result  # judged, for good


async def test_a_program_that_fails_is_a_result_with_its_last_words(runs, program, request_for):
    program.does(err="".join(f"line {n}\n" for n in range(50)) + "RuntimeError: no room\n", code=3)
    result, _ = await carry_out(runs, request_for())
    assert result.finished.outcome == "failed"
    assert result.finished.reason.startswith("the run ended with 3:") and result.finished.reason.endswith("RuntimeError: no room")
    assert runs.known("run1") is None  # it may be tried again


async def test_a_program_that_takes_too_long_is_ended(runs, program, request_for):
    runs.settings = runs.settings.model_copy(update={"run_limit_s": 0.4})
    program.does(wait=30)
    began = time.monotonic()
    result, _ = await carry_out(runs, request_for())
    assert result.finished.outcome == "failed" and "took longer than" in result.finished.reason
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("out", ["not json\n", '{"phase": "dancing", "step": 0, "steps": 0}\n', "[]\n", '{"step": 1}\n', "7\n"])
async def test_nonsense_from_the_program_is_a_failed_run(runs, program, request_for, out):
    program.does(out=out, judgement=None)
    result, _ = await carry_out(runs, request_for())
    assert result.finished.outcome == "failed" and result.finished.reason


async def test_a_judgement_without_its_parts_is_a_failed_run(runs, program, request_for):
    program.does(judgement={"finite": True})
    result, _ = await carry_out(runs, request_for())
    assert result.finished.outcome == "failed" and "held_out" in result.finished.reason


async def test_a_dataset_that_is_gone_or_changed_is_a_failed_run(runs, store, program, request_for):
    request = request_for()
    store.write(request.manifest.uri, b"{}")
    assert "SHA-256" in (await carry_out(runs, request))[0].finished.reason
    nothing = request.model_copy(update={"manifest": None, "run_id": "run2"})
    assert (await carry_out(runs, nothing))[0].finished.reason == "the request names no dataset"
    assert program.starts() == []


async def test_incumbent_and_candidate_are_handed_over_by_path(runs, program, request_for, tmp_path):
    folder = tmp_path / "offered"
    folder.mkdir()
    (folder / "adapter_config.json").write_text("{}")
    live, offered = (runs.registry.publish(folder, role, "tiny-base") for role in ("adapter", "candidate"))
    result, _ = await carry_out(runs, request_for(candidate=offered.digest), live.digest)
    assert result.published.previous == live.digest
    words = program.starts()[0].split()
    assert words[:2] == ["-m", "services.trainer.runs.train_adapter"]
    for flag, digest in (("--incumbent", live.digest), ("--candidate", offered.digest)):
        assert Path(words[words.index(flag) + 1]).name == digest
    missing, _ = await carry_out(runs, request_for("run2"), "f" * 64)
    assert missing.finished.outcome == "failed" and "has no models/adapter/" in missing.finished.reason


async def test_a_label_set_that_was_taught_and_of_which_nothing_is_held_out_is_named(runs, program, judgement, store, said, bus, tmp_path):
    items = [said(str(n), f"text {n}", "neutral", task="sentiment", collection="wellbeing") for n in range(4)]
    whole = snapshot(effective(items), role="adapter", base="tiny-base", share=0.0, recipe={"epochs": 1})
    ref = store.put(whole.model_dump_json().encode(), ".json")
    program.does(judgement=judgement(), weights=b"weights")
    asked = {"manifest": ref, "examples": 4, "reason": "asked", "requested_at": bus.clock()}
    result, _ = await carry_out(runs, TrainingRequested(run_id="run1", **asked))
    [told] = [check.detail for check in result.finished.report.checks if check.name == "no label set pays for it"]
    assert "wellbeing: 4 taught and none held out" in told
    program.does(judgement=judgement(), weights=b"weights")
    (tmp_path / "offered").mkdir()
    (tmp_path / "offered" / "adapter_model.safetensors").write_bytes(b"weights")
    offered = runs.registry.publish(tmp_path / "offered", "candidate", runs.base).digest
    result, _ = await carry_out(runs, TrainingRequested(run_id="run2", candidate_uri=offered, **asked))
    assert "taught" not in str(result.finished.report)  # what is offered was made elsewhere


async def test_the_program_gets_the_label_sets_of_the_user(runs, program, request_for, tmp_path):
    await carry_out(runs, request_for())
    runs.settings = runs.settings.model_copy(update={"labels": tmp_path / "feedloop.yaml"})
    await carry_out(runs, request_for("run2"))
    without, given = (start.split() for start in program.starts())
    assert "--labels" not in without and given[given.index("--labels") + 1] == str(tmp_path / "feedloop.yaml")


def test_a_record_that_never_was_is_named(runs):
    with pytest.raises(PermanentError, match=r"has no published/adapter/abc\.json"):
        runs.record_of("adapter", "abc")
