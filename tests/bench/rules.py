"""Speed of the rules: 10,000 of them over texts of several lengths, against the plain way (an alternation of `re` and a compiled pattern a rule, as it
was before Aho-Corasick and RE2), in the same run. Both must find the same, save what a rule's guards void: the plain way has none.

python -m tests.bench.rules [--rules 10000] [--texts 300]
"""

import argparse
import json
import random
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from services.classifier.folding import fold
from services.classifier.rule_files import read_files
from services.classifier.rules import RuleSet
from services.classifier.scope import words
from shared.taxonomy import label_set

SHIPPED = Path(__file__).resolve().parents[2] / "services" / "classifier" / "rules"
SYLLABLES = "ka to mi re sun der lo vi pan os tra el bin qua ast fe gu hil jor nem".split()
COMMON = "i me my the a to of in and is was for on with it that this you be are we they he she not have had at from by but".split()
SEED = 7


def vocabulary(dice: random.Random, count: int = 6000) -> list[str]:
    """Made-up words, so that rules and texts share words as rules and texts of one desk do."""
    return sorted({"".join(dice.choice(SYLLABLES) for _ in range(dice.randint(2, 4))) for _ in range(count)})


def rule(number: int, dice: random.Random, known: Sequence[str]) -> dict[str, object]:
    """Two phrases each; every tenth has a pattern as well, every third a negation and an idiom."""
    phrases = [" ".join(dice.choice(known) for _ in range(dice.randint(2, 3))) for _ in range(2)]
    made: dict[str, object] = {"any": phrases, "tests": [{"text": f"so {phrases[0]} now", "hit": True}]}
    if number % 10 == 0:
        made["pattern"] = f"{dice.choice(known)} (?:{dice.choice(known)}|{dice.choice(known)})(?: \\w+){{0,2}} {dice.choice(known)}"
    if number % 3 == 0:
        made |= {"negations": ["not going to", "never"], "unless": [f"{dice.choice(known)} {dice.choice(known)}"]}
    return {"id": f"r{number}", "task": "urgency", "label": "high", "kind": "plain", "reason": "bench", "owner": "bench", "priority": number, **made}


def texts(count: int, length: int, dice: random.Random, known: Sequence[str], rules: Sequence[dict[str, object]]) -> list[str]:
    """Texts of `length` words; every second holds a phrase of some rule."""
    made = []
    for number in range(count):
        said = [dice.choice(COMMON) if dice.random() < 0.5 else dice.choice(known) for _ in range(length)]
        if number % 2:
            said[length // 2 : length // 2] = [dice.choice(dice.choice(rules)["any"])]  # type: ignore[arg-type]
        made.append(" ".join(said).capitalize() + ".")
    return made


class PlainWay:
    """Each text through one alternation of all phrases and through every pattern, with `re`, without the guards: so it has less to do."""

    def __init__(self, rules: Sequence[dict[str, object]]) -> None:
        phrases: dict[str, list[str]] = {}
        for one in rules:
            for phrase in one["any"]:  # type: ignore[attr-defined]
                phrases.setdefault(phrase, []).append(str(one["id"]))
        self._of, self._phrases = phrases, re.compile(f"(?=({words(phrases)}))")
        self._patterns = [(str(one["id"]), re.compile(rf"(?<!\w)(?:{one['pattern']})(?!\w)")) for one in rules if "pattern" in one]

    def ids(self, text: str) -> set[str]:
        folded = fold(text)
        found = {id for m in self._phrases.finditer(folded) for id in self._of[m[1]]}
        return found | {id for id, pattern in self._patterns if pattern.search(folded)}


def milliseconds(work: Callable[[str], object], given: Sequence[str]) -> tuple[float, float]:
    """Median and 99th percentile of the processor time for one text, in ms: a machine that does other things as well does not change it much."""
    for text in given[:20]:
        work(text)
    took = []
    for text in given:
        began = time.process_time()
        work(text)
        took.append((time.process_time() - began) * 1000)
    took.sort()
    return took[len(took) // 2], took[min(len(took) - 1, int(len(took) * 0.99))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rules", type=int, default=10_000)
    parser.add_argument("--texts", type=int, default=300)
    asked = parser.parse_args()
    dice = random.Random(SEED)
    known = vocabulary(dice)
    made = [rule(number, dice, known) for number in range(asked.rules)]
    news = label_set("news")
    began = time.process_time()
    many = RuleSet([("many.yaml", json.dumps({"rules": made}).encode())], label_set)
    ready = time.process_time() - began
    shipped = RuleSet(read_files(SHIPPED), label_set)
    plain = PlainWay(made)
    table = Table("text", "rules", "way", "median ms", "99 % ms", "texts/s", title=f"{asked.rules:,} rules, ready in {ready:.1f} s; processor time")
    figures: dict[str, float] = {"ready_s": round(ready, 2)}
    for length, count in ((25, asked.texts), (80, asked.texts), (1000, max(10, asked.texts // 10))):
        given = texts(count, length, dice, known, made)
        for text in given:
            ours, theirs = {hit.rule.id for hit in many.hits("", text, news)}, plain.ids(text)
            assert ours <= theirs and {id for id in theirs - ours if int(id[1:]) % 3} == set(), "the two ways differ by more than what guards void"
        for name, of, work in (
            (f"{asked.rules}", "automaton and RE2", lambda text: many.hits("", text, news)),
            (f"{asked.rules}", "re, one by one", plain.ids),
            (f"{len(shipped)} shipped", "automaton and RE2", lambda text: shipped.hits("", text, news)),
        ):
            median, late = milliseconds(work, given)
            table.add_row(f"{length} words", name, of, f"{median:.3f}", f"{late:.3f}", f"{1000 / median:,.0f}")
            figures[f"{length}_{name}_{of}_ms"] = round(median, 4)
        ratio = figures[f"{length}_{asked.rules}_re, one by one_ms"] / figures[f"{length}_{asked.rules}_automaton and RE2_ms"]
        figures[f"{length}_ratio"] = round(ratio, 1)
        table.add_row("", "", "[bold]times as fast as re", f"[bold]{ratio:.1f}", "", "")
    Console(width=120).print(table)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
