"""How long a service may be silent: short for a plain call, longer where it has much to check, store or send."""

from collections.abc import Callable

import httpx
import pytest

from service.cli.client import ApiClient
from service.cli.errors import AnswerLost
from service.cli.target import Target

CALLS: dict[str, tuple[float, Callable[[ApiClient], object]]] = {
    "job": (10, lambda api: api.job("j")),
    "job_waited_for": (30, lambda api: api.job("j", wait_s=20)),
    "jobs": (10, lambda api: api.jobs({}, 5)),
    "submit": (10, lambda api: api.submit({})),
    "cancel": (10, lambda api: api.cancel("j")),
    "delete": (10, lambda api: api.delete_schedule("s")),
    "probe": (10, lambda api: api.probe("/readyz")),
    "digest": (10, lambda api: api.digest_of("/f")),
    "bulk": (60, lambda api: api.submit_bulk([{}])),
    "batch": (60, lambda api: api.submit_batch({}, "k")),
    "rerun": (60, lambda api: api.control_batch("b", "rerun")),
    "schedule": (60, lambda api: api.create_schedule({})),
    "replay": (60, lambda api: api.replay_range("e", {})),
    "upload": (60, lambda api: api.upload([b"x"])),
    "file": (60, lambda api: api.file("/f").__enter__()),
    "feed": (60, lambda api: api.follow([], None).__enter__()),
    "text": (60, lambda api: api.follow_text("7", None).__enter__()),
}


@pytest.mark.parametrize(("silence_s", "call"), CALLS.values(), ids=CALLS)
def test_a_silent_service_is_given_up_in_time(silence_s: float, call: Callable[[ApiClient], object]) -> None:
    limits: list[float] = []

    def silent(request: httpx.Request) -> httpx.Response:
        limits.append(request.extensions["timeout"]["read"])
        raise httpx.ReadTimeout("silent", request=request)

    with (
        ApiClient(Target("http://api.test", "k"), httpx.MockTransport(silent)) as api,
        pytest.raises(AnswerLost, match=rf"http://api.test .* silent for {silence_s:g} s\."),
    ):
        call(api)
    assert limits == [silence_s]
