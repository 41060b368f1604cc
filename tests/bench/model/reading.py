"""Metadata JSON: does it end, has it the form, does what it says stand in the document, and does it differ from document to document?"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from services.inference.enrich import Enricher
from shared.errors import PermanentError
from shared.events import BASE_DIGEST, DocumentEnriched
from shared.grounding import candidates, fold
from tests.bench.model.engine import NAME, SEEN, Seen, each
from tests.bench.model.figures import Figure, mean, share
from tests.bench.model.tables import Cell, Section
from tests.bench.model.texts import Text


@dataclass(frozen=True)
class Reading:
    """One document's enrichment, and every answer of the engine on the way; `enriched` is None where it was refused, or came
    without metadata, with the reason."""

    text: Text
    seen: list[Seen]
    enriched: DocumentEnriched | None
    reason: str = ""

    @property
    def whole(self) -> str:
        """What may be quoted: title and text, white space folded."""
        document = self.text.document()
        return fold(f"{document.title}. {document.text}")


async def read(texts: Sequence[Text], enricher: Enricher, at_once: int, name: str = NAME) -> tuple[list[Reading], float]:
    """Each document enriched as inference does it, and how many that were a second."""
    began = time.perf_counter()
    found = await each(texts, partial(_one, enricher, name), at_once)
    return found, len(texts) / (time.perf_counter() - began)


async def _one(enricher: Enricher, name: str, text: Text) -> Reading:
    seen: list[Seen] = []
    SEEN.set(seen)  # of this task alone: a task has its own context
    try:
        enriched = await enricher.enrich(text.document(), name, BASE_DIGEST)
    except PermanentError as error:
        return Reading(text, seen, None, str(error))
    if not enriched.metadata.summary:  # labels stand without it in use; here it is what is measured
        return Reading(text, seen, None, "the metadata was left out: unsound, or cut off before its end")
    return Reading(text, seen, enriched)


def judged(name: str, readings: Sequence[Reading]) -> tuple[Cell, ...]:
    """One row of the table."""
    written = [[one for one in reading.seen if one.kind == "json"] for reading in readings]
    done = [reading for reading in readings if reading.enriched]
    shares: dict[str, Figure | str] = {}
    for field in ("summary", "entities", "key_topics"):
        flags = [value in reading.whole for reading in done for value in _values(reading, field)]
        shares[field] = share(flags) if flags else "–"
    summaries = [reading.enriched.metadata.summary for reading in done if reading.enriched]
    firsts = [_first(reading) for reading in done]
    return (
        name, len(readings),
        share([bool(answers) and all(one.valid for one in answers) for answers in written]),
        share([bool(reading.seen) and all(one.finish == "stop" for one in reading.seen) for reading in readings]),
        share([reading.enriched is not None and len(answers) == 1 for reading, answers in zip(readings, written, strict=True)]),
        shares["summary"], shares["entities"], shares["key_topics"],
        Figure(100 * len(set(summaries)) / max(1, len(readings)), len(readings)),
        mean([100.0 * first for first in firsts], "%") if firsts else "–",
    )  # fmt: skip


def _values(reading: Reading, field: str) -> list[str]:
    assert reading.enriched is not None
    value = getattr(reading.enriched.metadata, field)
    return [value] if isinstance(value, str) else list(value)


def _first(reading: Reading) -> bool:
    """Whether the summary is the first sentence that was offered."""
    assert reading.enriched is not None
    document = reading.text.document()
    return reading.enriched.metadata.summary == candidates(document.title, document.text, document.links).sentences[0]


def section(rows: list[tuple[Cell, ...]]) -> Section:
    """The table."""
    columns = ("texts", "n", "schema valid", "all ended by themselves", "read at first try", "summary grounded", "entities grounded", "topics grounded",
               "distinct summaries", "took the first sentence offered")  # fmt: skip
    about = (
        "Documents through the engine as inference asks them (labels, then JSON bound by a schema of the document's own sentences, names and phrases). "
        "Grounded: stands in the document word for word. Ended by themselves: finish_reason is stop for every answer. At 100 % of n the interval has no "
        "width; the true share may still be as low as 1 - 3/n."
    )
    return Section("Metadata JSON", columns, rows, about)
