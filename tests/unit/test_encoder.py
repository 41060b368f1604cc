"""The sentence encoder: meaning, order, length, and one clear line where its files are missing or damaged."""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from shared.encoder import DIMS, MOST_TOKENS, Encoder, Read, _portions, side_by_side
from shared.errors import ConfigError

FOLDER = Path("build/encoder")
exported = pytest.mark.skipif(not (FOLDER / "manifest.json").exists(), reason="build/encoder is absent: `make setup` exports the sentence encoder")


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(FOLDER)


@exported
def test_vectors_are_unit_and_near_means_alike(encoder: Encoder) -> None:
    vectors = encoder.encode(["The central bank raised interest rates.", "Borrowing gets dearer after a rate decision.", "A comet was photographed."])
    assert vectors.shape == (3, DIMS) and vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2


@exported
def test_order_is_kept_whatever_the_lengths_and_batches(encoder: Encoder) -> None:
    texts = ["sun", "a much longer sentence about the price of bread in the harbour towns", "moon and stars", "rain"] * 5
    together, alone = encoder.encode(texts, batch=3), np.vstack([encoder.encode([text]) for text in texts[:4]])
    for n in range(len(texts)):
        assert np.array_equal(together[n], alone[n % 4]), "a text's vector does not depend on the texts beside it"


@exported
def test_nothing_gives_nothing_and_empty_text_a_unit_vector(encoder: Encoder) -> None:
    assert encoder.encode([]).shape == (0, DIMS)
    assert np.linalg.norm(encoder.encode([""])[0]) == pytest.approx(1, abs=1e-4)


@exported
def test_text_beyond_the_limit_is_not_read(encoder: Encoder) -> None:
    start = "the quick brown fox jumps " * 60
    first, second = encoder.encode([start + "over the moon"])[0], encoder.encode([start + "inflation policy " * 500])[0]
    assert first @ second > 0.999


@exported
def test_tokens_are_told_apart_from_what_fills_the_batch_up(encoder: Encoder) -> None:
    texts = ["sun", "a much longer sentence about the price of bread in the harbour towns", "", "rain"]
    pooled = encoder.encode(texts)
    places = []
    for read in encoder.read(texts, batch=2):
        assert read.tokens.shape == read.embedded.shape == (*read.mask.shape, DIMS)
        assert set(np.unique(read.mask)) <= {0, 1} and (read.mask[:, 0] == 1).all()
        assert not np.allclose(read.tokens, read.embedded)
        assert np.array_equal(read.pooled, pooled[read.places])
        places += read.places
    assert sorted(places) == [0, 1, 2, 3] and places[0] == 2 and places[-1] == 1, "the shortest first"
    assert len(encoder.digest) == 64


@exported
@pytest.mark.parametrize("threads", [1, 3])
def test_batches_read_side_by_side_are_those_read_in_turn(encoder: Encoder, threads: int) -> None:
    texts = [f"Item {n} of the day. " * (n % 9 + 1) for n in range(150)]
    other = Encoder(encoder.folder, threads)
    assert np.array_equal(other.encode(texts), encoder.encode(texts)), "bit for bit"
    spent: list[int] = []

    def work(read: Read) -> int:
        spent.append(threading.get_ident())
        return read.places[0]

    told = list(side_by_side(encoder.read(texts), work, threads))
    assert told == [read.places[0] for read in encoder.read(texts)], "in their order"
    assert (threading.get_ident() in spent) == (threads == 1)
    assert list(side_by_side(encoder.read(["one batch alone"]), work, threads)) == [0] and spent[-1] == threading.get_ident()
    assert list(side_by_side([], work, threads)) == []


def test_two_batches_are_in_the_layers_at_once() -> None:
    both = threading.Barrier(2, timeout=20)

    def layers(embedded: np.ndarray, mask: np.ndarray) -> np.ndarray:
        both.wait()  # broken, and so an error, where one batch waits for the other
        return embedded

    reads = [Read([n], np.ones((1, 3), dtype=int), np.ones((1, 3, DIMS)), np.ones((1, 3)), layers) for n in range(6)]
    assert [round(float((pooled**2).sum()), 6) for pooled in side_by_side(reads, lambda read: read.pooled, 2)] == [1.0] * 6
    assert reads[0].tokens is reads[0].tokens, "asked for again, it is not made again"


@exported
def test_what_fails_in_one_batch_is_raised_and_few_batches_are_held(encoder: Encoder) -> None:
    begun: list[int] = []

    def reads() -> Iterator[Read]:
        for n, read in enumerate(encoder.read([f"word {n} " * 60 for n in range(40)])):
            begun.append(n)
            yield read

    def work(read: Read) -> None:
        raise ValueError("damaged")

    with pytest.raises(ValueError, match="damaged"):
        list(side_by_side(reads(), work, 2))
    assert len(begun) <= 4, "not all texts are read before the first is answered"


def test_batches_hold_few_tokens_whatever_the_texts() -> None:
    lengths = [3] * 500 + [256] * 70
    portions = list(_portions(range(570), lengths, batch=100))
    assert [place for portion in portions for place in portion] == list(range(570))
    assert max(len(portion) for portion in portions) == 100
    assert max(len(portion) * lengths[portion[-1]] for portion in portions) <= MOST_TOKENS


def test_a_missing_folder_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"the sentence encoder is missing at .*: `make setup` exports it, or set FEEDLOOP_ENCODER to its folder"):
        Encoder(tmp_path / "none").encode(["x"])


@exported
def test_a_damaged_model_is_found_out(tmp_path: Path) -> None:
    folder = tmp_path / "encoder"
    shutil.copytree(FOLDER, folder)
    with (folder / "layers.onnx").open("r+b") as file:
        file.seek(5000)
        file.write(b"damaged")
    with pytest.raises(ConfigError, match=r"damaged \(layers\.onnx\)"):
        Encoder(folder).load()
