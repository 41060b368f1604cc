"""Lints the deployment: docker-compose.yml, the Dockerfile, Prometheus, Grafana, the chart and the environment's names.

    python deploy/check.py

Prints a line for each problem and exits with 1 where there is one. What is not installed (helm) is skipped, and said.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
SERVICES = ("ingest", "inference", "classifier", "retriever", "feedback", "trainer")
KUBERNETES = "1.31.0"
CHART_NEEDS = ["kafka.bootstrapServers=kafka:9092", "qdrant.url=http://qdrant:6333", "existingSecret=feedloop"]
CHART_OPTIONS = [
    "networkPolicy.enabled=true",
    "serviceMonitor.enabled=true",
    "objects.uri=s3://bucket/prefix",
    "model.hub=owner/model",
    "helpText=Ask Ana",
]
_ENV_NAME = re.compile(r"\b(FEEDLOOP_[A-Z][A-Z_]*[A-Z]|KAFKA_BOOTSTRAP_SERVERS|QDRANT_[A-Z_]*[A-Z])\b")
_OUR_METRIC = re.compile(r"\bfeedloop_[a-z_]+\b")
_DECLARED_METRIC = re.compile(r'_(counter|gauge|histogram)\(\s*"([a-z_]+)"')


def run(*command: str, cwd: Path = ROOT) -> list[str]:
    """The lines that a failing command printed; none where it succeeded."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)
    if done.returncode == 0:
        return []
    return [line for line in (done.stdout + done.stderr).splitlines() if line.strip()] or [f"{command[0]} failed with {done.returncode}"]


def tool(name: str) -> str:
    """A command of this virtual environment, or of the PATH."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else name


def data_files(root: Path) -> Iterator[Path]:
    """The YAML and JSON that other programs read (the chart's templates are not YAML until they are rendered)."""
    yield root / "docker-compose.yml"
    for folder in ("deploy/prometheus", "deploy/grafana"):
        yield from sorted(path for path in (root / folder).rglob("*") if path.suffix in (".yml", ".yaml", ".json"))
    yield from (root / "helm/feedloop" / name for name in ("Chart.yaml", "values.yaml"))


def parse(path: Path) -> Any:
    """The file's content; raises ValueError, OSError or yaml.YAMLError."""
    return json.loads(path.read_text()) if path.suffix == ".json" else yaml.safe_load(path.read_text())


def well_formed(root: Path = ROOT) -> list[str]:
    """Every data file parses."""
    problems = []
    for path in data_files(root):
        try:
            parse(path)
        except (OSError, ValueError, yaml.YAMLError) as error:
            problems.append(f"{path.relative_to(root)}: {' '.join(str(error).split())}")
    return problems


def compose(root: Path = ROOT) -> list[str]:
    """The compose file follows the specification, runs every service, publishes nothing beyond loopback and holds no secret."""
    path = root / "docker-compose.yml"
    problems = run(tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(path))
    services = parse(path)["services"]
    problems += [f"docker-compose.yml: no service {name}" for name in SERVICES if name not in services]
    for name, service in services.items():
        for port in service.get("ports", []):
            if not re.match(r"(\$\{[A-Z_]+:-)?127\.0\.0\.1\b", str(port)):
                problems.append(f"docker-compose.yml: {name} publishes {port}, which is not 127.0.0.1 by default")
        if re.search(r":latest$|^[^:]+$", str(service.get("image", "x:1"))):
            problems.append(f"docker-compose.yml: {name}'s image {service['image']} has no version")
        for key, value in (service.get("environment") or {}).items():
            if re.search(r"TOKEN|PASSWORD|SECRET", key) and not re.match(r"\$\{[A-Z_]+:\?", str(value)):
                problems.append(f"docker-compose.yml: {name}'s {key} must come from .env, by ${{NAME:?message}}")
    return problems


def dockerfile(root: Path = ROOT) -> list[str]:
    """hadolint is content and everything that is copied into the image exists and reaches the builder."""
    path = root / "deploy/Dockerfile"
    problems = run(tool("hadolint"), "--no-color", str(path))
    allowed = [line[1:].strip() for line in (root / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for source in re.findall(r"^COPY (?!--from)(\S+) ", path.read_text(), re.MULTILINE):
        if not (root / source).exists():
            problems.append(f"deploy/Dockerfile copies {source}, which does not exist")
        if not any(source == name or source.startswith(name + "/") for name in allowed):
            problems.append(f"deploy/Dockerfile copies {source}, which .dockerignore leaves out")
    return problems


def expressions(root: Path = ROOT) -> Iterator[tuple[str, str]]:
    """(where it stands, PromQL) of every alert and every panel."""
    for path in sorted((root / "deploy/prometheus/rules").glob("*.yml")):
        for group in parse(path)["groups"]:
            yield from ((f"{path.relative_to(root)} {rule['alert']}", rule["expr"]) for rule in group["rules"])
    for path in sorted((root / "deploy/grafana/dashboards").glob("*.json")):
        for panel in parse(path)["panels"]:
            yield from ((f"{path.relative_to(root)} {panel['title']!r}", target["expr"]) for target in panel["targets"])


def declared_metrics(root: Path = ROOT) -> set[str]:
    """The names that /metrics shows of what shared/metrics.py declares."""
    names = set()
    for kind, name in _DECLARED_METRIC.findall((root / "shared/metrics.py").read_text()):
        endings = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
        names |= {f"feedloop_{name}{ending}" for ending in endings}
    return names


def promql(root: Path = ROOT) -> list[str]:
    """Every expression parses and every metric of ours in it exists; Prometheus scrapes all services."""
    import promql_parser

    problems, declared = [], declared_metrics(root)
    for place, expression in expressions(root):
        try:
            promql_parser.parse(expression.replace("$__rate_interval", "5m"))
        except ValueError as error:
            problems.append(f"{place}: {error}: {expression}")
        problems += [f"{place}: no metric {name} in shared/metrics.py" for name in sorted(set(_OUR_METRIC.findall(expression)) - declared)]
    jobs = parse(root / "deploy/prometheus/prometheus.yml")["scrape_configs"]
    scraped = {target.split(":")[0] for job in jobs for static in job["static_configs"] for target in static["targets"]}
    return problems + [f"deploy/prometheus/prometheus.yml does not scrape {name}" for name in (*SERVICES, "vllm") if name not in scraped]


def environment(root: Path = ROOT) -> list[str]:
    """Every variable that the deployment uses stands in .env.example or in the table of docs/operations.md."""
    known = set(re.findall(r"^(?:# )?([A-Z_]+)=", (root / ".env.example").read_text(), re.MULTILINE))
    for row in re.findall(r"^\| (`[A-Z_]+`.*?) \|", (root / "docs/operations.md").read_text(), re.MULTILINE):
        known |= set(re.findall(r"`([A-Z_]+)`", row))
    users = [root / "docker-compose.yml", root / "deploy/Dockerfile", *sorted((root / "helm/feedloop").rglob("*"))]
    problems = []
    for path in users:
        if path.is_file() and path.suffix != ".pyc":
            unknown = sorted(set(_ENV_NAME.findall(path.read_text())) - known)
            problems += [f"{path.relative_to(root)}: {name} is neither in .env.example nor in docs/operations.md" for name in unknown]
    return problems


def chart(root: Path = ROOT) -> list[str]:
    """helm lints and renders the chart, as it comes and with its options on. Raises FileNotFoundError where there is no helm."""
    helm = shutil.which("helm")
    if helm is None:
        raise FileNotFoundError("helm is not installed: the chart is not linted (go install helm.sh/helm/v3/cmd/helm@latest)")
    problems = []
    for options in ([], CHART_OPTIONS):
        values = ["--kube-version", KUBERNETES, *(part for value in (*CHART_NEEDS, *options) for part in ("--set", value))]
        problems += run(helm, "lint", "--strict", "--quiet", str(root / "helm/feedloop"), *values)
        problems += run(helm, "template", "feedloop", str(root / "helm/feedloop"), *values)
    return problems


CHECKS: dict[str, Callable[[Path], list[str]]] = {
    "well-formed files": well_formed, "compose": compose, "Dockerfile": dockerfile, "PromQL": promql, "environment": environment, "chart": chart,
}  # fmt: skip


def main() -> int:
    """Run all checks; 1 where one found something."""
    found = 0
    for name, check in CHECKS.items():
        try:
            problems = check(ROOT)
        except FileNotFoundError as error:
            print(f"skipped: {name}: {error}" if name == "chart" else f"{name}: {error}")
            found += name != "chart"
            continue
        for problem in problems:
            print(f"{name}: {problem}")
        found += len(problems)
    print(f"deployment: {found} problems" if found else "deployment: no problem found")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
