"""Answers a question with sentences that stand in the documents, each with its place; or says that the documents hold no answer."""

import asyncio

from pydantic import BaseModel

from services.retriever.candidates import Candidate, offered, parts, ranked
from services.retriever.gateway import Gateway
from services.retriever.search import Search
from services.retriever.shapes import Filters, Hit
from shared import metrics
from shared.errors import TransientError
from shared.grounding import fold
from shared.logs import logger

log = logger(__name__)
EXTRACTIVE = "extractive"  # the model's name where no LLM had a say
_PASSAGES = 12


class Cited(BaseModel):
    """A sentence of the answer; `citations` are numbers of citations."""

    sentence: str
    citations: list[int]


class Citation(BaseModel):
    """Where a sentence stands: text[start:end] of the document is the passage, checked against the index when the answer was made."""

    n: int
    document_id: str
    title: str
    passage: str
    start: int
    end: int
    url: str


class Answer(BaseModel):
    """`found` false: the documents hold no answer, and none is made up. `model` says who chose the sentences."""

    answer: list[Cited] = []
    citations: list[Citation] = []
    found: bool = False
    model: str = EXTRACTIVE


class Answerer:
    """Search, rank, let the LLM choose, verify."""

    def __init__(self, search: Search, gateway: Gateway) -> None:
        self.search, self.gateway = search, gateway

    async def answer(self, question: str, filters: Filters | None = None, collection: str = "news") -> Answer:
        """The answer to a question in plain words. Raises TransientError where Qdrant is away; an LLM that is away costs only its choice."""
        hits = await self.search.passages(question, _PASSAGES, filters, collection)
        verified = await self._verified(await self._candidates(question, hits), collection)
        if not verified:
            metrics.ANSWERS.labels("no").inc()
            return Answer()
        chosen, model = await self._chosen(question, verified)
        metrics.ANSWERS.labels("yes").inc()
        return _composed(chosen, model)

    async def _candidates(self, question: str, hits: list[Hit]) -> list[Candidate]:
        found = offered(hits)
        if not found:
            return []
        alone = [candidate.sentence for candidate in found]
        titled = [f"{candidate.hit.title}. {candidate.sentence}" for candidate in found]
        asked = parts(question)
        vectors = await asyncio.to_thread(self.search.encoder.encode, [*asked, *alone, *titled])
        near = vectors[len(asked) :] @ vectors[: len(asked)].T
        best = [ranked(part, found, near[: len(found), n].tolist(), near[len(found) :, n].tolist()) for n, part in enumerate(asked)]
        return max(best, key=lambda candidates: candidates[0].score if candidates else 0.0)

    async def _verified(self, candidates: list[Candidate], collection: str) -> list[Candidate]:
        """Those whose passage stands in its document as it is now, and whose sentence stands in the passage: an edit may have come in between."""
        ids = list(dict.fromkeys(candidate.hit.document_id for candidate in candidates))
        documents = {one: await self.search.document(one, collection) for one in ids}

        def stands(candidate: Candidate) -> bool:
            hit, document = candidate.hit, documents[candidate.hit.document_id]
            return document is not None and document.text[hit.start : hit.end] == hit.passage and candidate.sentence in fold(hit.passage)

        return [candidate for candidate in candidates if stands(candidate)]

    async def _chosen(self, question: str, candidates: list[Candidate]) -> tuple[list[Candidate], str]:
        try:
            sentences, model = await self.gateway.choose(question, [candidate.sentence for candidate in candidates])
        except TransientError as error:
            log.warning("answer.without_llm", reason=str(error))
            return candidates[:1], EXTRACTIVE
        by_sentence = {candidate.sentence: candidate for candidate in candidates}
        return [by_sentence[sentence] for sentence in sentences], model


def _composed(chosen: list[Candidate], model: str) -> Answer:
    citations: dict[tuple[str, int], Citation] = {}
    cited = []
    for candidate in chosen:
        hit = candidate.hit
        place = citations.setdefault(
            (hit.document_id, hit.start),
            Citation(
                n=len(citations) + 1,
                document_id=hit.document_id,
                title=hit.title,
                passage=hit.passage,
                start=hit.start,
                end=hit.end,
                url=hit.url,
            ),
        )
        cited.append(Cited(sentence=candidate.sentence, citations=[place.n]))
    return Answer(answer=cited, citations=list(citations.values()), found=True, model=model)
