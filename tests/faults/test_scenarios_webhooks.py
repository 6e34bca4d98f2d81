"""Receivers that misbehave, and a dispatcher that is killed: whoever listens well is told of everything, and in time."""

import statistics
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime

import pytest

from tests.acceptance.stack import eventually
from tests.faults.arena import Arena, meanwhile
from tests.faults.report import Report
from tests.faults.test_scenarios_workers import bodies, in_waves
from tests.receiver import Received

pytestmark = pytest.mark.timeout(5400)

WELL = [f"/ok/{number}" for number in range(6)]
IN_THEIR_PLACE = [f"/ok/{number}" for number in range(6, 10)]  # as many that behave well, to compare with
HOSTILE = ["/hang", "/drip", "/flood", "/reset"]
TOLD_WITHIN_S = 180.0
MAY_ADD = 0.10


def test_s14_hostile_receivers_and_a_killed_dispatcher(arena: Arena, report: Report, full: bool) -> None:
    """Six receivers are told in time, first beside four good ones, then beside four hostile ones, and miss nothing."""
    jobs, kills, quiet_jobs = (5000, 10, 1000) if full else (200, 2, 60)
    chance = arena.chance("s14")
    with report.scenario(arena, "S14 hostile receivers, dispatcher killed") as found, registered(arena, WELL):
        with registered(arena, IN_THEIR_PLACE):
            among_good_ms = p95_of_delays_ms(arena, quiet_jobs)
        with registered(arena, HOSTILE):
            beside_ms = p95_of_delays_ms(arena, quiet_jobs)
            before = len(arena.history.job_ids())
            with meanwhile(lambda: in_waves(arena, 20, jobs // 20, every_s=0.1)):
                for _ in range(kills):
                    time.sleep(chance.uniform(0.1, jobs / 100 / kills))
                    arena.restarted("scheduler", arena.kill("scheduler"))
            notified = set(arena.history.job_ids()[before:])
            for path in WELL:
                eventually(lambda: not untold(arena, path, notified), within_s=TOLD_WITHIN_S, every_s=0.2)  # noqa: B023
        assert all(one.verified for path in WELL for one in arena.receiver.received(path))
        found["faults"] = f"4 hostile of 11 receivers, {kills} SIGKILLs of the dispatcher"
        found["events for each receiver"] = str(len(notified))
        found["p95 of the six beside four good receivers, and beside four hostile ones"] = (
            f"{among_good_ms:.0f} and {beside_ms:.0f} ms"
        )
        if full:
            assert beside_ms < (1 + MAY_ADD) * among_good_ms, (among_good_ms, beside_ms)


@contextmanager
def registered(arena: Arena, paths: Collection[str]) -> Iterator[None]:
    """Endpoints for these paths of the receiver while the block lasts."""
    for path in paths:
        arena.receiver.secrets[path] = arena.stack.endpoint(arena.receiver.url(path))
    yield
    urls = {arena.receiver.url(path) for path in paths}
    with arena.stack.client() as http:
        for endpoint in http.get("/v1/webhook-endpoints", params={"limit": 200}).json()["items"]:
            if endpoint["url"] in urls:
                assert http.delete(f"/v1/webhook-endpoints/{endpoint['id']}").status_code == 204


def p95_of_delays_ms(arena: Arena, jobs: int) -> float:
    """From an event to its receipt by the good receivers, of jobs that come one after the other."""
    load = arena.load()
    ids: set[str] = set()
    for number in range(jobs):
        ids.update(load.submit_wave(number, bodies(1)))
        time.sleep(0.02)
    for path in WELL:
        eventually(lambda: not untold(arena, path, ids), within_s=TOLD_WITHIN_S)  # noqa: B023
    delays = [delay_ms(one) for path in WELL for one in arena.receiver.received(path) if job_of(one) in ids]
    return statistics.quantiles(delays, n=20)[-1]


def untold(arena: Arena, path: str, job_ids: set[str]) -> set[str]:
    """Jobs of whose end this receiver was not told yet."""
    return job_ids - {job_of(one) for one in arena.receiver.received(path)}


def job_of(received: Received) -> str:
    """The job that a request tells of."""
    return str(received.content["data"]["job_id"])


def delay_ms(received: Received) -> float:
    """From the event to its receipt; both clocks are this machine's."""
    return (received.at - datetime.fromisoformat(received.content["timestamp"]).timestamp()) * 1000
