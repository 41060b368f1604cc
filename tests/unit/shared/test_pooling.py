"""Pooling: the formula of the docstring, missing parts, files that are refused."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import ConfigError
from shared.pooling import HAND_SET, LEAST, FusionFile, TaskFusion, chosen, likeliest, log_probabilities, median, pool, spread

ABC = ["a", "b", "c"]
LLM = {"a": 0.6, "b": 0.2, "c": 0.2}


def softmax(scores: dict[str, float]) -> dict[str, float]:
    total = sum(math.exp(score) for score in scores.values())
    return {label: math.exp(score) / total for label, score in scores.items()}


def test_without_learned_weights_it_is_what_the_docstring_says() -> None:
    chances = pool(ABC, {"llm": LLM, "neural": {"a": 0.1, "b": 0.9}})
    scores = {
        "a": 0.75 * math.log(0.6) + 0.25 * math.log(0.1),
        "b": 0.75 * math.log(0.2) + 0.25 * math.log(0.9),
        "c": 0.75 * math.log(0.2) + 0.25 * math.log(1 / 3),  # the head was never taught c
    }
    assert chances == pytest.approx(softmax(scores))


LEARNED = TaskFusion(
    parts=["llm", "neural"],
    temperatures={"llm": 2.0},
    weights={"llm": {"a": 0.5, "b": 1.0}, "neural": {"a": 2.0, "b": 0.0}},
    others={"llm": 0.7, "neural": 0.8},
    bias={"a": 0.3},
)


def test_learned_weights_temperatures_and_biases() -> None:
    head = {"a": 0.5, "b": 0.3, "c": 0.2}
    cooler = softmax({label: math.log(p) / 2 for label, p in LLM.items()})
    scores = {
        "a": 0.3 + 0.5 * math.log(cooler["a"]) + 2.0 * math.log(0.5),
        "b": 1.0 * math.log(cooler["b"]),
        "c": 0.7 * math.log(cooler["c"]) + 0.8 * math.log(0.2),
    }
    assert pool(ABC, {"llm": LLM, "neural": head}, LEARNED) == pytest.approx(softmax(scores))


def test_a_missing_part_is_renormalised_away() -> None:
    head = {"a": 0.5, "b": 0.3}
    assert pool(ABC, {"neural": head}, LEARNED) == pytest.approx({"a": 0.625, "b": 0.375})  # no bias; b's weight of 0 does not silence the only voice
    assert pool(ABC, {"llm": LLM, "neural": {}}, LEARNED) == pytest.approx(softmax({label: math.log(p) / 2 for label, p in LLM.items()}))
    assert pool(ABC, {"llm": LLM}) == pytest.approx(LLM)
    three = TaskFusion(parts=["x", "y", "z"], others={"x": 1, "y": 3, "z": 4})
    assert three.weighed(["x", "y"], "a") == {"x": 0.25, "y": 0.75}
    assert LEARNED.weighed(["neural"], "b") == {"neural": 1.0}


def test_any_number_of_labels_may_hold() -> None:
    def logit(p: float) -> float:
        return math.log(p / (1 - p))

    chances = pool(ABC, {"llm": {"a": 0.9, "b": 0.8}, "neural": {"a": 0.6, "c": 0.1}}, LEARNED, multi=True)
    assert chances["a"] == pytest.approx(1 / (1 + math.exp(-(0.3 + 0.5 * logit(0.9) / 2 + 2.0 * logit(0.6)))))
    assert chances["b"] == pytest.approx(1 / (1 + math.exp(-logit(0.8) / 2)))  # one voice alone
    assert chances["c"] == pytest.approx(0.1)
    assert list(pool(ABC, {"neural": {"c": 1.0, "a": 0.0}}, multi=True)) == ["a", "c"]


def test_from_probabilities_to_a_label() -> None:
    chances = {"a": 0.45, "b": 0.2, "c": 0.35}
    assert (likeliest(chances), median(chances), chosen(chances, {}), chosen(chances, {"b": 0.4})) == ("a", "b", "a", "b")
    assert likeliest({"x": 0.5, "y": 0.5}) == "x" and median({"x": 0.5, "y": 0.5}) == "x"
    assert spread(ABC, {"b": 0.6}) == pytest.approx({"a": 0.2, "b": 0.6, "c": 0.2}) and spread(ABC, {"a": 0.9, "b": 0.9})["c"] == 0.0


voice = st.dictionaries(st.sampled_from(ABC), st.floats(0, 1), min_size=1)
weight = st.floats(0, 1000)
fusion = st.builds(
    TaskFusion,
    parts=st.just(["llm", "neural"]),
    temperatures=st.fixed_dictionaries({"llm": st.floats(0.01, 1000)}),
    weights=st.fixed_dictionaries({"llm": st.dictionaries(st.sampled_from(ABC), weight), "neural": st.dictionaries(st.sampled_from(ABC), weight)}),
    others=st.fixed_dictionaries({"llm": weight, "neural": weight}),
    bias=st.dictionaries(st.sampled_from(ABC), st.floats(-1000, 1000)),
)


@settings(deadline=None)  # a busy machine is no failure
@given(
    voices=st.dictionaries(st.sampled_from(["llm", "neural", "third"]), voice, min_size=1), learned=fusion | st.just(HAND_SET), multi=st.booleans()
)
def test_probabilities_are_probabilities_whatever_is_said(voices, learned, multi) -> None:
    chances = pool(ABC, voices, learned, multi=multi)
    assert set(chances) == {label for said in voices.values() for label in said}
    assert all(0 <= p <= 1 and math.isfinite(p) for p in chances.values())
    assert multi or sum(chances.values()) == pytest.approx(1)


def test_a_temperature_keeps_the_order_and_spreads_or_gathers() -> None:
    warm, cold = (log_probabilities(LLM, temperature) for temperature in (4.0, 0.25))
    assert warm["a"] < math.log(0.6) < cold["a"]
    assert log_probabilities({"a": 1.0, "b": 0.0}, 1.0)["b"] == pytest.approx(math.log(LEAST), abs=1e-5)


def test_a_file_is_read_and_one_that_was_edited_is_refused() -> None:
    file = FusionFile(collection="news", learned_with={"llm": "base"}, tasks={"category": LEARNED}).signed()
    text = file.model_dump_json()
    assert FusionFile.parse("news.json", text.encode()) == file and len(file.digest) == 64
    assert FusionFile.parse("news.json", text.replace('"until_taught":false,', "").encode()) == file, "as files were written before that was there"
    with pytest.raises(ConfigError, match=r"news\.json: it is damaged or was edited by hand"):
        FusionFile.parse("news.json", text.replace('"a":0.5', '"a":0.6').encode())
    for spoilt, said in [
        (text[:-9], "json"),
        (text.replace('"a":0.5', '"a":-0.5'), "greater than or equal to 0"),
        (text.replace('"a":0.5', '"a":NaN'), "finite"),
        (text.replace('"parts":["llm","neural"]', '"parts":["llm"]'), "speak of 'neural'"),
        (text.replace('"scores":{}', '"scores":{"llm":[0.2,0.1]}'), "ascending"),
        (text.replace('"collection"', '"colection"'), "collection"),
        (json.dumps([1]), "object"),
    ]:
        with pytest.raises(ConfigError) as caught:
            FusionFile.parse("news.json", spoilt.encode())
        assert said in str(caught.value) and "\n" not in str(caught.value)
