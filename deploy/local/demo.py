"""`make demo`: the whole loop on the sample, on real parts, with the figures at the end.

Steps, each a method: start, read, ask, before, correct, train, swap, after, refuse, roll_back, close. What is shown is what the services answer.
"""

import asyncio
import json
import shutil
import statistics
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from deploy.local import demo_report
from deploy.local.client import Client
from deploy.local.commands import ROOT, make_topics, offer_folder, out, say, show_answer, stack_environment
from deploy.local.demo_parts import SAMPLE, Load, corrections, sample_served, spoil
from deploy.local.demo_world import POLL_S, World
from deploy.local.errors import LocalError
from deploy.local.stack import Stack
from deploy.local.state import State
from shared.prompts import label_messages
from shared.taxonomy import label_set


class Demo:
    """One run of the demo. Figures gather in `figures`, which the closing table and the JSON report show."""

    def __init__(self, report: Path, stay: bool) -> None:
        self.report, self.stay = report, stay
        self.state = State("demo")
        self.figures: dict[str, Any] = {}
        self.seconds: dict[str, float] = {}
        self.stack: Stack
        self.client: Client
        self.world: World

    async def run(self) -> int:
        """0 where everything went as it should; 1 where a step did not, which the table says. Ctrl-C ends every process at any moment."""
        began = time.monotonic()
        async with AsyncExitStack() as exits:
            await self.start(exits)
            for step in (self.read, self.ask, self.before, self.correct, self.train, self.after, self.refuse, self.roll_back):
                out.rule(f"[bold]{step.__doc__.splitlines()[0].rstrip('.')}[/]" if step.__doc__ else "")
                started = time.monotonic()
                await step()
                self.seconds[step.__name__] = round(time.monotonic() - started, 1)
            self.seconds["all"] = round(time.monotonic() - began, 1)
            passed = demo_report.close(self.figures, self.seconds, self.stack.urls["feedback"], self.report)
            if self.stay or sys.stdin.isatty():
                out.print(f"The page stays at [bold]{self.stack.urls['feedback']}[/] until Ctrl-C.")
                await asyncio.Event().wait()
        return 0 if passed else 1

    async def start(self, exits: AsyncExitStack) -> None:
        """Start Kafka, vLLM and six services."""
        out.rule("[bold]Start Kafka, vLLM and six services[/]")
        with self.state:  # nobody else's demo; yesterday's is cleared
            pass
        if self.state.folder.exists() and not self.state.running():
            shutil.rmtree(self.state.folder)
        began = time.monotonic()
        self.state.acquire()
        exits.callback(self.state.release)
        manifest, config = await exits.enter_async_context(sample_served(self.state.folder / "sample"))
        self.figures["expected"] = manifest.expected
        env = {**stack_environment(config), "FEEDLOOP_TRAIN_WAIT_S": "3", "FEEDLOOP_TRAIN_AFTER": str(len(corrections()) * 9 // 10)}
        with out.status("Kafka, topics, vLLM …") as status:
            self.stack = Stack(
                self.state,
                say=say,
                env=env,
                prepare=make_topics,
                progress=lambda s: status.update(f"vLLM is starting ({s:.0f} s; about a minute) …"),
            )
            await exits.enter_async_context(self.stack)
            status.update("waiting until all six services are ready …")
            await self.stack.services_ready()
        self.client = await exits.enter_async_context(Client(self.stack.urls))
        self.world = World(self.client, self.state.logs)
        self.seconds["start"] = round(time.monotonic() - began, 1)
        out.print(f"All ready in {self.seconds['start']} s. The page: [bold]{self.stack.urls['feedback']}[/]  logs: {self.state.logs}")

    async def read(self) -> None:
        """Read the sample: feeds and newsletters in, verdicts out."""
        expected = self.figures["expected"]
        columns = (SpinnerColumn(), TextColumn("{task.description:<11}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        shown: set[str] = set()
        with Progress(*columns, console=out) as progress:
            bars = {name: progress.add_task(name, total=expected) for name in ("provisional", "final", "indexed")}
            indexed: set[str] = set()
            async with self.world.deadline(240, "the sample was not read in time"):
                while True:
                    items = await self.world.items()
                    final = [item for item in items if item["stage"] != "provisional"]
                    indexed |= {item["id"] for item in final if item["id"] not in indexed and await self.world.is_indexed(item["id"])}
                    done = {"provisional": len(items), "final": len(final), "indexed": len(indexed)}
                    for name, bar in bars.items():
                        progress.update(bar, completed=done[name])
                    for item in final:
                        if item["id"] not in shown:
                            shown.add(item["id"])
                            progress.console.print(demo_report.one_line(item), no_wrap=True, overflow="ellipsis")
                    if min(done.values()) >= expected:
                        break
                    await asyncio.sleep(POLL_S)
        quarantine = await self.world.quarantine()
        self.figures |= {"items": len(items), "quarantined": [f"{q['source']}: {q['detail']}" for q in quarantine]}
        self._show_items(items)
        out.print(f"{len(items)} items read; {len(quarantine)} quarantined, each with its reason:")
        for entry in quarantine:
            out.print(f"  [yellow]{escape(entry['source'])}[/]: {escape(entry['detail'])}")

    async def ask(self) -> None:
        """Ask the documents."""
        questions = yaml.safe_load((SAMPLE / "questions.yaml").read_text())
        questions = questions["questions"] if isinstance(questions, dict) else questions
        answered = 0
        for entry in questions:
            answer = await self.client.post("feedback", "/api/ask", {"question": entry["question"]})
            show_answer(entry["question"], answer)
            answered += bool(answer["found"])
        self.figures["questions"] = {"asked": len(questions), "answered": answered}

    async def before(self) -> None:
        """Before any correction: what the base model says of the held-out items."""
        self.figures["before"] = await self._score(await self.world.held_out())

    async def correct(self) -> None:
        """Correct: an editor gives corrections, and the corrected items change at once."""
        by_title = {item["title"]: item["id"] for item in await self.world.items()}
        waits, given = [], 0
        for said in corrections():
            body = {field: said[field] for field in ("title", "text", "task", "correct", "incorrect", "why")}
            document = by_title.get(said["title"], "") if said.get("key") else ""
            began = time.monotonic()
            await self.client.post("feedback", "/api/feedback", {**body, "document_id": document, "by": "desk"})
            given += 1
            if document and given % 6 == 1:  # a sample of them is timed, one at a time
                await self.world.until(
                    partial(self.world.is_corrected, document, said), 20, f"the overlay did not reach {said['title']!r}", every=0.02
                )
                waits.append(time.monotonic() - began)
        self._corrected_at = time.monotonic()
        self.figures |= {"corrections": given, "overlay_s": round(statistics.median(waits), 3), "overlay_slowest_s": round(max(waits), 3)}
        out.print(f"{given} corrections given. From a correction to the changed verdict: {self.figures['overlay_s']} s (median of {len(waits)}).")

    async def train(self) -> None:
        """Train, judge, publish, swap: under a running load."""
        items = await self.world.held_out()
        task = label_set().tasks["category"]
        options = list(task.labels)
        bodies: list[dict[str, object]] = [
            {"messages": label_messages(task, i["title"], i["text"]), "max_tokens": 16, "temperature": 0, "structured_outputs": {"choice": options}}
            for i in items
        ]
        load = Load(self.stack.urls["inference"], bodies, at_once=1)
        # the load begins when the gate judges: before that it would only take the processor from the training
        async with AsyncExitStack() as running:
            with Live(console=out, refresh_per_second=4) as live:
                run = await self._watch_training(live, lambda: running.enter_async_context(load.running()))
            if run["outcome"] != "published":
                raise LocalError(f"the run was {run['outcome']}: {run['reason']}")
            active = await self.world.until(lambda: self.world.activated(run["digest"]), 90, "the adapter did not go live")
            await asyncio.sleep(2)
        self.figures |= {
            "digest": run["digest"],
            "train_s": run["seconds"],
            "correction_to_served_s": round(time.monotonic() - self._corrected_at - 2, 1),
            "swap_s": active["seconds"],
            "probes": f"{active['probes_agreed']} of {active['probes']}",
            "gate": run["report"],
            "swap_requests": load.sent,
            "swap_failed": load.failed,
            "swap_failures": load.reasons[:5],
            "swap_models": sorted(load.models),
        }
        demo_report.show_gate(run["report"])
        out.print(
            f"[green]Live:[/] adapter {run['digest'][:12]}, swapped in {active['seconds']} s ({self.figures['probes']} known answers came back); "
            f"{load.sent} requests meanwhile, {load.failed} failed."
        )

    async def after(self) -> None:
        """After: the same held-out items, read again by the new adapter."""
        ids = [item["id"] for item in await self.world.held_out()]
        began = time.monotonic()
        await self.client.post("ingest", "/api/replay", {"ids": ids})
        await self.world.until(partial(self.world.read_by, self.figures["digest"]), 120, "the held-out items were not read again in time")
        self.figures["replay_s"] = round(time.monotonic() - began, 1)
        items = await self.world.held_out()
        self.figures["after"] = await self._score(items)
        demo_report.show_change(self.figures["before"], self.figures["after"], self.figures["digest"])

    async def refuse(self) -> None:
        """Refuse: a deliberately bad adapter is offered to the gate."""
        good = self.state.folder / "objects" / "models" / "adapter" / self.figures["digest"]
        bad = await asyncio.to_thread(spoil, good, self.state.folder / "spoilt")
        asked = await offer_folder(self.client, bad, "demo")
        with out.status("the gate judges it …"):
            run = await self.world.until(lambda: self.world.finished(asked["run_id"]), 240, "the gate did not answer")
        self.figures["bad"] = {"outcome": run["outcome"], "reason": run["reason"], "report": run["report"]}
        out.print(f"[red]{run['outcome']}[/]: {escape(run['reason'])}")

    async def roll_back(self) -> None:
        """Roll back: one command, and forward again."""
        for wanted in ("base", self.figures["digest"]):
            began = time.monotonic()
            command = [sys.executable, "-m", "services", "models", "rollback", "--profile", "demo"]
            process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
            said, _ = await process.communicate()
            await self.world.until(partial(self.world.serving, wanted), 30, "the rollback did not arrive", every=0.1)
            self.figures.setdefault("rollback_s", round(time.monotonic() - began, 1))
            out.print(f"$ feedloop models rollback   → {said.decode().strip()}")

    async def _score(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        rows = [
            {
                "title": item["title"],
                "gold": item["gold"],
                "llm": item["verdict"]["category"]["label"],
                "verdict": item["decision"]["category"]["label"],
                "adapter": item["model"]["adapter"],
            }
            for item in items
        ]
        n = max(1, len(rows))
        score = {"items": len(rows), "llm": sum(r["llm"] == r["gold"] for r in rows) / n, "verdict": sum(r["verdict"] == r["gold"] for r in rows) / n}
        by = Counter(row["adapter"][:12] for row in rows)
        out.print(
            f"Held-out items: {len(rows)}; the LLM is right on {score['llm']:.0%}, the fused verdict on {score['verdict']:.0%} (read by {dict(by)})."
        )
        return {**score, "rows": rows}

    async def _watch_training(self, live: Live, at_judging: Callable[[], Awaitable[object]]) -> dict[str, Any]:
        judging = False
        async with self.world.deadline(400, "no training run came to an end"):
            while True:
                loop = await self.client.get("feedback", "/api/loop")
                live.update(demo_report.training(loop))
                if not judging and (loop["runs"] or (loop["training"] or {}).get("phase") in ("judging", "publishing")):
                    judging = True
                    await at_judging()
                if loop["runs"]:
                    return dict(loop["runs"][0])
                await asyncio.sleep(POLL_S)

    def _show_items(self, items: list[dict[str, Any]]) -> None:
        table = Table("item", "verdict", "metadata", title="Some of the items")
        for item in items[:: max(1, len(items) // 6)][:6]:
            verdict = "\n".join(f"{task}: {d['label']} ({d['probability']:.0%}, {d['by']})" for task, d in item["decision"].items())
            metadata = {key: item["metadata"][key] for key in ("summary", "key_topics", "entities", "action_items", "related_links")}
            table.add_row(escape(item["title"]), verdict, escape(json.dumps(metadata, ensure_ascii=False)[:420]))
        out.print(table)
