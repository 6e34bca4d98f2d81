"""Waiting for a job: one long poll after another, patient with a service that is away for a moment."""

from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from service.cli.client import ApiClient
from service.cli.errors import Unreachable
from service.cli.target import Target
from service.cli.waiting import LONGEST_POLL_S, until_ended


class SlowApi:
    """Answers job states in turn, each after as many seconds of a clock of its own as stand beside it."""

    def __init__(self, *answers: tuple[float, str | Exception]) -> None:
        self._answers = list(answers)
        self.now_s = 0.0
        self.waits: list[str | None] = []
        self.paused_s: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        after_s, answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        self.waits.append(request.headers.get("Prefer"))
        self.now_s += after_s
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(200, json={"id": "j", "state": answer})

    def pause(self, duration_s: float) -> None:
        self.paused_s.append(duration_s)
        self.now_s += duration_s

    def until_ended(self, timeout_s: float) -> dict[str, Any]:
        with ApiClient(Target("http://api.test", "k"), httpx.MockTransport(self)) as client:
            return until_ended(client, "j", timeout_s, clock=lambda: self.now_s, pause=self.pause)


@pytest.mark.parametrize("state", ["succeeded", "failed", "canceled", "expired", "quarantined"])
def test_a_job_that_has_ended_is_answered_at_once(state: str) -> None:
    api = SlowApi((0, state))
    assert api.until_ended(60)["state"] == state
    assert api.paused_s == []


def test_polls_follow_each_other_without_a_pause_while_the_server_holds_them() -> None:
    api = SlowApi((LONGEST_POLL_S, "queued"), (LONGEST_POLL_S, "running"), (5, "succeeded"))
    assert api.until_ended(60)["state"] == "succeeded"
    assert (api.waits, api.paused_s) == (["wait=20", "wait=20", "wait=20"], [])


def test_a_server_that_cannot_hold_the_request_is_asked_again_after_a_pause() -> None:
    api = SlowApi((0, "queued"), (0, "succeeded"))
    assert api.until_ended(60)["state"] == "succeeded"
    assert api.paused_s == [1.0]


def test_a_job_that_goes_on_is_answered_as_it_stands_when_the_time_is_over() -> None:
    api = SlowApi((0, "running"))
    assert api.until_ended(3)["state"] == "running"
    assert api.now_s == 3


def test_without_time_to_wait_the_job_is_read_once() -> None:
    api = SlowApi((0, "queued"))
    assert api.until_ended(0)["state"] == "queued"
    assert api.waits == [None]


def test_a_service_that_goes_away_for_a_moment_is_asked_again() -> None:
    api = SlowApi((0, httpx.ConnectError("away")), (0, httpx.ReadError("away")), (0, "succeeded"))
    assert api.until_ended(60)["state"] == "succeeded"


FAULTS: Sequence[Exception] = (httpx.ConnectError("away"), httpx.ReadTimeout("away"))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_service_that_stays_away_is_given_up_when_the_time_is_over(fault: Exception) -> None:
    api = SlowApi((0, fault))
    with pytest.raises(Unreachable):
        api.until_ended(3)
    assert api.now_s == 3
