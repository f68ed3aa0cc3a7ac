"""What the metrics tests look with: the exposition, parsed; the dashboards; and Prometheus, where there is one.

A dashboard's expression is always checked against the exposition: each metric it names must be there, with each label
it names. Where `prometheus` is installed (PROMETHEUS_BIN, or on the PATH) the expression is also run, against a real
server that scrapes the service; where there is only `promtool`, that checks the expression's grammar.
"""

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

Json = dict[str, Any]
DASHBOARDS = sorted((Path(__file__).parent / "grafana").glob("*.json"))
SCRAPE_SECONDS = 0.4


class Exposition:
    """One scrape of /metrics."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self.samples = [sample for family in self.families.values() for sample in family.samples]

    @classmethod
    def of(cls, url: str, organization: str = "") -> "Exposition":
        """Fetches it; given an organization, samples of others are left out unparsed, for there may be many."""
        answer = requests.get(f"{url}/metrics", timeout=10)
        answer.raise_for_status()
        kept = (
            line
            for line in answer.text.splitlines(keepends=True)
            if f'organization="{organization}"' in line or 'organization="' not in line
        )
        return cls("".join(kept) if organization else answer.text)

    def value(self, name: str, **labels: str) -> float:
        """The sum of all samples with this name and at least these labels."""
        return sum(
            sample.value for sample in self.samples if sample.name == name and labels.items() <= sample.labels.items()
        )

    def labels(self, name: str) -> set[str]:
        """The labels of samples with this name, and "", so that only what is not exposed has none."""
        return {label for sample in self.samples if sample.name == name for label in ("", *sample.labels)}


@dataclass(frozen=True)
class Growth:
    """How much one organization's counters have grown since some moment."""

    url: str
    organization: str
    before: Exposition

    def __call__(self, name: str, **labels: str) -> float:
        """Waits for nothing: what was answered was counted."""
        now, labels = Exposition.of(self.url, self.organization), {"organization": self.organization, **labels}
        return now.value(name, **labels) - self.before.value(name, **labels)


def dashboard(path: Path) -> Json:
    return json.loads(path.read_text())


def expressions() -> Iterator[tuple[str, str]]:
    """(where it is, expression) for each target of each panel of each dashboard."""
    for path in DASHBOARDS:
        for panel in dashboard(path)["panels"]:
            for target in panel["targets"]:
                yield f"{path.stem}/{panel['title']}/{target['refId']}", target["expr"]


def substitute(expression: str, organization: str) -> str:
    """What Grafana does before it asks: replaces the variables. No variable may be left over."""
    for name, value in {"organization": organization, "__rate_interval": "5s", "__range": "1m"}.items():
        expression = re.sub(rf"\${name}\b|\$\{{{name}(:\w+)?\}}", value, expression)
    assert "$" not in expression, f"unknown variable: {expression}"
    return expression


def check_names(expression: str, exposition: Exposition, may_be_empty: bool = False) -> None:
    """Each metric of the expression is exposed, and has the labels that it is selected and grouped by."""
    known: set[str] = set()
    metrics = re.findall(r"\b(searchable_\w+)(?:\{([^}]*)\})?", expression)
    assert metrics, f"no metric of the service in: {expression}"
    for name, matchers in metrics:
        labels = exposition.labels(name)
        if may_be_empty and not labels:
            assert name.removesuffix("_total") in exposition.families, f"{name} is not exposed"
            return
        assert labels, f"{name} is not exposed"
        wanted = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
        assert wanted <= labels, f"{name} has no label {wanted - labels}"
        known |= labels
    for group in re.findall(r"\bby\s*\(([^)]*)\)", expression):
        wanted = {label.strip() for label in group.split(",")}
        assert wanted <= known, f"grouped by {wanted - known}, which no metric of it has"


@dataclass(frozen=True)
class Prometheus:
    """A server that scrapes the service. It is not waited for when it starts: its first scrape comes 5 s later."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def is_scraping(self) -> bool:
        if self.process.poll() is not None:
            pytest.fail(f"prometheus ended with {self.process.returncode}:\n{self.log.read_text()[-2000:]}")
        try:
            return any(sample["value"][1] == "1" for sample in self.query("up"))
        except (requests.ConnectionError, requests.JSONDecodeError):
            return False

    def query(self, expression: str) -> list[Json]:
        """The vector that it is now; an expression that cannot be evaluated fails the test."""
        answer = requests.get(f"{self.url}/api/v1/query", params={"query": expression}, timeout=10).json()
        assert answer["status"] == "success", f"{answer.get('error')}: {expression}"
        assert answer["data"]["resultType"] == "vector", expression
        return answer["data"]["result"]


def tool(name: str, variable: str) -> str | None:
    return os.environ.get(variable) or shutil.which(name)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def running_prometheus(binary: str, target: str, folder: Path) -> Iterator[Prometheus]:
    """Starts a server on a free port with its data in `folder`, and stops it in any case."""
    config, log = folder / "prometheus.json", folder / "prometheus.log"
    scheme, _, address = target.partition("://")
    scrape = {
        "job_name": "searchable",
        "scheme": scheme,
        "scrape_interval": f"{int(SCRAPE_SECONDS * 1000)}ms",
        "scrape_timeout": f"{int(SCRAPE_SECONDS * 1000)}ms",
        "static_configs": [{"targets": [address]}],
    }
    config.write_text(json.dumps({"scrape_configs": [scrape]}))  # JSON is YAML
    url = f"http://127.0.0.1:{free_port()}"
    command = [
        binary,
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={url.removeprefix('http://')}",
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield Prometheus(url, process, log)
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5)
        process.kill()
        process.wait()


def promtool(binary: str, *arguments: str, stdin: str | None = None) -> None:
    """Runs a check; its complaint is the test's failure."""
    done = subprocess.run([binary, *arguments], input=stdin, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr
