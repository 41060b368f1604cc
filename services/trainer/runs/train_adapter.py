"""Train a LoRA adapter on a snapshot of corrections, or take one that is offered, and gather what the gate judges by.

    python -m services.trainer.runs.train_adapter --snapshot snapshot.json --base deploy/model --out run/ [--incumbent DIR] [--candidate DIR]
        [--labels PLACE]

One adapter learns the corrections of all label sets: each example is asked as its own set's task. One linear file. Reads a dataset.Snapshot; writes
out/adapter (PEFT, safetensors) and out/judgement.json (answers of base, incumbent and candidate, and what each phase took); prints one JSON line per
step of progress to standard output. Nothing here knows Kafka.
"""

import argparse
import json
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import accumulate, zip_longest
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from services.trainer.dataset import Example, Snapshot
from services.trainer.runs.asked import asked, gold, heard
from services.trainer.runs.choose import Chooser
from services.trainer.runs.tune import tune
from shared.taxonomy import label_set, use

SEED, PROBES, REPLAYED = 20, 16, 24  # REPLAYED: texts whose other tasks are rehearsed
UNTOUCHED = 96  # at most so many questions on uncorrected tasks are asked of each model: on a laptop's processor asking costs as much as training
CLOSE = 0.05  # an answer less sure than this is no known answer: the engine computes a little differently


def say(phase: str, step: int = 0, steps: int = 0, loss: float | None = None) -> None:
    """One line of progress for whoever started the run."""
    print(json.dumps({"phase": phase, "step": step, "steps": steps, "loss": loss}), flush=True)


@contextmanager
def timed(spent: dict[str, dict[str, float]], phase: str) -> Iterator[None]:
    """Notes what a phase takes, in seconds: of the processor, all threads together, and by the clock."""
    cpu, wall = time.process_time(), time.perf_counter()
    yield
    spent[phase] = {"cpu_s": round(time.process_time() - cpu, 2), "wall_s": round(time.perf_counter() - wall, 2)}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--snapshot", type=Path, required=True)
    parser.add_argument("--base", required=True, help="folder or hub id of the base model")
    parser.add_argument("--incumbent", type=Path, help="the adapter that is live; without it the base weights are")
    parser.add_argument("--candidate", type=Path, help="judge this adapter instead of training one")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1, help="more pay on an idle machine only: beside others they wait for each other, spinning")
    parser.add_argument("--labels", type=Path, help="your own label sets: a folder, or a YAML file with `label_sets:`")
    args = parser.parse_args(argv)
    use(args.labels)
    snapshot = Snapshot.model_validate_json(args.snapshot.read_text())
    train, held_out = snapshot.part("train"), snapshot.part("held_out")
    torch.set_num_threads(args.threads)
    random.seed(SEED)
    torch.manual_seed(SEED)

    say("preparing")
    spent: dict[str, dict[str, float]] = {}
    with timed(spent, "preparing"):
        tokenizer = AutoTokenizer.from_pretrained(args.base)
        base = AutoModelForCausalLM.from_pretrained(args.base, dtype=torch.float32).eval()
        chooser = Chooser(tokenizer, {e.collection for e in snapshot.examples})
        # what is asked beside the held-out examples is a sample: on a laptop's processor asking costs as much as training
        dice = random.Random(SEED)
        replay = asked(_within(_other_tasks(_drawn(train, REPLAYED, dice), snapshot), UNTOUCHED))
        pool = [*held_out, *_drawn(train, PROBES, dice)]
        untouched = _within(_drawn(_other_tasks(held_out, snapshot), UNTOUCHED, dice), UNTOUCHED)
        everything = asked([*pool, *untouched])
        of_base = dict(zip([*everything, *replay], chooser.answers(base, [*everything, *replay]), strict=True))
        of_incumbent = of_base
        if args.incumbent:
            incumbent = PeftModel.from_pretrained(base, str(args.incumbent)).eval()
            of_incumbent = dict(zip(everything, chooser.answers(incumbent, everything), strict=True))
            base = incumbent.unload()  # the base weights again

    if args.candidate:
        model = PeftModel.from_pretrained(base, str(args.candidate)).eval()
        adapter = args.candidate
    else:
        with timed(spent, "training"):
            kept = [other.model_copy(update={"label": of_base[other].label}) for other in replay]
            model = tune(base, chooser, asked(train), kept, snapshot.recipe, partial(say, "training"))
        adapter = args.out / "adapter"
        model.save_pretrained(str(adapter))
        (adapter / "README.md").unlink(missing_ok=True)
        config = json.loads((adapter / "adapter_config.json").read_text())
        config["base_model_name_or_path"] = snapshot.base  # not the path on this machine
        (adapter / "adapter_config.json").write_text(json.dumps(config, indent=1, sort_keys=True))

    say("judging")
    with timed(spent, "judging"):
        finite = all(bool(torch.isfinite(weight).all()) for weight in model.parameters())
        answers = dict(zip(everything, chooser.answers(model, everything), strict=True)) if finite else of_base
    now, by_base, live = ({e: heard(e, said) for e in [*pool, *untouched]} for said in (answers, of_base, of_incumbent))
    # known answers for the engine: those that tell the adapter from the base, the surest first, and a few that they agree on
    ranked = sorted((e for e in pool if now[e].sure >= CLOSE), key=lambda e: (now[e].known == by_base[e].known, -now[e].sure))
    telling = [e for e in ranked if now[e].known != by_base[e].known][: PROBES * 3 // 4]
    agreeing = [e for e in ranked if now[e].known == by_base[e].known][: PROBES - len(telling)]
    judgement = {
        "finite": finite,
        "training_examples": 0 if args.candidate else len(train),
        "held_out": [
            {"gold": gold(e), "incumbent": live[e].label, "candidate": now[e].label, "task": e.task, "collection": e.collection, "title": e.title}
            for e in held_out
        ],
        "untouched": [[live[e].label, now[e].label, e.collection] for e in untouched],
        "probes": [
            {
                "collection": e.collection,
                "task": e.task,
                "title": e.title,
                "text": e.text,
                "answer": now[e].known,
                "base_answer": by_base[e].known,
            }
            for e in [*telling, *agreeing]
        ],
        "adapter": str(adapter),
        "spent": spent,
    }
    (args.out / "judgement.json").write_text(json.dumps(judgement, ensure_ascii=False, indent=1))


def _drawn(examples: Sequence[Example], most: int, dice: random.Random) -> list[Example]:
    """At most so many of them, in turn from each label set: one with few corrections must not be forgotten for another's many."""
    of_set: dict[str, list[Example]] = {}
    for example in examples:
        of_set.setdefault(example.collection, []).append(example)
    drawn = [dice.sample(part, min(len(part), most)) for part in of_set.values()]
    return [example for turn in zip_longest(*drawn) for example in turn if example][:most]


def _other_tasks(examples: Sequence[Example], snapshot: Snapshot) -> list[Example]:
    """The same texts under the other tasks that the LLM is asked in their label sets, where nobody has corrected them: what the adapter must not forget."""
    corrected = {(e.title, e.text, e.question) for e in snapshot.examples}
    copies = (
        example.model_copy(update={"task": task.name, "label": "", "incorrect": ""})
        for example in examples
        for task in label_set(example.collection).asked_of("llm")
    )
    return list(dict.fromkeys(copy for copy in copies if (copy.title, copy.text, copy.question) not in corrected))


def _within(examples: Sequence[Example], most: int) -> list[Example]:
    """The first of them that are at most so many questions: a multi task is one for each of its labels."""
    counts = accumulate(len(asked([example])) for example in examples)
    return [example for example, count in zip(examples, counts, strict=True) if count <= most]


if __name__ == "__main__":
    main()
