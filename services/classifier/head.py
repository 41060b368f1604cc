"""Linear softmax heads on the sentence vector: a few kilobytes of weights in safetensors, read by numpy, no torch."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from shared.errors import PermanentError, one_line

DIMS = 384
READ_CHARS = 1000  # characters of title and text that a head reads: the encoder takes 256 word pieces
WEIGHTS, CARD = "head.safetensors", "head.json"


class HeadCard(BaseModel):
    """head.json: which collection the head speaks for, and the order of the labels of each task."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    collection: str
    encoder: str
    tasks: dict[str, list[str]]


def head_text(title: str, text: str) -> str:
    """What is encoded of a document: headline and lead as one text, as in training."""
    headline = title.strip()
    joint = " " if not headline or headline[-1] in ".!?" else ". "
    return f"{headline}{joint}{text.strip()}".strip()[:READ_CHARS]


class Head:
    """The heads of one collection. `digest` names the weights. Build it by `load`."""

    def __init__(self, card: HeadCard, weights: Mapping[str, NDArray[np.float32]], digest: str) -> None:
        self.card, self.digest = card, digest
        self._tasks = {task: (weights[f"{task}.weight"].T.copy(), weights[f"{task}.bias"]) for task in card.tasks}

    @classmethod
    def load(cls, folder: Path, digest: str = "") -> "Head":
        """Read and check a head's folder; without `digest` it is the SHA-256 of the files. Raises PermanentError naming what is wrong."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            data, text = (folder / WEIGHTS).read_bytes(), (folder / CARD).read_bytes()
            card, weights = HeadCard.model_validate_json(text), load(data)
        except OSError as error:
            raise PermanentError(f"no head in {folder.name}: {error.strerror}: {Path(str(error.filename)).name}") from error
        except ValidationError as error:
            raise PermanentError(f"{CARD}: {one_line(error)}") from error
        except SafetensorError as error:
            raise PermanentError(f"{WEIGHTS} is no safetensors file: {one_line(error)}") from error
        if not card.tasks:
            raise PermanentError(f"{CARD} names no task")
        for task, labels in card.tasks.items():
            _check(task, labels, weights)
        return cls(card, weights, digest or hashlib.sha256(text + data).hexdigest())

    def probabilities(self, vectors: NDArray[np.float32]) -> list[dict[str, dict[str, float]]]:
        """For each vector [n, DIMS]: task -> label -> probability."""
        answers: list[dict[str, dict[str, float]]] = [{} for _ in range(len(vectors))]
        for task, (weight, bias) in self._tasks.items():
            logits = np.asarray(vectors, dtype=np.float64) @ weight + bias
            chances = np.exp(logits - logits.max(axis=1, keepdims=True))
            chances /= chances.sum(axis=1, keepdims=True)
            for answer, row in zip(answers, chances, strict=True):
                answer[task] = {label: round(float(p), 6) for label, p in zip(self.card.tasks[task], row, strict=True)}
        return answers


def _check(task: str, labels: list[str], weights: Mapping[str, NDArray[np.float32]]) -> None:
    if len(labels) < 2 or len(set(labels)) != len(labels):
        raise PermanentError(f"{CARD}: task {task!r} needs two different labels at least")
    for name, shape in ((f"{task}.weight", (len(labels), DIMS)), (f"{task}.bias", (len(labels),))):
        if name not in weights:
            raise PermanentError(f"{WEIGHTS} has no {name}")
        if weights[name].shape != shape:
            raise PermanentError(f"{name} is {list(weights[name].shape)}, expected {list(shape)}")
        if not np.isfinite(weights[name]).all():
            raise PermanentError(f"{name} holds values that are not finite")
    if not np.ptp(weights[f"{task}.weight"], axis=0).any():
        raise PermanentError(f"{task}.weight is the same for every label: the head would say one thing of every text")
