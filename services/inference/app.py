"""Wiring of the inference service."""

from services.inference.adapters import Adapters
from services.inference.engine import REST_S, Engine
from services.inference.enrich import Enricher
from services.inference.gateway import Gateway
from services.inference.handlers import Handlers
from services.inference.labels import Labels
from services.inference.settings import Settings
from shared.bus import Bus
from shared.clock import utc_now
from shared.events import DocumentIngested, ModelPublished
from shared.objects import ObjectStore
from shared.registry import Registry, base_id, weights_of
from shared.service import Service

ROUNDS = 4  # of documents side by side in one batch


def build(settings: Settings) -> Service:
    bus = Bus(settings.kafka_bootstrap_servers, "inference", settings.replica)
    base = base_id(settings.model)
    engine = Engine(settings.engine_url, kind=settings.engine_kind, key=settings.engine_key, timeout_s=settings.timeout_s)
    enricher = Enricher(engine, utc_now, base, settings.label_meanings, settings.free_summary, weights_of(settings.model))
    registry = Registry(ObjectStore(settings.objects), settings.models_cache)
    adapters = Adapters(
        engine,
        enricher,
        registry,
        base_name=settings.engine_model,
        base=base,
        replica=f"inference-{settings.replica}",
        clock=utc_now,
        max_rank=settings.max_rank,
    )
    handlers = Handlers(enricher, adapters, bus, settings.check_every_s, settings.document_s)
    bus.handle(
        DocumentIngested,
        handlers.on_document_ingested,
        at_once=settings.at_once,
        batch=ROUNDS * settings.at_once,
        # a round at its worst: requests that are not answered until the circuit opens, one more to see, and the pause; Kafka must not take it for dead
        longest_s=ROUNDS * (settings.document_s + settings.timeout_s + REST_S),
    )
    bus.project(ModelPublished, handlers.on_model_published)
    return Service(
        "inference",
        settings,
        bus,
        routes=[*Gateway(engine, adapters).routes(), *Labels(enricher, handlers.ask, lambda: handlers.settled).routes()],
        checks={"engine": engine.ping},
        background=[handlers.keep_live],
        prepare=engine.open,
        finish=engine.close,
    )
