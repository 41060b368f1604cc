"""Train a LoRA adapter on a snapshot of corrections, or take one that is offered, and gather what the gate judges by.

    python -m services.trainer.runs.train_adapter --snapshot snapshot.json --base deploy/model --out run/ [--incumbent DIR] [--candidate DIR]

One linear file. Reads a dataset.Snapshot; writes out/adapter (PEFT, safetensors) and out/judgement.json (answers of base, incumbent and candidate);
prints one JSON line per step of progress to standard output. Supervised fine-tuning on the answer alone, LoRA on all linear layers (Hu et al. 2021).
Prompt and answer are tokenised apart and joined, because that is the boundary at which the engine generates. Nothing here knows Kafka.
"""

import argparse
import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from services.trainer.dataset import Example, Snapshot
from services.trainer.runs.choose import Chooser, logits_at
from shared.taxonomy import label_set

SEED, BATCH, CLIP, WARMUP, PROBES, REPLAYED = 20, 8, 1.0, 0.1, 16, 24
REPLAY_WEIGHT = 0.3


def say(phase: str, step: int = 0, steps: int = 0, loss: float | None = None) -> None:
    """One line of progress for whoever started the run."""
    print(json.dumps({"phase": phase, "step": step, "steps": steps, "loss": loss}), flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--snapshot", type=Path, required=True)
    parser.add_argument("--base", required=True, help="folder or hub id of the base model")
    parser.add_argument("--incumbent", type=Path, help="the adapter that is live; without it the base weights are")
    parser.add_argument("--candidate", type=Path, help="judge this adapter instead of training one")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1, help="more pay on an idle machine only: beside others they wait for each other, spinning")
    args = parser.parse_args(argv)
    snapshot = Snapshot.model_validate_json(args.snapshot.read_text())
    train, held_out = snapshot.part("train"), snapshot.part("held_out")
    torch.set_num_threads(args.threads)
    random.seed(SEED)
    torch.manual_seed(SEED)

    say("preparing")
    tokenizer = AutoTokenizer.from_pretrained(args.base)
    base = AutoModelForCausalLM.from_pretrained(args.base, dtype=torch.float32).eval()
    chooser = Chooser(tokenizer, label_set())
    # what is asked beside the held-out examples is a sample: on a laptop's processor asking costs as much as training
    dice = random.Random(SEED)
    replay = _other_tasks(dice.sample(train, min(len(train), REPLAYED)), snapshot)
    untouched = _other_tasks(held_out, snapshot)
    pool = [*held_out, *dice.sample(train, min(len(train), PROBES))]
    everything = [*pool, *untouched]
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
        kept = [other.model_copy(update={"label": of_base[other].label}) for other in replay]
        model = _train(base, chooser, train, kept, snapshot.recipe)
        adapter = args.out / "adapter"
        model.save_pretrained(str(adapter))
        (adapter / "README.md").unlink(missing_ok=True)
        config = json.loads((adapter / "adapter_config.json").read_text())
        config["base_model_name_or_path"] = snapshot.base  # not the path on this machine
        (adapter / "adapter_config.json").write_text(json.dumps(config, indent=1, sort_keys=True))

    say("judging")
    finite = all(bool(torch.isfinite(weight).all()) for weight in model.parameters())
    answers = dict(zip(everything, chooser.answers(model, everything), strict=True)) if finite else of_base
    # known answers for the engine: those that tell the adapter from the base, the surest first, and a few that they agree on
    ranked = sorted(pool, key=lambda e: (answers[e].label == of_base[e].label, -answers[e].probability))
    telling = [e for e in ranked if answers[e].label != of_base[e].label][: PROBES * 3 // 4]
    agreeing = [e for e in ranked if answers[e].label == of_base[e].label][: PROBES - len(telling)]
    judgement = {
        "finite": finite,
        "training_examples": 0 if args.candidate else len(train),
        "held_out": [
            {"gold": e.label, "incumbent": of_incumbent[e].label, "candidate": answers[e].label, "task": e.task, "title": e.title} for e in held_out
        ],
        "untouched": [[of_incumbent[e].label, answers[e].label] for e in untouched],
        "probes": [
            {"task": e.task, "title": e.title, "text": e.text, "answer": answers[e].label, "base_answer": of_base[e].label}
            for e in [*telling, *agreeing]
        ],
        "adapter": str(adapter),
    }
    (args.out / "judgement.json").write_text(json.dumps(judgement, ensure_ascii=False, indent=1))


def _other_tasks(examples: Sequence[Example], snapshot: Snapshot) -> list[Example]:
    """The same texts under the LLM's other tasks, where nobody has corrected them: what the adapter must not forget."""
    corrected = {(e.title, e.text, e.task) for e in snapshot.examples}
    tasks = [task.name for task in label_set().asked_of("llm")]
    copies = (example.model_copy(update={"task": name, "label": "", "incorrect": ""}) for example in examples for name in tasks)
    return list(dict.fromkeys(copy for copy in copies if (copy.title, copy.text, copy.task) not in corrected))


def _train(base: PreTrainedModel, chooser: Chooser, train: list[Example], replay: list[Example], recipe: dict[str, float]) -> PeftModel:
    """SFT on the corrections; beside them the base model's own answers to the tasks nobody corrected, at a lower weight, so that they stay as they are."""
    rank, epochs, peak = int(recipe["rank"]), int(recipe["epochs"]), recipe["learning_rate"]
    lora = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
    model: Any = get_peft_model(base, lora).train()
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=peak, weight_decay=0.01)
    dice = random.Random(SEED)
    counts = Counter((e.task, e.label) for e in train)
    most = max(counts.values(), default=1)
    # people correct what is often wrong: without this a label with few corrections would be given away to its neighbour with many
    per_epoch = [(e, (most / counts[e.task, e.label]) ** 0.5) for e in train]
    kept = min(len(replay), len(train) // 2)
    steps = epochs * -(-(len(per_epoch) + kept) // BATCH)
    step = 0
    for _ in range(epochs):
        rows = [*per_epoch, *((e, REPLAY_WEIGHT) for e in dice.sample(replay, kept))]
        dice.shuffle(rows)
        for start in range(0, len(rows), BATCH):
            batch = rows[start : start + BATCH]
            ids, mask, labels = chooser.batch([e for e, _ in batch])
            rate = min(1.0, (step + 1) / (WARMUP * steps), (steps - step) / ((1 - WARMUP) * steps) + 0.02)
            for group in optimiser.param_groups:
                group["lr"] = peak * rate
            places, positions = (labels[:, 1:] != -100).nonzero(as_tuple=True)
            with torch.autocast("cpu", torch.bfloat16, enabled=chooser.bf16):
                logits = logits_at(model, ids, mask, places, positions)
            losses = torch.nn.functional.cross_entropy(logits, labels[places, positions + 1], reduction="none")
            # a long label counts as much as a short one
            weights = torch.tensor([weight for _, weight in batch])
            share = weights[places] / torch.bincount(places, minlength=len(batch))[places]
            loss = (losses * share).sum() / weights.sum()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimiser.step()
            optimiser.zero_grad()
            step += 1
            say("training", step, steps, round(float(loss.detach()), 4))
    return model.eval()


if __name__ == "__main__":
    main()
