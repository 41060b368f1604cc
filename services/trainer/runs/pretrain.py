"""Train Feedloop's bundled model from scratch on a CPU and write a standard transformers folder.

    FEEDLOOP_DATA=../shared/data python -m services.trainer.runs.pretrain --out deploy/model --minutes 60

One file, read from top to bottom: tokenizer (where the folder has none), examples (services/trainer/runs/prepare.py), model, batches, optimiser, loop,
export. The schedule goes by the clock, so that --minutes is what it takes whatever the machine. Better weights are written to --out every
eight minutes, file by file, each replaced at once; --resume goes on from the checkpoint in --state (build/pretrain). Needs a C++ compiler for torch.compile
(1.6 times as fast; --eager does without). The log is log.jsonl beside it: step, loss of each kind, tokens a second, held-out figures.

Why so: 11 M weights and about an hour of two cores is some 12 million tokens, so everything is spent on what use asks. Muon for the matrices (more
learnt per token), AdamW for the rest; bf16 weights with fp32 masters; sequences of three lengths, never two examples in one row, since use asks
each prompt alone; the loss counts answers in full, prompts a third, and a label as much as a sentence. Beside it, two layers below the top, the tokens of
each listed label learn to say whether theirs is the right one: a list of ten labels teaches ten times what its answer does.
"""

import argparse
import copy
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy, softplus
from transformers import AutoTokenizer, GenerationConfig, LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from services.trainer.runs import embeddings, first_weights, make_tokenizer, measure
from services.trainer.runs.batches import FITS, UNFIT, Batch, Batches, mask_of
from services.trainer.runs.crew import Crew, Step
from services.trainer.runs.gather import data_folder
from services.trainer.runs.kept import journal_in, keep, log, resumed
from services.trainer.runs.precision import has_bf16
from services.trainer.runs.prepare import WORK, prepare

PRESETS: dict[str, dict[str, Any]] = {
    "cpu": {"hidden": 256, "layers": 6, "wide": 688, "scale": 1, "helpers": 1, "device": "cpu", "size": 1.0},
    "gpu": {"hidden": 320, "layers": 10, "wide": 864, "scale": 16, "helpers": 0, "device": "cuda", "size": 1.0},
    # two smaller ones, for the scaling curve
    "half": {"hidden": 192, "layers": 4, "wide": 512, "scale": 1, "helpers": 1, "device": "cpu", "size": 1.0},
    "third": {"hidden": 192, "layers": 2, "wide": 512, "scale": 1, "helpers": 1, "device": "cpu", "size": 1.0},
    "tiny": {"hidden": 192, "layers": 2, "wide": 512, "scale": 1, "helpers": 1, "device": "cpu", "size": 0.01},
}
MICRO = 4  # micro-batches a step
SHAPED = ("prose", "prose-long", "label", "long")  # one kind of each shape, to compile by
RATE, ATTENTION_RATE = 2e-3, 7e-4  # Muon moves every direction alike, noise too: at 2.5e-3 the built heads were gone in 20 steps, at 5e-4 they stayed
EMBEDDING_RATE, NORM_RATE = 2e-4, 3e-3  # an embedding is 0.02 a dimension: a larger rate wipes out what it begins with in a few steps
FITTED = 0.3  # what the fitting of listed labels counts beside the tokens
WARMUP, DECAY_FROM = 0.03, 0.5  # shares of the time
EXPORT_EVERY = 480  # seconds
LARGEST = "38MB"  # of a file of weights: what is committed stays under 40 MB


def rate_at(progress: float) -> float:
    """The share of the full learning rate: a short warm-up, level, then straight down to a twentieth."""
    if progress < WARMUP:
        return max(progress / WARMUP, 0.02)
    return 1.0 if progress < DECAY_FROM else max(0.05, 1 - 0.95 * (progress - DECAY_FROM) / (1 - DECAY_FROM))


def kind_of(device: str) -> torch.dtype:
    """What the weights are computed in: bf16, but on a processor that has no multiplication of it."""
    return torch.bfloat16 if device != "cpu" or has_bf16() else torch.float32


def new_model(preset: dict[str, Any], vocabulary: int, end: int, pad: int) -> LlamaForCausalLM:
    """A Llama with random weights; the layers that write to the residual stream start smaller, as in GPT-2."""
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=preset["hidden"], num_hidden_layers=preset["layers"], num_attention_heads=preset["hidden"] // 64,
        num_key_value_heads=preset["hidden"] // 64, head_dim=64, intermediate_size=preset["wide"], max_position_embeddings=make_tokenizer.CONTEXT,
        tie_word_embeddings=True, bos_token_id=None, eos_token_id=end, pad_token_id=pad,
        rope_parameters={"rope_type": "default", "rope_theta": 100000.0},
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    for name, weight in model.named_parameters():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            torch.nn.init.normal_(weight, std=0.02 / math.sqrt(2 * preset["layers"]))
    model.set_attn_implementation("eager")  # with a mask of trees and short rows a third faster on a CPU than the fused one
    model.generation_config = GenerationConfig(eos_token_id=end, pad_token_id=pad, do_sample=True, temperature=0.3, top_p=0.9)
    return model


def compute_in(model: LlamaForCausalLM, device: str) -> None:
    """Move the model to the device and its weights to what is computed in there; the frequencies of the positions stay fp32, as vLLM and from_pretrained
    have them: in bf16 distant positions would be turned by other angles than in use."""
    torch.nn.Module.to(model, device, kind_of(device))
    model.model.rotary_emb = LlamaRotaryEmbedding(model.config).to(device)


def stepper(model: LlamaForCausalLM, batches: Batches, eager: bool) -> Step:
    """What a member of the crew does with a micro-batch: loss and gradients."""
    inner, cut = model.model, first_weights.below(model.config.num_hidden_layers)

    def loss_of(batch: Batch) -> torch.Tensor:
        mask = torch.where(mask_of(batch.trees, batch.branches), 0.0, -1e9).to(model.dtype)
        state = inner.embed_tokens(batch.inputs)
        turns = inner.rotary_emb(state, batch.positions)
        for layer in inner.layers[:cut]:
            state = layer(state, attention_mask=mask, position_embeddings=turns)
        fits = state[..., embeddings.FIT].float() * state.float().pow(2).mean(-1).add(1e-6).rsqrt()
        for layer in inner.layers[cut:]:
            state = layer(state, attention_mask=mask, position_embeddings=turns)
        hidden = inner.norm(state).flatten(0, 1)[batch.at]
        each = cross_entropy(model.lm_head(hidden).float(), batch.targets, reduction="none")
        return (each * batch.weights).sum() / batch.weights.sum() + FITTED * fitting(fits, batch.fits)

    forward = loss_of if eager else torch.compile(loss_of, dynamic=False)

    def work(kind: str) -> tuple[float, int]:
        batch = Batch(*(tensor.to(model.device) for tensor in batches.draw(kind)))
        loss = forward(batch)
        loss.backward()
        return loss.item(), int((batch.trees > 0).sum())

    return work


def fitting(fits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """How badly the tokens of listed labels are told apart, in nats: those of the right label from the others, each side counting half."""
    right, wrong = (wanted == FITS).float(), (wanted == UNFIT).float()
    lost = softplus(-fits) * right / right.sum().clamp(min=1) + softplus(fits) * wrong / wrong.sum().clamp(min=1)
    return lost.sum() / 2


def helper(
    crew: Crew, member: int, weights: list[torch.Tensor], preset: dict[str, Any], cache: Path, sizes: tuple[int, int, int], seed: int, eager: bool
) -> None:
    """A helper process: its own model around the shared weights, its own part of the examples."""
    torch.set_num_threads(1)
    model = new_model(preset, *sizes)
    compute_in(model, preset["device"])
    own = list(model.parameters())
    for weight, shared in zip(own, weights, strict=True):
        weight.data = shared
    batches = Batches(cache, sizes[2], preset["scale"], seed + member, (member, crew.helpers + 1))
    work = stepper(model, batches, eager)
    for name in SHAPED:
        work(name)
    model.zero_grad(set_to_none=True)
    crew.help(member, own, batches.names, work)


@torch.no_grad()
def start_with(folder: Path, model: LlamaForCausalLM, tokenizer: Any) -> None:
    """Take over the weights of another model of this shape. Raises ValueError for a piece that it knows neither bare nor after a space."""
    theirs, ids = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32), AutoTokenizer.from_pretrained(folder).get_vocab()
    space = make_tokenizer.SPACE
    rows = []
    for piece in tokenizer.convert_ids_to_tokens(list(range(len(tokenizer)))):
        found = ids.get(piece, ids.get(f"{space}{piece}"))
        if found is None:
            raise ValueError(f"the model in {folder} knows no piece {piece!r}: its tokenizer is another one")
        rows.append(found)
    state = theirs.state_dict()
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        state[name] = theirs.model.embed_tokens.weight[rows]
    model.load_state_dict(state)


@torch.no_grad()
def lay(masters: list[torch.Tensor], model: LlamaForCausalLM) -> None:
    """Copy the fp32 masters into the weights that are computed with."""
    for weight, master in zip(model.parameters(), masters, strict=True):
        weight.copy_(master)


def export(model: LlamaForCausalLM, masters: list[torch.Tensor], tokenizer: Any, out: Path) -> None:
    """Write the folder that vLLM, PEFT and transformers load: bf16 weights, each file replaced at once."""
    out.mkdir(parents=True, exist_ok=True)
    beside = out.parent / f".{out.name}-new"
    lay(masters, model)
    copy.deepcopy(model).bfloat16().save_pretrained(beside, max_shard_size=LARGEST)
    make_tokenizer.save(tokenizer, beside)
    made = sorted(beside.iterdir())
    for file in made:
        file.chmod(0o644)
        os.replace(file, out / file.name)
    beside.rmdir()
    for old in {*out.glob("model*.safetensors"), *out.glob("*.safetensors.index.json")} - {out / file.name for file in made}:
        old.unlink()  # of an earlier model, in fewer or more parts: readers would take it for this one's


def main() -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description="Train the bundled model from scratch.")
    parser.add_argument("--data", help="the folder of corpora (default: FEEDLOOP_DATA or ../shared/data)")
    parser.add_argument("--out", type=Path, default=Path("deploy/model"))
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--preset", choices=sorted(PRESETS), default="cpu")
    parser.add_argument("--encoder", type=Path, default=Path("build/encoder"), help="the sentence encoder that teaches (make setup exports it)")
    parser.add_argument("--state", type=Path, default=WORK, help="folder of the checkpoint and the log")
    parser.add_argument(
        "--start", type=Path, help="folder of a model to begin with; its tokenizer may lack bare words, which begin as they do after a space"
    )
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--eager", action="store_true", help="without torch.compile")
    args = parser.parse_args()
    preset, data = PRESETS[args.preset], data_folder(args.data)
    args.state.mkdir(parents=True, exist_ok=True)
    checkpoint = args.state / "checkpoint.pt"
    torch.set_num_threads(1)  # each process of the crew one; see crew.py
    torch.manual_seed(7)

    if not (args.out / "tokenizer.json").exists():
        make_tokenizer.save(make_tokenizer.train(data), args.out)
    tokenizer = AutoTokenizer.from_pretrained(args.out)
    cache = prepare(data, args.out, preset["size"], args.encoder)
    held = measure.read_held(cache / "held.jsonl")

    device = preset["device"]
    batches = Batches(cache, tokenizer.pad_token_id, preset["scale"], 7, (0, preset["helpers"] + 1))
    model = new_model(preset, len(tokenizer), tokenizer.eos_token_id, tokenizer.pad_token_id)
    if args.start:
        start_with(args.start, model, tokenizer)
    elif not args.resume:
        with torch.no_grad():
            model.model.embed_tokens.weight.copy_(embeddings.first(tokenizer, batches.text(), preset["hidden"], cache))
        first_weights.build(model)
    masters = [weight.detach().clone().float().to(device) for weight in model.parameters()]
    compute_in(model, device)
    named = list(zip((name for name, _ in model.named_parameters()), masters, strict=True))
    layers = [(name, m) for name, m in named if m.ndim == 2 and "embed" not in name]
    vectors = [
        {"params": [m for name, m in named if "embed" in name], "lr": EMBEDDING_RATE},
        {"params": [m for _, m in named if m.ndim == 1], "lr": NORM_RATE},
    ]
    turns = [
        {"params": [m for name, m in layers if "attn" not in name], "lr": RATE},
        {"params": [m for name, m in layers if "attn" in name], "lr": ATTENTION_RATE},
    ]
    optimisers = [
        torch.optim.Muon(turns, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(vectors, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    rates = [[group["lr"] for group in optimiser.param_groups] for optimiser in optimisers]
    step, used = 0, 0.0
    if args.resume:
        state = resumed(checkpoint, masters, device)
        step, used = state["step"], state["used"]
        for mine, theirs in zip(masters, state["masters"], strict=True):
            mine.copy_(theirs)
        for optimiser, theirs in zip(optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(theirs)
        lay(masters, model)
        batches.random = np.random.default_rng(7 + step)
    print(f"{sum(m.numel() for m in masters) / 1e6:.2f} M weights; items: {batches.sizes()}", flush=True)

    if preset["helpers"]:
        torch.nn.Module.share_memory(model)
    weights = list(model.parameters())
    names = batches.names
    crew = Crew(weights, preset["helpers"])
    work = stepper(model, batches, args.eager)
    for name in SHAPED:  # one of each shape: compiled before the clock starts, and cached for the helpers
        work(name)
    model.zero_grad(set_to_none=True)
    crew.start(helper, (weights, preset, cache, (len(tokenizer), tokenizer.eos_token_id, tokenizer.pad_token_id), 1007 + step, args.eager))

    journal, total = journal_in(args.state, args.resume), args.minutes * 60
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
        for optimiser, full in zip(optimisers, rates, strict=True):
            for group, rate in zip(optimiser.param_groups, full, strict=True):
                group["lr"] = rate * rate_at(progress)
            optimiser.step()
        lay(masters, model)
        step += 1
        if step % 20 == 0:
            speed = seen / (time.monotonic() - mark)
            line = {"step": step, "minutes": round(used / 60, 2), "rate": round(rate_at(progress), 3), "norm": round(norm, 2)}
            log(journal, {**line, "tokens_per_s": round(speed), "loss": {name: round(value, 3) for name, value in sorted(losses.items())}})
            mark, seen = time.monotonic(), 0
        if time.monotonic() - exported > EXPORT_EVERY:
            export(model, masters, tokenizer, args.out)
            keep(checkpoint, step, used, masters, optimisers)
            log(journal, {"step": step, "held_out": measure.quick(model, tokenizer, held, most=60)})
            exported = mark = time.monotonic()
            seen = 0
    export(model, masters, tokenizer, args.out)
    keep(checkpoint, step, used, masters, optimisers)  # --resume with more minutes goes on from the end
    log(journal, {"step": step, "finished": True, "held_out": measure.quick(model, tokenizer, held, most=120)})


if __name__ == "__main__":
    main()
