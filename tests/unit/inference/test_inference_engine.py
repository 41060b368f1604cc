"""The engine's client against a real HTTP server: what it asks, and what each failure becomes."""

import asyncio
import math

import aiohttp
import pytest
from aiohttp import web

from services.inference.engine import Circuit, ContextTooLong, Engine, NoAnswer, UnknownModel
from services.inference.shares import Step, all_shares, among, share_of, spelled
from shared.errors import PermanentError, TransientError
from shared.guard import Paused

ASK = [{"role": "user", "content": "which?"}]


async def test_a_choice_is_constrained_and_has_the_probability_of_its_path(engine, fake):
    fake.answers["base"] = "sport"
    score = await engine.choose("base", ASK, ["world", "sport"])
    assert score.label == "sport" and score.probability == pytest.approx(math.exp(-0.3), abs=1e-6)  # without the end token
    assert fake.asked[0]["structured_outputs"] == {"choice": ["world", "sport"]} and fake.asked[0]["temperature"] == 0


def step(token: str, **alternatives: float) -> Step:
    return Step(token, [(name.replace("END", "<|end|>"), math.log(p)) for name, p in alternatives.items()])


NEWS = ["science", "security", "sport", "world"]


@pytest.mark.parametrize(
    ("options", "steps", "wanted"),
    [
        # a token an option
        (NEWS, [step("sport", sport=0.6, world=0.3, science=0.1)], {"science": 0.1, "sport": 0.6, "world": 0.3}),
        # the path that was taken is divided by its next step, another token as its options are otherwise
        (
            NEWS,
            [step("se", se=0.5, s=0.2, world=0.3), step("curity", curity=0.9, c=0.1)],
            {"security": 0.7, "world": 0.3},
        ),
        (
            ["sad", "safe", "up"],
            [step("sa", sa=0.8, up=0.2), step("d", d=0.75, fe=0.25)],
            {"sad": 0.6, "safe": 0.2, "up": 0.2},
        ),
        # one option is the beginning of another
        (["low", "lower"], [step("low", low=1.0), step("<|end|>", END=0.7, er=0.3)], {"low": 0.7, "lower": 0.3}),
        # no word of the others
        (NEWS, [step("sport", sport=0.6)], {}),
        (NEWS, [], {}),
    ],
)
def test_the_probabilities_of_all_options(options: list[str], steps: list[Step], wanted: dict[str, float]) -> None:
    label = max(wanted, key=lambda option: wanted[option]) if wanted else "sport"
    share = wanted.get(label, 0.6)
    assert not wanted or "lower" in wanted or share == pytest.approx(share_of(label, steps), abs=1e-6)
    told = all_shares(label, share, options, steps)
    assert list(told) == list(wanted) and told == pytest.approx(wanted, abs=1e-3)
    assert sum(told.values()) <= 1 + 1e-5


async def test_a_choice_tells_of_the_other_options_where_the_engine_does(engine, fake):
    top = [{"token": token, "logprob": math.log(p)} for token, p in (("sport", 0.7), ("world", 0.25))]
    content = [{"token": "sport", "logprob": math.log(0.7), "top_logprobs": top}]
    fake.instead = web.json_response({"choices": [{"message": {"content": "sport"}, "finish_reason": "stop", "logprobs": {"content": content}}]})
    score = await engine.choose("base", ASK, ["world", "culture", "sport"])
    assert (score.label, score.probability) == ("sport", 0.7) == ("sport", share_of("sport", [Step("sport", [("sport", math.log(0.7))])]))
    assert score.probabilities == {"world": 0.25, "sport": 0.7}


def spoken(*tokens: str | tuple[str, dict[str, float]]) -> list[Step]:
    """Steps of an answer: a token alone, or with the probabilities of what stood in its place."""
    return [Step(one, [(one, 0.0)]) if isinstance(one, str) else Step(one[0], [(t, math.log(p)) for t, p in one[1].items()]) for one in tokens]


SPELLED = spoken('{"', "label", '":', ' "', ("sport", {"sport": 0.6, "world": 0.2, "cat": 0.2}), '"}')


def replying(text: str, content: list[dict] | None):
    async def reply(_: web.Request) -> web.Response:
        choice = {"message": {"content": text}, "finish_reason": "stop", "logprobs": {"content": content} if content else None}
        return web.json_response({"choices": [choice]})

    return reply


async def test_an_engine_without_choice_is_asked_by_schema(server, fake):
    engine = Engine(server, kind="openai", key="secret")
    await engine.open()
    try:
        score = await engine.choose("base", ASK, ["world", "sport"])
        assert (score.label, score.probability) == ("world", 0.75)
        assert "structured_outputs" not in fake.asked[0]
        with pytest.raises(PermanentError, match="takes no adapters"):
            await engine.load("adapter-1", "/x")
        content = [{"token": one.token, "top_logprobs": [{"token": t, "logprob": p} for t, p in one.alternatives]} for one in SPELLED]
        fake.hook = replying('{"label": "sport"}', content)
        score = await engine.choose("base", ASK, ["world", "sport"])
        assert (score.label, score.probabilities) == ("sport", {"world": 0.25, "sport": 0.75})
        fake.hook = replying('{"label": "sport"}', [{"token": one.token, "logprob": -0.9} for one in SPELLED])
        assert (await engine.choose("base", ASK, ["world", "sport"])).probability == 0.75, "of the tokens alone nothing can be told"
        fake.hook = replying('{"label": "sport"}', [{**one, "top_logprobs": [{"token": "x", "logprob": None}]} for one in content])
        assert (await engine.choose("base", ASK, ["world", "sport"])).probability == 0.75
        fake.hook = replying('["sport"]', None)
        with pytest.raises(PermanentError, match="none of world, sport"):
            await engine.choose("base", ASK, ["world", "sport"])
    finally:
        await engine.close()


@pytest.mark.parametrize(
    "steps",
    [
        SPELLED,
        spoken('{"label":', (' "sp', {' "sp': 0.6, ' "wor': 0.2, " 7": 0.2}), "ort", '"', "}"),
        spoken('{ "label" : "', ('sport"}', {'sport"}': 0.6, "world": 0.2, "\n": 0.2})),
    ],
    ids=["quotes apart", "quote with the label", "all in one"],
)
def test_of_all_tokens_those_count_that_lead_to_an_option(steps: list[Step]) -> None:
    assert among(["world", "sport"], spelled("sport", steps)) == {"world": 0.25, "sport": 0.75}


def test_a_label_that_begins_as_another_does_is_told_by_its_end() -> None:
    steps = spoken('{"label":"', "art", ('"}', {'"}': 0.9, "ful": 0.1}))
    assert among(["art", "artful"], spelled("art", steps)) == {"art": 0.9, "artful": 0.1}
    at_once = spoken('{"label":"', ('art"}', {'art"}': 0.9, 'artful"}': 0.1}))
    assert among(["art", "artful"], spelled("art", at_once)) == {"art": 0.9, "artful": 0.1}
    astray = spoken('{"label":"', "art", ('"}', {'"}': 0.6, "ist": 0.2, "ful": 0.2}))
    assert among(["art", "artful"], spelled("art", astray)) == {"art": 0.75, "artful": 0.25}, "what leads to no option counts for none"


def test_what_cannot_be_told_is_not_made_up() -> None:
    assert spelled("sport", []) == [] and among(["a", "b"], []) == {}
    assert spelled("café", spoken('{"label":"', "caf\\u00e9", '"}')) == [], "escaped"
    assert spelled("label", spoken('{"', "label", '":"', ("label", {"label": 1.0}), '"}'))[0].token == "label"
    assert spelled("", spoken('{"label":"', '"}')) == [] and among(["a", "b"], spoken("zzz")) == {}


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (400, "This model's maximum context length is 1024 tokens", ContextTooLong),
        (400, "max_tokens is too large", ContextTooLong),
        (400, "bad grammar", PermanentError),
        (404, "The model `x` does not exist.", UnknownModel),
        (503, "overloaded", TransientError),
        (504, "<html>gateway timeout</html>", NoAnswer),
        (500, "EngineDeadError", TransientError),
        (429, "slow down", TransientError),
        (200, "<html>starting</html>", TransientError),
        (200, "[1, 2]", TransientError),
        (200, '{"choices": []}', PermanentError),
        (200, '{"choices": [', PermanentError),
    ],
)
async def test_each_failure_is_one_kind_of_error_in_one_line(engine, fake, status, text, kind):
    fake.instead = web.Response(status=status, text=text)
    with pytest.raises((TransientError, PermanentError)) as raised:
        await engine.choose("base", ASK, ["a", "b"])
    assert type(raised.value) is kind and "\n" not in str(raised.value) and str(raised.value)


async def test_an_answer_that_is_no_option_is_refused(engine, fake):
    fake.instead = web.json_response({"choices": [{"message": {"content": "gossip"}, "finish_reason": "stop"}]})
    with pytest.raises(PermanentError, match="'gossip', which is none of a, b"):
        await engine.choose("base", ASK, ["a", "b"])


async def test_nobody_there_is_transient_and_a_reason_for_ready(unused_port):
    engine = Engine(f"http://127.0.0.1:{unused_port}", timeout_s=2)
    await engine.open()
    try:
        with pytest.raises(TransientError, match="does not answer"):
            await engine.models()
        assert "does not answer" in await engine.ping()
    finally:
        await engine.close()


@pytest.fixture
def unused_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("text", ["<html>hello</html>", '{"data": null}', '{"error": "x"}', "[]"])
async def test_something_else_on_the_port_is_told(engine, fake, text):
    fake.instead = web.Response(text=text)
    with pytest.raises(TransientError):
        await engine.models()
    assert await engine.ping()


async def test_loading_twice_and_unloading_what_is_gone_are_fine(engine, fake):
    await engine.load("adapter-1", "/x")
    await engine.load("adapter-1", "/x")
    assert await engine.models() == {"base", "adapter-1"} and await engine.ping() == ""
    await engine.unload("adapter-1")
    await engine.unload("adapter-1")
    assert await engine.models() == {"base"}


async def test_an_answer_cut_off_is_said(engine, fake):
    fake.cut_off = True
    answer = await engine.write_json("base", ASK, {"properties": {"a": {"enum": ["x"]}}}, 10)
    assert (answer.finished, answer.text) == (False, '{"a": "x"}')


async def test_a_silent_engine_is_asked_no_more_until_it_answers(server, fake):
    now = [0.0]
    engine = Engine(server, timeout_s=0.05, circuit=Circuit(most=3, rest=10, clock=lambda: now[0]))
    await engine.open()
    hangs, reached = True, []

    async def chat(request):
        reached.append(1)
        await asyncio.sleep(0.3 if hangs else 0)
        return web.json_response({"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]})

    fake.hook = chat
    try:
        for _ in range(3):
            with pytest.raises(NoAnswer):
                await engine.choose("base", ASK, ["a", "b"])
        assert engine.circuit.state == "open" and await engine.models() == {"base"}  # what lists the models may answer all the while
        with pytest.raises(Paused, match="has not answered 3 requests in a row: the next is sent in 10 s") as paused:
            await engine.choose("base", ASK, ["a", "b"])
        assert paused.value.wait_s == 10 and len(reached) == 3
        now[0] = 10.5
        assert engine.circuit.state == "half-open"
        tried = await asyncio.gather(*(engine.choose("base", ASK, ["a", "b"]) for _ in range(4)), return_exceptions=True)
        assert [type(error) for error in tried] == [NoAnswer, Paused, Paused, Paused] and len(reached) == 4
        hangs, now[0] = False, 30.0
        engine._session._timeout = aiohttp.ClientTimeout(total=5)
        assert (await engine.choose("base", ASK, ["a", "b"])).label == "a"
        assert engine.circuit.state == "closed" and engine.circuit.silent == 0
    finally:
        await engine.close()


async def test_refusals_and_busy_are_answers(engine, fake):
    for status in (503, 429, 400, 500):
        fake.instead = web.Response(status=status, text="no")
        for _ in range(6):
            with pytest.raises((TransientError, PermanentError)):
                await engine.choose("base", ASK, ["a", "b"])
    assert engine.circuit.state == "closed"


async def test_a_client_that_is_not_open_says_so():
    with pytest.raises(RuntimeError, match="not open"):
        await Engine("http://127.0.0.1:1").models()
