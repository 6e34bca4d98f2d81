"""Waits for jobs to end: long polls that the server answers as soon as they do."""

import time
from collections.abc import Callable

from service.cli.client import ApiClient, Json
from service.cli.errors import Unreachable
from service.lifecycle import ENDED_STATES

LONGEST_POLL_S = 20.0
PAUSE_S = 1.0


def has_ended(job: Json) -> bool:
    """Whether no worker will touch the job any more."""
    return job["state"] in ENDED_STATES


def until_ended(
    api: ApiClient,
    job_id: str,
    timeout_s: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> Json:
    """The job once it has ended, or its state after `timeout_s`.

    A service that is unavailable for a moment is asked again until then: the job is safe in its database.
    """
    end = clock() + timeout_s
    while True:
        asked, left = clock(), max(end - clock(), 0.0)
        try:
            job = api.job(job_id, wait_s=min(left, LONGEST_POLL_S))
        except Unreachable:
            if left <= 0:
                raise
        else:
            if left <= 0 or has_ended(job):
                return job
        if (
            clock() - asked < PAUSE_S
        ):  # answered at once: the server has too many waiting requests, or is unavailable
            pause(min(PAUSE_S, left))
