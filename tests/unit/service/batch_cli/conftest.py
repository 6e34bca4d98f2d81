"""A small API in memory, and `medqueue batch` against it."""

from collections.abc import Callable

import httpx
import pytest

from service.cli import main
from tests.unit.service.test_cli_commands import KEY, Api


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def medqueue(api: Api) -> Callable[..., int]:
    def run(*words: str) -> int:
        command = ["batch", *words, "--url", "http://api.test", "--key", KEY]
        return main(command, transport=httpx.MockTransport(api))

    return run
