"""Self-check of the sample: `python -m deploy.sample.check`; with --write it first rewrites feedback.jsonl and heldout.jsonl from the YAML."""

import hashlib
import json
import re
import sys
import tempfile
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

from deploy.sample.authored import HERE, Item, extras, hostile, items, questions
from deploy.sample.build import build
from shared.taxonomy import label_set

ALIKE = 0.6  # token Jaccard above which two texts count as copies


def feedback() -> list[dict[str, Any]]:
    """The corrections, those of items and those of extra texts, in a fixed mixed order (so that no label comes in a block)."""
    lines = [
        _line(item.key, item.title, item.plain, item.labels["category"], item.incorrect, item.why) for item in items() if item.use == "correction"
    ]
    lines += [_line(None, extra.title, extra.text, extra.correct, extra.incorrect, extra.why) for extra in extras()]
    return sorted(lines, key=lambda line: hashlib.sha256(str(line["title"]).encode()).hexdigest())


def _line(key: str | None, title: str, text: str, correct: str, incorrect: str, why: str) -> dict[str, Any]:
    return {"key": key, "title": title, "text": text, "task": "category", "correct": correct, "incorrect": incorrect, "why": why}


def heldout() -> list[dict[str, Any]]:
    """The items that no correction touches, with the label that a trained model should give."""
    return [{"key": i.key, "title": i.title, "task": "category", "label": i.labels["category"]} for i in items() if i.use == "heldout"]


def _dump(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _alike(one: str, other: str) -> float:
    a, b = set(re.findall(r"\w+", one.lower())), set(re.findall(r"\w+", other.lower()))
    return len(a & b) / len(a | b)


def faults() -> list[str]:
    """Everything that is wrong with the sample, a line each; empty where it is sound."""
    wrong = [] if len(items()) >= 112 else [f"only {len(items())} authored items"]
    everything: list[Item] = [*items(), *hostile()]
    wrong += [f"key {key} twice" for key, times in Counter(item.key for item in everything).items() if times > 1]
    labels = label_set("news")
    for item in everything:
        for task, label in item.labels.items():
            try:
                labels.check(task, label)
            except ValueError as error:
                wrong.append(f"{item.key}: {error}")
    for item in items():
        words = len(item.plain.split())
        if not 45 <= words <= 120 or set(item.labels) != {"category", "sentiment", "urgency"} or not item.author:
            wrong.append(f"{item.key}: {words} words (45 to 120), labels {sorted(item.labels)}, author {item.author!r}")
    return wrong + _faults_of_lists() + _copies(everything)


def _faults_of_lists() -> list[str]:
    wrong = []
    given, held = feedback(), heldout()
    for name, rows in (("feedback.jsonl", given), ("heldout.jsonl", held)):
        if not (HERE / name).exists() or (HERE / name).read_text("utf-8") != _dump(rows):
            wrong.append(f"{name} differs from the YAML; run python -m deploy.sample.check --write")
    for line in given:
        allowed = label_set("news").tasks["category"].labels
        if line["correct"] not in allowed or line["incorrect"] not in allowed or line["correct"] == line["incorrect"] or not line["why"]:
            wrong.append(f"correction of {line['title']!r}: {line['incorrect']!r} -> {line['correct']!r}, why {line['why']!r}")
    known = {item.key for item in items()}
    wrong += [f"question names no item {key}" for question in questions() for key in question.keys if key not in known]
    wrong += [f"{key} is corrected and held out" for key in {line["key"] for line in given} & {line["key"] for line in held}]
    counts = Counter(line["correct"] for line in given)
    wrong += [f"{label} is held out with {counts[label]} corrections (3)" for label in {line["label"] for line in held} if counts[label] < 3]
    if len(given) < 84 or len(held) < 36 or len(questions()) < 4:
        wrong.append(f"{len(given)} corrections (84), {len(held)} held out (36), {len(questions())} questions (4)")
    return wrong


def _copies(everything: list[Item]) -> list[str]:
    meant = {frozenset((item.key, item.same_story_as)) for item in hostile() if item.same_story_as}
    texts = [(item.key, item.plain) for item in everything if item.text] + [(extra.title, extra.text) for extra in extras()]
    found = {frozenset((a, b)) for (a, one), (b, other) in combinations(texts, 2) if _alike(one, other) > ALIKE}
    return [f"too much alike: {' and '.join(sorted(pair))}" for pair in found - meant] + [
        f"the deliberate duplicate is not alike: {' and '.join(sorted(pair))}" for pair in meant - found
    ]


def main() -> None:
    if "--write" in sys.argv[1:]:
        (HERE / "feedback.jsonl").write_text(_dump(feedback()), "utf-8")
        (HERE / "heldout.jsonl").write_text(_dump(heldout()), "utf-8")
    wrong = faults()
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        first, second = build(Path(one)), build(Path(two))
        wrong += [
            f"{a.name} differs from build to build"
            for a, b in zip(first.files, second.files, strict=True)
            if a.path.read_bytes() != b.path.read_bytes()
        ]
    if wrong:
        sys.exit("\n".join(f"sample: {line}" for line in wrong))
    print(
        f"sample: {len(items())} items and {len(hostile())} hostile cases, {first.expected} documents and {first.quarantined} quarantined expected, "
        f"{len(feedback())} corrections, {len(heldout())} held out, {len(questions())} questions"
    )


if __name__ == "__main__":
    main()
