"""Distant supervision: what label a text has by where it is from and by strict counts of words (services/trainer/cues.yaml). Pure.

The labels in NEVER are a desk's own, taught by its corrections: a text about them is left out.
"""

import random
import re
from functools import cache
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

NEVER = frozenset({"economy", "security"})
HELD_OUT = 0.02  # share of documents that are never trained on
WORDS = re.compile(r"[a-z0-9][a-z0-9'’-]*")
_SLOT = re.compile(r"\{(\w+)\}")


@cache
def cues() -> dict[str, Any]:
    """The supervision's words and sentences, with comma lists as sets."""
    found = yaml.safe_load((Path(__file__).parent / "cues.yaml").read_text())
    for name in ("category", "sentiment"):
        found[name] = {label: {" ".join(word.split()) for word in words.split(",")} for label, words in found[name].items()}
    found["urgency"] = {label: re.compile("|".join(map(re.escape, phrases))) for label, phrases in found["urgency"].items()}
    return dict(found)


def held_out(name: str) -> bool:
    """Whether the document of this name is kept for measuring; the same on every machine."""
    return int(sha256(name.encode()).hexdigest()[:8], 16) < HELD_OUT * 0x1_0000_0000


def hits(text: str, table: dict[str, set[str]]) -> dict[str, int]:
    """How many different words (or pairs of words) of each label's list the text holds."""
    words = WORDS.findall(text.lower())
    grams = {*words, *(word.rstrip("s") for word in words), *(f"{a} {b}" for a, b in pairwise(words))}
    return {label: len(grams & wanted) for label, wanted in table.items()}


def clear_winner(counts: dict[str, int], least: int) -> str | None:
    """The label with at least `least` hits and three times as many as the next; None where none is so clear."""
    (first, most), (_, second) = sorted(counts.items(), key=lambda item: -item[1])[:2]
    return first if most >= least and most >= 3 * second else None


def category_of(source: str, path: str, text: str) -> str | None:
    """The category of a window of a corpus, or None where its words speak against the corpus's own."""
    book = path.split("/")[0]
    own = cues()["books"].get(book) if source == "openstax" else cues()["sources"].get(source)
    counts = hits(text, cues()["category"])
    if source in ("beige_book", "fed_speeches", "debian_security"):
        return str(own)  # narrow corpora; their words on prices and patches must not keep them out
    mined = clear_winner(counts, 1 if source == "headline" else 3)
    if mined in NEVER or (own is None and mined is None):
        return None
    if own is None:
        return mined
    best = max(counts.values())
    if mined and mined != own and source in ("congress_press", "openstax", "digitalgov", "changelog_transcripts", "world_factbook", "18f"):
        return mined if counts[mined] >= 4 and counts[own] <= 1 else None
    return own if counts[own] >= best - (0 if source == "congress_press" else 1) and max(counts[never] for never in NEVER) < 2 else None


def sentiment_of(text: str, strict: int = 3) -> str | None:
    """The tone by its words: many of one side and none of the other, or none at all; None in between."""
    counts = hits(text, cues()["sentiment"])
    if not any(counts.values()):
        return "neutral"
    side = max(counts, key=lambda label: counts[label])
    return side if counts[side] >= strict and min(counts.values()) == 0 else None


def urgency_of(text: str) -> str | None:
    """The urgency by its phrases; None where those of two levels, or of none, are there."""
    lowered = text.lower()
    found = [label for label, pattern in cues()["urgency"].items() if pattern.search(lowered)]
    return found[0] if len(found) == 1 else None


def fill(template: str, slots: dict[str, list[str]], chance: random.Random) -> str:
    """A template with a value in each {slot}, another one where the slot comes again; {Slot} is capitalised. Raises KeyError for a slot that `slots` lacks."""
    taken: dict[str, list[str]] = {}

    def one(match: re.Match[str]) -> str:
        name = match[1].lower()
        left = taken.setdefault(name, chance.sample(slots[name], min(3, len(slots[name]))))
        value = str(left.pop() if left else chance.choice(slots[name]))
        return value[:1].upper() + value[1:] if match[1][0].isupper() else value

    return _SLOT.sub(one, template)
