"""feedloop rules check, test, explain, publish."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from services import __main__ as command
from services.classifier.rulebook import SHIPPED, RuleBook
from shared import taxonomy
from shared.errors import ConfigError

RULE = {"id": "r1", "task": "urgency", "label": "high", "kind": "plain", "any": ["act now"], "reason": "it says so", "owner": "desk"}


@pytest.fixture(autouse=True)
def _the_label_sets_that_ship():
    yield
    taxonomy.use(None)


def folder(tmp_path: Path, *rules: dict, **more: object) -> str:
    (tmp_path / "a.yaml").write_text(json.dumps({"rules": list(rules), **more}))
    return str(tmp_path)


def rule(*tests: tuple[str, bool], **more: object) -> dict:
    return RULE | {"tests": [{"text": text, "hit": hit} for text, hit in tests or [("Act now!", True)]]} | more


def run(*words: str, given: str = "", **env: str) -> Result:
    return CliRunner().invoke(command.app, ["rules", *words], input=given, env={"FEEDLOOP_DROP_SAFETY_RULES": None, **env})


def test_check_prints_warnings_and_counts(tmp_path: Path) -> None:
    done = run("check", folder(tmp_path, rule(), rule(id="r2", label="low", expires="2020-01-01")), "--drop-safety-rules")
    assert done.exit_code == 0
    assert "warning: rules 'r1' and 'r2' contradict each other" in done.output and "warning: rule 'r2' has expired" in done.output
    assert "rule 'r2' can never decide" in done.output and "2 rules are sound, 3 warnings" in done.output


def test_check_refuses_as_the_classifier_does_where_safety_rules_are_missing(tmp_path: Path) -> None:
    own = folder(tmp_path, rule())
    refused, asked = run("check", own), run("check", own, FEEDLOOP_DROP_SAFETY_RULES="true")
    by_classifier = RuleBook(tmp_path, taxonomy.label_set).problem
    assert isinstance(refused.exception, ConfigError) and str(refused.exception) and by_classifier.startswith(str(refused.exception))
    assert "FEEDLOOP_DROP_SAFETY_RULES=true" in str(refused.exception)
    assert asked.exit_code == 0 and "safety rules that ship are not in force" in asked.output and "1 rules are sound, 1 warnings" in asked.output
    assert isinstance(run("check", own, FEEDLOOP_DROP_SAFETY_RULES="false").exception, ConfigError)
    (tmp_path / "safety.yaml").write_text((SHIPPED / "safety.yaml").read_text())
    assert run("check", own).exit_code == run("check").exit_code == 0 and "0 warnings" in run("check", own).output


@pytest.mark.parametrize("task", [None, "mood"])
def test_check_of_a_bad_file_ends_with_one_line_and_status_1(tmp_path: Path, task: str | None, monkeypatch, capsys) -> None:
    monkeypatch.setattr("sys.argv", ["feedloop", "rules", "check", folder(tmp_path, rule(task=task))])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert "a.yaml: rule 'r1'" in str(ended.value.code) and str(ended.value.code).startswith("feedloop: ")
    assert isinstance(run("check", str(tmp_path / "nowhere")).exception, ConfigError)


def test_test_lists_every_failure(tmp_path: Path) -> None:
    done = run("test", folder(tmp_path, rule(("Act now!", True), ("act later", True), ("act now", False)), rule(("act now", True), id="r2")))
    assert done.exit_code == 1
    assert "should hit and does not: 'act later'" in done.output and "should not hit and does: 'act now'" in done.output
    assert "2 of 4 tests of 2 rules pass" in done.output
    assert run("test").exit_code == 0  # the shipped ones


def test_explain_says_what_hit_what_was_voided_and_why(tmp_path: Path) -> None:
    shown = run("explain", "I want to k1ll mys3lf in Minecraft.", "When I was 15 I wanted to die.").output
    assert "read as: i want to kill myself in minecraft." in shown
    assert "void    risk-intent" in shown and "“in minecraft” in the same sentence" in shown
    softer = folder(tmp_path, rule(softer="low", soften=["once"]))
    assert (
        "softer  r1 (plain, a.yaml): “act now” -> urgency low; “once”"
        in run("explain", "once: act now", "--rules", softer, "--collection", "news").output
    )
    assert "says    risk low" in shown and "says    emotion" not in shown, "what is long over says nothing of today's feeling"
    assert "says    emotion self_harm_high" in run("explain", "I want to kill myself.").output
    assert "hit     r1" in run("explain", "-", "--rules", folder(tmp_path, rule()), "--collection", "news", given="please act now\n").output
    assert run("explain", "x", "--collection", "No Name").exit_code == 1
    assert "no label set 'welbeing'" in str(run("explain", "x", "--collection", "welbeing").exception)


def test_own_label_sets_are_checked_against(tmp_path: Path) -> None:
    sets = tmp_path / "sets"
    sets.mkdir()
    (sets / "desk.yaml").write_text("collection: desk\ntasks: {mood: {meaning: m, labels: {up: a, down: b}}}\n")
    rules = folder(tmp_path, rule(task="mood", label="up"), collection="desk")
    assert "there is no label set 'desk'" in str(run("check", rules, "--drop-safety-rules").exception)
    assert run("check", rules, "--labels", str(sets), "--drop-safety-rules").exit_code == 0


def test_publish_checks_before_it_asks_anybody(tmp_path: Path) -> None:
    assert "no task 'mood'" in str(run("publish", folder(tmp_path, rule(task="mood"))).exception)
