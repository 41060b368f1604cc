"""The labelled texts of a collection: which are taught, which the temperatures are fitted on, and which are measured."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from services.trainer.runs.heads import training
from services.trainer.runs.heads.examples import Example, Targets, dealt, targets
from services.trainer.runs.train_head import OWN_TEXTS, gathered
from shared.errors import ConfigError
from shared.taxonomy import label_set

PARTS, HELD, MEASURED = 20, 0, 10
SEED = training.SEED


@dataclass(frozen=True)
class Labelled:
    """The labelled texts, and the places of those that are taught, of those that the temperatures are fitted on and of those that are measured; `newest`: how
    many of the texts are of the last file or folder."""

    collection: str
    examples: Sequence[Example]
    target: Targets
    taught: np.ndarray
    held: np.ndarray
    measured: np.ndarray
    newest: int = 0

    @classmethod
    def of(cls, collection: str, data: Sequence[Path] = ()) -> "Labelled":
        """Those of `data`, files or folders, or else those that come with Feedloop. Raises ConfigError where there are none."""
        if not data and collection not in OWN_TEXTS:
            raise ConfigError(f"no texts come with Feedloop for {collection!r}: give them with --data")
        labels = label_set(collection)
        if labels.collection != collection:
            raise ConfigError(f"there is no label set for {collection!r}: give your own with --labels")
        sources = [gathered([path], labels) for path in data or OWN_TEXTS[collection]]
        examples = [one for some in sources for one in some]
        target = targets(examples, labels)
        own = np.arange(len(target))
        if twice := [text for text, count in Counter(" ".join(one.text.lower().split()) for one in examples).items() if count > 1]:
            raise ConfigError(f"this text stands there twice, and would be learnt and measured on: {twice[0][:80]!r}")
        ends = np.cumsum([len(some) for some in sources])
        part = np.concatenate([dealt(target, places, PARTS, SEED + 1) for places in np.split(own, ends[:-1])])
        if HELD not in part or MEASURED not in part:
            raise ConfigError(f"there are too few texts: one in {PARTS} of a file or folder is kept back, and again one in {PARTS}")
        return cls(collection, examples, target, own[(part != HELD) & (part != MEASURED)], own[part == HELD], own[part == MEASURED], len(sources[-1]))

    @property
    def texts(self) -> list[str]:
        return [one.text for one in self.examples]

    @property
    def speaks_for(self) -> dict[str, Any]:
        """What a head or a teacher of these texts is of."""
        return {"collection": self.collection, "tasks": {task.name: list(task.labels) for task in self.target.tasks}}

    def older_and_newest(self) -> tuple[np.ndarray, np.ndarray]:
        """The places of the taught texts of the earlier files or folders, and of the last one."""
        is_new = self.taught >= len(self.examples) - self.newest
        return self.taught[~is_new], self.taught[is_new]


def drawn(target: Targets, places: np.ndarray, most: int) -> np.ndarray:
    """So many of the places, by chance, those whose labels together are rare more often: by the square root of how often they stand there."""
    if len(places) <= most:
        return places
    _, which, counts = np.unique(
        np.column_stack([target.of[task.name][places] for task in target.tasks]), axis=0, return_inverse=True, return_counts=True
    )
    share = 1 / np.sqrt(counts[which.ravel()])
    return np.random.default_rng(SEED).choice(places, most, replace=False, p=share / share.sum())
