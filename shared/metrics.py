"""Every metric of Feedloop, declared once with its meaning. Names: feedloop_<service>_<noun>_<unit|total>."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_SLOW = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


def _counter(name: str, meaning: str, *labels: str) -> Counter:
    return Counter(f"feedloop_{name}", meaning, labels, registry=REGISTRY)


def _gauge(name: str, meaning: str, *labels: str) -> Gauge:
    return Gauge(f"feedloop_{name}", meaning, labels, registry=REGISTRY)


def _histogram(name: str, meaning: str, buckets: tuple[float, ...]) -> Histogram:
    return Histogram(f"feedloop_{name}", meaning, (), buckets=buckets, registry=REGISTRY)


DEAD_LETTERS = _counter("guard_dead_letters_total", "records that could not be handled, by source topic", "topic")
RETRIES = _counter("guard_retries_total", "tries repeated after a passing failure, by source topic", "topic")
HANDLED = _counter("guard_handled_total", "records handled, by source topic", "topic")

INGESTED = _counter("ingest_documents_total", "documents published", "source_kind")
QUARANTINED = _counter("ingest_quarantined_total", "items refused, by reason", "reason")
SOURCES = _gauge("ingest_sources", "sources by state", "state")
POLLS = _counter("ingest_polls_total", "polls and steps of long polls that were told, by the state they left the source in", "state")
POLL_SECONDS = _histogram("ingest_poll_seconds", "time of one poll: its turn waited for, read, cleaned, published", _SLOW)
POLL_LAG = _histogram(
    "ingest_poll_lag_seconds", "time from when a poll was due until it began, the wait for its server and a free place included", _SLOW
)
POLLING = _gauge("ingest_polling", "sources that are being read, or wait for their turn")

ENRICH_SECONDS = _histogram("inference_enrich_seconds", "time to enrich one document", _SLOW)
REQUESTS = _counter("inference_requests_total", "requests to the engine, by outcome", "outcome")
LEFT_OUT = _counter("inference_left_out_total", "parts of an enrichment that were unsound and left out: a task's label, or the metadata", "part")
LABEL_REQUESTS = _counter(
    "inference_label_requests_total",
    "requests for the labels of texts that are no documents, by outcome: ok, problem (answered, but of a text only why it has no labels), "
    "refused (not understood, or too long), away (engine or adapter), failed (a fault of ours)",
    "outcome",
)
LABEL_SECONDS = _histogram(
    "inference_label_seconds", "time of such a request from when it was understood, its turn waited for; those that came to nothing too", _SLOW
)
ACTIVATIONS = _counter("inference_activations_total", "adapters asked to go live, by outcome", "outcome")
LIVE = _gauge("inference_live_info", "1 for the digest that is live", "digest")

DECISIONS = _counter("classifier_decisions_total", "decisions by task, label, who decided and stage", "task", "label", "by", "stage")
DECIDE_SECONDS = _histogram("classifier_decide_seconds", "time to decide one document", _FAST)

INDEXED = _counter("retriever_indexed_total", "documents indexed")
SEARCH_SECONDS = _histogram("retriever_search_seconds", "time to search", _FAST)
ANSWERS = _counter("retriever_answers_total", "questions answered, by whether the documents held an answer", "found")

FEEDBACK = _counter("feedback_given_total", "feedback by kind", "kind")

RUNS = _counter("trainer_runs_total", "training runs by outcome", "outcome")
RUN_SECONDS = _histogram("trainer_run_seconds", "time of a training run", _SLOW)
WAITING = _gauge("trainer_waiting_corrections", "corrections that no run has used yet")


def exposition() -> bytes:
    """All metrics in the Prometheus text format."""
    return generate_latest(REGISTRY)
