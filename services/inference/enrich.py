"""Enrichment of one document: the labels first, each by constrained choice; then the metadata JSON, with the labels pinned to that verdict."""

import asyncio
from dataclasses import dataclass

from services.inference.engine import ContextTooLong, Engine
from shared.clock import Clock
from shared.errors import PermanentError, one_line
from shared.events import DocumentEnriched, DocumentIngested, LabelScore, Metadata, ModelStamp
from shared.grounding import candidates, metadata_schema, read_metadata
from shared.prompts import label_messages, metadata_messages, prompt_hash
from shared.taxonomy import Task, label_set

LONGEST = 900  # tokens of the metadata JSON
SHRINK = (1.0, 0.5, 0.25, 0.12)  # of the text, where its script needs more tokens than the context has


@dataclass(frozen=True)
class Enricher:
    """Asks the engine. `meanings` and `free_summary` are for models that can use them."""

    engine: Engine
    clock: Clock
    base: str
    meanings: bool = False
    free_summary: bool = False

    async def enrich(self, document: DocumentIngested, name: str, digest: str) -> DocumentEnriched:
        """The document with the LLM's verdict and metadata, stamped with the adapter (`digest`, served under `name`) that spoke.

        Raises TransientError where the engine is away, PermanentError where no part of the text fits or the answer is unsound.
        """
        text = document.text
        for share in SHRINK:
            part = text if share == 1.0 else text[: max(80, int(min(len(text), 1600) * share))]
            try:
                return await self._read(document, part, name, digest)
            except ContextTooLong as error:
                reason = str(error)
        raise PermanentError(f"not even the beginning of the document fits into the model's context: {reason}")

    async def _read(self, document: DocumentIngested, text: str, name: str, digest: str) -> DocumentEnriched:
        tasks = label_set(document.collection).asked_of("llm")
        verdict = dict(zip((t.name for t in tasks), await asyncio.gather(*(self.label(t, document.title, text, name) for t in tasks)), strict=True))
        labels = {task: score.label for task, score in verdict.items()}
        offered = candidates(document.title, text, document.links)
        prompt = metadata_messages(document.title, text, document.links, labels=labels, free_summary=self.free_summary)
        schema = metadata_schema(offered, labels, free_summary=self.free_summary)
        answer = await self.engine.write_json(name, prompt, schema, max_tokens=LONGEST)
        if not answer.finished:
            raise ContextTooLong("the metadata was cut off before its end")
        try:
            metadata: Metadata = read_metadata(answer.text, offered, free_summary=self.free_summary)
        except ValueError as error:
            raise PermanentError(f"the metadata is unsound: {one_line(error)}") from error
        # the schema pins these to the verdict; an engine that takes a schema for a hint may have strayed
        pinned = {"sentiment": labels.get("sentiment"), "urgency_level": labels.get("urgency"), "categories": [labels.get("category")]}
        metadata = metadata.model_copy(update={field: value for field, value in pinned.items() if value not in (None, [None])})
        asked = [label_messages(task, document.title, text, meanings=self.meanings) for task in tasks]
        return DocumentEnriched(
            **{field: getattr(document, field) for field in DocumentIngested.model_fields},
            metadata=metadata,
            verdict=verdict,
            model=ModelStamp(base=self.base, adapter=digest, name=name),
            prompt_hash=prompt_hash(*asked, prompt),
            enriched_at=max(self.clock(), document.received_at),
        )

    async def label(self, task: Task, title: str, text: str, name: str) -> LabelScore:
        """The label of one task, by the model served under `name`."""
        return await self.engine.choose(name, label_messages(task, title, text, meanings=self.meanings), list(task.labels))
