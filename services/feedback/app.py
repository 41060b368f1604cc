"""Wiring of the feedback service."""

from services.feedback.api import Api
from services.feedback.neighbours import Neighbours
from services.feedback.settings import Settings
from services.feedback.stream import Stream
from services.feedback.views import Items, Loop
from shared.bus import Bus
from shared.events import (
    DocumentClassified,
    FeedbackGiven,
    ModelActivated,
    ModelPublished,
    SourcePolled,
    TrainingFinished,
    TrainingProgressed,
)
from shared.service import Service


def build(settings: Settings) -> Service:
    bus = Bus(settings.kafka_bootstrap_servers, "feedback", settings.replica)
    neighbours = Neighbours(settings)
    stream = Stream(lambda document_id: items.shown(document_id), lambda: api.whole())
    items = Items(settings.keep_items, stream.changed, settings.help())
    loop = Loop(stream.changed)
    api = Api(bus, items, loop, neighbours, stream, settings.help())
    bus.project(DocumentClassified, items.on_document_classified)
    bus.project(FeedbackGiven, items.on_feedback_given)
    bus.project(ModelPublished, loop.on_model_published)
    bus.project(ModelActivated, loop.on_model_activated)
    bus.project(TrainingProgressed, loop.on_training_progressed)
    bus.project(TrainingFinished, loop.on_training_finished)
    bus.project(SourcePolled, loop.on_source_polled)
    return Service(
        "feedback",
        settings,
        bus,
        routes=api.routes(),
        prepare=neighbours.open,
        finish=neighbours.close,
        open_paths=("/", "/static/", "/api/labels", "/api/care"),
    )
