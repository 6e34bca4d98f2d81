"""A worker with a quick pulse that SIGUSR2 makes deaf: it runs on and asks Redis for nothing more.

What a fault of Celery did after a restart of Redis (celery/celery issue 8030): the event loop had lost the callback
that asks for messages.
"""

import signal

from kombu.asynchronous import get_event_loop

from workers.app import app
from workers.process import pulse

__all__ = ["app"]

pulse.PULSE_S = 0.5  # the tests wait for several


def _go_deaf(*_: object) -> None:
    loop = get_event_loop()
    assert loop is not None
    loop.on_tick.clear()


# At once: a worker says that it is ready before the last listener of Celery's signal has heard it, and a test may be quick.
signal.signal(signal.SIGUSR2, _go_deaf)
