"""Train Feedloop's bundled model from scratch on a CPU and write a standard transformers folder.

    FEEDLOOP_DATA=../shared/data python -m services.trainer.runs.pretrain --out deploy/model --minutes 60

One file, read from top to bottom: tokenizer (where the folder has none), examples (services/trainer/runs/prepare.py), model, batches, optimiser, loop,
export. The schedule goes by the clock, so that --minutes is what it takes whatever the machine. Better weights are written to --out every
eight minutes, file by file, each replaced at once; --resume goes on from build/pretrain/checkpoint.pt. Needs a C++ compiler for torch.compile
(1.6 times as fast; --eager does without). The log is build/pretrain/log.jsonl: step, loss of each kind, tokens a second, held-out figures.

Why so: 7 M weights and about an hour of two cores is a few million tokens, so everything is spent on what use asks. Muon for the matrices (more
learnt per token), AdamW for the rest; bf16 weights with fp32 masters; sequences of three lengths, never two examples in one row, since use asks
each prompt alone; the loss counts answers in full, prompts a third, and a label as much as a sentence.
"""

import argparse
import json
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoTokenizer, GenerationConfig, LlamaConfig, LlamaForCausalLM

from services.trainer.runs import cooccurrence, make_tokenizer, measure
from services.trainer.runs.crew import Crew, Step
from services.trainer.runs.prepare import WORK, data_folder, prepare
from shared.prompts import label_messages
from shared.taxonomy import label_set

PRESETS: dict[str, dict[str, Any]] = {
    "cpu": {"hidden": 256, "layers": 6, "wide": 688, "scale": 1, "helpers": 1, "device": "cpu", "size": 0.6},
    "gpu": {"hidden": 320, "layers": 10, "wide": 864, "scale": 16, "helpers": 0, "device": "cuda", "size": 1.0},
    "tiny": {"hidden": 128, "layers": 2, "wide": 344, "scale": 1, "helpers": 1, "device": "cpu", "size": 0.01},
}
SHAPES = ((16, 128), (6, 320), (3, 768))  # rows x tokens of the micro-batches, about 2,000 tokens each
MICRO = 4  # micro-batches a step
LABEL_WEIGHT, PROMPT_WEIGHT = 12.0, 0.3  # of a token in the loss; prose and JSON answers weigh 1
RATE, WARMUP, DECAY_FROM = 4e-3, 0.02, 0.55  # learning rate; shares of the time
EXPORT_EVERY = 480  # seconds
CHECKPOINT = WORK / "checkpoint.pt"


class Batches:
    """Micro-batches of one kind and shape each, drawn from shuffled queues."""

    def __init__(self, cache: Path, pad: int, scale: int, seed: int, part: tuple[int, int] = (0, 1)) -> None:
        """`part`: which of how many equal parts of the examples to draw from."""
        with np.load(cache / "examples.npz") as found:
            self.tokens, starts, self.answers, kinds = (found[name] for name in ("tokens", "starts", "answers", "kinds"))
        self.pad, self.scale, self.random = pad, scale, np.random.default_rng(seed)
        lengths = np.diff(starts)
        labels = (kinds == 1) | (kinds == 4)
        self.quiet = kinds == 4
        self.starts, self.lengths, self.kinds = starts, lengths, kinds
        self.pools: dict[str, tuple[int, Any]] = {
            "label-short": (0, np.flatnonzero(labels & (lengths <= SHAPES[0][1]))),
            "label": (1, np.flatnonzero(labels & (lengths > SHAPES[0][1]))),
            "metadata": (2, np.flatnonzero(kinds == 2)),
            "answer": (2, np.flatnonzero(kinds == 3)),
        }
        prose = np.concatenate([self.tokens[starts[n] : starts[n + 1]] for n in np.flatnonzero(kinds == 0)])
        self.prose = {f"prose-{width}": prose[: len(prose) // (width + 1) * (width + 1)].reshape(-1, width + 1) for _, width in SHAPES[1:]}
        for n, rows in enumerate(self.prose):
            self.pools[rows] = (n + 1, np.arange(len(self.prose[rows])))
        self.pools = {name: (shape, members[part[0] :: part[1]]) for name, (shape, members) in self.pools.items()}
        self.queues: dict[str, list[int]] = {name: [] for name in self.pools}

    def text(self, begin: int, stop: int) -> Any:
        """Tokens to count: prose, in shuffled blocks, and the documents inside short label prompts (from token `begin` to the first `stop`)."""
        shown = [self.tokens[self.starts[n] + begin : self.starts[n + 1]] for n in np.flatnonzero((self.kinds == 1) & (self.lengths <= SHAPES[0][1]))]
        blocks = [ids[: int(np.argmax(ids == stop))] for ids in shown] + list(self.prose["prose-768"])
        self.random.shuffle(blocks)  # type: ignore[arg-type]
        return np.concatenate(blocks)

    def kind(self, progress: float) -> str:
        """Which kind comes next: prose 40 % at first, 20 % from six tenths on."""
        prose = 0.4 if progress < 0.6 else 0.2
        shares = {"prose-320": prose / 2, "prose-768": prose / 2}
        shares |= {name: (1 - prose) * part for name, part in (("label-short", 0.24), ("label", 0.36), ("metadata", 0.26), ("answer", 0.14))}
        return str(self.random.choice(list(shares), p=list(shares.values())))

    def draw(self, name: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Inputs, targets and weights of one micro-batch."""
        shape, members = self.pools[name]
        rows, width = SHAPES[shape][0] * self.scale, SHAPES[shape][1]
        ids = np.full((rows, width + 1), self.pad, dtype=np.int64)
        weights = np.zeros((rows, width), dtype=np.float32)
        for row in range(rows):
            if not self.queues[name]:
                self.queues[name] = self.random.permutation(members).tolist()
            n = self.queues[name].pop()
            if name in self.prose:
                ids[row], weights[row] = self.prose[name][n], 1.0
                continue
            length, answer = min(self.lengths[n], width + 1), self.answers[n]
            ids[row, :length] = self.tokens[self.starts[n] : self.starts[n] + length]
            weights[row, : answer - 1] = 0.0 if self.quiet[n] else PROMPT_WEIGHT
            weights[row, answer - 1 : length - 1] = 1.0 if shape == 2 else LABEL_WEIGHT
        return torch.from_numpy(ids[:, :-1].copy()), torch.from_numpy(ids[:, 1:].copy()), torch.from_numpy(weights)


def rate_at(progress: float) -> float:
    """The share of the full learning rate: a short warm-up, level, then straight down to a twentieth."""
    if progress < WARMUP:
        return max(progress / WARMUP, 0.02)
    return 1.0 if progress < DECAY_FROM else max(0.05, 1 - 0.95 * (progress - DECAY_FROM) / (1 - DECAY_FROM))


def new_model(preset: dict[str, Any], vocabulary: int, end: int, pad: int) -> LlamaForCausalLM:
    """A Llama with random weights; the layers that write to the residual stream start smaller, as in GPT-2."""
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=preset["hidden"], num_hidden_layers=preset["layers"], num_attention_heads=preset["hidden"] // 64,
        num_key_value_heads=preset["hidden"] // 64, head_dim=64, intermediate_size=preset["wide"], max_position_embeddings=make_tokenizer.CONTEXT,
        tie_word_embeddings=True, bos_token_id=None, eos_token_id=end, pad_token_id=pad, attn_implementation="sdpa",
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    for name, weight in model.named_parameters():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            torch.nn.init.normal_(weight, std=0.02 / math.sqrt(2 * preset["layers"]))
    model.generation_config = GenerationConfig(eos_token_id=end, pad_token_id=pad, do_sample=True, temperature=0.3, top_p=0.9)
    return model


def stepper(model: LlamaForCausalLM, batches: Batches, eager: bool) -> Step:
    """What a member of the crew does with a micro-batch: loss and gradients."""

    def loss_of(inputs: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        hidden = model.model(input_ids=inputs, use_cache=False).last_hidden_state
        each = cross_entropy(model.lm_head(hidden.flatten(0, 1)).float(), targets.flatten(), reduction="none")
        return (each * weights.flatten()).sum() / weights.sum()

    forward = loss_of if eager else torch.compile(loss_of, dynamic=False)

    def work(kind: str) -> tuple[float, int]:
        inputs, targets, weights = (tensor.to(model.device) for tensor in batches.draw(kind))
        loss = forward(inputs, targets, weights)
        loss.backward()
        return loss.item(), inputs.numel()

    return work


def helper(crew: Crew, member: int, weights: list[torch.Tensor], preset: dict[str, Any], cache: Path, sizes: tuple[int, int, int], seed: int, eager: bool) -> None:
    """A helper process: its own model around the shared weights, its own part of the examples."""
    torch.set_num_threads(1)
    model = new_model(preset, *sizes).to(torch.bfloat16)
    for mine, shared in zip(model.parameters(), weights, strict=True):
        mine.data = shared
    mine = list(model.parameters())
    batches = Batches(cache, sizes[2], preset["scale"], seed + member, (member, crew.helpers + 1))
    work = stepper(model, batches, eager)
    for name in ("label-short", "label", "metadata"):
        work(name)
    model.zero_grad(set_to_none=True)
    crew.help(member, mine, list(batches.pools), work)


def export(model: LlamaForCausalLM, masters: list[torch.Tensor], tokenizer: Any, out: Path) -> None:
    """Write the folder that vLLM, PEFT and transformers load: bf16 weights, each file replaced at once."""
    out.mkdir(parents=True, exist_ok=True)
    beside = out.parent / f".{out.name}-new"
    with torch.no_grad():
        for weight, master in zip(model.parameters(), masters, strict=True):
            weight.copy_(master)
    model.save_pretrained(beside)
    make_tokenizer.save(tokenizer, beside)
    for file in sorted(beside.iterdir()):
        file.chmod(0o644)
        os.replace(file, out / file.name)
    beside.rmdir()


def main() -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description="Train the bundled model from scratch.")
    parser.add_argument("--data", help="the folder of corpora (default: FEEDLOOP_DATA or ../shared/data)")
    parser.add_argument("--out", type=Path, default=Path("deploy/model"))
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--preset", choices=sorted(PRESETS), default="cpu")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--eager", action="store_true", help="without torch.compile")
    args = parser.parse_args()
    preset, data = PRESETS[args.preset], data_folder(args.data)
    torch.set_num_threads(1)  # each process of the crew one; see crew.py
    torch.manual_seed(7)

    if not (args.out / "tokenizer.json").exists():
        make_tokenizer.save(make_tokenizer.train(data), args.out)
    tokenizer = AutoTokenizer.from_pretrained(args.out)
    cache = prepare(data, args.out, preset["size"])
    held = measure.read_held(cache / "held.jsonl")

    device = preset["device"]
    model = new_model(preset, len(tokenizer), tokenizer.eos_token_id, tokenizer.pad_token_id)
    masters = [weight.detach().clone().float().to(device) for weight in model.parameters()]
    model = model.to(device, torch.bfloat16)
    matrices = [m for (name, _), m in zip(model.named_parameters(), masters, strict=True) if m.ndim == 2 and "embed" not in name]
    others = [m for m in masters if all(m is not matrix for matrix in matrices)]
    optimisers = [
        torch.optim.Muon(matrices, lr=RATE, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=RATE / 3, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    step, used = 0, 0.0
    if args.resume:
        state = torch.load(CHECKPOINT, map_location=device, weights_only=True)
        step, used = state["step"], state["used"]
        for mine, theirs in zip(masters, state["masters"], strict=True):
            mine.copy_(theirs)
        for optimiser, theirs in zip(optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(theirs)
        with torch.no_grad():
            for weight, master in zip(model.parameters(), masters, strict=True):
                weight.copy_(master)
    batches = Batches(cache, tokenizer.pad_token_id, preset["scale"], 7 + step, (0, preset["helpers"] + 1))
    print(f"{sum(m.numel() for m in masters) / 1e6:.2f} M weights; sequences: { {name: len(pool[1]) for name, pool in batches.pools.items()} }", flush=True)

    if not step:
        blank = measure.prompt_ids(tokenizer, label_messages(label_set().tasks["category"], "", "x"))
        stop = tokenizer.encode("</")[0]
        text = batches.text(blank.index(tokenizer.encode("x")[0]) - 1, stop)
        masters[0].copy_(cooccurrence.embeddings(text, tokenizer.convert_ids_to_tokens(list(range(len(tokenizer)))), preset["hidden"]))
        with torch.no_grad():
            model.get_input_embeddings().weight.copy_(masters[0])
    if preset["helpers"]:
        model.share_memory()
    weights = list(model.parameters())
    names = list(batches.pools)
    crew = Crew(weights, preset["helpers"])
    work = stepper(model, batches, args.eager)
    for name in ("label-short", "label", "metadata"):  # one of each shape: compiled before the clock starts, and cached for the helpers
        work(name)
    model.zero_grad(set_to_none=True)
    crew.start(helper, (weights, preset, cache, (len(tokenizer), tokenizer.eos_token_id, tokenizer.pad_token_id), 1007 + step, args.eager))

    total = args.minutes * 60
    began, exported, seen, losses = time.monotonic() - used, time.monotonic(), 0, dict[str, float]()
    mark = time.monotonic()
    while (used := time.monotonic() - began) < total:
        progress = used / total
        kinds = [batches.kind(progress) for _ in range(MICRO)]
        means, lost, tokens = crew.gradients(kinds, weights, names, work)
        seen += tokens
        for kind, loss in zip(kinds, lost, strict=True):
            losses[kind] = 0.95 * losses.get(kind, loss) + 0.05 * loss
        for master, mean in zip(masters, means, strict=True):
            master.grad = mean
        norm = float(torch.nn.utils.clip_grad_norm_(masters, 1.0))
        for optimiser in optimisers:
            optimiser.param_groups[0]["lr"] = optimiser.defaults["lr"] * rate_at(progress)
            optimiser.step()
        with torch.no_grad():
            for weight, master in zip(model.parameters(), masters, strict=True):
                weight.copy_(master)
        step += 1
        if step % 20 == 0:
            speed = seen / (time.monotonic() - mark)
            line = {"step": step, "minutes": round(used / 60, 2), "rate": round(rate_at(progress), 3), "norm": round(norm, 2), "tokens_per_s": round(speed)}
            log({**line, "loss": {name: round(value, 3) for name, value in sorted(losses.items())}})
            mark, seen = time.monotonic(), 0
        if time.monotonic() - exported > EXPORT_EVERY:
            export(model, masters, tokenizer, args.out)
            part = CHECKPOINT.with_suffix(".part")
            torch.save({"step": step, "used": used, "masters": masters, "optimisers": [o.state_dict() for o in optimisers]}, part)
            part.rename(CHECKPOINT)
            log({"step": step, "held_out": measure.quick(model, tokenizer, held, most=60)})
            exported = mark = time.monotonic()
            seen = 0
    export(model, masters, tokenizer, args.out)
    log({"step": step, "finished": True, "held_out": measure.quick(model, tokenizer, held, most=120)})


def log(line: dict[str, Any]) -> None:
    """Print a line and keep it in the JSON lines log."""
    text = json.dumps(line)
    print(text, flush=True)
    with (WORK / "log.jsonl").open("a") as out:
        out.write(text + "\n")


if __name__ == "__main__":
    main()
