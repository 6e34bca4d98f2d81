"""What tests of operators' commands share."""

from collections.abc import Callable
from typing import Any

from service.db import Database

Run = Callable[..., tuple[int, Any, str]]
"""Runs a command on this test's servers: its exit code, its JSON document, its stderr."""


def actors(database: Database, action: str) -> list[str]:
    with database.transaction() as work:
        return [row[0] for row in work.execute("SELECT actor FROM audit_event WHERE action = %s", (action,))]


def findings(medqueue: Run) -> tuple[int, dict[str, str]]:
    """The doctor's exit code, and of each check its worst finding."""
    code, document, _ = medqueue("doctor", "--url", "http://api.test")
    order = ["ok", "warn", "fail"]
    worst: dict[str, str] = {}
    for finding in document["findings"]:
        worst[finding["check"]] = max(worst.get(finding["check"], "ok"), finding["status"], key=order.index)
    return code, worst


def found(medqueue: Run, check: str) -> list[str]:
    """What the doctor found in one check, but for what is ok."""
    _, document, _ = medqueue("doctor", "--url", "http://api.test")
    return [
        finding["found"]
        for finding in document["findings"]
        if finding["check"] == check and finding["status"] != "ok"
    ]
