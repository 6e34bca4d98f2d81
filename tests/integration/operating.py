"""What tests of operators' commands share."""

from collections.abc import Callable
from typing import Any

from service.db import Database

Run = Callable[..., tuple[int, Any, str]]
"""Runs a command on this test's servers: its exit code, its JSON document, its stderr."""


def actors(database: Database, action: str) -> list[str]:
    with database.transaction() as work:
        return [row[0] for row in work.execute("SELECT actor FROM audit_event WHERE action = %s", (action,))]
