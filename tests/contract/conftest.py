"""What the contract tests of the task queue share."""

from collections.abc import Iterator
from contextlib import ExitStack
from uuid import uuid4

import pytest

from service.queue import WakeUp, score_wake_up


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def wake_up() -> WakeUp:
    """A wake-up that no other test sends."""
    return score_wake_up(uuid4())
