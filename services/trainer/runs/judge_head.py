"""Ask a head, and the one in use, of what people corrected, and gather what the gate judges by. Where the one in use does not speak of a task the encoder
does, by the labels' names, as in use; and where that is silent too, what has to be beaten is the label that people named most often.

    python -m services.trainer.runs.judge_head --snapshot snapshot.json --candidate DIR [--incumbent DIR] --encoder build/encoder --out run/ [--labels FILE]

Reads a dataset.Snapshot; writes out/judgement.json and prints a JSON line a phase to standard output, as train_adapter does. Nothing here knows Kafka.
"""

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from services.trainer.dataset import Example, Snapshot
from services.trainer.heads import Head, answer, ask, likeliest
from shared.by_name import ByName, left_to_names
from shared.encoder import Encoder
from shared.errors import PermanentError
from shared.heads import AGREE, Scores, head_text, scores_of
from shared.taxonomy import NOTHING, LabelSet, label_set, use


def judgement(snapshot: Snapshot, candidate: Path, incumbent: Path | None, encoder: Encoder) -> dict[str, Any]:
    """What gate.judge_head and the registry need. A candidate that does not fit is a failed check, and then no more is asked."""
    found: dict[str, Any] = {"head": str(candidate), "base": encoder.digest, "checks": [], "held_out": [], "figures": {}, "live": {}, "probes": []}
    try:
        offered = Head(candidate)
        probes, labels = offered.card.probes, label_set(offered.card.collection)
        offered.fits(encoder.digest, labels)
        known = ask(offered, encoder, [head_text(probe.title, probe.text) for probe in probes])
        live, told = _live(incumbent, encoder, labels)
        examples = _examples(snapshot, [offered, *live])
        texts = [head_text(one.title, one.text) for one in examples]
        said = ask(offered, encoder, texts)
        named = by_name(encoder, labels, texts)
    except PermanentError as error:
        found["checks"] = [_check("it fits", False, str(error))]
        return found
    before: list[Scores] = [{} for _ in texts]
    if live:
        try:
            before = ask(live[0], encoder, texts)
        except PermanentError as error:
            told = f"the one in use fails: {error}"
    agreed = sum(likeliest(scores, probe.task) == probe.answer for scores, probe in zip(known, probes, strict=True))
    answers = f"{agreed} of {len(probes)} come back" if probes else "it has none: train it again (services.trainer.runs.train_head)"
    silenced = [task for head in live for task in head.card.tasks if task not in offered.card.tasks]
    found["checks"] = [
        _check("it fits", True, f"encoder, tasks and labels are those of {labels.collection}; {told}"),
        _check("known answers", bool(probes) and agreed >= AGREE * len(probes), answers),
    ]
    if snapshot.part("train"):  # of the loop's own making: nobody has looked at it
        lost = f"the one in use speaks of {', '.join(silenced)} too, of which there are too few corrections" if silenced else "it speaks of them all"
        found["checks"].append(_check("no task loses its head", not silenced, lost))
    usual = commonest(snapshot)
    for example, then, now, name in zip(examples, before, said, named, strict=True):
        task = labels.tasks[example.task]
        gold = ",".join(task.chosen(example.label)) or NOTHING
        incumbent_says = answer(name | then, example.task, labels) or usual.get(example.task, "")
        candidate_says = answer(now, example.task, labels)
        found["held_out"].append({"gold": gold, "incumbent": incumbent_says, "candidate": candidate_says, "task": example.task})
    found["figures"], found["live"] = _figures([offered]), _figures(live)
    found["probes"] = [probe.model_dump() | {"collection": labels.collection} for probe in probes]  # cards do not say it of each
    return found


def _live(folder: Path | None, encoder: Encoder, labels: LabelSet) -> tuple[list[Head], str]:
    """The head in use, where there is one that can be asked; and in words which."""
    if folder is None:
        return [], "there is no head of this collection yet"
    told = "it is compared with the one in use"
    try:
        try:
            head = Head(folder)
        except PermanentError as error:  # a second head that is damaged is not asked in use either
            head, told = Head(folder, alone=True), f"{told} without its second head: {error}"
        head.fits(encoder.digest, labels)
    except PermanentError as error:
        return [], f"the one in use can't be asked: {error}"
    return [head], told


def _examples(snapshot: Snapshot, heads: Sequence[Head]) -> list[Example]:
    """Of each story and task that was held out one, of the tasks that a head speaks of: ten reports of one event must not count as ten."""
    tasks = {task for head in heads for task in head.card.tasks}
    return list({(one.story, one.task): one for one in reversed(snapshot.part("held_out")) if one.task in tasks}.values())


def by_name(encoder: Encoder, labels: LabelSet, texts: Sequence[str]) -> list[Scores]:
    """What the encoder says of each text by the labels' names, of the tasks of which they tell something."""
    names = ByName.of(encoder, left_to_names(labels, []))
    return scores_of(encoder, texts, *([names.says] if names.tasks else []))


def commonest(snapshot: Snapshot) -> dict[str, str]:
    """Task -> what people said most often, of what was trained on; of an offered head that is nothing."""
    said: dict[str, Counter[str]] = {}
    for one in snapshot.part("train"):
        said.setdefault(one.task, Counter())[one.label] += 1
    return {task: max(sorted(counts), key=counts.__getitem__) for task, counts in said.items()}


def _figures(heads: Sequence[Head]) -> dict[str, Any]:
    return {task: head.figures[task].model_dump() if task in head.figures else None for head in heads for task in head.card.tasks}


def _check(name: str, passed: bool, detail: str) -> dict[str, Any]:
    return {"name": name, "passed": passed, "detail": detail}


def say(phase: str) -> None:
    print(json.dumps({"phase": phase, "step": 0, "steps": 0, "loss": None}), flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--snapshot", type=Path, required=True)
    parser.add_argument("--candidate", type=Path, required=True)
    parser.add_argument("--incumbent", type=Path, help="the head in use; without it there is none")
    parser.add_argument("--encoder", type=Path, required=True)
    parser.add_argument("--labels", type=Path, help="your own label sets: a folder, or a YAML file with `label_sets:`")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    use(args.labels)
    say("preparing")
    snapshot = Snapshot.model_validate_json(args.snapshot.read_text())
    encoder = Encoder(args.encoder, args.threads)
    encoder.load()
    say("judging")
    found = judgement(snapshot, args.candidate, args.incumbent, encoder)
    (args.out / "judgement.json").write_text(json.dumps(found, ensure_ascii=False, indent=1))


if __name__ == "__main__":
    main()
