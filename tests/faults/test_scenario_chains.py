"""Jobs that wait for others while workers are killed: every job ends once, in order, and none is left waiting."""

import itertools
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from tests.acceptance import cases
from tests.faults.arena import Arena, meanwhile
from tests.faults.load import Load
from tests.faults.report import Report

pytestmark = pytest.mark.timeout(5400)

AT_ONCE = 20
CALLED_OFF = 2  # of each AT_ONCE groups: their first job, which waits for a time that comes later
LATER_S = 20.0
LEFT = "SELECT count(*) FROM job WHERE state = 'waiting'"
# Scored before or beside what they wait for, or in spite of it; failed though nothing was amiss with it.
OUT_OF_ORDER = """
SELECT count(*) FROM job JOIN job_after ON job_after.job_id = job.id
    JOIN job AS predecessor ON predecessor.id = job_after.predecessor_id
WHERE job.started_at IS NOT NULL AND (predecessor.state <> 'succeeded' OR predecessor.finished_at > job.started_at)
"""
FAILED_WITHOUT_CAUSE = """
SELECT count(*) FROM job WHERE problem->>'code' = 'predecessor_failed' AND NOT EXISTS (
    SELECT FROM job_after JOIN job AS predecessor ON predecessor.id = job_after.predecessor_id
    WHERE job_after.job_id = job.id AND predecessor.state IN ('failed', 'canceled', 'expired'))
"""
STATES = "SELECT state::text FROM job WHERE id = ANY (%s::uuid[])"


def test_s13_chains_and_fan_ins_while_workers_are_killed(arena: Arena, report: Report, full: bool) -> None:
    """Each group is a chain of three, whose last joins three more jobs in a fan-in of four; some are canceled."""
    groups, every_s = (1_000, 2.0) if full else (60, 1.5)
    chance, load = arena.chance("s13"), arena.load()
    ids: list[str] = []
    with report.scenario(arena, "S13 chains and fan-ins, workers killed") as found:
        kills, done = 0, False

        def submit() -> None:
            nonlocal done
            for number in range(0, groups, AT_ONCE):
                group = submit_groups(load, number, min(AT_ONCE, groups - number))
                load.cancel_all([*group[:CALLED_OFF], *chance.sample(group, CALLED_OFF)], clients=1)
                ids.extend(group)
            done = True

        with meanwhile(submit):
            while not done or kills < 3:
                time.sleep(chance.uniform(0.2, 2 * every_s - 0.2))
                arena.kill(chance.choice(arena.stack.worker_names))
                kills += 1
        settled_s = arena.settle()
        assert arena.scalar(LEFT) == 0
        assert arena.scalar(OUT_OF_ORDER) == 0
        assert arena.scalar(FAILED_WITHOUT_CAUSE) == 0
        states = Counter(state for job_id in ids for state in [arena.scalar(STATES, [job_id])])
        assert states.keys() <= {"succeeded", "canceled", "failed"}
        assert min(states["succeeded"], states["canceled"], states["failed"]) > 0, states
        found["faults"] = f"{kills} SIGKILLs of random workers"
        found["groups"] = str(groups)
        found["ended"] = ", ".join(f"{count} {state}" for state, count in states.most_common())
        found["all ended after the last kill"] = f"{settled_s:.1f} s"


def submit_groups(load: Load, number: int, count: int) -> list[str]:
    """The jobs of `count` groups, those that wait for nothing first."""
    wave = itertools.count(10 * number)
    later = {"not_before": (datetime.now(UTC) + timedelta(seconds=LATER_S)).isoformat()}
    bodies = [cases.submission() | (later if each < CALLED_OFF else {}) for each in range(4 * count)]
    first = load.submit_wave(next(wave), bodies)
    heads, others = first[:count], [first[count + 3 * each : count + 3 * each + 3] for each in range(count)]
    ids, last = list(first), [[head] for head in heads]
    for _ in range(2):
        ids += (links := load.submit_wave(next(wave), [after(*each) for each in last]))
        last = [[link] for link in links]
    joined = [after(*link, *three) for link, three in zip(last, others, strict=True)]
    return ids + load.submit_wave(next(wave), joined)


def after(*job_ids: str) -> dict[str, object]:
    """A submit that waits for these jobs."""
    return cases.submission() | {"after": list(job_ids)}
