"""What classifier and trainer must agree on about a neural head: its files, its name in the registry, what it reads of a document, how its graph is run.

numpy and onnxruntime are imported at the first use.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from shared.encoder import Read, Vectors, side_by_side
from shared.errors import PermanentError

GRAPH, CARD = "head.onnx", "head.json"
SECOND = "second"  # the folder, in a head's own, of a larger head that is asked where that one is in doubt
MOST_BYTES = 64 * 1024 * 1024  # of the graph
MOST_WEIGHTS = 512 * 1024 * 1024  # of the files of weights beside it
READ_CHARS = 1000  # characters of title and text that a head reads: the encoder takes 256 word pieces
AGREE = 0.9  # share of known answers that must come back: int8 vectors differ a little between processors
_ROLE = "head-"
_NAME = re.compile(r"weights\.[a-z0-9]+\.bin")
Scores = dict[str, dict[str, float]]  # task -> label -> probability
Says = Callable[[Read], Iterable[tuple[str, Sequence[str], Any]]]  # what is said of one batch: task, its labels, and probabilities [n, labels]


def role_of(collection: str) -> str:
    """The registry's role of a collection's head."""
    return f"{_ROLE}{collection}"


def is_head(role: str) -> bool:
    """True for the role of a head, whatever its collection."""
    return role.startswith(_ROLE) and len(role) > len(_ROLE)


def collection_of(role: str) -> str:
    """The collection that a head's role names."""
    return role.removeprefix(_ROLE)


def head_text(title: str, text: str) -> str:
    """What is encoded of a document: headline and lead as one text, as in training."""
    return joined(title, text)[:READ_CHARS]


def joined(title: str, text: str) -> str:
    """Headline and text as one, with a full stop between them where the headline has no end of its own."""
    headline = title.strip()
    joint = " " if not headline or headline[-1] in ".!?" else ". "
    return f"{headline}{joint}{text.strip()}".strip()


def heads_in(folder: Path) -> Mapping[str, Path]:
    """Name -> folder of each head under `folder`; `folder` itself where it is one head."""
    if (folder / CARD).exists():
        return {folder.name: folder}
    return {path.parent.name: path.parent for path in sorted(folder.glob(f"*/{CARD}")) if path.parent.name != SECOND}


def second_of(folder: Path) -> Path | None:
    """The folder of a head's second one, where there is such a folder."""
    return folder / SECOND if (folder / SECOND).is_dir() else None


def weights_of(folder: Path, files: Mapping[str, str]) -> dict[str, bytes]:
    """The files of weights that a head's card names, with their SHA-256, by name. They come from others, as the card does: nothing is read that does not lie
    in the folder, and no more than MOST_WEIGHTS. Raises PermanentError naming the file that is missing, strange or another."""
    found: dict[str, bytes] = {}
    for name, wanted in files.items():
        path = folder / name
        if not _NAME.fullmatch(name):
            raise PermanentError(f"{name!r} is no name of a file beside {GRAPH}")
        if not path.is_file() or path.is_symlink():
            raise PermanentError(f"no head in {folder.name}: No such file: {name}")
        if sum(map(len, found.values())) + path.stat().st_size > MOST_WEIGHTS:
            raise PermanentError(f"the files of weights are larger than {MOST_WEIGHTS >> 20} MB together: that is no head")
        found[name] = path.read_bytes()
        if hashlib.sha256(found[name]).hexdigest() != wanted:
            raise PermanentError(f"{name} is not the file that {CARD} tells of: fetch the head again")
    return found


def run(session: Any, reads: str, tasks: Iterable[str], read: Read) -> list[Any]:
    """What a head's graph gives of one batch: probabilities [n, labels] for each of the tasks, in their order. Raises what onnxruntime raises."""
    feed = {reads: getattr(read, reads)} | ({} if reads == "pooled" else {"mask": read.mask})
    return list(session.run([f"says.{task}" for task in tasks], feed))


def in_doubt(said: Mapping[str, Any], kinds: Mapping[str, str], below: float) -> Any:
    """The rows of a batch [n] of which a head gives every label of some task a probability of less than `below`; of a multi task where it is no surer of a
    label that it holds or that it does not."""
    import numpy as np

    each = [np.maximum(p, 1 - p).min(axis=1) if kinds[task] == "multi" else p.max(axis=1) for task, p in said.items()]
    return np.flatnonzero(np.min(each, axis=0) < below)


def scores_of(encoder: Vectors, texts: Sequence[str], *voices: Says, batch: int = 32) -> list[Scores]:
    """For each text what the voices say, heads or the labels' names. Each text is read once. Blocking. Raises what they raise."""
    found: list[Scores] = [{} for _ in texts]

    def hear(read: Read) -> tuple[list[int], list[tuple[str, Sequence[str], Any]]]:
        return read.places, [said for voice in voices for said in voice(read)]

    for places, told in side_by_side(encoder.read(texts, batch) if voices else (), hear, getattr(encoder, "threads", 1)):
        for task, labels, chances in told:
            for place, row in zip(places, chances.tolist(), strict=True):
                found[place][task] = {label: round(p, 6) for label, p in zip(labels, row, strict=True)}
    return found
