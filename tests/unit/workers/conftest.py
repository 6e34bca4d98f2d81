"""An event loop for unit tests, in which no socket can be opened."""

import asyncio
from collections.abc import Iterator

import pytest
from pytest_socket import disable_socket, enable_socket


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop that opens nothing more: the pair of sockets by which it wakes itself up is made before they are closed."""
    enable_socket()
    made = asyncio.new_event_loop()
    disable_socket()
    yield made
    made.close()
