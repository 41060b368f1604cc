"""Our own texts with some words changed for others that are near to them, after TinyBERT's data augmentation (Jiao et al. 2020, section 3.2): what the
words mean may change with them, and so may the label, but the teacher is asked anew. So the student sees words that stand in none of our texts."""

import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

NEAREST = 12  # words to choose among
SHARE = 0.3  # of a text's words that are changed, where they are known
LEAST_LETTERS = 3
KEPT = frozenset(
    "the and for but not are was were has have had been being you your she her his him they them its this that these those with from into about can could "
    "would should will did does don didn wasn isn what when where who why how than then there here just because while".split()
)  # what holds a sentence together
_WORD = re.compile(r"[A-Za-z]+")


def neighbours(folder: Path) -> dict[str, list[str]]:
    """Word -> the words whose embeddings in the encoder at `folder` are the nearest to its own. Whole words in small letters only, of a vocabulary of
    word pieces as BERT and MPNet have it. Raises ValueError where there are none."""
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    vocabulary = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab()
    weights: dict[str, Any] = load_file(str(folder / "model.safetensors"))
    table = next(array for name, array in weights.items() if name.endswith("word_embeddings.weight")).astype(np.float32)
    words = sorted(word for word in vocabulary if word.isascii() and word.isalpha() and word.islower() and len(word) >= LEAST_LETTERS)
    if not words:
        raise ValueError(f"the vocabulary in {folder} has no whole words in small letters: it is not one of word pieces")
    vectors = table[[vocabulary[word] for word in words]]
    vectors -= vectors.mean(axis=0)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = {}
    for start in range(0, len(words), 1000):
        near = vectors[start : start + 1000] @ vectors.T
        best = np.argpartition(-near, NEAREST + 1, axis=1)[:, : NEAREST + 1]
        for row, places in enumerate(best):
            found[words[start + row]] = [words[n] for n in sorted(places) if n != start + row][:NEAREST]
    return found


def changed(texts: Sequence[str], near: dict[str, list[str]], times: int, seed: int = 3) -> Iterator[str]:
    """Each text so many times, other words changed each time; a text in which none was is left out."""
    dice = random.Random(seed)
    for text in texts:
        for _ in range(times):
            other = _WORD.sub(lambda found: _other(found[0], near, dice), text)
            if other != text:
                yield other


def _other(word: str, near: dict[str, list[str]], dice: random.Random) -> str:
    plain = word.lower()
    if plain not in near or plain in KEPT or dice.random() >= SHARE:
        return word
    chosen = dice.choice(near[plain])
    return chosen.upper() if word.isupper() and len(word) > 1 else chosen.capitalize() if word[0].isupper() else chosen
