"""The deployment passes its own linter, and the linter finds what it is there to find."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy import check

PARTS = ("docker-compose.yml", ".env.example", ".dockerignore", "deploy/Dockerfile", "deploy/prometheus", "deploy/grafana", "helm",
         "docs/operations.md", "shared/metrics.py")  # fmt: skip


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The deployment files alone, to be spoilt."""
    for part in PARTS:
        source, target = check.ROOT / part, tmp_path / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy(source, target)
    return tmp_path


def spoil(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, f"{path.name} no longer holds {old!r}"
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize("name", list(check.CHECKS))
def test_the_deployment_passes(name: str) -> None:
    if name == "chart" and shutil.which("helm") is None:
        pytest.skip("helm is not installed: the chart is not linted here")
    assert check.CHECKS[name](check.ROOT) == []


def test_the_image_holds_what_the_command_imports(tmp_path: Path) -> None:
    stage = (check.ROOT / "deploy/Dockerfile").read_text().partition(" AS service\n")[2]
    for source, target in re.findall(r"^COPY (?!--from)(\S+) (\S+)$", stage, re.MULTILINE):
        (tmp_path / target).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / target).symlink_to(check.ROOT / source)
    alone = f"""import sys
sys.path = [{str(tmp_path)!r}] + [place for place in sys.path if place not in ("", {str(check.ROOT)!r})]
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in getattr(finder, "__name__", "")]
import services.__main__"""
    done = subprocess.run([sys.executable, "-c", alone], cwd=tmp_path, env={}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


Check = Callable[[Path], list[str]]


@pytest.mark.parametrize(
    ("run", "file", "old", "new", "said"),
    [
        (check.well_formed, "deploy/prometheus/prometheus.yml", "global:", "global: [", "prometheus.yml"),
        (check.compose, "docker-compose.yml", "    image: qdrant/qdrant:v1.20.0", "    imagine: qdrant", "imagine"),
        (check.compose, "docker-compose.yml", "qdrant:v1.20.0", "qdrant:latest", "no version"),
        (check.compose, "docker-compose.yml", ":-127.0.0.1}", ":-0.0.0.0}", "feedback publishes"),
        (check.compose, "docker-compose.yml", "${FEEDLOOP_TOKEN:?set FEEDLOOP_TOKEN in .env}", "changeme", "FEEDLOOP_TOKEN must come from .env"),
        (check.dockerfile, "deploy/Dockerfile", "python:3.11.14-slim-bookworm", "python:latest", "DL3007"),
        (check.dockerfile, "deploy/Dockerfile", "COPY shared shared", "COPY nowhere shared", "nowhere, which does not exist"),
        (
            check.promql,
            "deploy/prometheus/rules/alerts.yml",
            "max(vllm:num_requests_waiting)",
            "max(vllm:num_requests_waiting",
            "FeedloopEngineQueue",
        ),
        (check.promql, "deploy/grafana/dashboards/loop.json", "feedloop_retriever_indexed_total", "feedloop_retriever_index_total", "no metric"),
        (check.promql, "deploy/prometheus/prometheus.yml", "trainer:8080", "trainee:8080", "does not scrape trainer"),
        (check.environment, "docker-compose.yml", "FEEDLOOP_LOG_LEVEL:", "FEEDLOOP_LOGLEVEL:", "FEEDLOOP_LOGLEVEL is neither"),
    ],
)
def test_a_mistake_is_named(copy: Path, run: Check, file: str, old: str, new: str, said: str) -> None:
    spoil(copy / file, old, new)
    assert any(said in problem for problem in run(copy)), run(copy)


def test_dashboard_has_a_panel_for_every_metric_of_ours() -> None:
    """Nothing is measured that nobody sees; the time series of guard_handled is a denominator for ad-hoc questions."""
    shown = " ".join(expression for _, expression in check.expressions())
    families = {name.removesuffix("_bucket") for name in check.declared_metrics() if not name.endswith(("_sum", "_count"))}
    assert {family for family in families if family not in shown} <= {"feedloop_guard_handled_total"}
    panels = json.loads((check.ROOT / "deploy/grafana/dashboards/loop.json").read_text())["panels"]
    assert 8 <= len(panels) <= 16 and all(panel["description"] for panel in panels)


def test_every_alert_is_explained() -> None:
    rules = yaml.safe_load((check.ROOT / "deploy/prometheus/rules/alerts.yml").read_text())["groups"][0]["rules"]
    manual = (check.ROOT / "docs/operations.md").read_text()
    assert [rule["alert"] for rule in rules if f"`{rule['alert']}`" not in manual] == []


def test_the_engine_is_reached_by_inference_and_prometheus_alone() -> None:
    """vLLM's adapter routes ask for no key: its network has no way out and nobody else on it."""
    file = yaml.safe_load((check.ROOT / "docker-compose.yml").read_text())
    assert file["networks"]["engine"] == {"internal": True}
    assert {name for name, service in file["services"].items() if "engine" in service["networks"]} == {"vllm", "vllm-cpu", "inference", "prometheus"}
    assert all("ports" not in file["services"][name] and set(file["services"][name]["networks"]) == {"engine"} for name in ("vllm", "vllm-cpu"))


def _served(server: HTTPServer) -> str:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[tuple[Any, str]]:
    """The chart's relay before a server that has /metrics and /secret."""
    for name in ("metrics", "secret"):
        (tmp_path / name).write_text(f"{name} 1\n")
    spec = importlib.util.spec_from_file_location("engine_metrics", check.ROOT / "helm/feedloop/files/engine_metrics.py")
    assert spec and spec.loader
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    engine = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(tmp_path)))
    front = ThreadingHTTPServer(("127.0.0.1", 0), module.Relay)
    module.ENGINE = f"{_served(engine)}/metrics"
    yield module, _served(front)
    for server in (engine, front):
        server.shutdown()
        server.server_close()


def test_the_relay_passes_on_metrics_and_nothing_else(relay: tuple[Any, str]) -> None:
    module, address = relay
    with urllib.request.urlopen(f"{address}/metrics", timeout=5) as answer:
        assert answer.read() == b"metrics 1\n"
    for path in ("/secret", "/metrics/../secret", "/v1/load_lora_adapter"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{address}{path}", timeout=5)
    module.ENGINE = "http://127.0.0.1:9/metrics"
    with pytest.raises(urllib.error.HTTPError, match="502"):
        urllib.request.urlopen(f"{address}/metrics", timeout=5)
