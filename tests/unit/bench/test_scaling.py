"""What is told of sizes and of the training's course: the same table in page and card, and a curve out of the logs of several parts."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.bench import pretraining, scaling
from tests.bench.page import write_between

ROWS = [
    {"name": "`third`, 9 minutes", "weights": 5.7e6, "tokens": 1.9e6, "prose": 6.29, "category": 0.84, "named": 0.34},
    {"name": "shipped", "weights": 11.1e6, "tokens": None, "prose": 4.25, "category": 0.92, "named": 0.43},
]


def line(step: int, minutes: float) -> dict[str, Any]:
    return {"step": step, "minutes": minutes, "tokens_per_s": 1000, "loss": {"prose": 5.0}}


def test_page_and_card_hold_the_same_figures(tmp_path: Path) -> None:
    for page, text in ((scaling.PAGE, scaling.page(ROWS, 9, 0.23)), (scaling.CARD, scaling.card(ROWS, 9, 0.23))):
        assert "| `third`, 9 minutes | 5.7 M | 1.90 M | 6.29 | 84% | 34% |" in text
        copy = tmp_path / "page.md"
        copy.write_text(page.read_text())
        write_between(copy, "bench-scaling", text)
    assert "M, in four parts | 4.25 |" in scaling.card(ROWS, 9, 0.23)


def test_tokens_are_counted_by_time_and_speed_and_none_where_no_log_is_kept(tmp_path: Path) -> None:
    assert scaling.tokens_of(tmp_path) is None
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, [line(20, 1.0), {"step": 25, "held_out": {}}, line(40, 3.0)])))
    assert scaling.tokens_of(tmp_path) == 180_000


def test_parts_go_on_from_one_another_and_end_with_their_last_held_out_figure() -> None:
    held = {"step": 45, "held_out": {"prose_loss": 4.5}}
    log = [line(20, 1.0), line(40, 2.0), held, line(60, 3.0), line(80, 4.0)]
    made = pretraining.condensed([log, log])
    assert [(row["part"], row["step"], row["minutes"], row["tokens"]) for row in made] == [
        (1, 40, 2.0, 120_000), (1, 45, 2.0, 120_000), (2, 40, 2.0, 240_000), (2, 45, 2.0, 240_000)
    ]  # fmt: skip
    assert made[1]["held_out_prose"] == 4.5 and "held_out_prose" not in made[0]
    for wrong in ([line(20, 1.0)], [held]):
        with pytest.raises(ValueError, match="part 2"):
            pretraining.condensed([log, wrong])


def test_the_curve_that_is_committed_is_drawn(tmp_path: Path) -> None:
    rows = pretraining.rows_of(pretraining.TABLE)
    assert {row["part"] for row in rows} == {1, 2, 3, 4}
    tokens = [row["tokens"] for row in rows]
    assert tokens == sorted(tokens) and all("loss" in row or "held_out_prose" in row for row in rows)
    pretraining.plot(rows, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 5000
