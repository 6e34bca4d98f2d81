"""Unit tests reach no server: their sockets are closed."""

import _socket
import logging
import os
import socket
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import Phase, settings

# The machine is shared, so no example is held to a time; the same examples each run, so that a gate does not flicker.
# `make mutants` asks whether a test fails, not for the smallest example.
PHASES = (
    tuple(Phase)[: tuple(Phase).index(Phase.shrink)] if "MUTANT_UNDER_TEST" in os.environ else tuple(Phase)
)
settings.register_profile("unit", deadline=None, derandomize=True, max_examples=100, phases=PHASES)
settings.load_profile("unit")


OPEN_SOCKET = socket.socket


def _pair(
    family: int = socket.AF_UNIX, kind: int = socket.SOCK_STREAM
) -> tuple[socket.socket, socket.socket]:
    one, other = _socket.socketpair(family, kind)
    return OPEN_SOCKET(fileno=one.detach()), OPEN_SOCKET(fileno=other.detach())


@pytest.fixture(scope="session", autouse=True)
def _pairs_are_open() -> Iterator[None]:
    """A pair of sockets reaches nobody but us. Fixtures of modules open them too, before those of a test are made."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "socketpair", _pair)
        yield


@pytest.fixture(autouse=True)
def _sockets_closed(socket_disabled: None) -> None:
    """Whoever opens a socket in a unit test gets SocketBlockedError."""


@pytest.fixture(autouse=True)
def _logging_is_left_as_it_was() -> Iterator[None]:
    """A command under test sets logging up for its process, on a stderr that is closed when the test is over."""
    before, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.configure(**before)
    root.handlers[:], root.level = handlers, level
