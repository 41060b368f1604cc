"""Make and tokenise what the bundled model is trained on, once, into build/pretrain (ignored by git); pretrain calls it. No torch.

    python -m services.trainer.runs.prepare --data ../shared/data --tokenizer deploy/model

Takes about ten minutes on two cores, most of it the encoder's reading. Writes examples.npz (trees of tokens, see batches.py) and held.jsonl (examples of
documents that are never trained on). A second call with the same sources, tokenizer and code does nothing.
"""

import argparse
import json
import random
from collections import Counter
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from services.trainer import examples as making
from services.trainer import tasks as lists
from services.trainer.examples import Example
from services.trainer.runs import gather, teacher
from services.trainer.runs.batches import KINDS, LABEL, NONE, PROMPT, PROSE, SHAPES, TEXT
from services.trainer.runs.gather import Document, Passage, data_folder
from services.trainer.runs.teacher import Knowledge, Teacher
from services.trainer.supervision import NEVER, fill, urgency_of
from shared.encoder import Encoder
from shared.prompts import CLOSE
from shared.taxonomy import label_set

WORK = Path("build/pretrain")
MOST = {"category": 4200, "sentiment": 5500}  # trees with one label of the task, so that none outweighs
Tree = tuple[str, bool, list[Example]]  # kind of batch; quiet; what is asked of one document


class Maker:
    """Trees out of passages and documents; the held-out examples aside."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.trees: list[Tree] = []
        self.held: list[Example] = []
        self.counts: Counter[str] = Counter()

    def dressing(self) -> making.Dressing:
        """Lines to stand around a document, filled anew."""
        p, chance = lists.phrases(), self.chance
        pick = {
            "head": (p["noise"]["head"], 3),
            "foot": (p["noise"]["foot"], 4),
            "actions": (p["actions"]["asked"], 2),
            "not_actions": (p["actions"]["not_asked"], 2),
        }
        return {name: [fill(line, p["slots"], chance) for line in chance.sample(found, count)] for name, (found, count) in pick.items()}

    def labels(self, passages: list[Passage], known: list[Knowledge]) -> None:
        """A tree of label tasks for each passage."""
        chance = self.chance
        order = list(range(len(passages)))
        chance.shuffle(order)
        outside: list[str] = ["Nobody Atall"]
        titles: dict[str, list[str]] = {}
        for n in order:
            passage, knowledge = passages[n], known[n]
            made = [*self._desk(passage, knowledge), *self._open(passage, knowledge, titles.setdefault(passage.source, []), outside)]
            chance.shuffle(made)
            if made:
                self.trees.append(("label", passage.quiet, made))
            outside = [*outside[-60:], *passage.names]
            if passage.heading:
                titles[passage.source] = [*titles[passage.source][-80:], passage.heading]

    def _desk(self, passage: Passage, knowledge: Knowledge) -> list[Example]:
        """The desk's own tasks, where what is known is clear and does not contradict itself."""
        made = []
        for task, own, said in (("category", passage.category, knowledge.category), ("sentiment", passage.tone, knowledge.tone)):
            gold = own or said
            if gold is None or gold in NEVER or (own and said and own != said) or self.counts[f"{task}={gold}"] >= MOST[task]:
                continue
            self.counts[f"{task}={gold}"] += 1
            for _ in range(2):
                made.append(making.label_example(label_set().tasks[task], gold, passage.title, passage.text, self.chance))
            if task == "sentiment" and self.chance.random() < 0.5:
                made.append(lists.tone_example(gold, passage.title, passage.text, self.chance))
        return made

    def _open(self, passage: Passage, knowledge: Knowledge, titles: list[str], outside: list[str]) -> list[Example]:
        """Tasks that no desk has."""
        chance, title, text = self.chance, passage.title, passage.text
        topic = passage.topic or (None if passage.moods else knowledge.topic)
        made: list[Example | None] = []
        if topic:
            made += [lists.topic_example(topic, knowledge.near, title, text, chance) for _ in range(3)]
            if chance.random() < 0.3:
                made.append(lists.about_example(topic, knowledge.near, title, text, chance))
        for mood in [mood for mood in passage.moods if mood in lists.moods()][:1]:
            made += [lists.mood_example(mood, passage.moods, text, chance) for _ in range(3)]
        if passage.heading and chance.random() < 0.6:
            made.append(lists.title_example(passage.heading, titles, text, chance))
        if passage.names and chance.random() < 0.35:
            made.append(lists.mention_example(passage.names, outside, title, text, chance))
        if chance.random() < 0.12:
            made.append(making.kind_example(passage.source, title, text, chance))
        return [example for example in made if example]

    def urgency(self, passages: list[Passage], count: int) -> None:
        """Trees on how soon somebody must act: lines that say so, in passages that say nothing of it; and which kind of stress a message shows."""
        chance, p, task = self.chance, lists.phrases(), label_set().tasks["urgency"]
        silent = [
            passage
            for passage in passages
            if passage.text and not passage.quiet and urgency_of(f"{passage.title} {passage.text} immediately") == "high"
        ]
        for passage in chance.sample(silent, min(count, len(silent))):
            level = chance.choice(("low", "normal", "high"))
            cue = fill(chance.choice(p["urgency"][level]), p["slots"], chance)
            title, text = making.urgent(passage.text, level, cue, passage.title, chance)
            made = [making.label_example(task, level, title, text, chance) for _ in range(2)]
            if passage.category and passage.category not in NEVER and text:
                made.append(making.label_example(label_set().tasks["category"], passage.category, title, text, chance))
            self.trees.append(("label", False, made))
        for level, found in p["stress"].items():
            for line in found * 6:
                names = {"none": ("none", "no", "calm"), "low": ("low", "some", "mild"), "high": ("high", "strong", "severe")}
                way = chance.randrange(3)
                text = fill(line, p["slots"], chance)
                asked = lists.listed("stress", names[level][way], [n[way] for key, n in names.items() if key != level], "", text, chance)
                yes = lists.listed("stressed", "no" if level == "none" else "yes", ["yes" if level == "none" else "no"], "", text, chance)
                self.trees.append(("label", False, [asked, yes]))
        kinds = list(p["messages"])
        for kind, found in p["messages"].items():
            for line in found * 6:
                wrong = chance.sample([other for other in kinds if other != kind], chance.randint(1, len(kinds) - 1))
                name = chance.choice(("kind", "intent", "purpose", "kind of message"))
                self.trees.append(("label", False, [lists.listed(name, kind, wrong, "", fill(line, p["slots"], chance), chance) for _ in range(2)]))

    def document(self, document: Document, others: list[str]) -> str:
        """Trees in which something has to be copied: metadata, answers, repetitions. Returns a passage of it, to stand beside those of others."""
        chance, row, pieces = self.chance, document.row, document.pieces
        p = lists.phrases()
        at = chance.randrange(len(pieces))
        passage = " ".join(pieces[at : at + chance.randint(2, 5)])[:650]
        short = " ".join(pieces[at : at + chance.randint(1, 2)])[:300]
        shorts = [other[:300].rsplit(". ", 1)[0] + "." for other in chance.sample(others, min(len(others), chance.randint(1, 2)))]
        wish = [
            (0.9, "copy", lambda: self._metadata(row, pieces[at : at + chance.randint(1, 5)])),
            (0.25, "long", lambda: self._metadata(row, pieces[(start := chance.choice((0, 0, at))) : start + chance.randint(6, 22)])),
            (0.7, "copy", lambda: making.repeat_example([short, *shorts], chance)),
            (0.8, "copy", lambda: making.answer_example([short, *shorts], chance, (*making.ASK, *p["questions"]))),
            (
                0.2,
                "long",
                lambda: making.answer_example([passage, *chance.sample(others, min(len(others), 3))], chance, (*making.ASK, *p["questions"])),
            ),
            (1.0 if row["source"] == "medquad_nih" else 0.0, "copy", lambda: making.leaflet_questions(row["text"], shorts[:1], chance)),
        ]
        for odds, kind, make in wish:
            if chance.random() < odds and (made := make()):
                if document.held:
                    self.held.append(made)
                else:
                    self.trees.append((kind, False, [made]))
        return passage

    def _metadata(self, row: dict[str, Any], pieces: list[str]) -> Example:
        chance, dressing = self.chance, self.dressing()
        desk = label_set().tasks
        labels = {name: chance.choice(list(desk[name].labels)) for name in ("category", "sentiment", "urgency")}
        return making.metadata_example(row, making.noisy(pieces, dressing, chance), labels, [*dressing["head"], *dressing["foot"]], chance)

    def hold(self, passage: Passage) -> None:
        """Keep a held-out passage's label examples, as the desk asks them, for measuring."""
        for task, gold in (("category", passage.category), ("sentiment", passage.tone)):
            if gold and gold not in NEVER:
                self.held.append(making.label_example(label_set().tasks[task], gold, passage.title, passage.text, self.chance, plain=True))
        if passage.text and (level := urgency_of(f"{passage.title} {passage.text}")):
            self.held.append(making.label_example(label_set().tasks["urgency"], level, passage.title, passage.text, self.chance, plain=True))


def encode(tokenizer: Any, trees: list[Tree], prose: list[str]) -> dict[str, Any]:
    """Tokenise. Each item is inputs, the target of each, which branch each is of, and what it counts as; `starts` and `kinds` go by item."""
    end = tokenizer.eos_token_id
    items: list[tuple[list[int], list[int], list[int], list[int]]] = []
    kinds: list[int] = []

    def ids(texts: list[str]) -> list[list[int]]:
        return list(tokenizer(texts, add_special_tokens=False)["input_ids"]) if texts else []

    for begin in range(0, len(trees), 1000):
        part = trees[begin : begin + 1000]
        flat = [example for _, _, made in part for example in made]
        texts = tokenizer.apply_chat_template([e.messages for e in flat], add_generation_prompt=True, tokenize=False)
        split = [text.index(CLOSE) + len(CLOSE) for text in texts]
        trunks, asks = (
            ids([text[:at] for text, at in zip(texts, split, strict=True)]),
            ids([text[at:] for text, at in zip(texts, split, strict=True)]),
        )
        if begin == 0:
            _check_boundary(ids(texts[:50]), trunks, asks)
        answers = ids([e.answer for e in flat])
        n = 0
        for kind, quiet, made in part:
            width = SHAPES["long" if kind == "long" else "short"][1]
            trunk = trunks[n]
            item: tuple[list[int], list[int], list[int], list[int]] | None = None
            for example, ask, answer in zip(made, asks[n : n + len(made)], answers[n : n + len(made)], strict=True):
                whole = [*ask, *answer, end]
                if item is None or len(item[0]) + len(whole) > width:
                    if len(trunk) + len(whole) > width:
                        continue
                    item = (list(trunk), [*trunk[1:], end], [0] * len(trunk), [NONE if quiet else PROMPT] * (len(trunk) - 1) + [NONE])
                    items.append(item)
                    kinds.append(KINDS.index(kind))
                branch = max(item[2]) + 1
                item[0].extend(whole[:-1])
                item[1].extend(whole[1:])
                item[2].extend([branch] * (len(whole) - 1))
                item[3].extend([NONE] * (len(ask) - 1) + [LABEL if example.kind == "label" else TEXT] * (len(whole) - len(ask)))
            n += len(made)
    for begin in range(0, len(prose), 500):
        for text in ids(prose[begin : begin + 500]):
            items.append(([*text, end], [*text[1:], end, end], [0] * (len(text) + 1), [PROSE] * (len(text) + 1)))
            kinds.append(KINDS.index("prose"))
    columns = [
        np.concatenate([np.array(item[n], dtype=dtype) for item in items]) for n, dtype in enumerate((np.uint16, np.uint16, np.uint8, np.uint8))
    ]
    return dict(zip(("inputs", "targets", "branches", "codes"), columns, strict=True)) | {
        "starts": np.cumsum([0, *(len(item[0]) for item in items)]),
        "kinds": np.array(kinds, dtype=np.int8),
    }


def _check_boundary(whole: list[list[int]], trunks: list[list[int]], asks: list[list[int]]) -> None:
    """Cut at the document's end, a prompt must have the tokens that it has in use, uncut."""
    for ids, trunk, ask in zip(whole, trunks, asks, strict=False):
        if ids != [*trunk, *ask]:
            raise ValueError("the tokenizer joins characters over the document's end: training would ask what use never asks")


def make(folder: Path, size: float, encoder: Encoder, seed: int) -> tuple[Maker, list[str], list[str]]:
    """Everything but the tokens: trees, held-out examples, prose to train on, prose held out."""
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
    vectors = teacher.encode(encoder, [f"{p.title}. {p.text}" if p.title else p.text for p in passages], WORK)
    settled = [(v, p.category, p.tone) for v, p in zip(vectors, passages, strict=True) if chance.random() < 0.5 and (p.category or p.tone)]
    learnt = Teacher(encoder, settled, chance)
    known = learnt.know(vectors)
    own = list(gather.written(chance))
    known += learnt.know(teacher.encode(encoder, [f"{p.title}. {p.text}" if p.title else p.text for p in own]))
    agree = [(p.category, k.category) for p, k in zip(passages, known, strict=False) if p.category and k.category]
    print(f"the teacher agrees on {sum(a == b for a, b in agree)} of {len(agree)} categories; "
          f"clear topics {sum(k.topic is not None for k in known)}, categories {sum(k.category is not None for k in known)}, "
          f"tones {sum(k.tone is not None for k in known)} of {len(known)}", flush=True)  # fmt: skip
    maker.labels([*passages, *own], known)
    maker.urgency(passages, int(5000 * size) + 50)
    chance.shuffle(maker.trees)
    chance.shuffle(maker.held)
    return maker, prose, held_prose


def prepare(folder: Path, tokenizer_folder: Path, size: float = 1.0, encoder: Path = Path("build/encoder")) -> Path:
    """Make the cache where it is missing or stale; returns its folder. `size`: share of the documents to read."""
    here = Path(__file__).parent
    parts = [Path(tokenizer_folder) / "tokenizer.json", folder / "pretrain" / "MANIFEST.json"]
    parts += [here / f"{name}.py" for name in ("prepare", "gather", "teacher", "batches")]
    parts += [here.parent / name for name in ("examples.py", "tasks.py", "supervision.py", "cues.yaml", "moods.yaml", "phrases.yaml")]
    parts += sorted((here.parent / "topics").glob("*.yaml"))
    key = sha256(b"".join(part.read_bytes() for part in parts if part.exists()) + str(size).encode()).hexdigest()[:12]
    cache = WORK / f"data-{key}"
    if (cache / "held.jsonl").exists():
        return cache
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    maker, prose, held_prose = make(folder, size, Encoder(encoder, threads=2), 11)
    print("trees:", dict(Counter(kind for kind, _, _ in maker.trees)), "branches:", sum(len(made) for _, _, made in maker.trees), flush=True)
    print("labels:", dict(sorted(maker.counts.items())), "prose documents:", len(prose), flush=True)
    cache.mkdir(parents=True, exist_ok=True)
    arrays = encode(tokenizer, maker.trees, prose)
    np.savez(cache / "examples.npz", **arrays)
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
