"""`feedloop classify`: what is read, what is sent, what is shown. A classifier of the test's own answers; that of services.classifier has its own tests."""

import asyncio
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from deploy.local.classify import ASKED_AT_ONCE, AT_ONCE, MOST_CHARS, classify
from deploy.local.errors import LocalError
from deploy.local.texts import LONGEST, Given, form_of, texts_of

HELP = "Ask Ana [room 4].\n\nShe is there."
ROOT = Path(__file__).resolve().parents[3]


def read(*words: str, file: Path | None = None, form: str = "auto", column: str = "") -> list[tuple[str, str]]:
    return [(given.text, given.title) for given in texts_of(words, file, form_of(form), column)]


def put(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_what_is_read(tmp_path: Path) -> None:
    assert read("one", "two") == [("one", ""), ("two", "")]
    assert read(file=put(tmp_path / "a.txt", "\ufeffone\ntwo\n")) == [("one\ntwo", "")]
    assert read(file=put(tmp_path / "b.txt", "one\r\n\n two\n"), form="lines") == [("one", ""), ("two", "")]
    lines = '{"text": "one", "title": "A", "more": 1}\n"two"\n\n{"text": "three", "title": null}\n'
    assert read(file=put(tmp_path / "c.jsonl", lines)) == [("one", "A"), ("two", ""), ("three", "")]
    table = 'id,body,title\n1,"one, with\na break",A\n2,,B\n3,two,\n'
    assert read(file=put(tmp_path / "d.csv", table), column="body") == [("one, with\na break", "A"), ("two", "")]
    assert read(file=put(tmp_path / "e.tsv", "text\tid\none\t1\n")) == [("one", "")]
    assert read(file=put(tmp_path / "f.jsonl", '{"body": "one"}'), column="body") == [("one", "")]


@pytest.mark.parametrize(
    ("name", "text", "how", "said"),
    [
        ("a.txt", "  \n", {}, "a.txt holds no text"),
        ("a.txt", b"\xff\xfe", {}, "a.txt is not text in UTF-8"),
        ("a.txt", "x" * (LONGEST + 1), {}, "a.txt has more than 100,000 characters"),
        ("a.txt", "one", {"column": "body"}, "a.txt has no column 'body'"),
        ("a.txt", "one", {"form": "lines", "column": "body"}, "--column is for CSV and JSON Lines"),
        ("a.jsonl", '"one"\n{', {}, "a.jsonl line 2 is no JSON"),
        ("a.jsonl", '{"body": "one"}', {}, "line 1: a line is a JSON string, or an object with a text in 'text'; it has body"),
        ("a.jsonl", "[1]", {}, "line 1: a line is a JSON string"),
        ("a.jsonl", '""', {}, "a.jsonl line 1 is empty"),
        ("a.jsonl", '"one"\n"\\ud83d"', {}, "a.jsonl line 2 is not sound text"),
        ("a.csv", "id,body\n1,one\n", {}, "a.csv has no column 'text'; --column names one of id, body"),
        ("a.csv", "", {}, "a.csv has no column 'text'"),
        ("a.csv", "id,text\n1\n", {}, "a.csv line 2 has fewer fields"),
        ("a.csv", 'text\n"one', {}, "is no CSV"),
    ],
)
def test_what_is_no_text_is_named_in_one_line(tmp_path: Path, name: str, text: str | bytes, how: dict, said: str) -> None:
    with pytest.raises(LocalError) as caught:
        read(file=put(tmp_path / name, text), **how)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_options_that_exclude_each_other_and_files_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for words, how, said in [
        (["x"], {"file": tmp_path / "a"}, "exclude each other"),
        (["x"], {"column": "b"}, "these texts stand on the line"),
        ([""], {}, "text 1 is empty"),
        ([], {"file": tmp_path / "none"}, "none can't be read: No such file"),
        ([], {"form": "xml"}, "--format 'xml' is none of auto, text"),
    ]:
        with pytest.raises(LocalError, match=said):
            read(*words, **how)
    monkeypatch.setattr(sys, "stdin", type("Terminal", (), {"isatty": lambda _: True})())
    with pytest.raises(LocalError, match="nothing to classify"):
        read()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"one\ntwo\n")))
    assert read(form="lines") == [("one", ""), ("two", "")]


@pytest.fixture
async def classifier(monkeypatch: pytest.MonkeyPatch):
    """Says risk high of texts with "kill", is away for one that says so, and keeps what it was asked."""
    asked: list[tuple[str, dict]] = []

    async def answer(request: web.Request) -> web.Response:
        body = await request.json()
        asked.append((request.query_string, body))
        if any(item["text"] == "away" for item in body["items"]):
            return web.json_response({"error": "something this needs is away"}, status=503)
        if body["collection"] == "gossip!":
            return web.json_response({"error": "'gossip!' is no name of a collection"}, status=422)
        return web.json_response({"items": [verdict(item["text"], "explain" in request.query_string) for item in body["items"]]})

    app = web.Application(client_max_size=2**26)
    app.router.add_post("/api/classify", answer)
    server = TestServer(app)
    await server.start_server()
    monkeypatch.setenv("FEEDLOOP_CLASSIFIER_URL", str(server.make_url("/")))
    yield asked
    await server.close()


def verdict(text: str, explained: bool) -> dict:
    risk = "high" if "kill" in text else "none"
    mattered = [{"field": "text", "start": 0, "end": 4, "words": "goal", "drop": 0.25}] if explained else []
    category = {"label": "sport", "probability": 0.6, "by": "neural", "reasons": ["the neural head says sport (60%)"], "unsure": True, "labels": []}
    return {
        "decision": {
            "category": {**category, "mattered": mattered},
            "tags": {"label": "", "labels": [], "probability": 0.9, "by": "neural", "reasons": []},
            "risk": {"label": risk, "probability": 1.0, "by": "rule", "reasons": ["rule x: because [why]"]},
        },
        "safety": ["risk"] if risk == "high" else [],
        "care": {"words": "may need help now", "severity": 1.0, "task": "risk", "note": "It is no diagnosis.", "help": HELP} if risk == "high" else None,
        "collection": "news", "rules_digest": "abc", "head_digest": "", "fusion_digest": "d" * 64,
        "undecided": ["urgency"], "model": None, "llm_problem": "the engine is busy" if "busy" in text else "",
    }  # fmt: skip


async def test_a_verdict_for_a_person(classifier, capsys: pytest.CaptureFixture[str]) -> None:
    await classify([Given("I will kill it", "A title")], "news", "default", as_json=False, explain=True)
    said = capsys.readouterr().out
    assert classifier == [("explain=1", {"items": [{"text": "I will kill it", "title": "A title"}], "collection": "news"})]
    assert "“A title. I will kill it”" in said and "rule x: because [why]" in said and "mattered most: goal (−25%)" in said
    assert said.index("risk") < said.index("category") and "sport 60%  by neural  unsure" in said and "none of them" in said
    assert "collection news: rules abc, head none, fusion dddddddddddd" in said


async def test_the_language_model_is_asked_by_name(classifier, capsys: pytest.CaptureFixture[str]) -> None:
    await classify([Given("a"), Given("busy")], "news", "default", as_json=False, explain=True, llm=True)
    said = capsys.readouterr().out
    assert classifier[0][0] == "explain=1&llm=1" and "the language model did not answer: the engine is busy" in said
    assert "urgency      no part speaks of it\n" in said and "was not asked" not in said
    await classify([Given("a")] * (ASKED_AT_ONCE + 1), "news", "default", as_json=False, explain=False)
    assert "urgency      no part speaks of it, and the language model was not asked (--llm)" in capsys.readouterr().out
    await classify([Given("a")] * (ASKED_AT_ONCE + 1), "news", "default", as_json=True, explain=False, llm=True)
    assert [len(body["items"]) for _, body in classifier[-2:]] == [ASKED_AT_ONCE, 1]


async def test_care_stands_with_its_text_and_help_once_at_the_end(classifier, capsys: pytest.CaptureFixture[str]) -> None:
    texts = ["I will kill it", "one", "kill"] + ["two"] * AT_ONCE
    await classify([Given(text) for text in texts], "news", "default", as_json=False, explain=False)
    said = capsys.readouterr().out
    assert len(classifier) == 2 and said.endswith(f"\n\n{HELP}\n") and said.count(HELP) == 1
    first, calm, second = said.split("“")[1:4]
    for shown in (first, second):  # before the label, as on the page
        assert shown.index("\n  Whoever wrote this may need help now.\n  It is no diagnosis.\n") < shown.index("risk")
    assert "help" not in calm and "Ana" not in first + calm
    assert not re.search(r"(you|they|he|she|writer|person|this) (is|are|has|have) ", said.replace(HELP, ""), re.IGNORECASE), "says what somebody is"
    await classify([Given("one")], "news", "default", as_json=False, explain=False)
    assert "Ana" not in capsys.readouterr().out
    await classify([Given("kill"), Given("one")], "news", "default", as_json=True, explain=False)
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows[0]["care"]["help"] == HELP and rows[1]["care"] is None


async def test_help_is_shown_also_where_the_classifier_goes_away(classifier, capsys: pytest.CaptureFixture[str]) -> None:
    texts = [Given("kill"), *[Given("one")] * (AT_ONCE - 1), Given("away")]
    with pytest.raises(LocalError, match="away"):
        await classify(texts, "news", "default", as_json=False, explain=False)
    assert capsys.readouterr().out.endswith(f"\n{HELP}\n")


async def test_json_a_line_in_order_and_in_batches(classifier, capsys: pytest.CaptureFixture[str]) -> None:
    texts = [Given(f"text {n}") for n in range(AT_ONCE * 2 + 3)] + [Given("x" * (MOST_CHARS // 3)) for _ in range(7)]
    await classify(iter(texts), "wellbeing", "default", as_json=True, explain=False)
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["text"] for row in rows] == [given.text for given in texts] and rows[0]["decision"]["risk"]["label"] == "none"
    assert [len(body["items"]) for _, body in classifier[:2]] == [AT_ONCE, AT_ONCE]
    assert all(sum(len(item["text"]) for item in body["items"]) <= MOST_CHARS for _, body in classifier)
    assert all(body["collection"] == "wellbeing" and query == "" for query, body in classifier)


async def test_what_the_classifier_refuses_comes_through(classifier) -> None:
    with pytest.raises(LocalError, match="the classifier refuses: 'gossip!' is no name"):
        await classify([Given("x")], "gossip!", "default", as_json=False, explain=False)


async def test_from_the_command_line(classifier, tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("FEEDLOOP_")}
    env |= {"FEEDLOOP_CLASSIFIER_URL": os.environ["FEEDLOOP_CLASSIFIER_URL"], "PYTHONPATH": str(ROOT), "FEEDLOOP_STATE": str(tmp_path)}

    async def feedloop(*words: str, text: str = "") -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "services", "classify", *words]
        return await asyncio.to_thread(subprocess.run, argv, cwd=tmp_path, env=env, input=text, capture_output=True, text=True, timeout=200)

    piped = await feedloop("--json", "--format", "lines", "--collection", "wellbeing", text="one\nI will kill it\n")
    assert piped.returncode == 0, piped.stderr
    assert [json.loads(line)["safety"] for line in piped.stdout.splitlines()] == [[], ["risk"]]
    wrong = await feedloop("--input", "none.csv")
    assert (wrong.returncode, wrong.stdout) == (1, "") and wrong.stderr == "feedloop: none.csv can't be read: No such file or directory\n"
