"""Enrichment of one document: the labels first, each by constrained choice; then the metadata JSON, with the labels pinned to that verdict.

One bad part does not take the others with it: a task whose answer is nonsense is left out of the verdict, and unsound metadata is left empty, logged and
counted. Where no task at all is answered the whole is refused: then it is the engine, or what it is asked.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from services.inference.engine import ContextTooLong, Engine
from shared import metrics
from shared.clock import Clock
from shared.errors import PermanentError, one_line
from shared.events import DocumentEnriched, DocumentIngested, LabelScore, Metadata, ModelStamp
from shared.grounding import candidates, metadata_schema, read_metadata
from shared.logs import logger
from shared.prompts import NO, YES, Message, holds, label_messages, metadata_messages, prompt_hash, questions
from shared.taxonomy import Task, label_set

log = logger(__name__)
LONGEST = 900  # tokens of the metadata JSON
SHRINK = (1.0, 0.5, 0.25, 0.12)  # of the text, where its script needs more tokens than the context has
T = TypeVar("T")


@dataclass(frozen=True)
class Enricher:
    """Asks the engine. `meanings` and `free_summary` are for models that can use them. `weights`: how many the base has, 0 where that is not known."""

    engine: Engine
    clock: Clock
    base: str
    meanings: bool = False
    free_summary: bool = False
    weights: int = 0

    async def enrich(self, document: DocumentIngested, name: str, digest: str, taught: Sequence[str] = ()) -> DocumentEnriched:
        """The document with the LLM's verdict and metadata, stamped with the adapter (`digest`, served under `name`, `taught` these collections) that spoke.

        Raises TransientError where the engine is away, PermanentError where no part of the text fits or no answer is sound.
        """
        tasks = label_set(document.collection).asked_of("llm")
        verdict = await self.verdict(tasks, document.title, document.text, name, document.id)
        labels = {task: score.label for task, score in verdict.items()}
        prompts = [prompt for task in tasks for prompt in self._prompts(task, document.title, document.text)]
        metadata, prompt = await self._metadata(document, labels, name)
        # the schema pins these to the verdict; an engine that takes a schema for a hint may have strayed
        pinned = {"sentiment": labels.get("sentiment"), "urgency_level": labels.get("urgency"), "categories": [labels.get("category")]}
        return DocumentEnriched(
            **{field: getattr(document, field) for field in DocumentIngested.model_fields},
            metadata=metadata.model_copy(update={field: value for field, value in pinned.items() if value not in (None, [None])}),
            verdict=verdict,
            model=self.stamp(name, digest, taught),
            prompt_hash=prompt_hash(*prompts, prompt),
            enriched_at=max(self.clock(), document.received_at),
        )

    def stamp(self, name: str, digest: str, taught: Sequence[str] = ()) -> ModelStamp:
        """Who spoke, where the adapter of this digest was asked under this name."""
        return ModelStamp(base=self.base, adapter=digest, name=name, weights=self.weights, taught=list(taught))

    async def verdict(self, tasks: Sequence[Task], title: str, text: str, name: str, of: str = "") -> dict[str, LabelScore]:
        """Task -> label, of the tasks whose answer is sound, on as much of the text as fits. `of`: the document's id, for the log. Raises as `enrich`."""
        return await _shrinking(text, lambda part: self._verdict(tasks, title, part, name, of))

    async def label(self, task: Task, title: str, text: str, name: str) -> LabelScore:
        """The label of one task, by the model served under `name`. Of a multi task each label is a question of its own, because any number may hold; the
        score names the likeliest and holds the probability of each."""
        prompts = self._prompts(task, title, text)
        if task.kind != "multi":
            return await self.engine.choose(name, prompts[0], list(task.labels))
        answers = await _all([self.engine.choose(name, prompt, [YES, NO]) for prompt in prompts])
        found = {label: round(p, 6) for label, p in holds(task, answers).items()}
        likeliest = max(found, key=lambda label: found[label])
        return LabelScore(label=likeliest, probability=found[likeliest], probabilities=found)

    def _prompts(self, task: Task, title: str, text: str) -> list[list[Message]]:
        """What is asked of a task: one question, or of a multi task one for each label."""
        return [label_messages(one, title, text, meanings=self.meanings) for one in questions(task)]

    async def _verdict(self, tasks: Sequence[Task], title: str, text: str, name: str, of: str) -> dict[str, LabelScore]:
        answers = await asyncio.gather(*(self.label(task, title, text, name) for task in tasks), return_exceptions=True)
        verdict: dict[str, LabelScore] = {}
        wrong: dict[str, PermanentError] = {}
        for task, answer in zip(tasks, answers, strict=True):
            if isinstance(answer, PermanentError) and not isinstance(answer, ContextTooLong):
                wrong[task.name] = answer
            elif isinstance(answer, BaseException):
                raise answer
            else:
                verdict[task.name] = answer
        if wrong and not verdict:
            raise next(iter(wrong.values()))
        for task_name, error in wrong.items():
            _left_out(of, task_name, one_line(error))
        return verdict

    async def _metadata(self, document: DocumentIngested, labels: dict[str, str], name: str) -> tuple[Metadata, list[Message]]:
        """What the model reads out of the document, and the prompt for it; empty where what it says is unsound."""
        prompt: list[Message] = []

        async def read(text: str) -> Metadata:
            nonlocal prompt
            offered = candidates(document.title, text, document.links)
            prompt = metadata_messages(document.title, text, document.links, labels=labels, free_summary=self.free_summary)
            schema = metadata_schema(offered, labels, free_summary=self.free_summary)
            answer = await self.engine.write_json(name, prompt, schema, max_tokens=LONGEST)
            if not answer.finished:
                raise ContextTooLong("the metadata was cut off before its end")
            return read_metadata(answer.text, offered, free_summary=self.free_summary)

        try:
            return await _shrinking(document.text, read), prompt
        except (PermanentError, ValueError) as error:
            _left_out(document.id, "metadata", f"the metadata is unsound: {one_line(error)}")
        empty = Metadata(key_topics=[], entities=[], sentiment="", urgency_level="", categories=[], related_links=[], summary="", action_items=[])
        return empty, prompt


async def _shrinking(text: str, ask: Callable[[str], Awaitable[T]]) -> T:
    """The answer on the whole text, or on as much of its beginning as fits. Raises PermanentError where nothing does."""
    reason = ""
    for share in SHRINK:
        part = text if share == 1.0 else text[: max(80, int(min(len(text), 1600) * share))]
        try:
            return await ask(part)
        except ContextTooLong as error:
            reason = str(error)
    raise PermanentError(f"not even the beginning of the document fits into the model's context: {reason}")


async def _all(asked: Sequence[Awaitable[LabelScore]]) -> list[LabelScore]:
    """All answers, or the first error, once none is under way any more."""
    found = await asyncio.gather(*asked, return_exceptions=True)
    for one in found:
        if isinstance(one, BaseException):
            raise one
    return [one for one in found if isinstance(one, LabelScore)]


def _left_out(of: str, part: str, reason: str) -> None:
    if of:  # of a document
        metrics.LEFT_OUT.labels("metadata" if part == "metadata" else "label").inc()
    log.error("enrichment.left_out", id=of, part=part, reason=reason)
