"""Workers killed while they write artifacts: each result has its own once, and nothing else is left in the blob store."""

import hashlib
import itertools
import os
import random
import re
import signal
import threading
import time
from functools import partial
from pathlib import Path

import psycopg
import pytest

from service.failpoints import Effect, Point
from tests.acceptance.stack import eventually
from tests.faults import drawing
from tests.faults.arena import LEASE_S, SETTLES_WITHIN_S, Arena, meanwhile
from tests.faults.report import Report

pytestmark = pytest.mark.timeout(5400)

WAVE = 4
# Where a worker exits, or stands still until others have taken its jobs.
TROUBLES = (
    (Point.RUN_AFTER, Effect.EXIT),
    (Point.ARTIFACTS_WRITTEN, Effect.EXIT),
    (Point.ARTIFACTS_WRITTEN, Effect.STOP),
    (Point.END_AFTER, Effect.EXIT),
)
MADE = """
SELECT job.id::text, job.fence, artifact.name, artifact.fence
FROM job LEFT JOIN artifact ON artifact.job_id = job.id
WHERE job.id = ANY (%s::uuid[]) AND job.state = 'succeeded'
"""
KEPT = "SELECT location FROM artifact WHERE location IS NOT NULL"  # of jobs of other scenarios too
NOTED = "SELECT location FROM blob_removal"
UNFINISHED = re.compile(r"\.[0-9a-f]{32}\.part$")  # behind a blob's place: its writer was killed
OVERDUE = "UPDATE blob_removal SET due_at = now()"


def test_s16_kills_while_artifacts_are_written(arena: Arena, report: Report, full: bool) -> None:
    rounds = 20 if full else 1
    chance = arena.chance("s16")
    submitted: list[str] = []
    with report.scenario(arena, "S16 kills while artifacts are written") as found:
        done = threading.Event()
        with meanwhile(partial(in_waves, arena, submitted, done)):
            try:
                for point, effect in chance.sample([*TROUBLES] * rounds, k=rounds * len(TROUBLES)):
                    make_trouble(arena, point, effect, chance)
            finally:
                done.set()
        arena.all_ended(submitted, SETTLES_WITHIN_S)
        left = check_stored(arena, submitted)
        check_downloads(arena, submitted[:8])
        found["faults"] = f"{2 * rounds * len(TROUBLES)} exits, stops and SIGKILLs while files were written"
        found["blobs left by the dead, and removed"] = str(left)


def in_waves(arena: Arena, submitted: list[str], done: threading.Event) -> None:
    """Cases of fifty different doses, some at a time, until all is done: a worker meets its trouble only with work."""
    load = arena.load()
    for number in itertools.count():
        if done.is_set():
            return
        cases = [drawing.body((number * WAVE + place) % 50) for place in range(WAVE)]
        submitted += load.submit_wave(number, cases)
        time.sleep(0.1)


def make_trouble(arena: Arena, point: Point, effect: Effect, chance: random.Random) -> None:
    """Have a worker exit or stand still at a point, and another killed a moment later."""
    token = arena.put_token(point, effect)
    eventually(lambda: not token.exists(), within_s=SETTLES_WITHIN_S)
    if effect is Effect.STOP:
        eventually(lambda: bool(arena.stopped_workers()), within_s=20)
        time.sleep(3 * LEASE_S)
        for pid in arena.stopped_workers():
            os.kill(pid, signal.SIGCONT)
    time.sleep(chance.uniform(0.0, 0.3))
    arena.kill(chance.choice(arena.stack.worker_names))


def check_stored(arena: Arena, job_ids: list[str]) -> int:
    """Every result has both its artifacts, of its own fence, and every other blob is known and removed; how many were."""
    with psycopg.connect(arena.database_url, autocommit=True) as connection:
        made = connection.execute(MADE, (job_ids,)).fetchall()
        names: dict[str, list[str]] = {}
        for job_id, fence, name, artifact_fence in made:
            assert artifact_fence == fence, (job_id, fence, artifact_fence)
            names.setdefault(job_id, []).append(name)
        assert len(names) == len(set(job_ids))
        assert all(sorted(found) == ["note.txt", "overlay.bin"] for found in names.values())
        before = blobs(arena)  # read first: a worker that is late notes its blobs before it writes them
        kept = {location for (location,) in connection.execute(KEPT)}
        noted = {location for (location,) in connection.execute(NOTED)}
        assert kept <= before
        left = {UNFINISHED.sub("", place) for place in before - kept}
        assert left <= noted, "blobs that nobody knows of"
        connection.execute(OVERDUE)
        eventually(lambda: connection.execute(NOTED).fetchone() is None, within_s=30)
    assert blobs(arena) == kept
    return len(before - kept)


def blobs(arena: Arena) -> set[str]:
    """Every blob of an artifact, as the database calls it."""
    root: Path = arena.stack.data / "blobs"
    return {str(path.relative_to(root)) for path in (root / "artifacts").rglob("*") if path.is_file()}


def check_downloads(arena: Arena, job_ids: list[str]) -> None:
    """What is downloaded is what the model made of the case, and what the result lists."""
    with arena.stack.client() as http:
        for job_id in job_ids:
            listed = http.get(f"/v1/jobs/{job_id}").json()["result"]["artifacts"]
            overlay, note = (http.get(each["url"]).content for each in listed)
            assert [hashlib.sha256(content).hexdigest() for content in (overlay, note)] == [
                each["sha256"] for each in listed
            ]
            assert bytes.fromhex(note.decode()) * 4096 == overlay
