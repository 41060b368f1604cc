"""Structured logs: JSON lines on standard error, or readable ones on a terminal. Each line carries the service and, while a record is being
handled, its correlation id: the trace id that goes with it from the feed entry or mail to the verdict and the adapter."""

import logging
import sys

import structlog
from structlog.typing import Processor


def configure(service: str, level: str = "info", *, pretty: bool | None = None) -> None:
    """Set up logging for the process. `pretty` None means: readable on a terminal, JSON elsewhere."""
    pretty = sys.stderr.isatty() if pretty is None else pretty
    numeric = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer = structlog.dev.ConsoleRenderer() if pretty else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(numeric),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    formatter = structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processor=renderer)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(service=service)


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger; call it with an event name and fields: log.info("document.enriched", id=…, adapter=…)."""
    return structlog.get_logger(name)  # type: ignore[no-any-return]
