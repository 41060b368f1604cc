"""The encoder's race: what is raced, how the figures come of it, and what the export is compared on."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.bench import encoder as bench


def test_the_texts_are_many_and_of_the_length_that_is_told() -> None:
    tokenizers = pytest.importorskip("tokenizers")
    export = pytest.importorskip("services.trainer.runs.export_encoder")
    tokenizer = tokenizers.Tokenizer.from_file(str(export.source_folder() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    texts = bench.of_128_tokens(tokenizer)
    assert len(texts) == len(set(texts)) == 64
    assert {len(tokenizer.encode(text).ids) for text in texts} == {bench.TOKENS}
    assert len(bench.headlines()) > 100


def test_all_take_turns_and_ratios_are_of_one_round() -> None:
    order: list[str] = []

    def racer(name: str) -> Any:
        def encode(texts: Sequence[str]) -> None:
            order.append(name)

        return encode

    names = (bench.OURS, bench.FULL, bench.TORCH)
    rates = bench.race({name: racer(name) for name in names}, ["a", "b"], rounds=2, least_s=1e-9)
    assert order == [*names, *names, *names]  # one to warm up, two rounds
    assert all(len(found) == 2 and min(found) > 0 for found in rates.values())
    told = bench.summary({bench.OURS: [30.0, 10.0], bench.FULL: [10.0, 5.0], bench.TORCH: [10.0, 5.0]})
    assert told[bench.OURS] == {"texts_per_s": 20.0, "least": 10.0, "most": 30.0, "ratio": 2.5}
    assert told[bench.TORCH]["ratio"] == 1


def test_the_page_tells_the_slower_too() -> None:
    rates = {
        name: {"texts_per_s": 10.0, "least": 9.0, "most": 11.0, "ratio": ratio}
        for name, ratio in zip((bench.OURS, bench.FULL, bench.TORCH), (0.5, 2, 1), strict=True)
    }
    report = {
        "machine": "m", "threads": 1, "rounds": 5, "headlines": rates, "tokens_128": rates, "export": {"mean": 0.99, "least": 0.97, "texts": 600},
        "nearness": {"texts": 150, "int8_mean": 0.99, "int8_least": 0.98, "fp32_mean": 1.0, "fp32_least": 1.0},
    }  # fmt: skip
    told = bench.page(report)
    assert "0.50 times" in told and "0.9700 worst over 600 texts" in told


def test_int8_is_compared_on_500_texts_even_without_the_sample(tmp_path: Path) -> None:
    original = pytest.importorskip("services.trainer.runs.encoder_original")
    export = pytest.importorskip("services.trainer.runs.export_encoder")
    without, with_sample = original.texts([tmp_path / "none"]), original.texts(export.SAMPLE)
    assert len(set(without)) == len(without) == 512 and without == original.texts([])
    assert len(with_sample) > 512 and not set(original.PROBES) & set(with_sample)
    (tmp_path / "some.jsonl").write_text(json.dumps({"title": "A title.", "text": "One sentence. And another one."}) + "\n")
    assert {"A title.", "One sentence. And another one.", "One sentence."} <= set(original.texts([tmp_path / "some.jsonl"]))
