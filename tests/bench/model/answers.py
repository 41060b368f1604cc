"""Answers: of the sentences that are offered, does the model pick one that answers the question? By retriever and gateway, as in use."""

import asyncio
import json
import random
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from deploy.local.ports import LOOPBACK, free_port
from services.inference.adapters import Adapters
from services.inference.engine import Engine
from services.inference.enrich import Enricher
from services.inference.gateway import Gateway as Door
from services.retriever.candidates import offered, ranked
from services.retriever.gateway import Gateway
from services.retriever.shapes import Hit
from services.trainer.examples import answer_example
from shared import grounding
from shared.clock import utc_now
from shared.encoder import Encoder
from shared.errors import TransientError
from shared.objects import ObjectStore
from shared.registry import Registry
from tests.bench.model.engine import AT_ONCE, NAME, each
from tests.bench.model.figures import Figure, against, share
from tests.bench.model.tables import Cell, Section
from tests.bench.model.texts import AT, Text, place

_ASKED = re.compile(r"<document>\n(.*)\n</document>\nQuestion: (.*)\nAnswer", re.DOTALL)


@dataclass(frozen=True)
class Question:
    """`golds` are the sentences that name what is asked about; they stand in one of the passages."""

    question: str
    passages: list[str]
    golds: list[str]


def questions(texts: Sequence[Text], most: int) -> list[Question]:
    """Questions made by code from passages of the texts, each beside two or three passages of others; the answer is right by construction."""
    passages = []
    for text in texts:
        chance, pieces = random.Random(place(f"passage {text.name}")), grounding.sentences(text.text)
        if len(pieces) >= 2:
            at = chance.randrange(len(pieces) - 1)
            passages.append(" ".join(pieces[at : at + chance.randint(2, 5)])[:650])
    found: list[Question] = []
    for number, passage in enumerate(passages):
        chance = random.Random(place(passage))
        others = chance.sample(passages[:number] + passages[number + 1 :], min(chance.randint(2, 3), len(passages) - 1))
        example = answer_example([passage, *others], chance)
        if example and (asked := _ASKED.search(example.messages[1]["content"])) and len(found) < most:
            shown = [line.split("] ", 1)[-1] for line in asked[1].split("\n")]
            found.append(Question(asked[2], shown, json.loads(example.answer)))
    return found


@asynccontextmanager
async def door(engine: Engine, enricher: Enricher, folder: Path) -> AsyncIterator[Gateway]:
    """The retriever's client of inference's gateway, over HTTP, with the base weights live behind it."""
    registry = Registry(ObjectStore(str(folder / "objects")), folder / "models")
    adapters = Adapters(engine, enricher, registry, base_name=NAME, base=enricher.base, replica="bench", clock=utc_now)
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(Starlette(routes=Door(engine, adapters).routes()), host=LOOPBACK, port=port, log_level="warning"))
    running = asyncio.create_task(server.serve())
    client = Gateway(f"http://{LOOPBACK}:{port}", timeout_s=300)
    try:
        while not server.started:
            await asyncio.sleep(0.05)
        await client.open()
        yield client
    finally:
        await client.close()
        server.should_exit = True
        await running


def hits(question: Question) -> list[Hit]:
    """The passages as the search would hand them on."""
    return [
        Hit(document_id=f"d{n}", version="1", title="", passage=passage, start=0, end=len(passage), score=1.0, source="", source_id="",
            published_at=AT, url="", labels={}, stage="final")
        for n, passage in enumerate(question.passages)
    ]  # fmt: skip


@dataclass(frozen=True)
class Offer:
    """What is offered for one question, and which of it is nearest by the encoder alone."""

    question: Question
    sentences: list[str]
    nearest: str


def offers(question: Question, encoder: Encoder) -> tuple[Offer, Offer]:
    """Every usable sentence of the passages; and, as in use, the best three by the retriever's ranking, its favourite first."""
    found = offered(hits(question))
    whole = [candidate.sentence for candidate in found]
    vectors = encoder.encode([question.question, *whole])
    near = (vectors[1:] @ vectors[0]).tolist()
    nearest = whole[max(range(len(whole)), key=lambda n: near[n])] if whole else ""
    best = [candidate.sentence for candidate in ranked(question.question, found, near, near)]
    return Offer(question, whole, nearest), Offer(question, best, nearest)


async def picked(offer: Offer, client: Gateway) -> list[str]:
    """What the language model chooses; nothing where nothing is offered, or where it answers nothing sound."""
    if not offer.sentences:
        return []
    try:
        return (await client.choose(offer.question.question, offer.sentences))[0]
    except TransientError:
        return []


async def judged(name: str, asked: Sequence[Question], client: Gateway, encoder: Encoder) -> list[tuple[Cell, ...]]:
    """Two rows: with all sentences offered, and with the few that use offers."""
    both = [offers(question, encoder) for question in asked]
    rows: list[tuple[Cell, ...]] = []
    for way, chosen in (("all sentences offered", [pair[0] for pair in both]), ("as in use: at most three, ranked", [pair[1] for pair in both])):
        said = await each(chosen, lambda offer: picked(offer, client), AT_ONCE)
        ours = [bool(one) and one[0] in offer.question.golds for one, offer in zip(said, chosen, strict=True)]
        every = [bool(one) and all(value in offer.question.golds for value in one) for one, offer in zip(said, chosen, strict=True)]
        first = [bool(offer.sentences) and offer.sentences[0] in offer.question.golds for offer in chosen]
        nearest = [offer.nearest in offer.question.golds for offer in chosen]
        blind = [sum(value in offer.question.golds for value in offer.sentences) / max(1, len(offer.sentences)) for offer in chosen]
        rows.append((f"{name}; {way}", len(chosen), share(ours), share(every), share(first), share(nearest),
                     Figure(100 * sum(blind) / len(blind), len(blind)), against(ours, nearest), against(ours, blind)))  # fmt: skip
    return rows


def section(rows: list[tuple[Cell, ...]]) -> Section:
    """The table."""
    columns = ("questions", "n", "LLM: first pick right", "LLM: every pick right", "first offered", "nearest (MiniLM)", "chance",
               "LLM against MiniLM", "LLM against chance")  # fmt: skip
    about = (
        "Questions made by code on something that one passage names and the others do not; right is a sentence that names it. Asked through the "
        "retriever's client and inference's gateway. First offered: the passages' first sentence, and as in use the retriever's favourite."
    )
    return Section("Answers", columns, rows, about)
