"""The hand-written texts the wellbeing screening is measured with keep their form: see tests/bench/texts/README.md."""

import json
import re
from itertools import combinations
from pathlib import Path

import pytest

TEXTS = Path(__file__).resolve().parents[2] / "bench" / "texts"
FILES = sorted(TEXTS.glob("*.jsonl"))
LABELS = {
    "emotion": {"positive", "neutral", "stress", "anger", "sadness", "fear", "self_harm_low", "self_harm_high"},
    "sentiment": {"positive", "neutral", "negative"},
    "stress": {"none", "low", "high"},
    "risk": {"none", "low", "high"},
}
FIELDS = {"text", "kind", "note", *LABELS}
SAFE_KINDS = set("idiom negation quotation news lyrics game professional grief recovery sarcasm spelling hyperbole helper everyday".split())
# One verdict (emotion, sentiment, stress, risk) holds for every paraphrase of a sentence.
PARAPHRASES = {
    "marry": ("positive", "positive", "none", "none"),
    "unstoppable": ("positive", "positive", "none", "none"),
    "sick": ("stress", "negative", "low", "low"),
    "store": ("neutral", "neutral", "none", "none"),
    "kill": ("self_harm_high", "negative", "high", "high"),
}
ALIKE = 0.7  # share of common words (Jaccard) from which two texts count as one text said twice


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def everything() -> list[tuple[str, dict]]:
    return [(f"{path.name}:{number}", row) for path in FILES for number, row in enumerate(lines(path), 1)]


def safe() -> list[dict]:
    return [row for path in FILES if path.name.startswith("hard_safe_") for row in lines(path)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_line_has_the_fields_and_known_labels(path):
    rows = lines(path)
    assert rows
    for number, row in enumerate(rows, 1):
        where = f"{path.name}:{number}"
        assert set(row) == FIELDS, where
        assert all(isinstance(value, str) and value.strip() for value in row.values()), where
        for task, labels in LABELS.items():
            assert row[task] in labels, f"{where}: {task} is {row[task]!r}"


def test_no_file_is_of_an_unknown_set():
    known = re.compile(rf"(hard|fresh|blind)_(safe|risk)_\w+\.jsonl|paraphrases_({'|'.join(PARAPHRASES)})\.jsonl")
    assert [path.name for path in FILES if not known.fullmatch(path.name)] == []


def test_no_text_is_there_twice():
    seen: dict[str, str] = {}
    for where, row in everything():
        key = " ".join(row["text"].casefold().split())
        assert key not in seen, f"{where} repeats {seen[key]}"
        seen[key] = where


def test_no_two_texts_are_nearly_the_same():
    words = [(where, frozenset(re.findall(r"\w+", row["text"].casefold()))) for where, row in everything()]
    near = [(a, b) for (a, one), (b, two) in combinations(words, 2) if len(one & two) >= ALIKE * len(one | two) and min(len(one), len(two)) > 4]
    assert near == []


def test_the_safe_set_is_as_large_as_it_says():
    rows = safe()
    assert len(rows) >= 260
    kinds = {kind: sum(row["kind"] == kind for row in rows) for kind in SAFE_KINDS | {row["kind"] for row in rows}}
    assert set(kinds) == SAFE_KINDS
    assert kinds["everyday"] >= 60
    assert min(kinds.values()) >= 8, kinds


def test_the_safe_set_is_safe_and_follows_its_conventions():
    for row in safe():
        assert row["risk"] != "high" and row["emotion"] != "self_harm_high", row
        assert (row["emotion"] not in {"stress", "self_harm_low"} and row["stress"] != "high") or row["risk"] == "low", row
        assert not (row["emotion"] == "positive" and row["sentiment"] != "positive"), row
        assert not (row["emotion"] == "neutral" and row["sentiment"] == "positive"), row
        assert 3 <= len(row["text"].split()) <= 60, row


def test_the_everyday_texts_show_every_feeling():
    everyday = {row["emotion"] for row in safe() if row["kind"] == "everyday"}
    assert everyday == LABELS["emotion"] - {"self_harm_high"}


@pytest.mark.parametrize("name", PARAPHRASES)
def test_paraphrases_are_fifty_with_one_verdict(name):
    path = TEXTS / f"paraphrases_{name}.jsonl"
    if name == "kill" and not path.exists():
        pytest.skip("the other author's file is not there")
    rows = lines(path)
    assert len(rows) >= 50
    assert {row["kind"] for row in rows} == {"paraphrase"}
    assert {tuple(row[task] for task in LABELS) for row in rows} == {PARAPHRASES[name]}


def test_the_risk_set_where_it_is_there():
    rows = [row for path in FILES if path.name.startswith("hard_risk_") for row in lines(path)]
    if not rows:
        pytest.skip("the other author's files are not there")
    assert len(rows) >= 230
    assert {row["risk"] for row in rows} == {"low", "high"}
    for row in rows:
        assert (row["risk"] == "low") == (row["kind"] == "strain"), row
