"""Stop signals reach `medqueue up` while it waits, whatever a library did to them."""

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from service.embedded import stack

WAIT_S = 2.0


class Stopped(Exception):
    """A signal arrived."""


def stop(*_: object) -> None:
    raise Stopped


@pytest.fixture(params=stack.STOP_SIGNALS, ids=lambda number: signal.Signals(number).name)
def restarting(request: pytest.FixtureRequest) -> Iterator[signal.Signals]:
    """A stop signal after which the kernel restarts system calls, as RDKit leaves it."""
    number: signal.Signals = request.param
    before = signal.signal(number, stop)
    signal.siginterrupt(number, False)
    yield number
    signal.signal(number, before)


def test_a_stop_signal_ends_a_wait_although_a_library_had_it_restart_system_calls(
    restarting: signal.Signals,
) -> None:
    reader, writer = os.pipe()
    kill = threading.Timer(0.05, signal.pthread_kill, (threading.main_thread().ident, restarting))
    end_of_wait = threading.Timer(WAIT_S, os.write, (writer, b"x"))
    stack._interrupt_system_calls()
    try:
        began = time.monotonic()
        end_of_wait.start()
        kill.start()
        with pytest.raises(Stopped):
            os.read(reader, 1)
        assert time.monotonic() - began < WAIT_S
    finally:
        kill.join()
        end_of_wait.cancel()
        end_of_wait.join()
        os.close(reader)
        os.close(writer)
