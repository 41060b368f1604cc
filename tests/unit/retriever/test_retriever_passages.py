"""Passages stand in their text, character for character, whatever the text."""

import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.retriever.passages import WORDS, passages, rebuilt, sentence_spans
from shared.grounding import fold, sentences

PROSE = " ".join(f"Sentence number {n} tells of the harbour and its {n} boats at some length, as sentences do." for n in range(60))
PIECES = st.sampled_from(
    ["Dr. Rask said so. ", "The end!\n\n", "  - a list item\n", "\t", "word ", "\u00a0", "“Quoted.” ", "Ümlaut? Ja. ", "x" * 700, "語" * 400]
)


def test_passages_are_whole_sentences_with_one_shared() -> None:
    found = passages(PROSE)
    assert len(found) > 5
    for passage, following in pairwise(found):
        assert len(passage.text.split()) <= WORDS
        assert passage.text.startswith("Sentence number") and passage.text.endswith("do.")
        assert sentences(following.text)[0] == sentences(passage.text)[-1]
    assert rebuilt(found) == PROSE


def test_paragraphs_and_lists_keep_their_places() -> None:
    text = "\n\n First   paragraph of Mr. Smith.\nStill the first.\n\n- one item\n- two items\n\nLast (really). "
    assert [text[start:end] for start, end in sentence_spans(text)] == [
        "First   paragraph of Mr. Smith.",
        "Still the first.",
        "- one item",
        "- two items",
        "Last (really).",
    ]


def test_nothing_to_say_is_no_passage() -> None:
    assert passages("") == [] and passages(" \n\t ") == []


def test_a_text_without_sentences_is_cut_all_the_same() -> None:
    assert all(len(passage.text.split()) <= WORDS for passage in passages("word " * 1000))
    assert all(len(passage.text) <= WORDS * 8 for passage in passages("語" * 5000))
    assert "".join(passage.text for passage in passages("語" * 5000)) == "語" * 5000


@pytest.mark.parametrize("piece", ["A. ", "word ", "語", "x\n\n", "The boats went out. ", '".) '])
def test_the_longest_text_takes_seconds_at_most(piece: str) -> None:
    text = (piece * 200_000)[:200_000]
    before = time.process_time()
    found = passages(text)
    assert time.process_time() - before < 20  # 1 s on a quiet core; quadratic would be minutes
    assert all(text[passage.start : passage.end] == passage.text for passage in found)


@given(st.lists(st.one_of(PIECES, st.text(max_size=20)), max_size=40).map("".join))
@settings(max_examples=200, deadline=None)
def test_offsets_are_right_and_no_word_is_lost(text: str) -> None:
    found = passages(text)
    for passage in found:
        assert passage.text and text[passage.start : passage.end] == passage.text
    assert [passage.start for passage in found] == sorted({passage.start for passage in found})
    whole = rebuilt(found)
    for passage in found:
        assert whole[passage.start : passage.end] == passage.text
    assert fold(whole).replace(" ", "") == fold(text).replace(" ", "")
