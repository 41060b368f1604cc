"""Known answers of a trained head: texts that it answers clearly, which the gate and every replica ask again before it takes its place."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from services.trainer.runs.heads.examples import Example, Targets
from services.trainer.runs.heads.network import Network
from services.trainer.runs.heads.vectors import Store
from shared.heads import READ_CHARS

PROBES = 16
CLEAR = 0.2  # by how much the likeliest label leads: so far int8 vectors don't differ between processors


def known_answers(examples: Sequence[Example], target: Targets, network: Network, store: Store) -> list[dict[str, Any]]:
    """At most PROBES answers as shared.events.Probe, of own texts that are read whole: of each task and label in turn the surest that is clear and right.
    base_answer is the commonest label, what a head that has learned nothing would say."""
    places = np.flatnonzero(target.own & np.array([0 < len(one.text.strip()) <= READ_CHARS for one in examples]))
    if not len(places):
        return []
    said = network.probabilities(store, places)
    ranked: list[tuple[int, int, int, dict[str, Any]]] = []
    for t, task in enumerate(target.tasks):
        truth, chances = target.of[task.name], said[task.name]
        given = np.eye(len(task.labels), dtype=np.int64)[truth] * (truth >= 0)[:, None] if truth.ndim == 1 else (truth == 1).astype(np.int64)
        commonest = task.labels[int(given[target.own].sum(axis=0).argmax())]
        order = np.sort(chances, axis=1)
        lead = order[:, -1] - (order[:, -2] if len(task.labels) > 1 else 0.5)
        for n, label in enumerate(task.labels):
            right = np.flatnonzero((chances.argmax(axis=1) == n) & (given[places, n] == 1) & (lead >= CLEAR))
            for rank, row in enumerate(right[np.argsort(-lead[right], kind="stable")][:PROBES].tolist()):
                probe = {"task": task.name, "title": "", "text": examples[places[row]].text.strip(), "answer": label, "base_answer": commonest}
                ranked.append((rank, n, t, probe))
    return [probe for *_, probe in sorted(ranked, key=lambda one: one[:3])[:PROBES]]
