"""Summaries: ROUGE of the sentence that the engine chose, beside what needs no model, and beside the best that it could have chosen."""

import random
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from shared.grounding import candidates, sentences
from tests.bench.model.figures import Figure, against, mean
from tests.bench.model.reading import Reading
from tests.bench.model.tables import Cell, Section
from tests.bench.model.texts import Text, lines, place
from tests.bench.model.unique import distinct

KINDS = ("rouge1", "rouge2", "rougeL")
CONSTANTS = 40  # sentences that are tried as the one answer to everything
_TOKENISED = ((" n't", "n't"), ("`` ", '"'), (" ''", '"'), (" 's", "'s"), ("( ", "("), (" )", ")"))
_BEFORE_MARK = re.compile(r" ([.,;:!?%])(?=\s|$)")

Scores = tuple[float, float, float]  # F1 of ROUGE-1, -2 and -L, 0 to 1


def rejoined(text: str) -> str:
    """Text of a corpus that keeps its tokens apart ("do n't ."), as people write it."""
    for apart, joined in _TOKENISED:
        text = text.replace(apart, joined)
    return _BEFORE_MARK.sub(r"\1", text)


@cache
def _scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(list(KINDS), use_stemmer=True)


def rouge(reference: str, said: str) -> Scores:
    """F1 of ROUGE-1, ROUGE-2 and ROUGE-L (Lin 2004), with Porter stems."""
    scores = _scorer().score(reference, said)
    one, two, longest = (float(scores[kind].fmeasure) for kind in KINDS)
    return one, two, longest


def referenced(folder: Path, name: str, most: int) -> list[tuple[Text, str]]:
    """Articles with their human summaries, in the fixed order, each article once."""
    rows = {row["doc_id"]: row for row in lines(folder / name / "test.jsonl")}
    texts = {key: rejoined(row["source"]) for key, row in sorted(rows.items(), key=lambda item: place(f"{name} {item[0]}"))}
    return [(Text(key, "", texts[key], name), rejoined(rows[key]["reference"])) for key in distinct(texts)[:most]]


def titled(texts: Sequence[Text], most: int) -> list[tuple[Text, str]]:
    """Documents whose own title is kept back and taken for the reference; those whose text begins with it, or whose title says little, are left out."""
    fit = [text for text in texts if len(text.title.split()) >= 5 and text.title.lower() not in text.text.lower() and len(sentences(text.text)) >= 4]
    return [(Text(text.name, "", text.text, text.origin), text.title) for text in fit[:most]]


def judged(name: str, readings: Sequence[Reading], references: Sequence[str]) -> list[tuple[Cell, ...]]:
    """The rows of one set: the engine's choice, then what it is compared with."""
    said: dict[str, list[str]] = {"LLM, as in use": [reading.enriched.metadata.summary if reading.enriched else "" for reading in readings]}
    documents = [reading.text.document() for reading in readings]
    offered = [candidates(d.title, d.text, d.links).sentences for d in documents]
    leads = [next(iter(sentences(d.text)), d.title) for d in documents]
    said["first sentence (lead-1)"] = leads
    said["first offered (chosen by code)"] = [values[0] for values in offered]
    said["a random one of those offered"] = [random.Random(place(r.text.name)).choice(v) for r, v in zip(readings, offered, strict=True)]
    constant = max(leads[:CONSTANTS], key=lambda lead: sum(rouge(reference, lead)[0] for reference in references))
    said["the best constant answer"] = [constant] * len(readings)
    said["the best of those offered (bound)"] = [
        max(values, key=lambda value: rouge(reference, value)[0]) for reference, values in zip(references, offered, strict=True)
    ]
    scores = {who: [rouge(reference, value) for reference, value in zip(references, values, strict=True)] for who, values in said.items()}
    ours = [score[0] for score in scores["LLM, as in use"]]
    rows: list[tuple[Cell, ...]] = []
    for who, found in scores.items():
        figures: list[Figure] = [mean([100 * score[kind] for score in found]) for kind in range(3)]
        rows.append((name, who, len(found), *figures, "" if who.startswith("LLM") else against(ours, [score[0] for score in found])))
    return rows


def section(rows: list[tuple[Cell, ...]]) -> Section:
    """The table."""
    columns = ("references", "summary by", "n", "ROUGE-1", "ROUGE-2", "ROUGE-L", "LLM against it (ROUGE-1)")
    about = (
        "F1 times 100, stemmed, with its 95 % bootstrap interval. In use the model chooses one of at most three sentences that code offers "
        "(shared.grounding.telling); the bound is the best choice among them. The last column is the paired difference in points. No set has both titles and "
        "human summaries: titles serve as references of their own, and are kept back from the model there."
    )
    return Section("Summaries", columns, rows, about)
