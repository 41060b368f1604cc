"""Trees and prose as tokens: the arrays that batches.py draws from."""

from typing import Any

import numpy as np

from services.trainer.examples import Example
from services.trainer.runs.batches import FITS, KINDS, LABEL, NONE, PROMPT, PROSE, SHAPES, TEXT, UNFIT
from services.trainer.runs.maker import Tree
from shared.prompts import BETWEEN, CLOSE, LISTED


def encode(tokenizer: Any, trees: list[Tree], prose: list[str]) -> dict[str, Any]:
    """Tokenise. Each item is inputs, the target of each, which branch each is of, what it counts as, and whether a listed label's tokens are the right
    one's; `starts` and `kinds` go by item."""
    end = tokenizer.eos_token_id
    items: list[tuple[list[int], ...]] = []
    kinds: list[int] = []

    def ids(texts: list[str]) -> list[list[int]]:
        return list(tokenizer(texts, add_special_tokens=False)["input_ids"]) if texts else []

    for begin in range(0, len(trees), 1000):
        part = trees[begin : begin + 1000]
        flat = [example for _, _, made in part for example in made]
        texts = tokenizer.apply_chat_template([e.messages for e in flat], add_generation_prompt=True, tokenize=False)
        split = [text.index(CLOSE) + len(CLOSE) for text in texts]
        trunks = ids([text[:at] for text, at in zip(texts, split, strict=True)])
        asked = [text[at:] for text, at in zip(texts, split, strict=True)]
        found = tokenizer(asked, add_special_tokens=False, return_offsets_mapping=True)
        asks = list(found["input_ids"])
        fits = [marks(e, text, spans) for e, text, spans in zip(flat, asked, found["offset_mapping"], strict=True)]
        if begin == 0:
            check_boundary(ids(texts[:50]), trunks, asks)
        answers = ids([e.answer for e in flat])
        n = 0
        for kind, quiet, made in part:
            width = SHAPES["long" if kind == "long" else "short"][1]
            trunk = trunks[n]
            item: tuple[list[int], ...] | None = None
            here = slice(n, n + len(made))
            if any(other != trunk for other in trunks[here]):
                raise ValueError(f"a tree asks of one document, but this one of several: {made[0].messages[1]['content'][:200]!r}")
            for example, ask, answer, fit in zip(made, asks[here], answers[here], fits[here], strict=True):
                whole = [*ask, *answer, end]
                if item is None or len(item[0]) + len(whole) > width:
                    if len(trunk) + len(whole) > width:
                        continue
                    item = (
                        list(trunk),
                        [*trunk[1:], end],
                        [0] * len(trunk),
                        [NONE if quiet else PROMPT] * (len(trunk) - 1) + [NONE],
                        [0] * len(trunk),
                    )
                    items.append(item)
                    kinds.append(KINDS.index(kind))
                branch = max(item[2]) + 1
                item[0].extend(whole[:-1])
                item[1].extend(whole[1:])
                item[2].extend([branch] * (len(whole) - 1))
                item[3].extend([NONE] * (len(ask) - 1) + [LABEL if example.kind == "label" else TEXT] * (len(whole) - len(ask)))
                item[4].extend([*fit, *([0] * (len(whole) - 1 - len(ask)))])
            n += len(made)
    for begin in range(0, len(prose), 500):
        for text in ids(prose[begin : begin + 500]):
            items.append(([*text, end], [*text[1:], end, end], [0] * (len(text) + 1), [PROSE] * (len(text) + 1), [0] * (len(text) + 1)))
            kinds.append(KINDS.index("prose"))
    kept = {"inputs": np.uint16, "targets": np.uint16, "branches": np.uint8, "codes": np.uint8, "fits": np.uint8}
    return {name: np.concatenate([np.array(item[n], dtype=dtype) for item in items]) for n, (name, dtype) in enumerate(kept.items())} | {
        "starts": np.cumsum([0, *(len(item[0]) for item in items)]),
        "kinds": np.array(kinds, dtype=np.int8),
    }


def marks(example: Example, ask: str, spans: list[tuple[int, int]]) -> list[int]:
    """For each token of the question: FITS where it is of the right label in the list, UNFIT where it is of another, else 0."""
    found = [0] * len(spans)
    if example.task is None:
        return found
    at = ask.index(LISTED) + len(LISTED)
    for label in example.task.labels:
        end = at + len(label)
        for n, (start, stop) in enumerate(spans):
            if start < end and stop > at:
                found[n] = FITS if label == example.answer else UNFIT
        at = end + len(BETWEEN)
    return found


def check_boundary(whole: list[list[int]], trunks: list[list[int]], asks: list[list[int]]) -> None:
    """Cut at the document's end, a prompt must have the tokens that it has in use, uncut."""
    for ids, trunk, ask in zip(whole, trunks, asks, strict=False):
        if ids != [*trunk, *ask]:
            raise ValueError("the tokenizer joins characters over the document's end: training would ask what use never asks")
