"""Make and tokenise what the bundled model is trained on, once, into build/pretrain (ignored by git); pretrain calls it. No torch.

    python -m services.trainer.runs.prepare --data ../shared/data --tokenizer deploy/model

Takes about five minutes on one core. Writes examples.npz (sequences with the place where each answer starts) and held.jsonl (examples of documents
that are never trained on). A second call with the same sources, tokenizer and code does nothing.
"""

import argparse
import json
import os
import random
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from services.trainer import examples as making
from services.trainer.examples import Example
from services.trainer.runs.make_tokenizer import documents
from services.trainer.supervision import category_of, held_out, sentiment_of
from shared import grounding
from shared.taxonomy import label_set

WORK = Path("build/pretrain")
PROSE_SHARE = {"congress_press": 0.2, "beige_book": 0.2, "debian_security": 0.2, "changelog_transcripts": 0.25}  # the others: REST
REST = 0.5
NARROW = {"congress_press": 0.5, "beige_book": 1.0, "debian_security": 0.6, "opensuse_news": 1.0}  # label windows a document; the others: WINDOWS
WINDOWS = 2.0
LONGEST = {"label": 320, "metadata": 768, "answer": 768}  # tokens
MOST = {"category": 3200, "sentiment": 5000, "urgency": 3500, "other": 14000}  # examples of one label of the task, so that none outweighs


def data_folder(named: str | None) -> Path:
    """The data folder: as named, else FEEDLOOP_DATA, else ../shared/data. Raises SystemExit where there is none."""
    folder = Path(named or os.environ.get("FEEDLOOP_DATA") or "../shared/data")
    if not folder.is_dir():
        raise SystemExit(f"no data folder {folder}: name it with --data or FEEDLOOP_DATA (see docs/model.md)")
    return folder


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a JSON lines file; none where the file is not there."""
    if path.exists():
        with path.open(encoding="utf-8") as rows:
            yield from map(json.loads, rows)


class Pool:
    """Examples as they are made; the held-out ones aside. `origin` tells text with labels of its own ("labelled") from mined prose."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.made: list[tuple[Example, bool]] = []
        self.held: list[Example] = []
        self.found: dict[tuple[str, str, str], list[tuple[Example, bool]]] = {}

    def add(self, example: Example, origin: str = "prose", *, held: bool = False, quiet: bool = False) -> None:
        """Take an example; `quiet` ones teach by their answer only, never by their text."""
        if held:
            self.held.append(example)
        elif example.task is None:
            self.made.append((example, quiet))
        else:
            standard = example.task.name in label_set().tasks
            key = (example.task.name, example.answer, origin) if standard else ("other", "", origin)
            self.found.setdefault(key, []).append((example, quiet))

    def balance(self) -> dict[str, int]:
        """Bound the examples of each label, at most half of them from labelled sets, and shuffle; returns what was kept."""
        kept: Counter[str] = Counter()
        for task, gold, origin in sorted(self.found, key=lambda key: key[2]):  # "labelled" comes before "prose"
            rows = self.found[task, gold, origin]
            self.chance.shuffle(rows)
            name = f"{task}={gold}"
            most = MOST[task] // 2 if origin == "labelled" else MOST[task] - kept[name]
            self.made += rows[:most]
            kept[name] += len(rows[:most])
        self.chance.shuffle(self.made)
        self.chance.shuffle(self.held)
        return dict(sorted(kept.items()))


def from_documents(folder: Path, pool: Pool, size: float) -> tuple[list[str], list[str]]:
    """Fill the pool from the prose corpora; returns the prose itself: to train on, and held out."""
    chance = pool.chance
    prose: list[str] = []
    held_prose: list[str] = []
    passages: list[str] = ["The reading room opens at nine.", "A short note on the weather of last spring.", "Nothing else was decided that day."]
    for row in documents(folder):
        held = held_out(row["id"])
        if chance.random() > size and not held:
            continue
        source = row["source"]
        pieces = grounding.sentences(row["text"][: 16000 if source in ("openstax", "changelog_transcripts") else 8000])
        if not pieces:
            continue
        if held or chance.random() < PROSE_SHARE.get(source, REST):
            (held_prose if held else prose).append(f"{row['title']}\n{row['text']}" if row["title"] else row["text"])
        wish = NARROW.get(source, WINDOWS) * (3 if source in ("openstax", "fed_speeches", "world_factbook", "standardebooks") else 1)
        for _ in range(int(wish) + (chance.random() < wish % 1)):
            for example in making.labels_of(row, pieces, chance, plain=held):
                pool.add(example, held=held)
        for example in making.sought(row, pieces, chance, plain=held):
            pool.add(example, held=held)
        if chance.random() < 0.3:
            start = chance.choice((0, 0, chance.randrange(len(pieces))))
            pool.add(
                making.metadata_example(
                    row, "\n\n".join(" ".join(pieces[n : n + 4]) for n in range(start, start + 24, 4)).strip() or pieces[0], chance
                ),
                held=held,
            )
        passage = " ".join(pieces[(at := chance.randrange(len(pieces))) : at + chance.randint(2, 5)])[:650]
        if chance.random() < 0.35:
            others = chance.sample(passages, chance.randint(1, 3))
            made = (
                making.leaflet_questions(row["text"], others, chance)
                if source == "medquad_nih"
                else making.answer_example([passage, *others], chance)
            )
            if made:
                pool.add(made, held=held)
        passages = [*passages[-40:], passage]
    return prose, held_prose


def from_labelled(folder: Path, pool: Pool) -> None:
    """Fill the pool from the small labelled sets: comments by mood, headlines by their words, newsletter items."""
    chance, tasks = pool.chance, label_set().tasks
    for name, held in (("train", False), ("dev", True)):
        for row in lines(folder / "goemotions" / f"{name}.jsonl"):
            moods = {mood for mood, emotions in making.MOODS.items() if set(row["label"]) & emotions}
            known = all(any(label in emotions for emotions in making.MOODS.values()) for label in row["label"])
            if known and len(moods) == 1 and chance.random() < (0.05 if held else 0.25):
                gold = moods.pop()
                text = row["text"].replace("[NAME]", chance.choice(("Ana", "Ben", "Kim", "Sam", "Lee", "Max"))).replace("[RELIGION]", "church")
                pool.add(making.label_example(tasks["sentiment"], gold, "", text, chance, plain=held), "labelled", held=held, quiet=True)
    headlines: dict[str, list[str]] = {}
    for row in lines(folder / "clickbait32k" / "train.jsonl"):
        category = category_of("headline", "", row["text"])
        held = held_out(row["text"])
        if (tone := sentiment_of(row["text"], 1)) and (tone != "neutral" or chance.random() < 0.05):
            pool.add(making.label_example(tasks["sentiment"], tone, row["text"], "", chance, plain=held), "labelled", held=held)
        if category is None:
            continue
        mates = headlines.setdefault(category, [])
        body = ". ".join(chance.sample(mates, min(len(mates), chance.choice((0, 0, 1, 2, 4, 8)))))
        pool.add(making.label_example(tasks["category"], category, row["text"], body, chance, plain=held), "labelled", held=held)
        if not held:
            mates.append(row["text"])
    for row in lines(folder / "newsletter" / "train.jsonl"):
        text = row["input"].split("**Summary:**")[-1].split("JSON only")[0].strip()
        title = row["input"].split("###")[-1].split("\n")[0].strip()
        if category_of("twir", "", f"{title} {text}") == "technology":
            pool.add(making.label_example(tasks["category"], "technology", title, text, chance), "labelled")


def encode(tokenizer: Any, pool: Pool, prose: list[str]) -> dict[str, Any]:
    """Tokenise: `tokens` end to end, and for each sequence its `starts`, `answers` (offset of the answer; 0 for prose) and `kinds`."""
    end = tokenizer.eos_token_id
    kinds = ("prose", "label", "metadata", "answer", "quiet")
    sequences: list[list[int]] = []
    answers: list[int] = []
    codes: list[int] = []
    for begin in range(0, len(pool.made), 2000):
        part = pool.made[begin : begin + 2000]
        texts = tokenizer.apply_chat_template([e.messages for e, _ in part], add_generation_prompt=True, tokenize=False)
        asked = tokenizer(texts, add_special_tokens=False)["input_ids"]
        given = tokenizer([e.answer for e, _ in part], add_special_tokens=False)["input_ids"]
        for (example, quiet), prompt, answer in zip(part, asked, given, strict=True):
            if len(prompt) + len(answer) + 1 <= LONGEST[example.kind]:
                sequences.append([*prompt, *answer, end])
                answers.append(len(prompt))
                codes.append(kinds.index("quiet" if quiet else example.kind))
    for begin in range(0, len(prose), 500):
        for ids in tokenizer(prose[begin : begin + 500], add_special_tokens=False)["input_ids"]:
            sequences.append([*ids, end])
            answers.append(0)
            codes.append(0)
    return {
        "tokens": np.fromiter((token for ids in sequences for token in ids), dtype=np.uint16),
        "starts": np.cumsum([0, *(len(ids) for ids in sequences)]),
        "answers": np.array(answers, dtype=np.int32),
        "kinds": np.array(codes, dtype=np.int8),
    }


def prepare(folder: Path, tokenizer_folder: Path, size: float = 1.0) -> Path:
    """Make the cache where it is missing or stale; returns its folder. `size`: share of the documents to read."""
    here = Path(__file__).parent
    parts = [
        Path(tokenizer_folder) / "tokenizer.json",
        here / "prepare.py",
        here.parent / "examples.py",
        here.parent / "supervision.py",
        here.parent / "cues.yaml",
        folder / "pretrain" / "MANIFEST.json",
    ]
    key = sha256(b"".join(part.read_bytes() for part in parts if part.exists()) + str(size).encode()).hexdigest()[:12]
    cache = WORK / f"data-{key}"
    if (cache / "held.jsonl").exists():
        return cache
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    pool = Pool(random.Random(11))
    from_labelled(folder, pool)
    prose, held_prose = from_documents(folder, pool, size)
    kept = pool.balance()
    print("examples:", len(pool.made), kept, "prose documents:", len(prose), flush=True)
    cache.mkdir(parents=True, exist_ok=True)
    np.savez(cache / "examples.npz", **encode(tokenizer, pool, prose))
    beside = cache / "held.part"
    with beside.open("w", encoding="utf-8") as out:
        for example in pool.held:
            row = {"kind": example.kind, "messages": example.messages, "answer": example.answer}
            if example.task:
                row |= {"task": example.task.name, "labels": list(example.task.labels)}
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
        for text in held_prose:
            out.write(json.dumps({"kind": "prose", "text": text[:4000]}, ensure_ascii=False) + "\n")
    beside.rename(cache / "held.jsonl")
    return cache


def main() -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description="Make and tokenise the bundled model's examples.")
    parser.add_argument("--data")
    parser.add_argument("--tokenizer", type=Path, default=Path("deploy/model"))
    parser.add_argument("--size", type=float, default=1.0, help="share of the documents to read")
    args = parser.parse_args()
    print(prepare(data_folder(args.data), args.tokenizer, args.size))


if __name__ == "__main__":
    main()
