"""The command line as a person meets it: what goes wrong is one line and exit code 1."""

import asyncio
import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from deploy import SERVICES
from deploy.local import commands, demo_report
from deploy.local.client import Client, addresses
from deploy.local.errors import LocalError

ROOT = Path(__file__).resolve().parent.parent.parent


def test_by_itself_each_service_has_a_port_of_its_own_where_the_others_look_for_it(monkeypatch):
    for name in list(os.environ):
        if name.startswith("FEEDLOOP_"):
            monkeypatch.delenv(name)
    settings = {name: import_module(f"services.{name}.settings").Settings() for name in SERVICES}
    assert len({one.http_port for one in settings.values()}) == len(SERVICES)
    for name in ("ingest", "retriever", "trainer"):
        assert getattr(settings["feedback"], f"{name}_url") == f"http://127.0.0.1:{settings[name].http_port}"


@pytest.mark.parametrize("name", SERVICES)
def test_every_setting_is_told_of(name):
    told = (ROOT / "docs" / "operations.md").read_text()
    fields = import_module(f"services.{name}.settings").Settings.model_fields
    assert [field for field, body in fields.items() if f"`{body.validation_alias or 'FEEDLOOP_' + field.upper()}`" not in told] == []


def feedloop(folder: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, in an empty folder, with no stack."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("FEEDLOOP_", "KAFKA_"))}
    env |= {"PYTHONPATH": str(ROOT), "FEEDLOOP_STATE": str(folder / "state"), **more}
    return subprocess.run([sys.executable, "-m", "services", *words], cwd=folder, env=env, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["run", "gossip"], "no service 'gossip'; there are ingest, inference, classifier, retriever, feedback, trainer, and `all`"),
        (["up"], "there is no feedloop.yaml: copy feedloop.example.yaml"),
        (["ask", "what?"], "no Feedloop is running here"),
        (["classify", "a text"], "no Feedloop is running here"),
        (["classify", "a text", "--input", "x"], "texts on the line and --input exclude each other"),
        (["models", "offer", "x", "--profile", "../x"], "profile '../x' is no name for a folder"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_1(tmp_path, words, line):
    done = feedloop(tmp_path, *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"feedloop: {line}") and done.stderr.count("\n") == 1


def test_a_label_set_that_is_wrong_is_named_before_anything_starts(tmp_path):
    (tmp_path / "feedloop.yaml").write_text("sources: []\nlabel_sets: {desk: {tasks: {mood: {meaning: m, labels: {up: u}}}}}\n")
    labels = {"FEEDLOOP_LABELS": str(tmp_path / "feedloop.yaml")}
    for done in (feedloop(tmp_path, "up"), feedloop(tmp_path, "run", "classifier", **labels)):
        assert done.returncode == 1 and done.stderr.count("\n") == 1
        assert done.stderr.startswith("feedloop: ") and "label_sets: desk: tasks.mood: task 'mood' needs at least two labels" in done.stderr


def test_a_setting_that_is_wrong_is_named(tmp_path):
    done = feedloop(tmp_path, "run", "feedback", FEEDLOOP_HTTP_HOST="0.0.0.0")
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("feedloop: ") and "set FEEDLOOP_TOKEN" in done.stderr


def test_help_names_the_commands_and_imports_nothing_heavy(tmp_path):
    code = "import sys, runpy; sys.argv = ['feedloop', '--help']\ntry: runpy.run_module('services', run_name='__main__')\nexcept SystemExit: pass\n"
    code += "print([name for name in ('torch', 'aiokafka', 'faststream', 'aiohttp', 'vllm') if name in sys.modules])"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    assert all(name in done.stdout for name in ("demo", "up", "ask", "classify", "train", "models", "sources")) and done.stdout.endswith("[]\n")


@pytest.fixture
async def page(monkeypatch):
    """A feedback service that takes what it is given; `page` holds the bodies."""
    bodies = []

    async def take(request):
        bodies.append(await request.json())
        return web.json_response(
            {"error": "no label"} if bodies[-1]["correct"] == "gossip" else {"id": "1"}, status=422 if bodies[-1]["correct"] == "gossip" else 202
        )

    async def items(request):
        return web.json_response({"items": [{"id": "d1", "title": "Known"}] if request.query["q"] == "Known" else []})

    async def broken(_):
        return web.Response(text="<html>")

    app = web.Application()
    app.router.add_post("/api/feedback", take)
    app.router.add_get("/api/items", items)
    app.router.add_get("/api/loop", broken)
    server = TestServer(app)
    await server.start_server()
    monkeypatch.setenv("FEEDLOOP_FEEDBACK_URL", str(server.make_url("/")))
    yield bodies
    await server.close()


def corrections(path: Path, *lines: object) -> Path:
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return path


def line(title: str, correct: str = "economy") -> dict[str, str]:
    return {"title": title, "text": "x", "task": "category", "correct": correct, "incorrect": "", "why": ""}


async def test_corrections_of_a_file_find_their_documents(page, tmp_path):
    await commands.give(corrections(tmp_path / "f.jsonl", line("Known"), line("Other")), "default")
    assert [body["document_id"] for body in page] == ["d1", ""]


@pytest.mark.parametrize("bad", ["{", "[1]", '{"title": "x"}', "7"])
async def test_a_line_that_is_wrong_is_named(page, tmp_path, bad):
    with pytest.raises(LocalError, match=r"f\.jsonl:2: .*a line is \{title, text"):
        await commands.give(corrections(tmp_path / "f.jsonl", line("Known"), bad), "default")


async def test_a_file_that_is_not_there_or_no_text_is_one_line(page, tmp_path):
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    for name in ("nope", "bytes"):
        with pytest.raises(LocalError, match=f"{name} can't be read"):
            await commands.give(tmp_path / name, "default")


async def test_the_services_own_words_come_through(page, tmp_path):
    with pytest.raises(LocalError, match="the feedback refuses: no label"):
        await commands.give(corrections(tmp_path / "f.jsonl", line("Known", "gossip")), "default")
    with pytest.raises(LocalError, match=r"the feedback at .* does not answer \(JSONDecodeError\)"):
        await commands.models("default")
    with pytest.raises(LocalError, match="set FEEDLOOP_TRAINER_URL"):
        await commands.train("default", "now")


async def test_nobody_there_is_one_line():
    async with Client({"trainer": "http://127.0.0.1:1"}) as client:
        with pytest.raises(LocalError, match=r"the trainer at .* does not answer"):
            await client.get("trainer", "/api/state")


def test_a_running_stack_is_found_whatever_its_profile(tmp_path, monkeypatch):
    from deploy.local.client import running_profile
    from deploy.local.state import State

    for name in list(os.environ):
        if name.startswith("FEEDLOOP_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("FEEDLOOP_STATE", str(tmp_path))
    with pytest.raises(LocalError, match="make up"):
        addresses("mine")
    with State("demo") as state:
        state.write_run({"pid": os.getpid(), "urls": {"feedback": "http://127.0.0.1:9"}})
        assert addresses("mine") == {"feedback": "http://127.0.0.1:9"} and running_profile("mine") == "demo"
    assert running_profile("mine") == ""


async def test_a_load_counts_what_fails_and_who_spoke():
    from deploy.local.demo_parts import Load

    answers = iter([200, 500])

    async def chat(_):
        status = next(answers, 200)
        return web.json_response({"model": "adapter-1"} if status == 200 else {"error": "x"}, status=status)

    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat)
    server = TestServer(app)
    await server.start_server()
    load = Load(str(server.make_url("")).rstrip("/"), [{"messages": []}])
    async with load.running(), asyncio.timeout(10):
        while load.sent < 6:
            await asyncio.sleep(0.01)
    await server.close()
    assert (load.failed, load.models, len(load.reasons)) == (1, {"adapter-1"}, 1) and load.slowest_s > 0


def test_a_spoilt_adapter_pushes_the_other_way(tmp_path):
    import numpy as np
    from safetensors.numpy import load_file, save_file

    from deploy.local.demo_parts import spoil

    good = tmp_path / "good"
    good.mkdir()
    save_file({"x.lora_A": np.ones((2, 2), np.float32), "x.lora_B": np.ones((2, 2), np.float32)}, good / "adapter_model.safetensors")
    (good / "adapter_config.json").write_text("{}")
    weights = load_file(spoil(good, tmp_path / "bad") / "adapter_model.safetensors")
    assert (weights["x.lora_A"] == 1).all() and (weights["x.lora_B"] == -2).all()


@pytest.mark.parametrize(
    ("change", "kept"), [({}, True), ({"swap_failed": 1}, False), ({"items": 9}, False), ({"bad": {"outcome": "published", "reason": ""}}, False)]
)
def test_the_closing_table_says_what_was_not_kept(tmp_path, capsys, change, kept):
    figures = {
        "items": 10, "expected": 10, "quarantined": [], "questions": {"answered": 2, "asked": 2}, "corrections": 5, "overlay_s": 0.1,
        "overlay_slowest_s": 0.2, "correction_to_served_s": 60, "train_s": 40, "before": {"llm": 0.5, "verdict": 0.6},
        "after": {"llm": 0.8, "verdict": 0.9, "items": 12}, "swap_s": 0.5, "probes": 12, "swap_requests": 100, "swap_failed": 0, "swap_models": ["adapter-abc", "base"],
        "bad": {"outcome": "refused", "reason": "[worse]"}, "rollback_s": 0.1, **change,
    }  # fmt: skip
    assert demo_report.close(figures, {"train": 40.0}, "http://127.0.0.1:1", tmp_path / "report.json") is kept
    assert json.loads((tmp_path / "report.json").read_text())["promises"]["no request failed during the swap"] == (figures["swap_failed"] == 0)
