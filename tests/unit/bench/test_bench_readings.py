"""What the bench makes of the engine's answers: form, end and grounding are judged by what was really said."""

import asyncio
import json
from pathlib import Path

import pytest

from services.inference.enrich import Enricher
from shared.clock import utc_now
from shared.encoder import Encoder
from tests.bench.model import answers, reading, summaries, unbound
from tests.bench.model.engine import Watched, each, fits
from tests.bench.model.figures import Figure
from tests.bench.model.texts import Text, of_sample

TEXT = Text(
    "one", "Harbour bridge opens", "The harbour bridge of Norrvik opened on Monday. Ana Rivera cut the ribbon before noon. Cars must wait.", "t"
)


class Made(Watched):
    """The engine's answers, made here: the first value that the schema allows everywhere, and no end where `cut` says so."""

    def __init__(self, cut: bool = False) -> None:
        super().__init__("http://127.0.0.1:1")
        self.cut = cut

    async def _call(self, method: str, path: str, body: dict | None = None) -> dict:  # type: ignore[type-arg]
        assert body is not None
        if "response_format" in body:
            rows = body["response_format"]["json_schema"]["schema"]["properties"]
            content = json.dumps(
                {
                    k: v["items"]["enum"][:1] if v["type"] == "array" and v["maxItems"] else [] if v["type"] == "array" else v["enum"][0]
                    for k, v in rows.items()
                }
            )
        elif "structured_outputs" in body:
            content = body["structured_outputs"]["choice"][0]
        else:
            content = '{"summary": "Made up.", "entities": ["Norrvik"]}'
        return {"choices": [{"message": {"content": content}, "finish_reason": "length" if self.cut else "stop"}]}


def test_an_answer_fits_only_where_it_has_the_form_that_was_asked_for() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "enum": ["x"]}}, "required": ["a"], "additionalProperties": False}
    bound = {"response_format": {"json_schema": {"schema": schema}}}
    assert fits('{"a":"x"}', bound) and not fits('{"a":"y"}', bound) and not fits('{"a":"x"', bound) and not fits('{"a":"x","b":1}', bound)
    choice = {"structured_outputs": {"choice": ["yes", "no"]}}
    assert fits("yes", choice) and not fits("maybe", choice) and fits("anything", {})


async def test_a_reading_tells_what_the_engine_did() -> None:
    readings, rate = await reading.read([TEXT, *of_sample()[:3]], Enricher(Made(), utc_now, "base"), 2)
    assert rate > 0 and [[one.kind for one in found.seen] for found in readings] == [["choice"] * 3 + ["json"]] * 4
    row = reading.judged("texts", readings)
    figures = [cell.value for cell in row if isinstance(cell, Figure)]
    assert row[1] == 4 and figures[:3] == [100, 100, 100] and figures[3:6] == [100, 100, 100]
    assert figures[6] == 100 and figures[7] == 100, "four summaries, each the first that was offered"


async def test_what_is_cut_off_or_made_up_is_counted_against_it() -> None:
    readings, _ = await reading.read([TEXT], Enricher(Made(cut=True), utc_now, "base"), 1)
    assert readings[0].enriched is None and "cut off" in readings[0].reason
    row = reading.judged("texts", readings)
    assert [cell.value for cell in row if isinstance(cell, Figure)][:3] == [100, 0, 0], "valid in form, yet never ended"
    free = await unbound.judged("free", [TEXT], Made())
    assert next(cell.value for cell in free if isinstance(cell, Figure)) == 0, "two fields are no metadata"


async def test_things_are_asked_side_by_side_but_not_more_than_allowed() -> None:
    busy = most = 0

    async def ask(n: int) -> int:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await asyncio.sleep(0)
        busy -= 1
        return n * 2

    assert await each(range(20), ask, 3) == [n * 2 for n in range(20)] and most == 3


def test_tokens_are_put_together_again_and_rouge_counts_stems() -> None:
    assert summaries.rejoined("It is n't 5 % , he said . `` No ''") == 'It isn\'t 5%, he said. "No"'
    assert summaries.rouge("the ferries sail", "the ferry sails")[0] == 1.0
    one, two, longest = summaries.rouge("a b c d", "b a d c")
    assert one == 1.0 and two == 0.0 and longest == 0.5


async def test_summaries_stand_beside_a_bound_that_none_can_pass() -> None:
    pairs = summaries.titled(of_sample(), 6)
    assert pairs and all(text.title == "" and len(title.split()) >= 5 for text, title in pairs)
    readings, _ = await reading.read([text for text, _ in pairs], Enricher(Made(), utc_now, "base"), 2)
    rows = {str(row[1]): row for row in summaries.judged("titles", readings, [title for _, title in pairs])}
    values = {who: row[3].value for who, row in rows.items() if isinstance(row[3], Figure)}
    assert values["LLM, as in use"] == values["first offered (chosen by code)"], "this engine takes the first"
    assert max(value for who, value in values.items() if "offered" in who or "LLM" in who) == values["the best of those offered (bound)"]


def test_questions_are_answered_by_a_sentence_of_one_passage() -> None:
    found = answers.questions(of_sample(), 12)
    assert len(found) == 12 and found == answers.questions(of_sample(), 12)
    for one in found:
        assert one.golds and all(any(gold in passage for passage in one.passages) for gold in one.golds)
        offered = [candidate.sentence for candidate in answers.offered(answers.hits(one))]
        assert len(one.passages) >= 3 and offered


@pytest.mark.skipif(not (Path("build/encoder") / "manifest.json").exists(), reason="build/encoder is absent: `make setup` exports it")
def test_what_is_offered_as_in_use_is_a_part_of_all_sentences() -> None:
    encoder = Encoder(Path("build/encoder"))
    for one in answers.questions(of_sample(), 4):
        every, best = answers.offers(one, encoder)
        assert set(best.sentences) <= set(every.sentences) and len(best.sentences) <= 3 and every.nearest in every.sentences
