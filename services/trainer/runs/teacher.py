"""What the sentence encoder knows, for the small model to learn: topic, category, tone and urgency of a passage, and where a word lies among words.

The encoder (all-MiniLM-L6-v2, Apache-2.0) has read a billion sentences; the bundled model reads a few million words. Linear heads on its vectors, taught
by lines written for Feedloop (topics.yaml, moods.yaml, phrases.yaml) and by the distant supervision, name what a passage is about; only clear verdicts
become examples (distillation by hard pseudo-labels, Hinton et al. 2015; Lee 2013).
"""

import json
import random
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

from services.trainer.supervision import fill
from services.trainer.tasks import all_names, moods, phrases, topics
from shared.encoder import Encoder

READ = 500  # characters of a passage that the encoder is shown
CLEAR_TOPIC, CLEAR_CATEGORY, CLEAR_TONE, CLEAR_URGENCY = 0.45, 0.8, 0.8, 0.8  # probability from which a verdict is used
NAMED, APART = 0.4, 0.2  # cosine from which a name may be right, and how far below the best one a name is wrong for sure
FAR = 0.015  # probability under which a topic is wrong for sure
BATCH = 4000


@dataclass(frozen=True)
class Knowledge:
    """Of one passage: clear verdicts, or None; and the topics that are near enough to be right as well."""

    topic: str | None
    near: frozenset[str]
    category: str | None
    tone: str | None
    urgency: str | None = None
    fit: tuple[str, ...] = ()  # names, of any kind, that the passage lies nearest to
    unfit: tuple[str, ...] = ()  # some that it lies far from


def encode(encoder: Encoder, texts: list[str], keep: Path | None = None) -> Any:
    """Unit vectors of the texts, [n, 384], with a line of progress; many are kept in the folder `keep`, since they take minutes."""
    shown = [text[:READ] for text in texts]
    file = keep / f"vectors-{sha256(json.dumps(shown).encode()).hexdigest()[:12]}.npy" if keep else None
    if file and file.exists():
        return np.load(file)
    parts = []
    for start in range(0, len(shown), BATCH):
        parts.append(encoder.encode(shown[start : start + BATCH]))
        print(f"  encoded {min(start + BATCH, len(shown))} of {len(shown)}", flush=True)
    vectors = np.concatenate(parts)
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, vectors)
    return vectors


class Teacher:
    """Heads for topic, category, tone and urgency. `known` are passages (vector, category or None, tone or None) that the distant supervision settled;
    `items` texts with all three labels by hand (text, category, tone, urgency)."""

    def __init__(
        self, encoder: Encoder, known: list[tuple[Any, str | None, str | None]], items: list[tuple[str, str, str, str]], chance: random.Random
    ) -> None:
        by_hand = list(zip(encode(encoder, [text for text, *_ in items]), items, strict=True))
        texts, names = self._lines(chance)
        vectors = encode(encoder, texts)
        self.topics = LogisticRegression(C=12.0, max_iter=300).fit(vectors, names)
        parents = {name: body["parent"] for name, body in topics().items()}
        rows = [(v, parents[n], 3.0) for v, n in zip(vectors, names, strict=True) if parents[n] not in ("life", "none")]
        rows += [(v, category, 1.0) for v, category, _ in known if category]
        rows += [(v, category, 3.0) for v, (_, category, _, _) in by_hand]
        self.categories = self._fit(rows, 4.0)
        tones = [(text, tone) for tone in ("positive", "neutral", "negative") for text in self._tones(tone, chance)]
        tone_rows = [(v, tone, 6.0) for v, (_, tone) in zip(encode(encoder, [text for text, _ in tones]), tones, strict=True)]
        tone_rows += [(v, tone, 1.0) for v, _, tone in known if tone]
        tone_rows += [(v, tone, 6.0) for v, (_, _, tone, _) in by_hand]
        self.tones = self._fit(tone_rows, 4.0)
        self.urgencies = self._fit([(v, urgency, 1.0) for v, (_, _, _, urgency) in by_hand], 4.0)
        self.names = all_names()
        self.places = encode(encoder, self.names)
        self.chance = chance

    @staticmethod
    def _fit(rows: list[tuple[Any, str, float]], strength: float) -> LogisticRegression:
        weights = np.array([weight for _, _, weight in rows])
        gold = [label for _, label, _ in rows]
        head = LogisticRegression(C=strength, max_iter=300, class_weight="balanced")
        return head.fit(np.stack([v for v, _, _ in rows]), gold, sample_weight=weights)

    @staticmethod
    def _lines(chance: random.Random) -> tuple[list[str], list[str]]:
        texts, names = [], []
        for name, body in topics().items():
            words = body["words"]
            own = [*body["lines"], *body["names"], *(", ".join(chance.sample(words, min(5, len(words)))) for _ in range(6))]
            texts += own
            names += [name] * len(own)
        return texts, names

    @staticmethod
    def _tones(tone: str, chance: random.Random) -> list[str]:
        return [*moods()[tone]["lines"], *(fill(line, phrases()["slots"], chance) for line in phrases()["tones"][tone] for _ in range(3))]

    def know(self, vectors: Any) -> list[Knowledge]:
        """The verdicts on passages, by their vectors."""
        topic, category, tone, urgency = (head.predict_proba(vectors) for head in (self.topics, self.categories, self.tones, self.urgencies))
        names = np.array(self.topics.classes_)
        named = [self._named(near) for start in range(0, len(vectors), BATCH) for near in vectors[start : start + BATCH] @ self.places.T]
        return [
            Knowledge(
                _clear(topic[n], self.topics.classes_, CLEAR_TOPIC),
                frozenset(names[topic[n] > FAR]),
                _clear(category[n], self.categories.classes_, CLEAR_CATEGORY),
                _clear(tone[n], self.tones.classes_, CLEAR_TONE),
                _clear(urgency[n], self.urgencies.classes_, CLEAR_URGENCY),
                *named[n],
            )
            for n in range(len(vectors))
        ]

    def _named(self, near: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
        best = np.argsort(-near)[:3]
        if near[best[0]] < NAMED:
            return (), ()
        some = self.chance.sample(range(len(near)), min(len(near), 40))
        fit = tuple(self.names[n] for n in best if near[n] > near[best[0]] - 0.05)
        return fit, tuple(self.names[n] for n in some if near[n] < near[best[0]] - APART)


def _clear(chances: Any, names: Any, least: float) -> str | None:
    best = int(chances.argmax())
    return str(names[best]) if chances[best] >= least else None
