"""Train the bundled model's tokenizer: byte-level BPE, 16,384 pieces and the bare words among them, with the chat template that vLLM applies.

    python -m services.trainer.runs.make_tokenizer --data ../shared/data --out deploy/model

Takes about a minute. Besides prose it sees the prompts and the metadata JSON, so that `","entities":["` is two or three tokens and every label is
one. A word that is one piece with a space before it is one without it too: an answer begins without the space that its word has in the text, and what
is spelled otherwise there can't be copied. A model trained with one tokenizer is worthless with another: pretrain makes it only where the folder has none.
"""

import argparse
import json
import lzma
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from services.trainer.supervision import held_out
from services.trainer.tasks import moods, topics
from shared import grounding, prompts
from shared.taxonomy import label_set

VOCABULARY = 16384
PAD, END, SYSTEM, USER, ASSISTANT = "<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"
SPECIAL = [PAD, END, SYSTEM, USER, ASSISTANT]
CONTEXT = 2048  # tokens
SPACE, SHORTEST = "Ġ", 4  # how byte-level BPE writes a space; letters of the shortest bare word
SHORT_TIMES = 40  # how often the lines written for Feedloop count
SPLIT = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
TEMPLATE = (
    "{%- for message in messages -%}{{ '<|' + message['role'] + '|>\\n' + message['content'] + '<|end|>\\n' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|assistant|>\\n' }}{%- endif -%}"
)


def documents(folder: Path) -> Iterator[dict[str, Any]]:
    """The prose corpora's rows, source by source; raises SystemExit, saying what to do, where the folder has none."""
    files = sorted((folder / "pretrain").glob("*.jsonl.xz"))
    if not files:
        raise SystemExit(f"no corpora under {folder / 'pretrain'}: name the data folder with --data or FEEDLOOP_DATA (see docs/model.md)")
    for file in files:
        with lzma.open(file, "rt", encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)


def sample(folder: Path, every: int = 5) -> Iterator[str]:
    """Text to learn the pieces from: one document in `every`, at most 6,000 characters of it, and now and then a prompt with its answer."""
    tasks = list(label_set().tasks.values())
    for n, row in enumerate(documents(folder)):
        if n % every or held_out(row["id"]):
            continue
        yield row["text"][:6000]
        if n % (every * 4) == 0:
            offered = grounding.candidates(row["title"], row["text"], [])
            task = tasks[n % len(tasks)]
            labels = {name: next(iter(other.labels)) for name, other in label_set().tasks.items()}
            schema = grounding.metadata_schema(offered, labels)["properties"]
            answer = {
                name: (body["items"]["enum"][: body["maxItems"]] if body["type"] == "array" else body["enum"][0]) for name, body in schema.items()
            }
            yield prompts.label_messages(task, row["title"], row["text"][:200])[1]["content"]
            yield "\n".join(label for each in tasks for label in each.labels)
            yield json.dumps(answer, ensure_ascii=False, separators=(",", ":"))
            yield prompts.metadata_messages(row["title"], row["text"][:100], [], labels=labels)[1]["content"]
            yield prompts.SYSTEM


def short(folder: Path) -> Iterator[str]:
    """What prose has little of, and label lists, headlines and messages much: their words must be whole, or nothing is known of them at the start."""
    for _ in range(SHORT_TIMES):
        for name, body in [*topics().items(), *moods().items()]:
            names = ", ".join([name, *body["names"]])
            yield f"Labels: {names}, {names.lower()}, {names.title()}\n about {', '.join(body.get('words', []))}"
            yield "\n".join(body["lines"])
    for name in ("clickbait32k", "goemotions"):
        path = folder / name / "train.jsonl"
        if path.exists():
            with path.open(encoding="utf-8") as rows:
                yield from (text for line in rows if not held_out(text := json.loads(line)["text"]))


def train(folder: Path) -> Any:
    """A transformers fast tokenizer, trained on the corpora under `folder`."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(SPLIT), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), min_frequency=2, show_progress=False
    )
    bpe.train_from_iterator(chain(sample(folder), short(folder)), trainer)
    return as_fast(with_bare_words(bpe))


def with_bare_words(bpe: Any) -> Any:
    """The same tokenizer with a further piece for each whole word that it has after a space alone."""
    from tokenizers import Tokenizer

    whole = json.loads(bpe.to_str())
    pieces = whole["model"]["vocab"]
    bare = [piece[1:] for piece in pieces if piece.startswith(SPACE) and piece[1:].isalpha() and len(piece) > SHORTEST]
    for word in bare:
        pieces.setdefault(word, len(pieces))
    whole["model"]["ignore_merges"] = True  # a word that is a piece is taken whole: no merges lead to these
    return Tokenizer.from_str(json.dumps(whole))


def as_fast(bpe: Any) -> Any:
    """The transformers tokenizer with special tokens and chat template."""
    from transformers import PreTrainedTokenizerFast

    fast = PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token=PAD, eos_token=END, additional_special_tokens=[SYSTEM, USER, ASSISTANT], model_max_length=CONTEXT
    )
    fast.chat_template = TEMPLATE
    fast.clean_up_tokenization_spaces = False
    return fast


def save(tokenizer: Any, out: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json (with the chat template inside)."""
    out.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(out, save_jinja_files=False)


def main() -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description="Train the bundled model's tokenizer.")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("deploy/model"))
    args = parser.parse_args()
    save(train(args.data), args.out)


if __name__ == "__main__":
    main()
