"""Wiring of the trainer."""

from services.trainer.api import Api
from services.trainer.handlers import Handlers
from services.trainer.run import Runs
from services.trainer.settings import Settings
from shared.bus import Bus
from shared.clock import utc_now
from shared.events import FeedbackGiven, ModelActivated, ModelPublished, TrainingFinished, TrainingRequested
from shared.objects import ObjectStore
from shared.registry import Registry, base_id
from shared.service import Service


def build(settings: Settings) -> Service:
    bus = Bus(settings.kafka_bootstrap_servers, "trainer", settings.replica)
    store = ObjectStore(settings.objects)
    runs = Runs(settings, store, Registry(store, settings.models_cache), base_id(settings.model), utc_now)
    handlers = Handlers(settings, bus, store, runs)
    bus.project(FeedbackGiven, handlers.on_feedback_given)
    bus.project(ModelPublished, handlers.on_model_published)
    bus.project(ModelActivated, handlers.on_model_activated)
    bus.project(TrainingFinished, handlers.on_training_finished)
    bus.project(TrainingRequested, handlers.on_training_requested_seen)
    # one at a time, and long: Kafka must not take a run for a dead replica
    bus.handle(TrainingRequested, handlers.on_training_requested, batch=1, longest_s=settings.run_limit_s + 600)
    return Service("trainer", settings, bus, routes=Api(handlers).routes(), background=[handlers.watch])
