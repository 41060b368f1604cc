"""How long a verdict takes without the language model: through the real Decider, one text after the other on one thread of Python."""

import time
from collections.abc import Sequence

import numpy as np

from tests.bench.classifier.screen import Neurons, Screen
from tests.bench.model.tables import Cell, Section

WARM = 3
AT_ONCE_MS = 100.0  # a provisional verdict is wanted well within this
PER_S = 500.0


def measured(texts: Sequence[str], head: Neurons) -> Section:
    """Median and 95th percentile in milliseconds, and texts a second by the clock and by the processor."""
    rows: list[tuple[Cell, ...]] = []
    for name, screen in {"rules and head": Screen.of(head=head), "rules alone": Screen.of(), "head alone": Screen.of(rules=False, head=head)}.items():
        for text in texts[:WARM]:
            screen.decide(text)
        each, ticks = [], time.process_time()
        for text in texts:
            began = time.perf_counter()
            screen.decide(text)
            each.append(1000 * (time.perf_counter() - began))
        cpu = time.process_time() - ticks
        slow, rate = float(np.percentile(each, 95)), len(texts) / (sum(each) / 1000)
        met = f"{'yes' if slow <= AT_ONCE_MS else 'NO'}, {'yes' if rate >= PER_S else 'NO'}"
        rows.append((name, len(texts), f"{np.median(each):.1f} ms", f"{slow:.1f} ms", f"{rate:,.0f}", f"{len(texts) / max(cpu, 1e-9):,.0f}", met))
    columns = ("decided by", "n", "median", "95th percentile", "texts/s", "texts per processor second", f"within {AT_ONCE_MS:.0f} ms, {PER_S:.0f}/s")
    about = "The hand-written messages, from the document to the verdict, without the language model and without Kafka; one after the other, not in batches."
    return Section("Speed of a verdict", columns, rows, about)
