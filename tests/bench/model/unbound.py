"""The metadata question without the grammar: what the model has learnt of the form and of copying by itself. Harder than use."""

from collections.abc import Sequence

from services.inference.engine import Engine
from shared.events import Metadata
from shared.grounding import candidates, metadata_schema
from shared.prompts import metadata_messages
from tests.bench.model.engine import AT_ONCE, NAME, SEEN, Seen, each, fits
from tests.bench.model.figures import Figure, share
from tests.bench.model.reading import Reading
from tests.bench.model.tables import Cell
from tests.bench.model.texts import Text

MOST_TOKENS = 400  # the longest answer that is needed here is well below
LABELS = {"category": "politics", "sentiment": "neutral", "urgency": "normal"}  # told, and to be repeated


async def judged(name: str, texts: Sequence[Text], engine: Engine) -> tuple[Cell, ...]:
    """One row of the metadata table. A value counts as grounded where it stands in the document; of an answer without the form none does."""

    async def one(text: Text) -> tuple[Reading, Metadata | None, bool]:
        seen: list[Seen] = []
        SEEN.set(seen)
        document = text.document()
        offered = candidates(document.title, document.text, document.links)
        messages = metadata_messages(document.title, document.text, document.links, labels=LABELS)
        answer = await engine.chat({"model": NAME, "messages": messages, "temperature": 0, "max_tokens": MOST_TOKENS})
        written = answer["choices"][0]["message"]["content"] or ""
        bound = {"response_format": {"json_schema": {"schema": metadata_schema(offered, LABELS)}}}
        return Reading(text, seen, None), parsed(written), fits(written, bound)

    answers = await each(texts, one, AT_ONCE)
    grounded: dict[str, Figure | str] = {}
    for field in ("summary", "entities", "key_topics"):
        flags = [flag for reading, metadata, _ in answers for flag in _stand(reading, metadata, field)]
        grounded[field] = share(flags) if flags else "–"
    summaries = {metadata.summary for _, metadata, _ in answers if metadata}
    return (
        name, len(texts), share([valid for *_, valid in answers]),
        share([all(one.finish == "stop" for one in reading.seen) for reading, *_ in answers]), "–",
        grounded["summary"], grounded["entities"], grounded["key_topics"], Figure(100 * len(summaries) / len(texts), len(texts)), "–",
    )  # fmt: skip


def parsed(written: str) -> Metadata | None:
    """The answer as metadata, None where it has not the fields."""
    try:
        return Metadata.model_validate_json(written)
    except ValueError:
        return None


def _stand(reading: Reading, metadata: Metadata | None, field: str) -> list[bool]:
    if metadata is None:
        return [False] if field == "summary" else []
    value = getattr(metadata, field)
    return [bool(one) and one in reading.whole for one in ([value] if isinstance(value, str) else value)]
