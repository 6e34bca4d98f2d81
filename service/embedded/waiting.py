"""Waiting for something outside this process that announces nothing: ask again, a little later."""

import time
from collections.abc import Callable

POLL_S = 0.03


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Ask until the answer is yes; False when it was not within `timeout_s`."""
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(POLL_S)
    return True
