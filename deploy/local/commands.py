"""What the `feedloop` commands do, beside the demo."""

import asyncio
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from deploy import SERVICES
from deploy.local.client import Client, addresses, running_profile
from deploy.local.errors import LocalError
from deploy.local.stack import BUNDLED_MODEL, Stack, service_argv
from deploy.local.state import State
from shared import taxonomy
from shared.heads import SECOND
from shared.runner import Child, Supervisor

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
HEAD_FILES = ("head.json", "head.onnx")
ROOT = Path(__file__).resolve().parent.parent.parent
out = Console(highlight=False, width=None if sys.stdout.isatty() else 120)  # a log is wider than the 80 columns that rich takes for it


def say(line: str) -> None:
    out.print(line, style="dim", markup=False)


def stack_environment(config: Path) -> dict[str, str]:
    """What the services are told beside deploy.local.environment's defaults. What the user has set stands."""
    ours = {
        "FEEDLOOP_CONFIG": str(config.absolute()),
        "FEEDLOOP_ENCODER": str(ROOT / "build" / "encoder"),
        "FEEDLOOP_LABELS": str(config.absolute()),
        "FEEDLOOP_HEAD": str(BUNDLED_MODEL / "heads"),
        "FEEDLOOP_FUSION": str(BUNDLED_MODEL / "fusion"),
    }
    return {name: os.environ.get(name) or value for name, value in ours.items()}


async def make_topics(bootstrap: str) -> None:
    from shared.topics import create

    await create(bootstrap, int(os.environ.get("FEEDLOOP_REPLICATION", "1")))


async def run_services(names: list[str]) -> None:
    """A process a service, restarted when one dies, logs interleaved. Ports: FEEDLOOP_<NAME>_URL, or free ones that are said."""
    from deploy.local.ports import reserve

    ports = reserve(list(SERVICES), {})
    urls = {name: os.environ.get(f"FEEDLOOP_{name.upper()}_URL") or f"http://127.0.0.1:{ports[name]}" for name in SERVICES}
    children = []
    for name in names:
        say(f"{name} at {urls[name]}")
        env = {**os.environ, **{f"FEEDLOOP_{other.upper()}_URL": url for other, url in urls.items()}, "PYTHONUNBUFFERED": "1"}
        env["FEEDLOOP_HTTP_PORT"] = urls[name].rsplit(":", 1)[-1].strip("/")
        children.append(Child(name, service_argv(name), env))
    await Supervisor(children, say).run()


async def up(config: Path, profile: str) -> None:
    """Everything on the user's own sources, until Ctrl-C."""
    if not config.exists():
        raise LocalError(f"there is no {config}: copy feedloop.example.yaml to it and name your feeds and mailboxes")
    taxonomy.read(Path(os.environ.get("FEEDLOOP_LABELS") or config))  # before a minute of starting: label sets that are wrong stop every service
    state = State(profile)
    with out.status("starting Kafka, the engine and six services (the engine takes about a minute) …"):
        stack = Stack(state, say=say, env=stack_environment(config), prepare=make_topics)
        await stack.__aenter__()
    try:
        with out.status("waiting until all are ready …"):
            await stack.services_ready()
        out.print(f"Feedloop is running. The page: [bold]{stack.urls['feedback']}[/]   logs: {state.logs}   Ctrl-C ends it.")
        await asyncio.Event().wait()
    finally:
        await stack.__aexit__(None, None, None)


async def ask(question: str, profile: str) -> None:
    async with Client(addresses(profile)) as client:
        show_answer(question, await client.post("feedback", "/api/ask", {"question": question}))


def show_answer(question: str, answer: Mapping[str, object]) -> None:
    """An answer with its citations, for a terminal."""
    from rich.markup import escape

    out.print(f"[bold]{escape(question)}[/]")
    if not answer.get("found"):
        out.print("  [yellow]Not found in the documents.[/]")
        return
    for part in answer["answer"]:  # type: ignore[attr-defined]
        out.print(f"  {escape(part['sentence'])} [cyan]{escape(''.join(f'[{n}]' for n in part['citations']))}[/]")
    for citation in answer["citations"]:  # type: ignore[attr-defined]
        out.print(f"    [cyan]\\[{citation['n']}][/] {escape(citation['title'])} [dim]{escape(citation['url'])}[/]")


async def train(profile: str, reason: str) -> None:
    async with Client(addresses(profile)) as client:
        asked = await client.post("trainer", "/api/train", {"reason": reason})
        out.print(f"run {asked['run_id'][:12]} on {asked['examples']} examples: see `feedloop models list` or the page")


async def give(file: Path, profile: str) -> None:
    """Each line's text is matched with an ingested document by its title; without a match the bare text is labelled."""
    async with Client(addresses(profile)) as client:
        count = 0
        try:
            lines = file.read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise LocalError(f"{file} can't be read: {error}") from error
        for number, line in enumerate(lines, 1):
            try:
                said = json.loads(line)
                body = {field: said[field] for field in ("title", "text", "task", "correct", "incorrect", "why")}
            except (ValueError, KeyError, TypeError) as error:
                raise LocalError(f"{file}:{number}: {error!r}; a line is {{title, text, task, correct, incorrect, why}}") from error
            await client.post("feedback", "/api/feedback", {**body, "document_id": await document_of(client, body["title"])})
            count += 1
        out.print(f"{count} corrections given")


async def document_of(client: Client, title: str) -> str:
    """Id of the ingested document of that very title, empty where there is none."""
    found = await client.get("feedback", "/api/items", q=title, limit="5")
    return next((item["id"] for item in found["items"] if item["title"] == title), "")


async def models(profile: str) -> None:
    async with Client(addresses(profile)) as client:
        state = await client.get("feedback", "/api/loop")
    for live in state["live"]:
        out.print(f"live: [bold]{live['name']}[/] since {live['since']}; before it {live['previous'][:12]}; {live['reason']}")
    if not state["live"]:
        out.print("live: the base weights; no adapter has been published yet")
    table = Table("run", "of", "outcome", "before", "after", "reason")
    for run in state["runs"]:
        report = run.get("report") or {}
        figures = [f"{report[key]:.0%}" if report else "" for key in ("accuracy_incumbent", "accuracy_candidate")]
        table.add_row(run["run_id"][:12], run.get("role", "adapter"), run["outcome"], *figures, run["reason"][:160])
    out.print(table)


async def rollback(profile: str, role: str, reason: str) -> None:
    async with Client(addresses(profile)) as client:
        wanted = await client.post("trainer", "/api/rollback", {"role": role, "reason": reason})
        out.print(f"{role}: going back to {wanted['digest'][:12]} (from {wanted['previous'][:12]})")


async def offer(folder: Path, profile: str) -> None:
    async with Client(addresses(profile)) as client:
        asked = await offer_folder(client, folder, profile)
        out.print(f"offered; run {asked['run_id'][:12]} judges it on {asked['examples']} examples: see `feedloop models list`")


async def offer_folder(client: Client, folder: Path, profile: str) -> dict[str, str]:
    """Put an adapter or a neural head (what train_head wrote) into the registry as a candidate and ask the trainer to judge it."""
    from shared.objects import ObjectStore
    from shared.registry import Registry, base_id

    state = State(running_profile(profile) or profile)
    store = ObjectStore(os.environ.get("FEEDLOOP_OBJECTS") or str(state.objects))
    is_head = (folder / HEAD_FILES[0]).is_file()
    base = _encoder_of(folder / HEAD_FILES[0]) if is_head else base_id(os.environ.get("FEEDLOOP_MODEL") or str(BUNDLED_MODEL))
    if is_head and ((folder / SECOND).exists() or _card(folder / HEAD_FILES[0]).get("files")):
        raise LocalError(
            f"{folder} has a second head or files of weights, which the registry does not carry: offer a head of head.json and head.onnx alone, or "
            "start the classifier with FEEDLOOP_HEAD at this folder"
        )
    with tempfile.TemporaryDirectory() as only:  # PEFT leaves a README and more beside an adapter; the registry takes what is read in use
        for name in HEAD_FILES if is_head else ADAPTER_FILES:
            try:
                shutil.copy(folder / name, only)
            except OSError as error:
                kind = "neural head" if is_head else "PEFT adapter, and no neural head"
                raise LocalError(f"{folder} is no {kind}: {name} can't be read ({error.strerror})") from error
        facts = {"offered": datetime.now().astimezone().isoformat()}
        manifest = Registry(store, state.folder / "models").publish(Path(only), "candidate", base, facts)
    return dict(await client.post("trainer", "/api/offer", {"digest": manifest.digest, "reason": f"offered: {folder.name}"}))


def _encoder_of(card: Path) -> str:
    """The digest of the encoder that a head was trained on, which is its base. Raises LocalError where head.json names none."""
    return str(_card(card)["encoder"])


def _card(path: Path) -> dict[str, Any]:
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        return {**card, "encoder": card["encoder"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LocalError(f"{path} is no head's card ({error!r}): train the head again (services.trainer.runs.train_head)") from error
