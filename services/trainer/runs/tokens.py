"""Trees and prose as tokens: the arrays that batches.py draws from."""

from typing import Any

import numpy as np

from services.trainer.runs.batches import KINDS, LABEL, NONE, PROMPT, PROSE, SHAPES, TEXT
from services.trainer.runs.maker import Tree
from shared.prompts import CLOSE


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
            check_boundary(ids(texts[:50]), trunks, asks)
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


def check_boundary(whole: list[list[int]], trunks: list[list[int]], asks: list[list[int]]) -> None:
    """Cut at the document's end, a prompt must have the tokens that it has in use, uncut."""
    for ids, trunk, ask in zip(whole, trunks, asks, strict=False):
        if ids != [*trunk, *ask]:
            raise ValueError("the tokenizer joins characters over the document's end: training would ask what use never asks")
