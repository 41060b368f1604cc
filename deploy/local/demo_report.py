"""How the demo shows its figures: training progress, the gate, before and after, the closing table and its JSON."""

import json
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from deploy.local.commands import out


def training(loop: dict[str, Any]) -> RenderableType:
    """One line: where the run is."""
    now = loop["training"]
    if not now:
        return Text(f"{loop['waiting']} corrections wait; a run starts by itself after {loop['train_after']} …")
    grid = Table.grid(padding=(0, 1))
    loss = f"loss {now['loss']:.3f}" if now["loss"] is not None else ""
    bar = ProgressBar(total=max(1, now["steps"]), completed=now["step"], width=40)
    grid.add_row(f"{now['phase']} {now['run_id'][:12]}", bar, f"{now['step']}/{now['steps']}" if now["steps"] else "", loss)
    return grid


def one_line(item: dict[str, Any]) -> str:
    """One item as it was read: its labels, its title, and what the LLM found in it."""
    labels = " ".join(f"{item['decision'][task]['label']:<10}" for task in ("category", "sentiment", "urgency") if task in item["decision"])
    found = f"{len(item['metadata']['entities'])} names, {len(item['metadata']['action_items'])} to do" if item["metadata"] else ""
    return f"  [cyan]{labels}[/] {escape(item['title'])} [dim]{found}; {escape(item['source']['title'])}[/]"


def show_gate(report: dict[str, Any]) -> None:
    table = Table("check", "", "figures", title="The gate")
    for check in report["checks"]:
        table.add_row(check["name"], "[green]passed[/]" if check["passed"] else "[red]failed[/]", escape(check["detail"]))
    out.print(table)


def show_change(before: dict[str, Any], after: dict[str, Any], digest: str) -> None:
    """The held-out items whose reading changed."""
    table = Table("held-out item", "right is", "base says", f"adapter-{digest[:12]} says", title="Before and after (the LLM's own label)")
    was = {row["title"]: row for row in before["rows"]}
    for row in after["rows"]:
        old = was[row["title"]]
        if old["llm"] == row["llm"]:
            continue
        mark = "green" if row["llm"] == row["gold"] else "red"
        table.add_row(escape(row["title"][:70]), row["gold"], old["llm"], f"[{mark}]{row['llm']}[/]")
    out.print(table)


def close(figures: dict[str, Any], seconds: dict[str, float], page: str, report: Path) -> bool:
    """The closing table, and the same as JSON. True where everything that was promised came about."""
    before, after = figures["before"], figures["after"]
    promises = {
        "every item read": figures["items"] >= figures["expected"],
        "better after than before": after["llm"] > before["llm"] and after["verdict"] > before["verdict"],
        "no request failed during the swap": figures["swap_failed"] == 0,
        "the load ran before and after the swap": len(figures["swap_models"]) > 1,
        "the bad adapter refused": figures["bad"]["outcome"] == "refused",
    }
    table = Table("", "", title="Feedloop: the loop in figures", show_header=False)
    rows = {
        "items read": f"{figures['items']} of {figures['expected']}",
        "quarantined, with a reason": str(len(figures["quarantined"])),
        "questions answered with citations": f"{figures['questions']['answered']} of {figures['questions']['asked']}",
        "corrections given": str(figures["corrections"]),
        "correction → changed verdict (overlay)": f"{figures['overlay_s']} s median, {figures['overlay_slowest_s']} s slowest",
        "last correction → trained → served": f"{figures['correction_to_served_s']} s (training and gate {figures['train_s']} s)",
        "held-out accuracy of the LLM": f"{before['llm']:.0%} before, {after['llm']:.0%} after ({after['items']} items)",
        "held-out accuracy of the verdict": f"{before['verdict']:.0%} before, {after['verdict']:.0%} after",
        "swap": f"{figures['swap_s']} s, {figures['probes']} known answers came back",
        "requests during the swap": f"{figures['swap_requests']} (answered by {', '.join(figures['swap_models'])}), failed: {figures['swap_failed']}",
        "bad adapter": f"{figures['bad']['outcome']}: {figures['bad']['reason'][:110]}",
        "rollback, by one command": f"{figures['rollback_s']} s",
        "time of each phase": ", ".join(f"{name} {value:.0f} s" for name, value in seconds.items()),
        "the page": page,
        "the same as JSON": str(report),
    }
    for name, value in rows.items():
        table.add_row(name, escape(value))
    out.print(table)
    for promise, kept in promises.items():
        if not kept:
            out.print(f"[red]NOT kept:[/] {promise}")
    body = {**figures, "seconds": seconds, "page": page, "promises": promises}
    report.write_text(json.dumps(body, indent=1, ensure_ascii=False, default=str))
    return all(promises.values())
