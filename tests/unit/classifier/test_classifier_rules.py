import os
import time
from pathlib import Path

import pytest
import yaml
from classifier_samples import RULES

from services.classifier.matching import Phrases, fold
from services.classifier.rulebook import RuleBook
from services.classifier.rules import RuleSet
from shared.errors import ConfigError
from shared.taxonomy import label_set

NEWS = label_set("news")


def rule(**changes: object) -> dict:
    given = {
        "id": "r1",
        "task": "urgency",
        "label": "high",
        "kind": "plain",
        "any": ["act now"],
        "reason": "it says so",
        "owner": "desk",
        "tests": [{"text": "Act now!", "hit": True}],
    }
    return {name: value for name, value in (given | changes).items() if value is not None}


def ruleset(*rules: dict) -> RuleSet:
    return RuleSet([("test.yaml", yaml.safe_dump({"rules": list(rules)}).encode())], label_set)


def risk(rulebook: RuleBook, text: str) -> str:
    labels = {hit.rule.label for hit in rulebook.rules.hits("", text, NEWS) if hit.rule.task == "risk"}
    return "high" if "high" in labels else "low" if labels else "none"


def test_every_shipped_rule_has_a_test_that_hits_and_one_that_does_not_and_none_decides_category() -> None:
    shipped = [rule for path in RULES.glob("*.yaml") for rule in yaml.safe_load(path.read_text())["rules"]]
    assert len(shipped) >= 7
    for one in shipped:
        assert {test["hit"] for test in one["tests"]} == {True, False}, one["id"]
        assert one["task"] != "category"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("I want to kill myself", "high"),
        ("i dont want to live anymore 😔", "high"),
        ("I DON’T WANT TO\nLIVE ANYMORE", "high"),
        ("I can't promise that I won't hurt myself", "high"),
        ("I don't know whether I want to kill myself", "high"),
        ("He left me, and I am going to end it tonight.", "high"),
        ('I told them "I want to die" and they laughed at me', "high"),
        ("I can't go on", "low"),
        ("I feel hopeless and so tired", "low"),
        ("I'm not going to kill myself", "none"),
        ("I would never ever kill myself", "none"),
        ("I won't kill myself over it", "none"),
        ("I was killing myself laughing", "none"),
        ("I'm dying to see the new film, killing time until then", "none"),
        ("I shot myself in the foot again", "none"),
        ("Suicide prevention week begins; the ministry reports fewer suicides.", "none"),
        ("The novel ends when the soldier says “I want to die” and closes the door.", "none"),
        ("A man told police he wanted to take his own life.", "none"),
        ("The peace talks cannot go on, the envoy said.", "none"),
        ("I skill myself up", "none"),
    ],
)
def test_risk(rulebook: RuleBook, text: str, wanted: str) -> None:
    assert risk(rulebook, text) == wanted


def test_a_negation_reaches_its_own_clause_alone(rulebook: RuleBook) -> None:
    assert risk(rulebook, "I won't come tomorrow. I want to kill myself") == "high"
    assert risk(rulebook, "I will not, I want to die") == "high"


@pytest.mark.parametrize("filler", ["I wont kill myself ", 'i i i "said ', "not a day passes ", "i am not cutting myself "])
def test_a_long_text_without_full_stops_is_read_quickly(rulebook: RuleBook, filler: str) -> None:
    began = time.process_time()
    rulebook.rules.hits("", filler * 2000, NEWS)
    assert time.process_time() - began < 1.0
    assert risk(rulebook, filler * 20 + "… I want to die") == "high"


def test_exploited_vulnerability_is_urgent(rulebook: RuleBook) -> None:
    hits = rulebook.rules.hits("CVE-2026-10441 patched", "The flaw is actively exploited.", NEWS)
    assert [(hit.rule.task, hit.rule.label) for hit in hits] == [("urgency", "high")]
    assert "cve-2026-10441" in hits[0].reason()
    assert rulebook.rules.hits("CVE-2026-10441 patched", "Nobody exploits it.", NEWS) == []


def test_phrases_are_found_inside_longer_ones_and_at_word_boundaries() -> None:
    phrases = Phrases(["act", "act now", "act now or", "now"])
    assert phrases.find("act now or never, react") == [("act", 0), ("act now", 0), ("act now or", 0), ("now", 4)]
    assert phrases.find("actor") == []
    assert Phrases([]).find("anything") == []


def test_folding() -> None:
    assert fold("I DON’T\n know\n\n\n“Now”") == 'i dont know\n"now"'


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"label": "extreme"}, "no label 'extreme' in task 'urgency'"),
        ({"task": "mood"}, "no task 'mood'"),
        ({"kind": "block"}, "safety tasks"),
        ({"kind": "forbid"}, "kind"),
        ({"pattern": "(act"}, "not a regular expression"),
        ({"pattern": "x*"}, "empty text"),
        ({"any": None}, "can never hit"),
        ({"any": [" "]}, "match everywhere"),
        ({"reason": None}, "reason"),
        ({"negations": [False]}, "negations"),
        ({"colour": "red"}, "colour"),
        ({"tests": []}, "tests"),
        ({"tests": [{"text": "Act later", "hit": True}]}, "should hit and does not"),
        ({"tests": [{"text": "act now", "hit": False}]}, "should not hit and does"),
    ],
)
def test_a_bad_rule_refuses_the_file_by_name(changes: dict, says: str) -> None:
    good = rule(id="good", any=["stop"], tests=[{"text": "stop", "hit": True}])
    with pytest.raises(ConfigError, match="r1") as refused:
        ruleset(good, rule(**changes))
    assert says in str(refused.value)


def test_two_rules_of_one_name_and_broken_yaml_are_refused() -> None:
    with pytest.raises(ConfigError, match="another rule has this id"):
        ruleset(rule(), rule())
    with pytest.raises(ConfigError, match=r"bad\.yaml: not readable as YAML"):
        RuleSet([("bad.yaml", b"rules: [")], label_set)
    with pytest.raises(ConfigError, match="rule number 1"):
        RuleSet([("bad.yaml", b"rules: [hello]")], label_set)


def test_a_bad_edit_keeps_the_old_rules_and_says_so(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"

    def save(text: str, mtime: int) -> None:
        file.write_text(text)
        os.utime(file, (mtime, mtime))

    save(yaml.safe_dump({"rules": [rule()]}), 1)
    book = RuleBook(tmp_path, label_set)
    first = book.rules
    assert not book.refresh()
    save(yaml.safe_dump({"rules": [rule(label="extreme")]}), 2)
    assert not book.refresh()
    assert book.rules is first
    assert "'r1'" in book.problem and "stay in force" in book.problem
    save(yaml.safe_dump({"rules": [rule(any=["act now", "hurry"])]}), 3)
    assert book.refresh()
    assert book.problem == "" and book.rules.digest != first.digest
    assert book.rules.hits("", "Hurry up", NEWS)
    file.unlink()
    assert not book.refresh()
    assert "no rule files" in book.problem and len(book.rules) == 1


def test_a_rule_of_another_collection_stays_out() -> None:
    rules = RuleSet([("w.yaml", yaml.safe_dump({"collection": "wire", "rules": [rule()]}).encode())], label_set)
    assert rules.hits("", "act now", NEWS) == []
    assert rules.hits("", "act now", NEWS.model_copy(update={"collection": "wire"}))
