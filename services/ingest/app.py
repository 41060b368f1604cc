"""Ingest, wired: settings -> objects -> Service. `python -m services run ingest` runs it alone."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor

from services.ingest.settings import Settings
from shared.service import Service


def build(settings: Settings) -> Service:
    """The service, ready to `serve()`. Raises ConfigError where the file with the sources is wrong."""
    from services.ingest.addresses import Allowed
    from services.ingest.api import Api
    from services.ingest.config import load
    from services.ingest.fetch import Fetcher
    from services.ingest.hosts import Turn, Turns
    from services.ingest.intake import Intake
    from services.ingest.known import Known
    from services.ingest.mail_api import MailApi
    from services.ingest.manage_api import ManageApi
    from services.ingest.managing import Sources
    from services.ingest.poller import Poller
    from services.ingest.quarantine import Quarantine
    from services.ingest.readers import reader_of
    from services.ingest.source import SourceTask, kind_of
    from services.ingest.sources import Source
    from services.ingest.stories import Stories
    from shared.bus import Bus
    from shared.clock import utc_now
    from shared.events import DocumentIngested, SourcePolled
    from shared.objects import ObjectStore

    config = load(settings.config)
    bus = Bus(settings.kafka_bootstrap_servers, "ingest", settings.replica)
    known = Known(Stories())
    bus.project(DocumentIngested, known.on_document)
    bus.project(SourcePolled, known.on_poll)
    store = ObjectStore(settings.objects)
    quarantine = Quarantine(settings.objects, utc_now)
    intake = Intake(bus.publish, store, known, quarantine, utc_now)
    fetcher = Fetcher(Allowed(config.allow_hosts))
    turns = Turns(per_host=settings.host_connections, delay_s=settings.host_delay_s, feeds_at_once=settings.feeds_at_once)

    def secret(name: str) -> str:
        return os.environ.get(name, "")

    def task_of(source: Source) -> SourceTask:
        turn = Turn(turns, kind_of(source))
        return SourceTask(source, reader_of(source, fetcher, secret, store, turn), intake, bus.publish, known, utc_now, turn)

    poller = Poller(config, task_of, fetcher.allow)

    async def prepare() -> None:
        # texts are cleaned here, feeds unpacked and parsed, and the object store is written to, which may be slow: more threads than cores
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(32, thread_name_prefix="ingest"))

    async def poll() -> None:
        await poller.run(service.caught_up, settings.config, settings.config_check_s)

    service = Service(
        "ingest",
        settings,
        bus,
        routes=[
            *Api(poller, intake, known, quarantine).routes(),
            *MailApi(poller, intake).routes(),
            *ManageApi(Sources(settings.config, fetcher, utc_now)).routes(),
        ],
        background=[poll],
        prepare=prepare,
        finish=fetcher.close,
    )
    return service
