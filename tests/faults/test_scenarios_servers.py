"""Redis and Postgres killed, wiped, cut off and made to forget: submissions hold their promise all the while."""

import contextlib
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from service.broker import message_of
from service.queue import QueueName, score_wake_up
from tests.acceptance import cases
from tests.acceptance.stack import eventually
from tests.faults.arena import Arena
from tests.faults.history import Outcome
from tests.faults.load import Load
from tests.faults.report import Report
from tests.faults.test_scenarios_workers import bodies, outcomes

pytestmark = pytest.mark.timeout(5400)

RESUMES_WITHIN_S = 15.0
POSTGRES_BACK_WITHIN_S = 20.0


@contextlib.contextmanager
def trickle(load: Load, *, every_s: float = 0.1) -> Iterator[None]:
    """Submit a few jobs again and again while the block lasts."""
    stopping = threading.Event()

    def submit() -> None:
        number = 0
        while not stopping.is_set():
            load.submit_wave(number, bodies(5))
            number += 1
            stopping.wait(every_s)

    thread = threading.Thread(target=submit, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(timeout=60)
    assert not thread.is_alive(), "a client is still waiting for an answer"


def resumed(load: Load, arena: Arena, number: int) -> float:
    """Seconds until a job submitted now has ended."""
    return arena.all_ended(load.submit_wave(number, bodies(1)), within_s=RESUMES_WITHIN_S)


def outcome_counts(arena: Arena) -> dict[Outcome, int]:
    return {outcome: arena.history.count(outcome) for outcome in Outcome}


def test_s4_redis_killed_and_deaf(arena: Arena, report: Report, full: bool) -> None:
    restarts, holes, hole_s = (20, 10, 15.0) if full else (1, 1, 3.0)
    load, probe = arena.load(), arena.load()
    slowest = 0.0
    before = outcome_counts(arena)
    with report.scenario(arena, "S4 Redis killed and deaf") as found:
        with trickle(load):
            for number in range(restarts):
                pid = arena.kill("redis")
                eventually(lambda: arena.stack.pid("redis") != pid, within_s=30)  # noqa: B023
                slowest = max(slowest, resumed(probe, arena, number))
            for number in range(holes):
                with arena.stack.paused("redis"):
                    time.sleep(hole_s)
                slowest = max(slowest, resumed(probe, arena, restarts + number))
        after = outcome_counts(arena)
        failed = sum(after[outcome] - before[outcome] for outcome in (Outcome.REFUSED, Outcome.UNKNOWN))
        told = Counter((entry.outcome.value, entry.status) for entry in arena.history.submits)
        assert failed == 0, f"{failed} submissions failed; of all so far: {told}"
        found["faults"] = f"{restarts} restarts, {holes} times deaf for {hole_s:.0f} s"
        found["slowest resumption"] = f"{slowest:.1f} s"
        found["submissions that failed"] = str(failed)


def test_s4_deadlines_pass_while_redis_is_deaf(arena: Arena, report: Report) -> None:
    """What mends lost messages needs no message. The workers stand still, too: they would score without one."""
    load = arena.load()
    with report.scenario(arena, "S4 deadlines while Redis is deaf") as found:
        with arena.stack.paused("redis"), arena.stack.workers_paused():
            deadline = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()
            ids = load.submit_wave(0, [{**body, "deadline": deadline} for body in bodies(5)])
            found["expired after"] = f"{arena.all_ended(ids, within_s=15):.1f} s"
        assert set(outcomes(arena, ids)) == {"deadline_passed"}
        found["faults"] = "deaf until all have expired"


def test_s5_redis_flushed(arena: Arena, report: Report, full: bool) -> None:
    flushes = 10 if full else 2
    load = arena.load()
    slowest = 0.0
    with report.scenario(arena, "S5 Redis flushed") as found:
        for number in range(flushes):
            with arena.stack.workers_paused():
                ids = load.submit_wave(number, bodies(100))
                if number % 2:
                    arena.kill("redis")
                else:
                    eventually(arena.flushed, within_s=30)
            slowest = max(slowest, arena.all_ended(ids, within_s=RESUMES_WITHIN_S))
        found["faults"] = f"{flushes} times emptied, every other by a kill"
        found["slowest backlog woken and done"] = f"{slowest:.1f} s"


def test_s6_postgres_stopped_at_once(arena: Arena, report: Report, full: bool) -> None:
    stops = 20 if full else 1
    load, probe = arena.load(), arena.load()
    slowest = 0.0
    before = outcome_counts(arena)
    chance = arena.chance("s6")
    with report.scenario(arena, "S6 Postgres stopped at once") as found:
        with trickle(load):
            for number in range(stops):
                # Its supervisor waits ever longer after deaths within a second of a start.
                time.sleep(chance.uniform(0.3, 3.0))
                began = time.monotonic()
                arena.kill("postgres", signal.SIGQUIT)
                probe.submit_wave(number, bodies(1))
                slowest = max(slowest, time.monotonic() - began)
                assert slowest < POSTGRES_BACK_WITHIN_S
        after = outcome_counts(arena)
        found["faults"] = f"{stops} immediate shutdowns"
        found["slowest until accepted again"] = f"{slowest:.1f} s"
        found["answers 503 or none"] = str(
            sum(after[outcome] - before[outcome] for outcome in (Outcome.REFUSED, Outcome.UNKNOWN))
        )


def test_s8_wake_ups_repeated_and_shuffled(arena: Arena, report: Report, full: bool) -> None:
    jobs, idle = (2000, 2000) if full else (200, 500)
    chance = arena.chance("s8")
    with arena.stack.client() as http:
        digest = http.get(f"/v1/models/{cases.BREAST_CANCER}").json()["versions"][0]["digest"]
    version_id = arena.scalar("SELECT id FROM model_version WHERE digest = %s", digest)
    message = message_of(score_wake_up(version_id))
    nonsense = message_of(score_wake_up(arena.scalar("SELECT uuidv7()")))
    load = arena.load()
    with report.scenario(arena, "S8 wake-ups sent five times and shuffled") as found:
        with arena.redis() as redis:
            for start in range(0, jobs, 50):
                load.submit_wave(start, bodies(50))
                copies = [message] * 5 + [nonsense]
                chance.shuffle(copies)
                redis.lpush(QueueName.SCORE.value, *copies)
            arena.settle()
            began = time.monotonic()
            redis.lpush(QueueName.SCORE.value, *[message] * idle)
            eventually(lambda: redis.llen(QueueName.SCORE.value) == 0, within_s=60, every_s=0.01)
            each_ms = (time.monotonic() - began) * 1000 / idle
        assert each_ms < 10
        found["faults"] = f"{jobs // 50 * 5 + idle} wake-ups too many"
        found["a claim that finds nothing"] = f"{each_ms:.2f} ms"


def test_the_api_answers_503_while_postgres_stands_still_and_never_2xx(arena: Arena) -> None:
    """What is not committed is not accepted: a caller is told so, and in time."""
    with arena.stack.client() as http:
        pid = arena.kill("postgres", signal.SIGQUIT)
        answers = set()
        with contextlib.suppress(httpx.TransportError):
            for _ in range(5):
                answers.add(http.post("/v1/jobs", json=cases.submission(1)).status_code)
        assert answers <= {202, 503}
        eventually(lambda: arena.stack.pid("postgres") != pid, within_s=30)
        eventually(lambda: http.get("/readyz").status_code == 200, within_s=30)
