"""Wiring of the retriever: settings -> store, encoder, search, answers -> Service."""

import asyncio

from services.retriever.answer import Answerer
from services.retriever.api import Api
from services.retriever.gateway import Gateway
from services.retriever.handlers import Handlers
from services.retriever.indexer import Indexer
from services.retriever.search import Search
from services.retriever.settings import Settings
from services.retriever.store import Store
from shared.bus import Bus
from shared.encoder import Encoder
from shared.events import DocumentClassified
from shared.objects import ObjectStore
from shared.service import Service

NAME = "retriever"


def build(settings: Settings) -> Service:
    bus = Bus(settings.kafka_bootstrap_servers, NAME, settings.replica)
    store = Store(settings.qdrant_url, settings.qdrant_path, settings.qdrant_api_key)
    encoder = Encoder(settings.encoder, settings.encoder_threads)
    gateway = Gateway(settings.inference_url, settings.token)
    search = Search(store, encoder)
    handlers = Handlers(Indexer(store, encoder, ObjectStore(settings.objects)))
    bus.handle(DocumentClassified, handlers.on_document_classified, at_once=4, batch=20, longest_s=900)  # 20 of the longest documents

    async def prepare() -> None:
        await asyncio.to_thread(encoder.load)  # a missing encoder ends the start with its one line, not the first document
        await store.open()
        await gateway.open()

    async def finish() -> None:
        await gateway.close()
        await store.close()

    api = Api(search, Answerer(search, gateway))
    return Service(NAME, settings, bus, routes=api.routes, checks={"qdrant": store.ping}, prepare=prepare, finish=finish)
