"""`feedloop classify`: verdicts on texts, by the running classifier, with the reasons in words."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any

from rich.markup import escape
from rich.text import Text

from deploy.local.client import Client, addresses
from deploy.local.commands import out
from deploy.local.texts import Given

AT_ONCE, EXPLAINED_AT_ONCE, ASKED_AT_ONCE = 64, 8, 2  # texts in a request: all, with the words that mattered, by the language model (which is slow)
MOST_CHARS = 400_000  # in a request: what comes back within the client's patience
SHOWN_CHARS = 160
SETTLED = ("rule", "correction", "default")  # who has no probability, as on the page (services/feedback/static/words.js)


async def classify(texts: Iterable[Given], collection: str, profile: str, *, as_json: bool, explain: bool, llm: bool = False) -> None:
    """Print the verdict on each text as it comes, in the order given: as tables for a person, or as a JSON object a line. The help text
    that goes with a safety label stands once, at the end of what a person reads."""
    help_text = ""
    batches = _batches(texts, ASKED_AT_ONCE if llm else EXPLAINED_AT_ONCE if explain else AT_ONCE)
    wanted = [f"{name}=1" for name, given in (("explain", explain), ("llm", llm)) if given]
    path = "/api/classify" + (f"?{'&'.join(wanted)}" if wanted else "")
    first = next(batches, [])  # what is wrong with the texts is said whether or not a classifier is there
    try:
        async with Client(addresses(profile)) as client:
            for batch in chain([first] if first else [], batches):
                items = [{"text": given.text, "title": given.title} for given in batch]
                answer = await client.post("classifier", path, {"items": items, "collection": collection})
                for given, verdict in zip(batch, answer["items"], strict=True):
                    if as_json:
                        sys.stdout.write(json.dumps({"text": given.text, **({"title": given.title} if given.title else {}), **verdict}) + "\n")
                    else:
                        show(given, verdict, llm)
                        help_text = verdict["care"]["help"] if verdict["care"] else help_text
                sys.stdout.flush()
    finally:  # also where the classifier goes away between two requests: what was shown until then needs it
        if help_text:
            out.print(Text(help_text))


def _batches(texts: Iterable[Given], most: int) -> Iterator[list[Given]]:
    """As many as go into one request, by number and by length."""
    left = iter(texts)
    held: list[Given] = []
    while batch := held + list(islice(left, most - len(held))):
        held = []
        while len(batch) > 1 and sum(len(given.text) for given in batch) > MOST_CHARS:
            held.insert(0, batch.pop())
        yield batch


def show(given: Given, verdict: Mapping[str, Any], llm: bool = False) -> None:
    """One verdict for a terminal, as the page has it: calm words and what they are not, then the verdicts, what may be a danger first."""
    text = " ".join(f"{given.title}. {given.text}".split() if given.title else given.text.split())
    out.print(Text(f"“{text[:SHOWN_CHARS]}{'…' if len(text) > SHOWN_CHARS else ''}”", style="bold"))
    if care := verdict["care"]:
        out.print(Text(f"  Whoever wrote this {care['words']}."))
        out.print(Text(f"  {care['note']}", style="dim"))
    decisions: dict[str, Any] = verdict["decision"]
    grave = verdict["safety"]
    for task in sorted(decisions, key=lambda name: name not in grave):
        decision = decisions[task]
        label = ", ".join(decision.get("labels") or [decision["label"] or "none of them"])
        unsure = "  [yellow]unsure[/]" if decision.get("unsure") else ""
        style = "bold red" if task in grave else "cyan"
        by = decision["by"]
        chance = "" if by in SETTLED else f" {decision['probability']:.0%}"  # "100%" would be a claim that nobody has measured
        out.print(f"  {escape(task):<12} [{style}]{escape(label)}[/]{chance}  [dim]by {escape(by)}[/]{unsure}")
        for reason in decision["reasons"]:
            out.print(Text(f"               {reason}", style="dim"))
        if words := decision.get("mattered"):
            told = ", ".join(f"{span['words']} (−{span['drop']:.0%})" for span in words)
            out.print(Text(f"               mattered most: {told}"))
    if verdict["llm_problem"]:
        out.print(Text(f"  the language model did not answer: {verdict['llm_problem']}", style="yellow"))
    for task in verdict["undecided"]:
        asked = "" if llm else ", and the language model was not asked (--llm)"
        out.print(Text(f"  {task:<12} no part speaks of it{asked}", style="dim"))
    parts = {"rules": "rules_digest", "head": "head_digest", "fusion": "fusion_digest"}
    known = [f"{part} {str(verdict.get(key) or 'none')[:12]}" for part, key in parts.items()]
    out.print(Text(f"  collection {verdict['collection']}: {', '.join(known)}", style="dim"))
    out.print()
