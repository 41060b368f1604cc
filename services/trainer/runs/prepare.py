"""Make and tokenise what the bundled model is trained on, once, into build/pretrain (ignored by git); pretrain calls it.

    python -m services.trainer.runs.prepare --data ../shared/data --tokenizer deploy/model

Takes about ten minutes on two cores, most of it the encoder's reading. Writes examples.npz (trees of tokens, see batches.py), meanings.npz
(see embeddings.py) and held.jsonl (examples of documents that are never trained on). A second call with the same sources, tokenizer and code does nothing.
"""

import argparse
import json
import random
from collections import Counter
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from services.trainer.runs import embeddings, gather, teacher
from services.trainer.runs.batches import KINDS
from services.trainer.runs.gather import Passage, data_folder
from services.trainer.runs.maker import Maker
from services.trainer.runs.teacher import Teacher
from services.trainer.runs.tokens import encode
from shared.encoder import Encoder

WORK = Path("build/pretrain")


class Places(NamedTuple):
    """Texts and where the encoder puts them, [texts, 384]; the last `names` are short ones."""

    texts: list[str]
    vectors: Any
    names: int


def make(folder: Path, size: float, encoder: Encoder, seed: int) -> tuple[Maker, list[str], list[str], Places]:
    """Everything but the tokens: trees, held-out examples, prose to train on, prose held out, and what lies where for the encoder."""
    chance, maker = random.Random(seed), Maker(random.Random(seed + 1))
    passages: list[Passage] = []
    prose: list[str] = []
    held_prose: list[str] = []
    others = ["The reading room opens at nine.", "A short note on the weather of last spring.", "Nothing else was decided that day."]
    for document in gather.read(folder, size, chance):
        source, title, text = (document.row[name] for name in ("source", "title", "text"))
        found = gather.windows(document, chance)
        if document.held:
            held_prose.append(f"{title}\n{text}")
            for passage in found:
                maker.hold(passage)
        else:
            passages += found
            if chance.random() < gather.PROSE_SHARE.get(source, gather.REST):
                prose.append(f"{title}\n{text[:30000]}" if title else text[:30000])
        others = [*others[-40:], maker.document(document, others)]
    for passage, held in gather.headlines(folder, chance):
        if held:
            maker.hold(passage)
        elif chance.random() < size:
            passages.append(passage)
    for part in ("train", "dev"):
        for passage in gather.comments(folder, part, chance):
            if part == "dev":
                maker.hold(passage)
            elif chance.random() < gather.COMMENTS * size:
                passages.append(passage)
    print(f"{len(passages)} passages of the corpora; the encoder reads them …", flush=True)
    vectors = teacher.encode(encoder, [p.shown for p in passages], WORK)
    settled = [(v, p.category, p.tone) for v, p in zip(vectors, passages, strict=True) if chance.random() < 0.5 and (p.category or p.tone)]
    by_hand = list(gather.items(chance))
    items = [(p.shown, str(p.category), str(p.tone), str(p.urgency)) for p in by_hand]
    learnt = Teacher(encoder, settled, items, chance)
    known = learnt.know(vectors)
    own = [*by_hand, *gather.written(chance)]
    known += learnt.know(teacher.encode(encoder, [p.shown for p in own]))
    agree = [(p.category, k.category) for p, k in zip(passages, known, strict=False) if p.category and k.category]
    print(f"the teacher agrees on {sum(a == b for a, b in agree)} of {len(agree)} categories; "
          f"clear topics {sum(k.topic is not None for k in known)}, categories {sum(k.category is not None for k in known)}, "
          f"tones {sum(k.tone is not None for k in known)}, urgencies {dict(Counter(k.urgency for k in known))} of {len(known)}", flush=True)  # fmt: skip
    maker.labels([*passages, *own], known)
    maker.urgency(passages, int(12000 * size) + 50)
    chance.shuffle(maker.trees)
    chance.shuffle(maker.held)
    shown = [*(p.shown for p in passages), *learnt.names]
    return maker, prose, held_prose, Places([text[: teacher.READ] for text in shown], np.concatenate([vectors, learnt.places]), len(learnt.names))


def prepare(folder: Path, tokenizer_folder: Path, size: float = 1.0, encoder: Path = Path("build/encoder")) -> Path:
    """Make the cache where it is missing or stale; returns its folder. `size`: share of the documents to read."""
    here = Path(__file__).parent
    parts = [Path(tokenizer_folder) / "tokenizer.json", folder / "pretrain" / "MANIFEST.json"]
    parts += [here / f"{name}.py" for name in ("prepare", "maker", "tokens", "gather", "teacher", "batches", "embeddings")]
    parts += [here.parent / name for name in ("examples.py", "tasks.py", "supervision.py", "cues.yaml", "moods.yaml", "phrases.yaml")]
    parts += [*sorted((here.parent / "topics").glob("*.yaml")), *sorted(gather.ITEMS.glob("*.jsonl"))]
    key = sha256(b"".join(part.read_bytes() for part in parts if part.exists()) + str(size).encode()).hexdigest()[:12]
    cache = WORK / f"data-{key}"
    if (cache / "held.jsonl").exists():
        return cache
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    teaching = Encoder(encoder, threads=2)
    maker, prose, held_prose, places = make(folder, size, teaching, 11)
    print("trees:", dict(Counter(kind for kind, _, _ in maker.trees)), "branches:", sum(len(made) for _, _, made in maker.trees), flush=True)
    print("labels:", dict(sorted(maker.counts.items())), "prose documents:", len(prose), flush=True)
    cache.mkdir(parents=True, exist_ok=True)
    arrays = encode(tokenizer, maker.trees, prose)
    np.savez(cache / "examples.npz", **arrays)
    read = tokenizer(places.texts, add_special_tokens=False)["input_ids"]
    counts = np.bincount(np.concatenate([np.array(ids, dtype=np.int64) for ids in read]), minlength=len(tokenizer)) + 1
    words = teacher.encode(teaching, [str(tokenizer.decode([n])).strip() or "." for n in range(len(tokenizer))])
    meaning, weight = embeddings.meanings(read, places.vectors, places.names, words, counts / counts.sum())
    np.savez(cache / "meanings.npz", meaning=meaning.numpy().astype(np.float16), weight=weight.numpy())
    print(
        "tokens:",
        {
            name: int(sum(b - a for (a, b), k in zip(pairwise(arrays["starts"]), arrays["kinds"], strict=True) if k == n))
            for n, name in enumerate(KINDS)
        },
    )
    beside = cache / "held.part"
    with beside.open("w", encoding="utf-8") as out:
        for example in maker.held:
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
