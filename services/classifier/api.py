"""HTTP: classify a text on the spot, and see which rules and which head are in force. /openapi.json describes it, out of the models below."""

import asyncio
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from services.classifier.decide import Decider, Neural
from services.classifier.live_head import LiveHead
from services.classifier.llm import LanguageModel
from services.classifier.mattered import mattered, moved
from services.classifier.rule_desk import PublishRequest
from shared import taxonomy
from shared.asked import MOST_ASKED, Asked, Spoken
from shared.bodies import LARGE, body
from shared.care import HELP, Care, holding, severity, shown
from shared.errors import TransientError
from shared.events import Decision, ModelStamp, Span
from shared.heads import Scores
from shared.openapi import Problem, document, holds, refusals
from shared.service import Json
from shared.taxonomy import LabelSet

MOST_ITEMS = 256
MOST_EXPLAINED = 16  # each is encoded up to 31 times
SWITCH = {"1": True, "true": True, "0": False, "false": False, "": False}
NOT_READY = "still reading the corrections, published rules and heads of before the start: try again in a moment"


class ClassifyRequest(BaseModel):
    """Either one `text`, with a `title` if there is one, or many `items`. A field that is none is refused: a misspelt `collection` would be judged as news."""

    model_config = ConfigDict(extra="forbid")

    text: str | None = Field(default=None, max_length=100_000)
    title: str = Field(default="", max_length=1_000)
    items: list[Asked] | None = Field(default=None, min_length=1, max_length=MOST_ITEMS)
    collection: str = "news"

    @model_validator(mode="after")
    def _one_or_many(self) -> "ClassifyRequest":
        if (self.text is None) == (self.items is None):
            raise ValueError("send either `text` or `items`")
        if self.items is not None and self.title:
            raise ValueError("`title` goes with `text`; of `items` each has its own")
        return self


class Classified(BaseModel):
    """The verdict on one text. `safety` names the tasks that say a safety label, and `care` is what a person who reads such a verdict must see with it; null
    where no task says one. A digest is empty where that part is missing. `undecided`: the tasks that no part which was asked speaks of. `model`: the language
    model that spoke, null where it was not asked or did not answer, and then `llm_problem` says why."""

    decision: dict[str, Decision]
    rules_digest: str
    head_digest: str
    fusion_digest: str
    safety: list[str]
    care: Care | None
    collection: str
    undecided: list[str]
    model: ModelStamp | None
    llm_problem: str


class ManyClassified(BaseModel):
    """In the order given."""

    items: list[Classified]


class MatteredRequest(Asked):
    """A text, and for each task the label that is asked about: the one of a verdict that was given before."""

    labels: dict[str, str] = Field(min_length=1)
    collection: str = "news"


class Mattered(BaseModel):
    """Task -> the words without which the head would hold the label for less likely, the weightiest first; none where no words stand out. A task that the head
    does not answer is missing. `head_digest`: the head that was asked, which need not be the one that the verdict rests on."""

    mattered: dict[str, list[Span]]
    head_digest: str


class Parts(BaseModel):
    """`digests` by collection; `problem` says why one that should be in use is not."""

    digests: dict[str, str]
    problem: str


class RulesInForce(BaseModel):
    """`source` is `folder`, or the digest of what was published. `problems`: why the newest edit is not in force. `warnings`: what a person should look at;
    safety rules that were dropped stand first, as long as they are."""

    digest: str
    count: int
    source: str
    problems: list[str]
    warnings: list[str]
    expired: list[str]
    head: Parts
    fusion: Parts


class Announced(BaseModel):
    """Each replica takes the rules when it reads the topic."""

    digest: str
    count: int
    previous: str
    warnings: list[str]


class Api:
    """The routes of the classifier. Nothing is judged before `ready` is set, when the corrections, rules and heads of the past are known. `help_text` goes
    with each verdict that carries a safety label."""

    def __init__(self, decider: Decider, head: LiveHead, ready: asyncio.Event, help_text: str = HELP, llm: LanguageModel | None = None) -> None:
        self.decider, self.head, self.ready, self.help_text, self.llm = decider, head, ready, help_text, llm or LanguageModel()

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/api/classify", self.classify, methods=["POST"]),
            Route("/api/mattered", self.mattered, methods=["POST"]),
            Route("/api/rules", self.rules),
            Route("/openapi.json", self.described),
        ]

    async def classify(self, request: Request) -> Response:
        """{"decision": task -> decision} for one text, {"items": [{"decision": …}, …]} for many, in the order given; by rules, head and
        the corrections that people gave on the same text. With ?explain=1 each decision also holds the words that `mattered` to the head. `safety` names
        the tasks that say a safety label, and `care` is what to show with it. With ?llm=1 the language model is asked too; where it is away the other parts
        decide, as for a document, and `llm_problem` says so. Raises TransientError (503) as long as the service is not ready."""
        if not self.ready.is_set():  # at once, and not after a wait: /ready says when to come back
            raise TransientError(NOT_READY)
        asked = await body(request, ClassifyRequest)
        wanted = {name for name in ("explain", "llm") if _is_on(request, name)}
        items = asked.items or [Asked(text=asked.text or "", title=asked.title)]
        for name, most in (("explain", MOST_EXPLAINED), ("llm", MOST_ASKED)):
            if name in wanted and len(items) > most:
                raise HTTPException(422, f"items: at most {most} at once with {name}, and these are {len(items)}")
        self._named(asked.collection)
        spoken = await self._spoken(items, asked.collection) if "llm" in wanted else [Spoken()] * len(items)
        results = await asyncio.to_thread(self._classify, items, asked.collection, "explain" in wanted, spoken)
        return Json(ManyClassified(items=results) if asked.items else results[0])

    async def mattered(self, request: Request) -> Response:
        """Which words moved the head towards the labels of a verdict: for a page that shows it. One text at a time, 31 readings of it at most."""
        asked = await body(request, MatteredRequest)
        labels = self._named(asked.collection)
        for task, label in asked.labels.items():
            labels.check(task, label)
        digest = ""

        def ask(texts: Sequence[str]) -> list[Scores]:
            nonlocal digest
            digest, scores = self.head.compared(texts, asked.collection)
            return scores

        found = await asyncio.to_thread(moved, asked.title, asked.text, asked.labels, ask)
        return Json(Mattered(mattered=found, head_digest=digest))

    def _named(self, collection: str) -> LabelSet:
        """The label set of this name. Raises HTTPException where there is none: who names one wants its labels, and not those of another."""
        labels = self.decider.labels(collection)
        if labels.collection != collection:
            raise HTTPException(422, f"collection: there is no label set {collection!r}; there are {', '.join(taxonomy.known())}")
        return labels

    async def _spoken(self, items: list[Asked], collection: str) -> list[Spoken]:
        """What the language model says of each text; why it says nothing, where it is away."""
        try:
            return (await self.llm.ask(items, collection)).items
        except TransientError as error:
            return [Spoken(problem=str(error))] * len(items)

    def _classify(self, items: list[Asked], collection: str, explain: bool, spoken: list[Spoken]) -> list[Classified]:
        scored = self.head.score([(item.title, item.text) for item in items], collection)
        return [self._one(item, collection, neural, explain, said) for item, neural, said in zip(items, scored, spoken, strict=True)]

    def _one(self, item: Asked, collection: str, neural: Neural, explain: bool, said: Spoken) -> Classified:
        verdict = self.decider.text(item.title, item.text, collection, neural, said.verdict, said.model)
        decision = verdict.decision
        if explain:
            spans = mattered(item.title, item.text, decision, lambda texts: self.head.compare(texts, collection))
            decision = {task: one.model_copy(update={"mattered": spans.get(task, [])}) for task, one in decision.items()}
        labels = self.decider.labels(collection)
        return Classified(
            decision=decision,
            rules_digest=verdict.rules_digest,
            head_digest=verdict.head_digest,
            fusion_digest=verdict.fusion_digest,
            safety=[task for task, one in decision.items() if severity(labels.tasks[task], holding(one))],
            care=shown(decision, labels.tasks, self.help_text),
            collection=labels.collection,
            undecided=[task for task in labels.tasks if task not in decision],
            model=said.model,
            llm_problem=said.problem,
        )

    async def rules(self, _: Request) -> Response:
        """What is in force, and why the newest edit is not, where it is not."""
        book = self.decider.rulebook
        return Json(
            RulesInForce(
                digest=book.rules.digest,
                count=len(book.rules),
                source=book.source,
                problems=[book.problem] if book.problem else [],
                warnings=book.warnings,
                expired=book.rules.expired(),
                head=Parts(digests=self.head.digests(), problem=self.head.problem),
                fusion=Parts(digests=self.decider.fusions.digests(), problem=self.decider.fusions.problem),
            )
        )

    async def described(self, _: Request) -> Response:
        """This interface as an OpenAPI 3.1 document."""
        return Json(described())


def _is_on(request: Request, name: str) -> bool:
    """A switch of the query. Raises HTTPException for a word that is none: a slow answer, or one without what was asked for, would tell nobody."""
    said = request.query_params.get(name, "0").lower()
    if said not in SWITCH:
        raise HTTPException(422, f"{name}: {said!r} is neither of 1 and true nor of 0 and false")
    return SWITCH[said]


def described() -> dict[str, Any]:
    """The OpenAPI document: paths, and the schemas of the models that the routes take and give."""
    read = refusals({422: "what was sent is not understood", 503: "something is away, or the past is still being read: try again"})
    wrong = read | refusals({413: f"the body is longer than {LARGE // 1_000_000} MB"})
    switch = {"type": "string", "enum": sorted(SWITCH), "default": "0"}
    explain = {"name": "explain", "in": "query", "schema": switch, "description": "whether to tell the words that mattered to the head"}
    llm = {"name": "llm", "in": "query", "schema": switch, "description": "whether the language model is asked too"}
    paths = {
        "/api/classify": {
            "post": {
                "summary": f"Classify one text, or up to {MOST_ITEMS} ({MOST_EXPLAINED} with explain, {MOST_ASKED} with llm)",
                "parameters": [explain, llm],
                "requestBody": {"required": True, **holds("one text, or many", ClassifyRequest)},
                "responses": {"200": holds("the verdict, or the verdicts in the order given", Classified, ManyClassified), **wrong},
            }
        },
        "/api/mattered": {
            "post": {
                "summary": "The words that moved the head towards the labels of a verdict",
                "requestBody": {"required": True, **holds("a text, and the label of each task", MatteredRequest)},
                "responses": {"200": holds("task -> the words", Mattered), **wrong},
            }
        },
        "/api/rules": {
            "get": {"summary": "What is in force", "responses": {"200": holds("rules, heads, learned weights", RulesInForce), **read}},
            "post": {
                "summary": "Put rules in force in every replica",
                "requestBody": {"required": True, **holds("the files, all of them", PublishRequest)},
                "responses": {"202": holds("announced", Announced), "400": holds("the rules are refused, whole", Problem), **wrong},
            },
        },
    }
    return document(
        "Feedloop classifier",
        "Verdicts on texts. They sort texts for a person; they are no diagnosis.",
        paths,
        given=(ClassifyRequest, MatteredRequest, PublishRequest),
        answers=(Classified, ManyClassified, Mattered, RulesInForce, Announced),
    )
