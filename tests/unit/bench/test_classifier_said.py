"""The rows that the weights of the parts are learned from (tests.bench.classifier.said), from labelled texts to what fit_fusion reads."""

import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from services.classifier.head import HeadCard
from services.trainer.runs.fit_fusion import read_rows
from shared.errors import PermanentError
from shared.events import LabelScore
from shared.heads import CARD
from shared.prompts import Message, headed, label_messages
from shared.taxonomy import label_set
from tests.bench.classifier import said

Run = Callable[..., list[dict[str, Any]]]
TEXTS: list[dict[str, str]] = [
    {"title": "Cup", "text": "A late goal.", "category": "sport", "sentiment": "positive", "risk": "none"},
    {"text": "Shares fall. Nobody knows why.", "category": "business"},
    {"title": "Bank holds rate", "text": "It is the silence that counts.", "category": "business", "sentiment": "neutral"},
]
SPORT, BUSINESS = {"sport": 0.9, "business": 0.1}, {"sport": 0.2, "business": 0.8}
GLAD, SAD = {"positive": 0.7, "negative": 0.3}, {"positive": 0.4, "negative": 0.6}


class Backwards:
    """An encoder whose batches hold the texts last first: what is said of one must not be told of another."""

    def __init__(self, folder: Path, threads: int) -> None:
        assert folder == said.ENCODER

    def read(self, texts: Sequence[str], batch: int = 32) -> Iterator[SimpleNamespace]:
        for place in reversed(range(len(texts))):
            yield SimpleNamespace(places=[place], texts=[texts[place]])


class OnSight:
    """A head that knows a goal by the word: of category and sentiment, and of risk, which no language model is asked."""

    digest = "the-heads-digest"

    def says(self, read: SimpleNamespace) -> Iterator[tuple[str, list[str], Any]]:
        goal = ["goal" in text for text in read.texts]
        yield "category", list(SPORT), np.array([list((SPORT if one else BUSINESS).values()) for one in goal])
        yield "sentiment", list(GLAD), np.array([list((GLAD if "Cup. A late goal." in text else SAD).values()) for text in read.texts])
        yield "risk", ["none", "high"], np.array([[1.0, 0.0]] * len(read.texts))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[Message]]:
    """The questions that came to the engine; what stands in its place says the second option, and of silence nothing."""
    questions: list[list[Message]] = []

    class Client:
        async def choose(self, name: str, messages: list[Message], options: Sequence[str]) -> LabelScore:
            questions.append(messages)
            if "silence" in messages[-1]["content"]:
                raise PermanentError("the engine answered 'banana'")
            return LabelScore(label=options[1], probability=0.6, probabilities={options[0]: 0.4, options[1]: 0.6})

    @asynccontextmanager
    async def running(*_: Any) -> AsyncIterator[Client]:
        yield Client()

    def load(folder: Path) -> OnSight:
        assert HeadCard.model_validate_json((folder / CARD).read_bytes()).collection == "news", "the head that ships, and of this collection"
        return OnSight()

    monkeypatch.setattr(said, "running", running)
    monkeypatch.setattr(said, "Encoder", Backwards)
    monkeypatch.setattr(said, "Head", SimpleNamespace(load=load))
    return questions


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """run(option, lines, *more): the rows that the program writes of the lines."""

    def made(option: str, lines: Sequence[dict[str, Any]], *more: str) -> list[dict[str, Any]]:
        given, out = tmp_path / "given.jsonl", tmp_path / "rows.jsonl"
        given.write_text("\n".join(json.dumps(line) for line in lines) + "\n\n", encoding="utf-8")
        argv = ["said", option, str(given), "--out", str(out), "--collection", "news", "--model", "owner/tiny", *more]
        monkeypatch.setattr(sys, "argv", argv)
        monkeypatch.setattr(said, "BUILD", tmp_path / "bench")
        said.main()
        return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]

    return made


def test_of_each_labelled_text_both_parts_are_asked_each_task_that_has_a_label(
    run: Run, asked: list[list[Message]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rows = run("--texts", TEXTS)
    told = {(row["text"], row["task"]): row for row in rows}
    goal, shares, bank = (one["text"] for one in TEXTS)
    tasks = {task.name: task for task in label_set("news").asked_of("llm")}
    assert list(told) == [(goal, "category"), (goal, "sentiment"), (shares, "category"), (bank, "category"), (bank, "sentiment")], (
        "none for a task without a label, none for one that the language model is not asked"
    )
    assert {key: row["gold"] for key, row in told.items()} == {
        (one["text"], task): one[task] for one in TEXTS for task in one if (one["text"], task) in told
    }
    assert [row["parts"]["neural"] for row in rows] == [SPORT, GLAD, BUSINESS, BUSINESS, SAD]
    second = {name: list(task.labels)[:2] for name, task in tasks.items()}
    assert [row["parts"].get("llm") for row in rows] == [
        *(dict(zip(second[task], (0.4, 0.6), strict=True)) for task in ("category", "sentiment", "category")), None, None,
    ], "what the engine fails at stays as the head left it"  # fmt: skip
    assert [row["group"] for row in rows] == ["text-0"] * 2 + ["text-1"] + ["text-2"] * 2 and rows[0]["title"] == "Cup" and rows[2]["title"] == ""
    titles = {goal: "Cup", shares: headed(shares), bank: "Bank holds rate"}
    assert asked == [label_messages(tasks[task], titles[text], text) for text, task in told], (
        "as inference asks about such a text, with a title or without"
    )
    printed = capsys.readouterr().out
    assert (
        "learned with: neural=the-heads-digest" in printed
        and "learned with: base=owner/tiny, llm=base" in printed
        and "5 answers on 3 texts" in printed
    )
    examples = read_rows(tmp_path / "rows.jsonl", label_set("news"))
    assert {task: len(found) for task, found in examples.items()} == {"category": 3, "sentiment": 2}
    assert examples["category"][0].gold == {"sport"} and set(examples["category"][0].voices) == {"llm", "neural"}


def test_the_texts_are_bounded_evenly_and_all_tasks_of_one_stay(run: Run, asked: list[list[Message]]) -> None:
    texts = [{"text": f"Report {n:02} says nothing new.", "category": "business", "sentiment": "neutral"} for n in range(10)]
    rows = run("--texts", texts, "--most", "4")
    assert [row["text"][7:9] for row in rows] == ["00", "00", "03", "03", "06", "06", "09", "09"] and len(asked) == 8


def test_rows_that_the_head_was_asked_before_keep_what_it_said(run: Run, asked: list[list[Message]]) -> None:
    neural = {"sport": 0.5, "business": 0.5}
    row = {"task": "category", "gold": "sport", "group": "g", "text": "A late goal.", "parts": {"neural": neural}}
    [found] = run("--rows", [row])
    assert found == {**row, "parts": {"neural": neural, "llm": found["parts"]["llm"]}}


@pytest.mark.parametrize("words", [["--rows", "a.jsonl", "--texts", "b.jsonl"], []])
def test_it_is_either_rows_or_texts(words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["said", *words, "--out", "x", "--collection", "news"])
    with pytest.raises(SystemExit):
        said.main()
    assert "--rows" in (told := capsys.readouterr().err) and "--texts" in told
