"""Workers killed, stopped, replaced and misled under load: nothing is lost, nothing happens twice."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from service.embedded.commands import worker_command
from service.failpoints import Effect, Point
from tests.acceptance import cases
from tests.acceptance.stack import eventually
from tests.faults import drawing, trouble, writing
from tests.faults.arena import BATCH_POINTS, LEASE_S, OPEN_JOBS, SETTLES_WITHIN_S, Arena, meanwhile
from tests.faults.load import read_until_answered, together
from tests.faults.report import Report
from tests.forking.commands import Forked

pytestmark = pytest.mark.timeout(5400)

ROOT = Path(__file__).parents[2]

# By whom each point is reached, and by which work. Whoever sends a wake-up comes to the points of its sending.
LANES = {
    "api": [Point.SUBMIT_BEFORE, Point.SUBMIT_AFTER, Point.WAKE_UP_BEFORE, Point.WAKE_UP_AFTER],
    "scheduler": [
        *(Point.RESCUE_BEFORE, Point.RESCUE_AFTER, Point.REWAKE_BEFORE, Point.REWAKE_AFTER),
        *(Point.DELIVER_CLAIM_AFTER, Point.DELIVER_SEND_AFTER, Point.DELIVER_RECORD_AFTER),
    ],
}
JOB_POINTS = [point for point in Point if point not in BATCH_POINTS]
LANES["worker"] = [point for point in JOB_POINTS if not any(point in points for points in LANES.values())]
LONG = {Point.HEARTBEAT_BEFORE, Point.HEARTBEAT_AFTER}
COMES_TO_POINT_WITHIN_S = 60.0
BACKLOG = 20
# A worker may stand still while another of its threads has locked the jobs: Postgres ends its transaction after a minute
# (service.db.SETTINGS), and only then has another worker its jobs.
TAKEN_OVER_WITHIN_S = 90.0


def bodies(count: int) -> list[dict[str, Any]]:
    """Submits of the tabular model."""
    return [cases.submission(number) for number in range(count)]


def in_waves(arena: Arena, wave_size: int, waves: int, *, every_s: float, dose: float | None = None) -> None:
    """Submit waves of jobs, one every `every_s` seconds."""
    load = arena.load()
    wave = bodies(wave_size) if dose is None else [trouble.body(dose)] * wave_size
    for number in range(waves):
        begun = time.monotonic()
        load.submit_wave(number, wave)
        time.sleep(max(0.0, every_s - (time.monotonic() - begun)))


def test_s1_killed_workers(arena: Arena, report: Report, full: bool) -> None:
    jobs, kills, every_s = (10_000, 50, 2.5) if full else (400, 3, 1.5)
    chance = arena.chance("s1")
    waves = int(kills * every_s / 0.1)
    texts: list[str] = []
    with report.scenario(arena, "S1 workers killed") as found:
        with (
            meanwhile(lambda: in_waves(arena, jobs // waves, waves, every_s=0.1)),
            meanwhile(lambda: texts.extend(texts_in_turn(arena, kills * 3, every_s=every_s / 3))),
        ):
            writing.kill_a_writer(arena)
            for _ in range(kills):
                time.sleep(chance.uniform(0.2, 2 * every_s - 0.2))
                arena.kill(chance.choice(arena.stack.worker_names))
        found["faults"] = f"{kills} SIGKILLs of random workers, one of a worker that writes"
        found["all ended after the last kill"] = f"{arena.settle():.1f} s"
        found["texts written"] = writing.checked(arena, texts)


def texts_in_turn(arena: Arena, count: int, *, every_s: float) -> Iterator[str]:
    """Submit texts, and cases that wait for them; the ids of the texts."""
    load = arena.load()
    for number in range(count):
        yield writing.text_and_follower(load, number)
        time.sleep(every_s)


def test_s2_exits_at_every_point(arena: Arena, report: Report, full: bool) -> None:
    """API, workers and scheduler each exit at one of their points after the other, in three lanes side by side."""
    rounds = 100 if full else 1
    texts: list[str] = []
    with report.scenario(arena, "S2 exits at every point") as found:
        with warm_processes(arena):
            together([partial(exits, arena, lane, points, rounds, texts) for lane, points in LANES.items()])
        found["texts written"] = writing.checked(arena, texts)
        found["faults"] = f"{rounds} exits at each of {len(JOB_POINTS)} points"


def exits(arena: Arena, lane: str, points: Sequence[Point], rounds: int, texts: list[str]) -> None:
    """Exit at each of these points so many times, in random order, with work enough that a process comes there.

    A text is written beside every second point of workers; its id goes into `texts`.
    """
    load, writes = arena.load(), arena.load()
    order = [*points] * rounds
    arena.chance(f"s2/{lane}").shuffle(order)
    wave = 0
    for number, point in enumerate(order):
        # Workers that die three times a second end fewer jobs than they are brought, and a backlog shows nothing more.
        eventually(lambda: arena.scalar(OPEN_JOBS) <= BACKLOG, within_s=SETTLES_WITHIN_S)
        if lane == "worker" and number % 2 == 0:
            texts.append(writing.text_and_follower(writes, len(texts)))
        token = arena.put_token(point)
        job = trouble.body(trouble.LASTS if point in LONG else 5.0)
        if point is Point.ARTIFACTS_WRITTEN:
            job = drawing.body(5.0)
        gives_up = time.monotonic() + COMES_TO_POINT_WITHIN_S
        while token.exists():
            assert time.monotonic() < gives_up, f"no process came to {point}"
            load.submit_wave(wave, [job])
            wave += 1
            with contextlib.suppress(AssertionError):
                eventually(lambda: not token.exists(), within_s=1.0, every_s=0.01)  # noqa: B023


def test_s3_stopped_workers(arena: Arena, report: Report, full: bool) -> None:
    """Two of three workers stand still for three leases with results in their hands; the third finishes their jobs."""
    rounds = 50 if full else 1
    refused = arena.logged("late_results_refused")
    load = arena.load()
    with report.scenario(arena, "S3 workers stopped for three leases") as found:
        for number in range(rounds):
            ids: list[str] = []
            for stopped in (1, 2):
                arena.put_token(Point.END_BEFORE, Effect.STOP)
                ids += load.submit_wave(2 * number + stopped, bodies(3))
                eventually(lambda: len(arena.stopped_workers()) == stopped, within_s=20)  # noqa: B023
            time.sleep(3 * LEASE_S)
            arena.all_ended(ids, TAKEN_OVER_WITHIN_S)
            late = refused + 2 * (number + 1)
            for pid in arena.stopped_workers():
                os.kill(pid, signal.SIGCONT)
            eventually(lambda: arena.logged("late_results_refused") >= late, within_s=20)  # noqa: B023
        found["faults"] = f"{2 * rounds} stops"
        found["late results refused"] = str(arena.logged("late_results_refused") - refused)


def test_s3_a_late_result_while_another_worker_has_the_job(arena: Arena, report: Report, full: bool) -> None:
    """The job runs again under a new fence, so only the fence tells the late result from the awaited one."""
    rounds = 20 if full else 1
    refused = arena.logged("late_results_refused")
    load = arena.load()
    with report.scenario(arena, "S3 late result while another worker has the job") as found:
        for number in range(rounds):
            arena.put_token(Point.END_BEFORE, Effect.STOP)
            (job_id,) = load.submit_wave(number, bodies(1))
            eventually(lambda: len(arena.stopped_workers()) == 1, within_s=20)
            (first,) = arena.stopped_workers()
            arena.put_token(Point.END_BEFORE, Effect.STOP)
            eventually(lambda: len(arena.stopped_workers()) == 2, within_s=TAKEN_OVER_WITHIN_S, every_s=0.02)
            late = number + 1 + refused
            os.kill(first, signal.SIGCONT)
            eventually(lambda: arena.logged("late_results_refused") >= late, within_s=20, every_s=0.02)  # noqa: B023
            for pid in arena.stopped_workers():
                os.kill(pid, signal.SIGCONT)
            arena.all_ended([job_id], within_s=30)
        found["faults"] = f"{rounds} times two workers stopped with the same job"
        found["late results refused"] = str(arena.logged("late_results_refused") - refused)


def test_s9_culprits_among_good_jobs(arena: Arena, report: Report, full: bool) -> None:
    """One job kills its worker each time, one raises, one hangs, one asks for more memory than there is."""
    good = 1000 if full else 200
    load = arena.load()
    with report.scenario(arena, "S9 culprits among good jobs") as found:
        with arena.stack.workers_paused():
            first = load.submit_wave(0, [trouble.body(5.0)] * (good // 2))
            culprits = load.submit_wave(
                1, [trouble.body(dose) for dose in (6.0, trouble.RAISES, trouble.HANGS, trouble.GREEDY)]
            )
            deadly = arena.tokens / f"{Point.RUN_BEFORE}@{culprits[0]}"
            deadly.write_text(Effect.EXIT)
            others = load.submit_wave(2, [trouble.body(7.0)] * (good // 2))
        arena.all_ended([*first, *culprits, *others], within_s=180)
        deadly.unlink()
        assert outcomes(arena, culprits) == [
            "worker_crashed", "model_failed", "run_timed_out", "out_of_memory",
        ]  # fmt: skip
        assert set(outcomes(arena, [*first, *others])) == {"succeeded"}
        found["faults"] = "1 job that kills, 1 that raises, 1 that hangs, 1 out of memory"
        found["good jobs that succeeded"] = f"{good} of {good}"


def test_s10_cancels(arena: Arena, report: Report, full: bool) -> None:
    count = 3000 if full else 120
    load = arena.load()
    chance = arena.chance("s10")
    with report.scenario(arena, "S10 cancels at random moments") as found:
        with load.looking(clients=1):
            for start in range(0, count, 30):
                ids = load.submit_wave(start, [*bodies(20), *[trouble.body(trouble.LASTS)] * 10])
                time.sleep(chance.uniform(0, 0.05))
                chance.shuffle(ids)
                load.cancel_all(ids, clients=2)
        arena.settle()
        load.read_all(arena.history.job_ids()[-count:])
        canceled = sum(state == "canceled" for state in arena.history.cancels.values())
        assert 0 < canceled < len(arena.history.cancels), "every cancel met the same phase: nothing shown"
        found["faults"] = f"{count} cancels"
        found["canceled before they ended"] = str(canceled)


def test_s11_rolling_restarts(arena: Arena, report: Report, full: bool) -> None:
    restarts = 20 if full else 1
    before = len(arena.history.job_ids())
    with report.scenario(arena, "S11 rolling restarts") as found:
        waves = restarts * 60
        with meanwhile(lambda: in_waves(arena, 10, waves, every_s=0.1)):
            for number in range(restarts):
                name = arena.stack.worker_names[number % len(arena.stack.worker_names)]
                arena.restarted(name, arena.kill(name, signal.SIGTERM))
        arena.settle()
        used_up = arena.scalar(
            "SELECT count(*) FROM job WHERE id = ANY(%s::uuid[]) AND attempt <> 1",
            arena.history.job_ids()[before:],
        )
        assert used_up == 0, f"{used_up} jobs lost an attempt to a planned stop"
        found["faults"] = f"{restarts} SIGTERMs under load"
        found["attempts used up"] = str(used_up)


def test_s12_wrong_clocks(arena: Arena, report: Report, full: bool) -> None:
    """Two workers whose clocks are ten minutes wrong do all the work: only the database's clock counts."""
    count = 500 if full else 50
    load = arena.load()
    with report.scenario(arena, "S12 worker clocks wrong") as found:
        with arena.stack.workers_paused(), skewed_worker(arena, 600), skewed_worker(arena, -600):
            ids = load.submit_wave(0, [*bodies(count), *[trouble.body(trouble.LASTS)] * (count // 10)])
            arena.all_ended(ids, within_s=60)
        assert set(outcomes(arena, ids)) == {"succeeded"}
        taken_back = arena.scalar(
            "SELECT count(*) FROM audit_event WHERE action = 'job.rescued' AND job_id = ANY(%s::uuid[])", ids
        )
        assert taken_back == 0, "a wrong clock cost a lease"
        found["faults"] = "two workers, ten minutes fast and slow"
        found["leases lost"] = str(taken_back)


@contextlib.contextmanager
def warm_processes(arena: Arena) -> Iterator[None]:
    """Workers and a scheduler that start at once, in place of the supervised ones."""
    names = [f"warm-{number}" for number in range(1, len(arena.stack.worker_names) + 1)]
    logs = arena.stack.data / "log"
    command = [sys.executable, "-m", "tests.faults.warm", str(logs), *names, "scheduler-warm"]
    with arena.stack.workers_paused(), arena.stack.paused("scheduler"):
        process = Forked(command, env=arena.environment(), cwd=ROOT)
        try:
            yield
        finally:
            process.terminate()
            process.wait(timeout=60)


@contextlib.contextmanager
def skewed_worker(arena: Arena, skew_s: float) -> Iterator[None]:
    """One more worker on the stack, its clock wrong."""
    name = f"skewed{skew_s:+.0f}"
    environment = {
        **arena.environment(),
        "MEDQUEUE_WORKER_NAME": name,
        "CLOCK_SKEW_S": str(skew_s),
        "PYTHONPATH": str(Path(__file__).parent / "skewed"),
    }
    with (arena.stack.data / "log" / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(worker_command(name), env=environment, stdout=log, stderr=log)
        try:
            eventually((arena.stack.data / "run" / f"{name}.ready").exists, within_s=60)
            yield
        finally:
            process.terminate()
            process.wait(timeout=20)


def outcomes(arena: Arena, job_ids: Sequence[str]) -> list[str]:
    """How jobs ended: their problem's code, or else their state. Of ten of them at most, the API must tell the same."""
    ends = "SELECT id::text, coalesce(problem ->> 'code', state::text) FROM job WHERE id = ANY(%s::uuid[])"
    with psycopg.connect(arena.database_url, autocommit=True) as connection:
        stored: dict[str, str] = dict(connection.execute(ends, [list(job_ids)]).fetchall())
    asked = job_ids[:: len(job_ids) // 10 + 1]
    with arena.stack.client() as http:
        jobs = [read_until_answered(http, job_id) for job_id in asked]
    told = [job["problem"]["code"] if job.get("problem") else job["state"] for job in jobs]
    assert told == [stored[job_id] for job_id in asked]
    return [stored[job_id] for job_id in job_ids]
