"""What a document offers stands in it, is bounded, and is all that a model may answer."""

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import grounding
from shared.events import Link
from shared.grounding import MAX_NAME, MAX_SENTENCE, Candidates, candidates, entities, fold, metadata_schema, read_metadata, sentences

TITLE = "Harbourgate patches its VPN"
TEXT = """Dr. Ana Rivera of the Coast Response Team counted 40 break-ins since Sunday. "We saw it coming," said Rivera.
CVE-2026-10441 lets a stranger open a session without a password in the U.S. and elsewhere.

- Please update to version 6.2.4 before 14 March.
- Nothing else is needed.

Unsubscribe from this newsletter by a click on the link below, whenever you want."""
LINKS = [Link(url="https://harbourgate.example/624"), Link(url="javascript:alert(1)"), Link(url="https://harbourgate.example/624")]
LABELS = {"category": "security", "sentiment": "negative", "urgency": "high"}
words = st.sampled_from(
    [
        "The",
        "bank",
        "Ana",
        "Rivera",
        "of",
        "must",
        "update",
        "before",
        "14 March",
        ".",
        ". ",
        "! ",
        "? ",
        "\n",
        "\n\n",
        "- ",
        "“",
        "’s",
        "U.S.",
        "Inc.",
        "é",
    ]
)
prose = st.one_of(st.text(max_size=600), st.lists(words, max_size=150).map(" ".join), st.lists(words, max_size=150).map("".join))


def offered(title: str = TITLE, text: str = TEXT) -> Candidates:
    return candidates(title, text, LINKS)


def answer(**given: Any) -> str:
    found = offered()
    usual = {
        "summary": found.sentences[0],
        "key_topics": found.topics[:2],
        "entities": found.entities[:2],
        "action_items": found.actions[:1],
        "related_links": found.links,
        "sentiment": "negative",
        "urgency_level": "high",
        "categories": ["security"],
    }
    return json.dumps(usual | given)


def longest(schema: dict[str, Any]) -> int:
    """Length of the longest answer that a schema of ours lets through, written as the engine writes it."""
    answer = {}
    for name, rule in schema["properties"].items():
        if rule["type"] == "array":
            choice = max(rule["items"]["enum"], key=len)
            answer[name] = [choice] * rule["maxItems"]
        else:
            answer[name] = max(rule["enum"], key=len) if "enum" in rule else "x" * rule["maxLength"]
    return len(json.dumps(answer, ensure_ascii=False, separators=(",", ":")))


def test_a_document_offers_what_a_reader_would_mark() -> None:
    found = offered()
    assert found.sentences[0] == "Dr. Ana Rivera of the Coast Response Team counted 40 break-ins since Sunday."
    assert "Ana Rivera" in " ".join(found.entities)
    assert any("Coast Response Team" in name for name in found.entities)
    assert found.actions == ["- Please update to version 6.2.4 before 14 March."] or found.actions == [
        "Please update to version 6.2.4 before 14 March."
    ]
    assert found.links == ["https://harbourgate.example/624"]
    assert not any(sentence.startswith("Unsubscribe") for sentence in found.sentences)


def test_abbreviations_end_no_sentence() -> None:
    assert sentences("Dr. Rask of Crumb Inc. spoke. Nobody listened, e.g. Mr. Vale.") == [
        "Dr. Rask of Crumb Inc. spoke.",
        "Nobody listened, e.g. Mr. Vale.",
    ]


def test_an_empty_document_offers_its_title() -> None:
    assert candidates("Rates hold", "", []).sentences == ["Rates hold"]
    assert candidates("", "", []) == Candidates(["(no text)"], [], [], [], [])


@settings(max_examples=300, deadline=None)
@given(prose, prose)
def test_whatever_the_text_all_that_is_offered_stands_in_it_and_is_bounded(title: str, text: str) -> None:
    found = candidates(title, text, LINKS)
    whole = fold(f"{title}. {text}")
    body = f"{fold(title)}\n{fold(text)}\n{whole}"
    for kind in (found.sentences, found.entities, found.topics, found.actions):
        for value in kind:
            assert value in body or value == "(no text)", value
            assert value == fold(value) != ""
    assert 1 <= len(found.sentences) <= grounding.MAX_SENTENCES
    assert len(found.entities) <= grounding.MAX_ENTITIES
    assert len(found.topics) <= grounding.MAX_TOPICS
    assert len(found.actions) <= grounding.MAX_ACTIONS
    assert all(len(value) <= MAX_SENTENCE for value in [*found.sentences, *found.actions])
    assert all(len(value) <= MAX_NAME for value in [*found.entities, *found.topics])
    for rule in metadata_schema(found, LABELS)["properties"].values():
        assert rule.get("minItems", 0) <= rule.get("maxItems", 0)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(alphabet="abcdefgAB -.\n", min_size=1, max_size=400), max_size=8), st.lists(st.integers(1, 250), max_size=6))
def test_the_longest_answer_is_known(parts: list[str], lengths: list[int]) -> None:
    links = [Link(url="https://" + "x" * length) for length in lengths]
    found = candidates("t" * 500, ". ".join(parts), links)
    assert longest(metadata_schema(found, LABELS)) < 2200


def test_the_worst_document_still_has_a_short_answer() -> None:
    long_name = " ".join(["Abcdefghij"] * 5)
    sentence = "Please update " + "w" * 240 + "{} before 14 March."
    text = "\n\n".join([*(sentence.format(n)[:259] for n in range(9)), "w" * 2800, *(f"We met {long_name}{n}x there." for n in range(9))])
    links = [Link(url=f"https://x.example/{n}".ljust(200, "x")) for n in range(9)]
    found = candidates("Title " + "q" * 900, text, links)
    assert longest(metadata_schema(found, LABELS)) < 2200


@pytest.mark.parametrize(
    "bomb", ["A." * 1400, "A&" * 1400, "Aa " * 900, " ".join(f"N{n:03}" for n in range(560)), "." * 2800, "(" * 2800, "Mr." * 900, " \n" * 1400]
)
def test_a_text_that_is_made_to_take_long_does_not(bomb: str) -> None:
    began = time.process_time()
    candidates(bomb, bomb, [])
    assert time.process_time() - began < 1.5


def test_names_are_counted_and_a_sentence_does_not_make_one() -> None:
    found = entities("Yesterday it rained. However Rivera spoke. Then Ana Rivera left. Critics of Rivera stayed.")
    assert found[0] == "Ana Rivera"
    assert "Yesterday" not in found


def test_the_schema_pins_the_labels_and_bounds_the_lists() -> None:
    schema = metadata_schema(offered(), LABELS)
    properties = schema["properties"]
    assert properties["sentiment"]["enum"] == ["negative"]
    assert properties["urgency_level"]["enum"] == ["high"]
    assert properties["categories"]["items"]["enum"] == ["security"]
    assert schema["required"] == list(properties)
    assert schema["additionalProperties"] is False
    assert [properties[name]["maxItems"] for name in ("key_topics", "related_links", "action_items")] == [4, 1, 1]
    nothing = metadata_schema(candidates("", "", []), LABELS)["properties"]["entities"]
    assert (nothing["minItems"], nothing["maxItems"]) == (0, 0)


def test_a_free_summary_is_bounded_too() -> None:
    rule = metadata_schema(offered(), LABELS, free_summary=True)["properties"]["summary"]
    assert (rule["minLength"], rule["maxLength"]) == (20, 400)


def test_a_repeated_name_gives_its_place_to_the_next_that_is_offered() -> None:
    found = offered()
    assert len(found.entities) >= 3
    read = read_metadata(answer(entities=[found.entities[1]] * 3), found)
    assert read.entities == [found.entities[1], found.entities[0], found.entities[2]]
    assert read_metadata(answer(entities=[found.entities[1]]), found).entities == [found.entities[1]]  # one is what it asked for
    few = Candidates(found.sentences, found.entities[:1], found.topics, found.links, found.actions)
    assert read_metadata(answer(entities=[found.entities[0]] * 3), few).entities == found.entities[:1]
    assert read.summary == found.sentences[0]


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("entities", ["Nikola Tesla"], "entities holds what the document does not: 'Nikola Tesla'"),
        ("key_topics", ["free energy"], "key_topics"),
        ("action_items", ["Send money."], "action_items"),
        ("related_links", ["https://evil.example"], "related_links"),
        ("summary", "All is well.", "the summary is not a sentence of the document"),
        ("summary", 3, "summary"),
        ("entities", None, "entities"),
    ],
)
def test_foreign_values_are_refused(field: str, value: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_metadata(answer(**{field: value}), offered())


def test_a_free_summary_need_not_be_a_sentence_of_the_document() -> None:
    assert read_metadata(answer(summary="In my own words."), offered(), free_summary=True).summary == "In my own words."


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"summary": "x"}'])
def test_what_is_not_the_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="validation error"):
        read_metadata(text, offered())
