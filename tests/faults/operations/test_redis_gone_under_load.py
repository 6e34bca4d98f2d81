"""Redis gone under 50 jobs a second: every job has its result within 3 s (95 of 100), and none is lost."""

import statistics
import threading
import time
from functools import partial

import pytest

from tests.acceptance import cases
from tests.faults.arena import Arena
from tests.faults.load import together
from tests.faults.operations.conftest import Operated
from tests.faults.report import Report
from tests.faults.test_scenarios_workers import outcomes

pytestmark = pytest.mark.timeout(5400)

JOBS_PER_S, CLIENTS = 50, 4
P95_S = 3.0
TOOK = """
SELECT percentile_cont(ARRAY[0.5, 0.95, 1]) WITHIN GROUP (ORDER BY extract(epoch FROM finished_at - created_at))
FROM job WHERE id = ANY(%s::uuid[])
"""


def submitted_at_a_rate(arena: Arena, lasts_s: float, ids: list[str], *, client: int) -> None:
    """Submit this client's share of the jobs one by one, each at its time."""
    began = time.monotonic()
    with arena.stack.client() as http:
        for number in range(client, int(JOBS_PER_S * lasts_s), CLIENTS):
            time.sleep(max(0.0, began + number / JOBS_PER_S - time.monotonic()))
            answer = http.post("/v1/jobs", json=cases.submission(number))
            assert answer.status_code == 202, answer.text
            ids.append(answer.json()["id"])


def waited_for(arena: Arena, over: threading.Event, took_s: list[float], ids: list[str]) -> None:
    """Submit and wait for the result in one request, about once a second: what a caller sees."""
    with arena.stack.client() as http:
        while not over.wait(0.5):
            began = time.monotonic()
            answer = http.post("/v1/jobs", json=cases.submission(1), headers={"Prefer": "wait=20"})
            assert answer.status_code == 200, answer.text
            took_s.append(time.monotonic() - began)
            ids.append(answer.json()["id"])


@pytest.mark.parametrize("fault", ["dead", "standing_still"])
def test_redis_is_gone_under_load(operated: Operated, report: Report, full: bool, fault: str) -> None:
    lasts_s = 60.0 if full else 10.0
    arena, ids, waiters_ids, waited_s = operated.arena, list[str](), list[str](), list[float]()
    over = threading.Event()

    def submit() -> None:
        try:
            together(
                [
                    partial(submitted_at_a_rate, arena, lasts_s, ids, client=client)
                    for client in range(CLIENTS)
                ]
            )
        finally:
            over.set()

    with report.scenario(arena, f"O Redis {fault} under load") as found:
        with getattr(operated.redis, fault)():
            together([submit, lambda: waited_for(arena, over, waited_s, waiters_ids)])
            arena.all_ended([*ids, *waiters_ids], within_s=30)
        p50_s, p95_s, most_s = arena.scalar(TOOK, ids)
        found["faults"] = f"{JOBS_PER_S} jobs/s for {lasts_s:.0f} s"
        found["submit to result"] = f"p50 {p50_s:.3f} s, p95 {p95_s:.3f} s, most {most_s:.3f} s"
        callers_p95_s = statistics.quantiles(waited_s, n=20, method="inclusive")[-1]
        found["callers that wait"] = (
            f"{len(waited_s)}, median {statistics.median(waited_s):.3f} s, p95 {callers_p95_s:.3f} s"
        )
        assert len(ids) == JOBS_PER_S * lasts_s
        assert set(outcomes(arena, ids)) == {"succeeded"}
        assert p95_s < P95_S
        assert callers_p95_s < P95_S
