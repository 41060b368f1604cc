"""The learning curve told: a table for docs/model.md, and the plot."""

from collections import defaultdict
from pathlib import Path
from typing import Any

from tests.bench.learning_conventions import Convention
from tests.bench.learning_runs import Point

TARGET, AT, CPU_S = 0.8, 60, 120.0  # the target: such an accuracy, from so many corrections, in so many seconds of processor
Curve = dict[int, list[Point]]  # corrections -> a point a seed


def curves(points: list[Point]) -> dict[str, Curve]:
    """Convention -> its curve."""
    found: dict[str, Curve] = defaultdict(lambda: defaultdict(list))
    for point in points:
        found[point.convention][point.corrections].append(point)
    return found


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def spread(values: list[float]) -> str:
    """Mean and range in per cent."""
    return f"**{mean(values):.0%}** ({min(values):.0%} to {max(values):.0%})"


def verdicts(points: list[Point]) -> dict[str, dict[str, Any]]:
    """Per convention, whether AT corrections reach TARGET on the mean of the seeds, and whether every seed trained within CPU_S."""
    told = {}
    for name, curve in curves(points).items():
        if AT in curve:
            accuracy, slowest = mean([p.accuracy for p in curve[AT]]), max(p.training_cpu_s for p in curve[AT])
            told[name] = {"accuracy": round(accuracy, 4), "slowest_cpu_s": slowest, "met": accuracy >= TARGET and slowest < CPU_S}
    return told


def page(conventions: list[Convention], points: list[Point], about: str) -> str:
    """What stands in docs/model.md."""
    lines = [about, "", "![Accuracy on held-out items by the number of corrections](learning-curve.png)", ""]
    lines += [
        "| convention | labels | 0 corrections | 20 | 60 | most | MiniLM head, 60 | training at 60, CPU (whole run) | other tasks kept at 60 |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    by_name = curves(points)
    for convention in (c for c in conventions if c.name in by_name):
        curve = by_name[convention.name]
        most = max(curve)
        cells = [f"{convention.name}: {convention.note}", str(len(convention.labels().tasks[convention.task].labels))]
        cells.append(spread([p.base for p in curve[most]]))
        cells += [spread([p.accuracy for p in curve[n]]) if n in curve else "" for n in (20, AT)]
        cells.append(f"{most}: {spread([p.accuracy for p in curve[most]])}" if most > AT else "")
        at = curve.get(AT, [])
        cells.append(spread([p.minilm for p in at]) if at else "")
        cells.append(f"{mean([p.training_cpu_s for p in at]):.0f} s ({mean([p.run_cpu_s for p in at]):.0f} s)" if at else "")
        cells.append(f"{mean([p.kept for p in at]):.0%}" if at else "")
        lines.append("| " + " | ".join(cells) + " |")
    told = verdicts(points)
    lines += ["", f"Target, {AT} corrections to {TARGET:.0%} of held-out items in under {CPU_S:.0f} s of processor: {_met(told)}"]
    return "\n".join(lines)


def _met(told: dict[str, dict[str, Any]]) -> str:
    reached = [name for name, one in told.items() if one["met"]]
    missed = [f"{name} ({one['accuracy']:.0%}, {one['slowest_cpu_s']:.0f} s)" for name, one in told.items() if not one["met"]]
    return f"met by {', '.join(reached) or 'none'}; missed by {', '.join(missed) or 'none'}."


def plot(conventions: list[Convention], points: list[Point], path: Path) -> None:
    """One panel a convention: the mean over the seeds with their range, the MiniLM head on the same corrections, chance, and the target."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    by_name = curves(points)
    shown = [c for c in conventions if c.name in by_name]
    columns = min(3, len(shown))
    figure, panels = pyplot.subplots(
        -(-len(shown) // columns), columns, figsize=(4 * columns, 3.2 * -(-len(shown) // columns)), sharey=True, squeeze=False, layout="constrained"
    )
    for panel, convention in zip(panels.flat, shown, strict=False):
        curve = by_name[convention.name]
        counts = [0, *sorted(curve)]
        values = [[p.base for p in curve[max(curve)]], *([p.accuracy for p in curve[n]] for n in counts[1:])]
        panel.fill_between(counts, [min(v) for v in values], [max(v) for v in values], color="tab:blue", alpha=0.2, linewidth=0)
        panel.plot(counts, [mean(v) for v in values], "o-", color="tab:blue", label="LLM with its adapter")
        panel.plot(counts[1:], [mean([p.minilm for p in curve[n]]) for n in counts[1:]], "s:", color="tab:orange", label="MiniLM head")
        names = convention.labels().tasks[convention.task].labels
        panel.axhline(1 / len(names), color="grey", linestyle=":", linewidth=1)
        panel.plot([AT], [TARGET], marker="*", markersize=13, color="tab:green", linestyle="", label="target")
        panel.set(title=f"{convention.name}, {len(names)} labels", xscale="symlog", xticks=counts, ylim=(0, 1), xlabel="corrections")
        panel.set_xscale("symlog", linthresh=20)
        panel.set_xticks(counts, [str(n) for n in counts])
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    for panel in panels.flat[len(shown) :]:
        panel.axis("off")
    for row in panels:
        row[0].set_ylabel("accuracy, held-out items")
    panels.flat[0].legend(loc="lower right", fontsize="small")
    figure.savefig(path, dpi=110, metadata={"Software": None})
    pyplot.close(figure)
