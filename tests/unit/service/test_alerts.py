"""The alert rules: readable, about metrics that there are, each with what to do."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import Gauge

from service import metrics
from service.metrics import REGISTRY

DOCS = Path(__file__).parents[3] / "docs"
SERVICE = DOCS.parent / "service"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((DOCS / "alerts.yaml").read_text())["groups"] for rule in group["rules"]
]
IDS = [rule["alert"] for rule in RULES]
NAME = re.compile(r"\bmedqueue_[a-z0-9_]+")
LABEL = re.compile(r"(medqueue_[a-z0-9_]+)\{(\w+)")


def exported() -> set[str]:
    """Names of series: those of the processes, and those that the API reads from the database."""
    own = {sample for found in REGISTRY.collect() for sample in (found.name, f"{found.name}_total")}
    read = {
        name
        for module in ("probes.py", "backlog.py")
        for name in re.findall(r'"(medqueue_\w+)"', (SERVICE / module).read_text())
    }
    return own | read


@pytest.mark.parametrize("rule", RULES, ids=IDS)
def test_a_rule_asks_for_metrics_that_there_are(rule: dict[str, Any]) -> None:
    named = set(NAME.findall(rule["expr"]))
    assert named
    assert named <= exported()


@pytest.mark.parametrize("rule", RULES, ids=IDS)
def test_a_rule_asks_for_labels_that_the_metric_has(rule: dict[str, Any]) -> None:
    sources = "".join((SERVICE / name).read_text() for name in ("metrics.py", "probes.py", "backlog.py"))
    for name, label in LABEL.findall(rule["expr"]):
        defined = re.search(
            rf'"{name.removesuffix("_total")}(?:_total)?",.*?\[\s*("[^\]]*)\]', sources, re.DOTALL
        )
        assert defined is not None, name
        assert f'"{label}"' in defined[1]


@pytest.mark.parametrize("rule", RULES, ids=IDS)
def test_a_rule_says_what_is_wrong_and_where_to_read_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert rule["annotations"]["summary"]
    path, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert path == "docs/operations.md"
    assert anchor == rule["alert"].lower()
    section = (DOCS / "operations.md").read_text().split(f"#### {rule['alert']}\n")[1].split("\n#")[0].strip()
    assert len(section.split()) > 8


def test_every_alert_that_is_described_is_a_rule() -> None:
    assert re.findall(r"^#### (\w+)$", (DOCS / "operations.md").read_text(), re.MULTILINE) == IDS


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_own_checker_takes_them() -> None:
    checked = subprocess.run(
        ["promtool", "check", "rules", str(DOCS / "alerts.yaml")], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("name", [name for name, found in vars(metrics).items() if isinstance(found, Gauge)])
def test_a_gauge_says_how_the_processes_of_an_api_are_merged(name: str) -> None:
    """Else each process, and each that has ended, has a series of its own."""
    assert vars(metrics)[name]._multiprocess_mode in {"livesum", "livemax", "livemin"}
