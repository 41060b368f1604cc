import json

import pytest

from services.classifier.rules import RuleSet
from shared.taxonomy import label_set
from tests.bench.classifier.odds import hits, likeliest_odds


def test_the_odds_are_those_that_make_the_labels_likeliest() -> None:
    # where the head says one in five and four in five are right, the odds are 4 / (1 / 4) = 16; with many texts the prior does not count
    assert likeliest_odds([0.2] * 1000, [True] * 800 + [False] * 200) == pytest.approx(16, rel=0.05)
    assert likeliest_odds([0.8] * 1000, [True] * 800 + [False] * 200) == pytest.approx(1, rel=0.05)
    assert 3 < likeliest_odds([0.5], [True]) < 8, "one text hardly moves the prior"


def test_hits_are_those_on_the_rows_own_task_with_what_the_head_said() -> None:
    rule = {"id": "r", "task": "risk", "label": "high", "kind": "plain", "any": ["no way out"], "reason": "x", "owner": "o",
            "implies": {"stress": "high"}, "tests": [{"text": "no way out", "hit": True}]}  # fmt: skip
    rules = RuleSet([("own.yaml", json.dumps({"collection": "wellbeing", "rules": [rule]}).encode())], label_set)
    rows = [
        {"task": "risk", "gold": "high", "text": "There is no way out", "parts": {"neural": {"none": 0.5, "low": 0.2, "high": 0.3}}},
        {"task": "risk", "gold": "none", "text": "No way out of this car park", "parts": {"neural": {"none": 0.9, "low": 0.1}}},
        {"task": "stress", "gold": "high", "text": "There is no way out", "parts": {"neural": {"none": 0.1, "low": 0.1, "high": 0.8}}},
        {"task": "risk", "gold": "none", "text": "Nothing", "parts": {"neural": {"none": 1.0}}},
    ]
    found = hits(rows, rules, "wellbeing")
    each = {("risk", "high", "plain"): [(0.3, True), (0.0, False)], ("stress", "high", "plain"): [(0.8, True)]}
    assert found == {(*said, name): one for said, one in each.items() for name in ("r", "all")}
    twice = RuleSet([("own.yaml", json.dumps({"collection": "wellbeing", "rules": [rule, {**rule, "id": "s"}]}).encode())], label_set)
    assert {key: len(one) for key, one in hits(rows[:1], twice, "wellbeing").items()} == {
        ("risk", "high", "plain", name): 1 for name in ("r", "s", "all")
    }, "a text that two rules hit is one text"
