"""Folding, other spellings, phrases, patterns: what is found, what is not, and in what time."""

import random
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.classifier.folding import fold
from services.classifier.literals import literals
from services.classifier.matching import LONGEST_MATCH, Finder, Pattern
from services.classifier.spelling import Speller
from shared.errors import ConfigError

SPELLER = Speller(["kill myself", "i want to die", "suicide", "kms", "unalive", "self-harm", "zero-day"])


def found(text: str, *phrases: str) -> list[str]:
    return [text[slice(*span)] for span in Finder([(phrases, None)]).find(text).get(0, [])]


def test_phrases_are_found_inside_longer_ones_and_at_word_boundaries() -> None:
    assert found("act now or never, react", "act", "act now", "act now or", "now") == ["act", "act now", "act now or", "now"]
    assert found("actor", "act") == [] and found("act_now", "act") == [] and found("caféact", "act") == []
    assert found("me🔪 myself", "🔪 myself") == ["🔪 myself"]  # a sign needs no boundary
    assert Finder([]).find("anything") == {}


def test_each_rule_gets_its_own_places_in_order() -> None:
    finder = Finder([(["b", "a b"], None), ([], Pattern("b+")), (["c"], Pattern("a b"))])
    places = finder.find("a b, bbb c")
    assert {number: list(spans) for number, spans in places.items()} == {0: [(0, 3), (2, 3)], 1: [(2, 3), (5, 8)], 2: [(0, 3), (9, 10)]}
    assert list(places[0]) == [(0, 3), (2, 3)], "the places can be asked for again"


def test_places_are_found_one_by_one_without_a_cap_and_wherever_a_window_ends() -> None:
    long = "ä b " * 30_000
    by_pattern = list(Pattern("b").find(long))
    assert len(by_pattern) == 30_000 and by_pattern[-1] == (len(long) - 2, len(long) - 1)
    assert len(list(Finder([(["b"], None)]).find(long)[0])) == 30_000
    for before in range(LONGEST_MATCH - 4, LONGEST_MATCH + 4):
        text = "é " * (before // 2) + "x" * (before % 2) + " i want to die"
        assert [text[slice(*span)] for span in Pattern("want(?: to)? die").find(text)] == ["want to die"]
    assert next(iter(Pattern("a(?:.*z)?").find("a " * LONGEST_MATCH + "z"))) == (0, 1), "no match is longer than LONGEST_MATCH"


def test_no_pattern_is_quadratic_where_every_place_is_asked_for() -> None:
    took = []
    for times in (20_000, 80_000):
        began = time.process_time()
        assert len(list(Pattern("a(?:.*z)?").find("a " * times))) == times
        took.append(time.process_time() - began)
    assert took[1] < 12 * took[0] + 0.5


@pytest.mark.parametrize(
    ("pattern", "text", "wanted"),
    [
        ("cut(?:ting)?(?: it)?", "café cut cut cutting it, scut", ["cut", "cut", "cutting it"]),
        ("cut", "cut—cut🔪 écut cutö", ["cut", "cut"]),
        (r"cve-\d{4}-\d{4,}", "CVE-2026-10441 and xcve-2026-1044".lower(), ["cve-2026-10441"]),
        ("A B", "a b", ["a b"]),
        ("", "", []),
    ],
)
def test_patterns_match_at_word_boundaries(pattern: str, text: str, wanted: list[str]) -> None:
    if not pattern:
        with pytest.raises(ConfigError, match="empty text"):
            Pattern(pattern)
        return
    assert [text[slice(*span)] for span in Pattern(pattern).find(text)] == wanted


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        (r"(?<!\w)act", "look-around"),
        (r"act(?!\w)", "look-around"),
        (r"(a)\1", "back-references"),
        ("(act", "not a regular expression of RE2"),
        ("act*|", "empty text"),
        (r"\s*", "empty text"),
        ("((a{1,900}){1,900})", "repetition"),
        ("a" * 5000, "5000 characters"),
    ],
)
def test_what_is_no_pattern_is_refused_in_words(pattern: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Pattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("(a+)+b", "a" * 50_000),
        ("(?:a|aa)+c", "a" * 50_000),
        ("(?:x*y*)*z", "xy" * 30_000),
        ("(a|b|ab)*c d", "ab" * 30_000),
        ("a(?:.*z)?", "a " * 30_000),
    ],
)
def test_no_pattern_hangs(pattern: str, text: str) -> None:
    """Each of these takes `re` minutes to years, or is quadratic."""
    began = time.process_time()
    Finder([([], Pattern(pattern))]).find(text)
    assert time.process_time() - began < 2.0


pieces = st.recursive(
    st.sampled_from(["abc", "de", "f", r"\d", ".", "[a-f]", r"\.", "xyz", " "]),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.tuples(inner, inner).map(lambda two: f"(?:{two[0]}|{two[1]})"),
        st.tuples(inner, st.sampled_from(["?", "*", "+", "{0,2}", "{2}", "{1,}"])).map(lambda two: f"(?:{two[0]}){two[1]}"),
        st.tuples(st.sampled_from(["abc", "d", "[ab]"]), st.sampled_from(["?", "*", "+", "{2}"])).map("".join),
    ),
    max_leaves=8,
)


@given(pattern=pieces, text=st.text("abcdefxyz. 1", max_size=30), seed=st.integers(0, 5))
def test_a_text_that_matches_holds_one_of_the_literals(pattern: str, text: str, seed: int) -> None:
    wanted = literals(pattern)
    if wanted is None:
        return
    for candidate in [text, *_made_of(pattern, random.Random(seed))]:
        if re.search(pattern, candidate):
            assert any(literal in candidate for literal in wanted), (pattern, candidate, wanted)


def _made_of(pattern: str, dice: random.Random) -> list[str]:
    """Texts with a good chance to match: the pattern's own letters, with its signs taken out in several ways."""
    plain = re.sub(r"\(\?:|[()*+?]|\{[^}]*\}", "", pattern).replace(r"\d", "1").replace(r"\.", ".").replace("[a-f]", "c").replace("[ab]", "a")
    parts = plain.split("|")
    return [plain.replace("|", ""), *parts, "".join(dice.sample(parts, len(parts))), plain * 2]


def test_literals_that_are_known() -> None:
    assert literals(r"i (?:really )?(?:want|need) to (?:die|go)") == {" to "}
    assert literals("(?:kill|hurt) myself?") == {" mysel"}
    assert literals("a|bcd") is None and literals("(?i)abc") is None and literals(r"\x41bcd") is None and literals("(?:abc)?") is None


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("I DON’T\n know\n\n\n“Now”", 'i dont know\n"now"'),
        ("Ｋｉｌｌ　ｍｙｓｅｌｆ", "kill myself"),
        ("𝓀𝒾𝓁𝓁 𝐦𝐲𝐬𝐞𝐥𝐟", "kill myself"),
        ("kill mуself ѕuісіdе", "kill myself suicide"),
        ("k\u200bi\u200bll my\u00adself\ufeff", "kill myself"),
        ("k̷i̷l̷l̷", "kill"),
        ("Привет, мир и café", "привет, мир и café"),
        ("\ud800x \u200b y", "\ufffdx y"),
        (" \n ", ""),
    ],
)
def test_folding(written: str, wanted: str) -> None:
    assert fold(written) == wanted
    assert fold(wanted.replace("\n", "\n\n")) == wanted


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("k1ll mys3lf", "kill myself"),
        ("I w@nt to d!e.", "i want to die."),
        ("s u i c i d e now", "suicide now"),
        ("i  w a n t  t o  d i e please", "i want to die please"),
        ("k.i.l.l m-y-s-e-l-f", "kill myself"),
        ("#killmyself #iwanttodie", "kill myself i want to die"),
        ("k*ll myself, su*cide", "kill myself, suicide"),
        ("kiiilll MYSELFFF", "kill myself"),
        ("kíll mysélf", "kill myself"),
        ("KILL_MYSELF!", "kill myself!"),
        ("killmyself", "kill myself"),
        ("5u1c1d3", "suicide"),
        ("ѕᴜɪᴄɪᴅᴇ", "suicide"),
        ("kill my fucking self", "kill my self"),
        ("unal1ve", "unalive"),
        ("ikillmyself", "i kill myself"),
        ("K. M. S. now", "kms. now"),
        ("t0 kill myself", "to kill myself"),
        ("KILL MYSLEF", "kill myself"),
        ("sucide!", "suicide!"),
    ],
)
def test_other_spellings_of_what_rules_look_for(written: str, wanted: str) -> None:
    assert SPELLER.read(written).text == wanted


@pytest.mark.parametrize(
    "ordinary",
    [
        "plan a b c d is fine",
        "a zero-day in u.s.a. 3d 4k mp3",
        "call 555 1234 or 1 2 3 4 at 5:30",
        "t-shirt, x-ray, e-mail: a@b.example",
        "h e l l o there",
        "so cool, sooo cool, ***wow***, f*ck",
        "skill, skills, killer, skilled, suicidal, themself",
        "привет мир, łódź, naïve café",
        "#killbill #suicidesquad",
    ],
)
def test_ordinary_text_stays_as_it_is(ordinary: str) -> None:
    assert SPELLER.read(ordinary).text == fold(ordinary) == ordinary


@given(st.text(max_size=200))
def test_any_text_is_read_and_its_words_are_found_where_they_were_written(text: str) -> None:
    folded = SPELLER.read(text)
    assert len(folded.starts) == len(folded.places) and list(folded.starts) == sorted(folded.starts)
    for start, place in zip(folded.starts, folded.places, strict=True):
        assert 0 <= start < len(folded.text) and 0 <= place[0] < place[1] <= len(text)
        assert folded.written(start, start + 1) == place


@given(before=st.text(st.characters(codec="ascii", categories=["L", "Zs"]), max_size=20), after=st.text(max_size=20))
def test_a_hit_is_found_as_it_was_written(before: str, after: str) -> None:
    text = f"{before} k1ll  mys3lf {after}"
    folded = SPELLER.read(text)
    at = folded.text.rindex("kill myself") if folded.text.count("kill myself") == 1 else None
    if at is not None:
        assert text[slice(*folded.written(at, at + len("kill myself")))] == "k1ll  mys3lf"


def test_line_breaks_are_kept_beside_the_text() -> None:
    folded = SPELLER.read("I want\nto k i l l\r\nmyself\n\nnow")
    assert folded.text == "i want to kill myself\nnow"
    assert folded.lines == "i want\nto kill\nmyself\nnow"


def test_words_spaced_out_again_and_again_take_linear_time() -> None:
    began = time.process_time()
    assert SPELLER.read("s u i c i d e wall " * 20_000).text.count("suicide") == 20_000
    assert time.process_time() - began < 5.0


def test_a_very_long_word_is_neither_kept_nor_guessed_at() -> None:
    began = time.process_time()
    SPELLER.read("k1" * 200_000 + " " + "*" * 100_000 + " " + "a " * 50_000)
    assert time.process_time() - began < 3.0
    assert all(len(word) <= 80 for word in SPELLER._known)
