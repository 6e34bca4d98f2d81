"""Fixtures of tests on real servers."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

from service.cli import main
from service.config import Settings
from service.crypto import Keyring
from service.db import Database
from service.embedded import ServerUrls
from tests.fakes import FakeTaskQueue, MemoryBlobStore
from tests.integration.operating import Run
from tests.integration.workbench import Workbench, workbench


@pytest.fixture
def logs_left_as_they_were() -> Iterator[None]:
    """Commands set up logging for a process of their own."""
    with logging_as_it_was():
        yield


@contextmanager
def logging_as_it_was() -> Iterator[None]:
    """Restores the set-up of logging."""
    handlers, level, configured = logging.root.handlers[:], logging.root.level, structlog.get_config()
    try:
        yield
    finally:
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)
        structlog.configure(**configured)


@pytest.fixture
def medqueue(
    logs_left_as_they_were: None,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Run a command on this test's servers: its exit code, its JSON document, its stderr."""
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)

    def run(*words: str) -> tuple[int, Any, str]:
        transport = httpx.MockTransport(lambda _: httpx.Response(200, json={"status": "ready"}))
        code = main([*words, "--json"], transport=transport)
        written = capsys.readouterr()
        return code, json.loads(written.out) if written.out else None, written.err

    return run


@pytest.fixture
def bench(
    database: Database,
    blobs: MemoryBlobStore,
    keyring: Keyring,
    queue: FakeTaskQueue,
    tmp_path: Path,
    servers: ServerUrls,
    database_url: str,
) -> Iterator[Workbench]:
    """A worker over this test's database, its model and its caller."""
    urls = servers.database_url, database_url
    with workbench(database, blobs, keyring, queue, tmp_path, urls) as made:
        yield made
