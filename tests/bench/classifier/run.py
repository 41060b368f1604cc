"""One run of the classifier's bench: sets, messages and robustness, one after the other, and the plots."""

import argparse
import json
import shutil
import time
from pathlib import Path

from rich.console import Console

from shared.encoder import Encoder
from tests.bench.classifier import messages, noise, parts, plots, robust, rows, sets, speed, summary
from tests.bench.classifier.llm import BASE, TAUGHT, Asker
from tests.bench.classifier.parts import Reader
from tests.bench.classifier.screen import SHIPPED_FUSION, Remembered, Screen, head_folder, live_head
from tests.bench.model.tables import Section, show

ROOT = Path(__file__).resolve().parents[3]
BUILD, ENCODER = ROOT / "build" / "bench", ROOT / "build" / "encoder"
MISSES, WORK = BUILD / "classifier-misses.jsonl", BUILD / "classifier"
NOISE = 10_000  # texts at size 1
TIMED = 200  # messages that a verdict is timed on
PLOTS = ("classifier-reliability.png", "classifier-danger.png", "classifier-emotions.png")


class Bench:
    """One run: what is measured on, how much of it, and what came of it."""

    def __init__(self, args: argparse.Namespace, console: Console) -> None:
        self.args, self.console = args, console
        self.data: Path | None = args.data_found
        self.encoder = Encoder(ENCODER, args.threads)
        self.sections: list[Section] = []
        self.about: list[str] = []
        self.found: list[rows.Found] = []
        self.messages: list[messages.Message] = []
        self.ways: list[messages.Way] = []

    def say(self, line: str) -> None:
        self.console.print(f"[dim]{time.strftime('%H:%M:%S')} {line}[/dim]", highlight=False)

    def add(self, section: Section) -> None:
        self.sections.append(section)
        show(self.console, section)

    async def measure(self, asker: Asker | None) -> None:
        """All parts that are wanted, one after the other."""
        if "sets" in self.args.only and self.data:
            await self._sets(self.data, asker)
        if "messages" in self.args.only or "robustness" in self.args.only:
            folder, told = head_folder(self.encoder, WORK)
            fusion = SHIPPED_FUSION if (SHIPPED_FUSION / "wellbeing.json").is_file() else None
            self.about.append(
                f"Of the messages {told}; weights of the parts {'are those that ship' if fusion else 'are hand-set, for none ship yet'}"
            )
            with live_head(self.encoder, folder) as head:
                if "messages" in self.args.only:
                    await self._messages(Remembered(head), fusion, asker)
                    self.add(speed.measured([one.text for one in self.messages][:TIMED], head))
                if "robustness" in self.args.only:
                    self._robustness(head)
        if self.found or self.ways:
            self.sections.insert(0, summary.targets(summary.Measured(self.found, self.messages, self.ways)))
            show(self.console, self.sections[0])

    async def _sets(self, data: Path, asker: Asker | None) -> None:
        keep = WORK / "vectors" if self.args.keep_vectors else None
        start = parts.begun(self.args.start, self.encoder)
        if start:
            self.about.append(f"`head: {parts.begun_with(start)}` begins with the layers of the {start.collection} head, `{start.digest[:12]}`")
        means = rows.Means(Reader(self.encoder, keep), self.args.heads, WORK / "heads", Screen.of(), self.say, self.args.tuned, start)
        for source in sets.there(data):
            if self.args.sets and source.folder not in self.args.sets:
                continue
            split = sets.split(data, source, self.args.size)
            heard = {}
            if asker:
                self.say(f"{split.name}: asking the language model …")
                heard[BASE] = await asker.heard(split)
                if self.args.adapter and (taught := await asker.taught(split, self.args.adapter, WORK)):
                    heard[TAUGHT] = taught
            self.found.append(rows.measured(split, means, heard))
            one = self.found[-1]
            show(self.console, Section(split.name, rows.COLUMNS, rows.cells(one)))
        if self.found:
            self.add(summary.of_sets(self.found))
            self.add(Section("Sets, row by row", rows.COLUMNS, [row for one in self.found for row in rows.cells(one)], summary.about_rows()))

    async def _messages(self, head: Remembered, fusion: Path | None, asker: Asker | None) -> None:
        self.messages = messages.messages(min(1.0, 4 * self.args.size))
        verdicts = await asker.messages([one.text for one in self.messages]) if asker else None
        self.ways = messages.ways(self.messages, head, fusion, verdicts, self.say)
        self.add(messages.statements(self.messages, self.ways))
        for group in messages.GROUPS:
            self.add(messages.hard(self.messages, self.ways, group))
        self.add(messages.by_kind(self.messages, self.ways))
        listed = messages.misses(self.messages, self.ways)
        MISSES.parent.mkdir(parents=True, exist_ok=True)
        MISSES.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in listed), encoding="utf-8")

    def _robustness(self, head: robust.Neurons) -> None:
        number = max(110, round(NOISE * self.args.size))
        self.say(f"noise, {number} texts …")
        self.add(robust.of_noise(robust.through(Screen.of(head=head).decide, noise.texts(number), number)))
        shutil.rmtree(WORK / "broken", ignore_errors=True)
        self.add(robust.broken(head, self.encoder, WORK / "broken"))

    def plots(self, folder: Path) -> None:
        """The pictures, of what was measured."""
        if self.found:
            plots.draw_reliability(self.found, folder / PLOTS[0])
        if self.ways:
            plots.draw_precision_recall(self.messages, self.ways, folder / PLOTS[1])
            plots.draw_confusion(self.messages, self.ways[0], folder / PLOTS[2])
