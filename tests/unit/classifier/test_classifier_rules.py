"""Rule files: what they mean, what is refused, what is warned of."""

import json
import time
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from classifier_samples import RULES

from services.classifier.rule_files import MOST_BYTES, check_size, read_files
from services.classifier.rules import Hit, RuleSet
from services.classifier.scope import sentence
from shared.errors import ConfigError
from shared.taxonomy import label_set, use

NEWS, WELLBEING = label_set("news"), label_set("wellbeing")
WIRE = NEWS.model_copy(update={"collection": "wire"})


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


def risk(id: str = "risk", **changes: object) -> dict:
    return rule(id=id, **{"task": "risk", "kind": "block", "any": ["doom"], "tests": [{"text": "doom", "hit": True}]} | changes)


def ruleset(*rules: dict, clock=lambda: datetime(2026, 11, 20, 8, tzinfo=UTC), **more: object) -> RuleSet:
    return RuleSet([("test.yaml", json.dumps({"rules": list(rules), **more}).encode())], label_set, clock)  # JSON is YAML


def said(hits: list[Hit]) -> list[tuple[str, str, str]]:
    return [(hit.rule.id, hit.rule.task, hit.rule.label) for hit in hits]


def test_every_shipped_rule_has_a_test_that_hits_and_one_that_does_not_and_none_decides_category() -> None:
    shipped = [rule for path in RULES.glob("*.yaml") for rule in yaml.safe_load(path.read_text())["rules"]]
    assert len(shipped) >= 20
    for one in shipped:
        assert {test["hit"] for test in one["tests"]} == {True, False}, one["id"]
        assert one["task"] != "category"


def test_exploited_vulnerability_is_urgent(rulebook) -> None:
    hits = rulebook.rules.hits("CVE-2026-10441 patched", "The flaw is actively exploited.", NEWS)
    assert [(hit.rule.task, hit.rule.label) for hit in hits] == [("urgency", "high")]
    assert "“CVE-2026-10441”" in hits[0].reason()
    assert rulebook.rules.hits("CVE-2026-10441 patched", "Nobody exploits it.", NEWS) == []


def test_a_hit_says_where_its_words_stand() -> None:
    rules = ruleset(rule(any=["act now", "hurry up"]))
    [hit] = rules.hits("Please, «Act\n  NOW»!", "else", NEWS)
    [span] = hit.spans
    assert (span.field, span.words) == ("title", "Act NOW") and "Please, «Act\n  NOW»!"[span.start : span.end] == "Act\n  NOW"
    text = "so: h u r r y u p, all of you"
    [hit] = rules.hits("No title", text, NEWS)
    assert (hit.spans[0].field, text[hit.spans[0].start : hit.spans[0].end], hit.words) == ("text", "h u r r y u p", "h u r r y u p")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"label": "extreme"}, "no label 'extreme' in task 'urgency'"),
        ({"task": "mood"}, "no task 'mood'"),
        ({"kind": "block"}, "safety tasks"),
        ({"task": "risk", "label": "none", "kind": "block"}, "safety labels"),
        ({"kind": "forbid"}, "kind"),
        ({"pattern": "(act"}, "not a regular expression"),
        ({"pattern": r"(?<!\w)act"}, "look-around"),
        ({"pattern": "x*"}, "empty text"),
        ({"any": None}, "can never hit"),
        ({"any": [" "]}, "match everywhere"),
        ({"any": ["\u200b"]}, "match everywhere"),
        ({"any": ["x" * 400]}, "400 characters"),
        ({"any": ["$urgent"]}, "no list $urgent"),
        ({"reason": None}, "reason"),
        ({"negations": [False]}, "in quotes"),
        ({"colour": "red"}, "colour"),
        ({"tests": []}, "tests"),
        ({"tests": [{"text": "Act later", "hit": True}]}, "should hit and does not"),
        ({"tests": [{"text": "act now", "hit": False}]}, "should not hit and does"),
        ({"unless": ["drill"], "tests": [{"text": "a drill: act now", "hit": True}]}, "“drill” in the same sentence"),
        ({"softer": "high"}, "own label"),
        ({"soften": ["once"]}, "needs `softer`"),
        ({"softer": "low", "still": ["today"]}, "needs `soften`"),
        ({"softer": "none"}, "no label 'none'"),
        ({"softer": "low", "soften": ["once"], "tests": [{"text": "once: act now", "hit": True, "says": "high"}]}, "should say high and says low"),
        ({"clears": ["low"]}, "kind: allow"),
        ({"kind": "allow"}, "needs `clears`"),
        ({"kind": "allow", "clears": ["high"]}, "what it says instead"),
        ({"kind": "allow", "clears": ["gone"], "label": "low"}, "no label 'gone'"),
        ({"expires": "soon"}, "expires"),
    ],
)
def test_a_bad_rule_refuses_the_file_by_name(changes: dict, says: str) -> None:
    good = rule(id="good", any=["stop"], tests=[{"text": "stop", "hit": True}])
    with pytest.raises(ConfigError, match=r"test\.yaml.*r1") as refused:
        ruleset(good, rule(**changes))
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"rules: [", "not readable as YAML"),
        (b"rules: [hello]", "rule number 1"),
        (b"\xff\xfe", "not readable as YAML"),
        (b"rules: []\nrules: []", "'rules' stands twice"),
        (b"lists: {a: &a [x], b: *a}\nrules: []", "alias"),
        (b"[" * 5000, "not readable as YAML"),
        (b"just text", "must hold `rules:`"),
        (b"", "must hold `rules:`"),
        (b"collection: welbeing\nrules: []", "there is no label set 'welbeing'; there are news, wellbeing"),
        (b"implies: {risk: {high: {sentiment: negative}}}\nrules: []", "collection"),
        (b"collection: wellbeing\nimplies: {risk: {high: {sentiment: gloomy}}}\nrules: []", "no label 'gloomy'"),
        (b"collection: 'No Name!'\nrules: [{}]", "rule number 1"),
    ],
)
def test_a_file_that_is_none_is_refused_by_name(data: bytes, says: str) -> None:
    with pytest.raises(ConfigError, match=r"bad\.yaml") as refused:
        RuleSet([("bad.yaml", data)], label_set)
    assert says in str(refused.value)


def test_two_rules_of_one_name_are_refused_and_so_are_files_too_large() -> None:
    with pytest.raises(ConfigError, match="another rule has this id"):
        ruleset(rule(), rule())
    with pytest.raises(ConfigError, match="16 are allowed"):
        check_size([("a.yaml", bytes(MOST_BYTES)), ("b.yaml", b"x")])


def test_a_rule_of_another_collection_stays_out() -> None:
    rules = RuleSet(
        [("w.yaml", yaml.safe_dump({"collection": "wire", "rules": [rule()]}).encode())],
        {"wire": WIRE, "news": NEWS, "wellbeing": WELLBEING}.__getitem__,
    )
    assert rules.hits("", "act now", NEWS) == []
    assert rules.hits("", "act now", WIRE)


def test_lists_are_named_and_filled_in() -> None:
    rules = ruleset(rule(any=["$urgent", "hurry"], unless=["$drills"]), lists={"urgent": ["act now", "run"], "drills": ["drill"]})
    assert [bool(rules.hits("", text, NEWS)) for text in ("run!", "hurry", "act now", "run, a drill")] == [True, True, True, False]


def test_an_expired_rule_is_silent_and_told_of() -> None:
    today = [datetime(2026, 11, 20, 23, 59, tzinfo=UTC)]
    rules = ruleset(rule(expires="2026-11-20"), rule(id="r2", any=["run"], tests=[{"text": "run", "hit": True}]), clock=lambda: today[0])
    assert said(rules.hits("", "act now, run", NEWS)) == [("r1", "urgency", "high"), ("r2", "urgency", "high")]
    assert rules.expired() == []
    today[0] += timedelta(minutes=1)
    assert said(rules.hits("", "act now, run", NEWS)) == [("r2", "urgency", "high")]
    assert rules.expired() == ["r1"]
    assert [(look.outcome, look.why) for look in rules.look("", "act now", NEWS)] == [("expired", "in force until 2026-11-20")]
    # a replay asks for the time of the document, and finds what was found then
    assert said(rules.hits("", "act now", NEWS, datetime(2026, 11, 20, 9, tzinfo=UTC))) == [("r1", "urgency", "high")]


def test_an_allow_rule_clears_what_it_names_and_never_a_block() -> None:
    plain = rule(any=["act now"])
    low = rule(id="low", label="low", any=["no rush"], tests=[{"text": "no rush", "hit": True}])
    allow = rule(id="ours", kind="allow", label="normal", clears=["high"], any=["fire drill"], tests=[{"text": "fire drill", "hit": True}])
    above = rule(id="above", any=["evacuate"], priority=5, tests=[{"text": "evacuate", "hit": True}])
    block = risk(label="low")
    calm = risk("calm", kind="allow", label="none", clears=["low", "high"], any=["a game"], priority=999, tests=[{"text": "a game", "hit": True}])
    rules = ruleset(plain, low, allow, above, block, calm)
    assert said(rules.hits("", "fire drill: act now", NEWS)) == [("ours", "urgency", "normal")]
    assert said(rules.hits("", "fire drill: no rush", NEWS)) == [("low", "urgency", "low"), ("ours", "urgency", "normal")]
    assert said(rules.hits("", "fire drill: evacuate", NEWS)) == [("ours", "urgency", "normal"), ("above", "urgency", "high")]
    assert ("risk", "risk", "low") in said(rules.hits("", "a game of doom", NEWS))
    assert [look.why for look in rules.look("", "fire drill: act now", NEWS) if look.outcome == "cleared"] == ["by ours: it says so"]


def test_what_a_hit_implies_is_said_where_the_collection_has_it() -> None:
    files = [
        ("a.yaml", yaml.safe_dump({"rules": [risk(label="high"), risk("own", label="low", any=["gloom"], implies={"stress": "high"},
            tests=[{"text": "gloom", "hit": True}])]}).encode()),
        ("b.yaml", yaml.safe_dump({"collection": "wellbeing", "implies": {"risk": {"high": {"emotion": "self_harm_high", "stress": "high"}}}}).encode()),
    ]  # fmt: skip
    rules = RuleSet(files, label_set)
    hits = rules.hits("", "doom", WELLBEING)
    assert [(h.rule.task, h.rule.label, h.rule.kind) for h in hits] == [
        ("risk", "high", "block"), ("emotion", "self_harm_high", "block"), ("stress", "high", "plain")]  # fmt: skip
    assert "risk high implies it" in hits[1].reason() and hits[1].spans == hits[0].spans
    assert said(rules.hits("", "gloom", WELLBEING)) == [("own", "risk", "low"), ("own", "stress", "high")]
    assert said(rules.hits("", "doom", NEWS)) == [("risk", "risk", "high")]


def test_the_softer_label_is_said_with_the_reason() -> None:
    guarded = risk(label="high", softer="low", soften=["years ago"], still=["today"], own_words=True)
    rules = ruleset(guarded)
    [hit] = rules.hits("", "Years ago: doom", NEWS)
    assert hit.rule.label == "low" and "softer, “years ago”" in hit.reason()
    assert [h.rule.label for h in rules.hits("", "Years ago: doom, today as well", NEWS)] == ["high"]
    assert [h.rule.label for h in rules.hits("", "Years ago: doom. Doom!", NEWS)] == ["high"]  # the strongest of the places


def test_a_guard_beside_the_words_of_a_block_rule_voids_and_elsewhere_it_softens() -> None:
    guarded = {"label": "high", "unless": ["sale", "doom metal"]}
    block, plain = risk(softer="low", still=["today"], soften=["once"], **guarded), risk("plain", kind="plain", any=["gloom"], **guarded)
    plain["tests"] = [{"text": "gloom", "hit": True}]
    rules = ruleset(block, plain)
    of = lambda text: [(h.rule.label, h.rule.kind) for h in rules.hits("", text, NEWS)]  # noqa: E731
    assert of("doom sale") == of("doom metal") == of("gloom at the sale") == []
    assert of("a sale, then doom") == [("low", "plain")] and of("a sale, then doom today") == [("high", "block")]
    assert of("a sale. doom") == of("a sale\ndoom") == of("a sale and I doom") == [("high", "block")]
    assert [h.rule.label for h in ruleset(risk(label="high", unless=["sale"])).hits("", "a sale, then doom", NEWS)] == ["high"]


@pytest.fixture
def own_labels(tmp_path):
    def declare(**sets: dict) -> None:
        (tmp_path / "feedloop.yaml").write_text(yaml.safe_dump({"label_sets": sets}))
        use(tmp_path / "feedloop.yaml")

    yield declare
    use(None)


def test_shipped_rules_that_an_own_label_set_cannot_say_are_left_out_with_a_warning(own_labels) -> None:
    tasks = {"mood": {"meaning": "the mood", "labels": {"good": "good", "bad": "bad"}}}
    own_labels(news={"tasks": tasks}, wellbeing={"tasks": tasks})
    rules = RuleSet(read_files(RULES), label_set)
    assert len(rules) == 0 and rules.hits("", "I want to kill myself", label_set("wellbeing")) == []
    assert any("left out of news: no task 'risk'" in line and "safety.yaml" in line for line in rules.warnings)
    assert any("left out of wellbeing: no task 'emotion'" in line for line in rules.warnings)
    own_labels(news={"tasks": tasks})
    rules = RuleSet(read_files(RULES), label_set)
    assert rules.hits("", "I want to kill myself", label_set("wellbeing")) and rules.hits("", "I want to kill myself", label_set("news")) == []
    with pytest.raises(ConfigError, match="no task 'urgency'"):  # an error of one's own is one
        RuleSet([("a.yaml", json.dumps({"rules": [rule(label="extreme")]}).encode())], label_set)


def test_a_file_without_a_collection_is_for_own_label_sets_too(own_labels) -> None:
    own_labels(desk={"tasks": {"mood": {"meaning": "the mood", "labels": {"good": "good", "bad": "bad"}, "safety": ["bad"]}}})
    mood = rule(id="mood", task="mood", label="bad", kind="block")
    rules = ruleset(rule(), mood)
    assert said(rules.hits("", "act now", label_set("desk"))) == [("mood", "mood", "bad")] and rules.warnings == []
    assert said(rules.hits("", "act now", NEWS)) == [("r1", "urgency", "high")]
    with pytest.raises(ConfigError, match="no label 'worse' in task 'mood'"):  # what the set with the task says, not one without it
        ruleset(mood | {"label": "worse"})
    with pytest.raises(ConfigError, match="no task 'moods' in collection 'news'"):
        ruleset(mood | {"task": "moods"})
    use(None)
    with pytest.raises(ConfigError, match="no task 'mood' in collection 'news'"):
        ruleset(mood)


def test_a_block_rule_says_nothing_where_its_label_is_no_safety_label(own_labels) -> None:
    risks = {"meaning": "risk", "labels": {"none": "none", "low": "low", "high": "high"}}
    own_labels(news={"tasks": {"risk": risks}})
    rules = ruleset(risk(label="high"))
    assert rules.hits("", "doom", label_set("news")) == [] and rules.hits("", "doom", label_set("wellbeing"))


def test_rules_that_share_their_words_and_guards_are_judged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = ruleset(*(rule(id=f"r{n}", unless=["drill"]) for n in range(300)))
    asked = []
    monkeypatch.setattr("services.classifier.judging.sentence", lambda *given: asked.append(given) or sentence(*given))
    assert len(rules.hits("", "act now", NEWS)) == 300 and len(asked) == 1


def test_conflicts_and_shadowed_rules_are_told_with_both_ids() -> None:
    high = rule(id="a", any=["act now"], tests=[{"text": "please act now", "hit": True}])
    low = rule(id="b", label="low", any=["please act now"], tests=[{"text": "please act now", "hit": True}])
    [conflict, shadowed] = ruleset(high, low).warnings
    assert "rules 'a' and 'b' contradict each other on urgency: 'high' and 'low' at priority 0, both in 'please act now'" in conflict
    assert shadowed == "rule 'b' can never decide: 'a' always hits where it does, and stands above it on urgency"
    assert ruleset(high, low | {"priority": 5}).warnings == []
    [both] = ruleset(high | {"priority": 1}, rule(id="c", label="low", any=["act now"], priority=1)).warnings[:1]
    assert "both by the phrase 'act now'" in both
    pattern = rule(id="p", any=None, pattern="act (?:now|fast)")
    assert ["both by the pattern" in line or "can never" in line for line in ruleset(pattern, pattern | {"id": "q", "label": "low"}).warnings] == [
        True
    ] * 2


@pytest.mark.parametrize(
    ("above", "below", "shadows"),
    [
        ({}, {}, True),
        ({"unless": ["drill"]}, {}, False),
        ({"unless": ["drill"]}, {"unless": ["drill", "exercise"]}, True),
        ({"also": ["now"]}, {}, False),
        ({"own_words": True}, {}, False),
        ({"expires": "2030-01-01"}, {}, False),
        ({"expires": "2030-01-01"}, {"expires": "2029-01-01"}, True),
        ({}, {"any": ["doom day", "gloom"]}, False),
        ({"label": "low"}, {"label": "high"}, False),
        ({"label": "low"}, {"label": "high", "kind": "plain"}, True),
        ({"softer": "low", "soften": ["once"]}, {}, False),
    ],
)
def test_a_rule_is_shadowed_only_by_one_that_always_decides_before_it(above: dict, below: dict, shadows: bool) -> None:
    one, other = risk("a") | above, risk("b") | {"any": ["doom day"]} | below
    for body in (one, other):
        body["tests"] = [{"text": f"{body['any'][0]} now", "hit": True}]
    told = [line for line in ruleset(one, other).warnings if "can never decide" in line]
    assert told == (["rule 'b' can never decide: 'a' always hits where it does, and stands above it on risk"] if shadows else [])


@pytest.mark.parametrize(
    ("allow", "plain", "shadows"),
    [
        ({}, {}, True),
        ({"priority": 5}, {"priority": 5}, True),
        ({}, {"priority": 1}, False),  # it takes back what is of no higher priority
        ({}, {"label": "low"}, False),  # and what it names
        ({"unless": ["drill"]}, {}, False),
        ({}, {"any": ["hurry up"]}, False),
        ({}, {"softer": "low", "soften": ["once"]}, False),
        ({"clears": ["high", "low"]}, {"softer": "low", "soften": ["once"]}, True),
        ({"clears": ["high", "low"], "own_words": True}, {"softer": "low", "soften": ["once"], "own_words": True}, False),
        ({"softer": "low", "soften": ["once"]}, {"softer": "low", "soften": ["once"]}, False),  # what it says softly takes nothing back
        ({}, {"task": "risk", "kind": "block"}, False),
    ],
)
def test_a_plain_rule_is_shadowed_by_an_allow_rule_that_always_clears_it(allow: dict, plain: dict, shadows: bool) -> None:
    ours = rule(**{"id": "a", "kind": "allow", "label": "normal", "clears": ["high"]} | allow)
    other = rule(**{"id": "b", "any": ["act now please"]} | plain)
    other["tests"] = [{"text": other["any"][0], "hit": True}]
    rules = ruleset(ours, other)
    told = [line for line in rules.warnings if "can never decide" in line]
    assert told == ([f"rule 'b' can never decide: 'a' always hits where it does, and stands above it on {other['task']}"] if shadows else [])
    if shadows:
        assert [hit.rule.id for hit in rules.hits("", other["any"][0], NEWS)] == ["a"]


def test_the_shipped_rules_have_no_conflicts(rulebook) -> None:
    assert rulebook.rules.warnings == []


def test_thousands_of_rules_with_one_phrase_are_read_quickly_and_that_is_said() -> None:
    began = time.process_time()
    told = ruleset(*(rule(id=f"r{n}", label=("high", "low")[n % 2]) for n in range(2000))).warnings
    assert time.process_time() - began < 30
    assert len(told) == 202 and "more" in told[-2] and "not all pairs were compared" in told[-1]


def test_what_a_rule_says_in_doubt_does_not_imply_what_it_says_outright() -> None:
    rules = ruleset(risk(softer="low", soften=["years ago"], implies={"urgency": "high"}))
    assert said(rules.hits("", "doom", NEWS)) == [("risk", "risk", "high"), ("risk", "urgency", "high")]
    assert said(rules.hits("", "doom, years ago", NEWS)) == [("risk", "risk", "low")]
