"""Wiring of the classifier."""

import asyncio

from services.classifier.api import NOT_READY, Api
from services.classifier.calibration import Fusions
from services.classifier.decide import Decider
from services.classifier.handlers import Handlers
from services.classifier.live_head import LiveHead
from services.classifier.llm import LanguageModel
from services.classifier.overlay import Overlay
from services.classifier.rule_desk import RuleDesk
from services.classifier.rulebook import RuleBook
from services.classifier.settings import Settings
from shared.bus import Bus
from shared.clock import utc_now
from shared.encoder import Encoder
from shared.events import DocumentEnriched, DocumentIngested, FeedbackGiven, ModelPublished, RulesPublished
from shared.objects import ObjectStore
from shared.registry import Registry
from shared.service import Service
from shared.taxonomy import label_set


def build(settings: Settings) -> Service:
    bus = Bus(settings.kafka_bootstrap_servers, "classifier", settings.replica)
    store = ObjectStore(settings.objects)
    registry = Registry(store, settings.models_cache)
    head = LiveHead(
        Encoder(settings.encoder, settings.encoder_threads),
        settings.head,
        registry,
        f"classifier-{settings.replica}",
        utc_now,
        settings.head_second,
    )
    book = RuleBook(settings.rules, label_set, drop_safety_rules=settings.drop_safety_rules)
    desk = RuleDesk(book, store, bus, utc_now)
    decider = Decider(book, Overlay(), label_set, Fusions(settings.fusion))
    llm = LanguageModel(settings.inference_url, settings.token)
    handlers = Handlers(decider, head, bus, store, settings.keep_documents)
    bus.handle(DocumentIngested, handlers.on_document_ingested, at_once=settings.at_once)
    bus.handle(DocumentEnriched, handlers.on_document_enriched, at_once=settings.at_once)
    bus.handle(FeedbackGiven, handlers.on_feedback_given)
    bus.project(FeedbackGiven, handlers.on_feedback_heard)
    bus.project(ModelPublished, handlers.on_model_published)
    bus.project(RulesPublished, desk.on_rules_published)

    async def prepare() -> None:
        await llm.open()
        await asyncio.to_thread(head.start)

    async def verdicts() -> str:
        return "" if handlers.ready.is_set() else NOT_READY

    return Service(
        "classifier",
        settings,
        bus,
        routes=[*Api(decider, head, handlers.ready, settings.help(), llm).routes(), *desk.routes()],
        checks={"verdicts": verdicts},
        background=[handlers.keep_head, handlers.keep_rules, handlers.keep_copies, desk.keep_announced],
        prepare=prepare,
        finish=llm.close,
    )
