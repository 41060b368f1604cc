"""The plots of docs/classifier.md: small PNGs, the same bytes from the same figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shared.taxonomy import label_set
from tests.bench.classifier.messages import Message, Way
from tests.bench.classifier.rows import WHOLE, Found
from tests.bench.classifier.scores import BINS, Floats, stated
from tests.bench.classifier.screen import COLLECTION

MOST_BYTES = 120_000
LEAST_IN_BIN = 10  # pairs of a bin that is drawn: fewer say nothing


@dataclass(frozen=True)
class Curve:
    """Points of a reliability diagram: mean stated probability and share that came true of each bin, with how many it holds."""

    stated: Floats
    true: Floats
    counts: Floats


def reliability(chances: Floats, came_true: Floats, least: int = LEAST_IN_BIN) -> Curve:
    """Bins of equal width, those with enough in them."""
    flat, hits = chances.ravel(), came_true.ravel()
    bins = np.minimum((flat * BINS).astype(np.int64), BINS - 1)
    counts = np.bincount(bins, minlength=BINS).astype(np.float64)
    shown = counts >= max(1, least)
    sums, true = (np.bincount(bins, weights=values, minlength=BINS) for values in (flat, hits))
    return Curve(sums[shown] / counts[shown], true[shown] / counts[shown], counts[shown])


def confusion(gold: Sequence[str], said: Sequence[str], labels: Sequence[str]) -> Any:
    """[true, said]: how many texts."""
    table = np.zeros((len(labels), len(labels)), dtype=np.int64)
    for true, one in zip(gold, said, strict=True):
        if true in labels and one in labels:
            table[labels.index(true), labels.index(one)] += 1
    return table


def draw_reliability(found: Sequence[Found], path: Path) -> None:
    """All sets together: how often a probability came true, for each part alone and for the hybrid; of sets where one label holds."""
    pyplot = _pyplot()
    figure, panel = pyplot.subplots(figsize=(5, 4.6), layout="constrained")
    panel.plot([0, 1], [0, 1], color="grey", linestyle=":", linewidth=1, label="as it should be")
    singles = [one for one in found if not one.split.multi]
    names = [row.name for row in (singles[0].rows if singles else []) if row.kind != "baseline" and row.name != "rules only"]
    for name in ["TF-IDF + linear SVM", *names]:
        pairs = [stated(one.split.gold(one.split.test), row.answers, False) for one in singles if (row := one.row(name))]
        if pairs:
            curve = reliability(np.concatenate([p for p, _ in pairs]), np.concatenate([t for _, t in pairs]))
            bold = name == WHOLE
            panel.plot(curve.stated, curve.true, "o-" if bold else "-", linewidth=2 if bold else 1, markersize=4, label=name, zorder=3 if bold else 2)
    panel.set(xlabel="probability that was stated", ylabel="share that came true", xlim=(0, 1), ylim=(0, 1), title="Reliability, all sets together")
    panel.legend(fontsize="small")
    panel.grid(alpha=0.3)
    _save(figure, path)


def draw_precision_recall(found: Sequence[Message], ways: Sequence[Way], path: Path) -> None:
    """Of the hard texts and the paraphrases: how many of those called danger are, at each share of danger that is found; a dot where the verdict stands."""
    from sklearn.metrics import average_precision_score, precision_recall_curve

    from tests.bench.classifier.screen import in_danger

    pyplot = _pyplot()
    figure, panel = pyplot.subplots(figsize=(5.4, 4.4), layout="constrained")
    risky = np.array([one.risky for one in found])
    for way in ways:
        precision, recall, _ = precision_recall_curve(risky, way.scores)
        (line,) = panel.plot(recall, precision, label=f"{way.name} ({average_precision_score(risky, way.scores):.2f})", linewidth=1.2)
        said = np.array([in_danger(way.labels(n)) for n in range(len(found))])
        if said.any():
            panel.plot([(said & risky).sum() / risky.sum()], [(said & risky).sum() / said.sum()], "o", color=line.get_color())
    panel.axhline(float(risky.mean()), color="grey", linestyle=":", linewidth=1, label="everything called danger")
    panel.set(xlabel="recall: danger that is found", ylabel="precision: called danger and is", xlim=(0, 1.01), ylim=(0, 1.01),
              title="Danger in hand-written messages (average precision)")  # fmt: skip
    panel.legend(fontsize="x-small", loc="lower left")
    panel.grid(alpha=0.3)
    _save(figure, path)


def draw_confusion(found: Sequence[Message], way: Way, path: Path) -> None:
    """Which emotion was said for which, over all messages."""
    pyplot = _pyplot()
    labels = list(label_set(COLLECTION).tasks["emotion"].labels)
    table = confusion([one.gold["emotion"] for one in found], [way.labels(n).get("emotion", "") for n in range(len(found))], labels)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    figure, panel = pyplot.subplots(figsize=(5.6, 4.8), layout="constrained")
    panel.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row in range(len(labels)):
        for column in range(len(labels)):
            if table[row, column]:
                dark = shares[row, column] > 0.5
                panel.text(column, row, str(table[row, column]), ha="center", va="center", fontsize=8, color="white" if dark else "black")
    panel.set_xticks(range(len(labels)), labels, rotation=45, ha="right", fontsize=8)
    panel.set_yticks(range(len(labels)), labels, fontsize=8)
    panel.set(xlabel="said", ylabel="true", title=f"Emotion, {way.name}")
    _save(figure, path)


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def _save(figure: Any, path: Path) -> None:
    """Raises ValueError where the file is larger than a page should carry."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100, metadata={"Software": None})
    _pyplot().close(figure)
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{path.name} has {path.stat().st_size // 1000} KB, and {MOST_BYTES // 1000} are allowed")
