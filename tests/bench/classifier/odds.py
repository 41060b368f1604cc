"""How many times as likely a rule's words make its label, beside what the head says: the figure for `odds` in a rule file (docs/rules.md).

    python -m tests.bench.classifier.odds --rows build/said.jsonl [--rules FOLDER] [--collection wellbeing]

The rows are what services.trainer.runs.train_head or distil wrote with --said: texts that the head has not learnt, their labels, and what it says of
them. For each rule that decides or is weighed, and for all of a task's label together: how many texts it hits, of how many it is right, what the head
alone gives its label there, and the odds under which the labels are likeliest (logistic regression with one coefficient on the head's own log-odds; the
coefficient's prior is normal about odds of PRIOR with a spread of one natural unit, so that a rule with three hits is not believed without bounds).
"""

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from services.classifier.rule_files import read_files
from services.classifier.rules import RuleSet
from shared.taxonomy import label_set

Key = tuple[str, str, str, str]  # task, label, kind, rule
ALL = "all"
PRIOR = 4.0
_STEPS = np.linspace(math.log(0.1), math.log(500), 400)
_LEAST = 1e-4
RULES = Path(__file__).resolve().parents[3] / "services" / "classifier" / "rules"


def likeliest_odds(chances: Sequence[float], right: Sequence[bool]) -> float:
    """The odds that make the labels likeliest: `chances` are the head's of the rule's label, `right` whether that is the label."""
    p = np.clip(np.array(chances, dtype=np.float64), _LEAST, 1 - _LEAST)
    logit, said = np.log(p / (1 - p)), np.array(right)
    fit = [-np.logaddexp(0, np.where(said, -1, 1) * (logit + step)).sum() - (step - math.log(PRIOR)) ** 2 / 2 for step in _STEPS]
    return float(np.exp(_STEPS[int(np.argmax(fit))]))


def hits(rows: Iterable[dict[str, Any]], rules: RuleSet, collection: str) -> dict[Key, list[tuple[float, bool]]]:
    """(task, label, kind, rule, or ALL of them) -> for each text that it hits, the head's probability of its label and whether that is the label."""
    found: defaultdict[Key, list[tuple[float, bool]]] = defaultdict(list)
    for row in rows:
        of_text: dict[Key, tuple[float, bool]] = {}  # a text that several rules hit counts once for ALL
        for hit in rules.hits("", row["text"], label_set(collection)):
            if hit.rule.task == row["task"]:
                label = hit.rule.label
                point = float(row["parts"]["neural"].get(label, 0.0)), bool(label == row["gold"])
                of_text |= {(hit.rule.task, label, hit.rule.kind, name): point for name in (hit.rule.id, ALL)}
        for key, point in of_text.items():
            found[key].append(point)
    return dict(found)


def main(argv: Sequence[str] | None = None) -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--rules", type=Path, default=RULES)
    parser.add_argument("--collection", default="wellbeing")
    given = parser.parse_args(argv)
    rows = [json.loads(line) for line in given.rows.read_text(encoding="utf-8").splitlines() if line.strip()]
    found = hits(rows, RuleSet(read_files(given.rules), label_set), given.collection)
    print("| task | label | kind | rule | texts | right | the head alone | odds |\n|---|---|---|---|---|---|---|---|")
    for (task, label, kind, rule), one in sorted(found.items()):
        chances, right = [p for p, _ in one], [said for _, said in one]
        odds = likeliest_odds(chances, right)
        print(f"| {task} | {label} | {kind} | {rule} | {len(one)} | {sum(right)} | {np.mean(chances):.2f} | {odds:.1f} |")


if __name__ == "__main__":
    main()
