"""Scoring while a server is away, while others compete for the work, and while it waits for company."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

import pytest

from models.pipelines import Array
from service import requirements
from service.accounts import TenantCiphers
from service.crypto import Keyring
from service.db import Database
from service.embedded import ServerUrls
from service.faults import Fault, Requirement
from service.gate import Gate
from service.jobs import queries, sweeps
from service.lifecycle import JobState
from tests.fakes import FakeTaskQueue, MemoryBlobStore
from tests.integration.workbench import MAX_ATTEMPTS, RETRY_BASE_S, Workbench, counted, publish, workbench
from workers.runtime import RunFailed


class Open(Protocol):
    """Opens a workbench with limits of the test's choice."""

    def __call__(self, **limits: Any) -> AbstractContextManager[Workbench]:
        """See workbench."""


@pytest.fixture
def opened(
    database: Database,
    blobs: MemoryBlobStore,
    keyring: Keyring,
    queue: FakeTaskQueue,
    tmp_path: Path,
    servers: ServerUrls,
    database_url: str,
) -> Open:
    urls = servers.database_url, database_url
    return lambda **limits: workbench(database, blobs, keyring, queue, tmp_path, urls, **limits)


@pytest.fixture
def bench(opened: Open) -> Iterator[Workbench]:
    with opened() as made:
        yield made


def outage(bench: Workbench, lasts_s: float) -> threading.Timer:
    """Cut Postgres off now, and mend it after a while."""
    bench.cut_postgres()
    timer = threading.Timer(lasts_s, bench.mend_postgres)
    timer.start()
    return timer


def test_results_are_stored_when_postgres_is_back(bench: Workbench) -> None:
    ids = bench.submit(1.0, 2.0)
    timers: list[threading.Timer] = []
    bench.graph.script = lambda _: timers.append(outage(bench, 0.6))
    bench.score()
    timers[0].join()
    assert bench.outcomes(ids) == ["succeeded", "succeeded"]
    assert bench.graph.batch_sizes == [2]


def test_results_are_not_lost_to_a_neighbour_whose_input_is_away(bench: Workbench) -> None:
    (scored,), (put_off, _) = bench.submit(1.0), bench.submit_upload()
    timers: list[threading.Timer] = []

    def cut(_: Mapping[str, Array]) -> None:
        timers.append(outage(bench, 0.6))

    bench.graph.script = cut
    bench.blobs.away = True
    try:
        bench.score()
    finally:
        timers[0].join()
    assert bench.outcomes([scored, put_off]) == ["succeeded", "queued"]


def test_while_the_blob_store_is_away_a_job_is_put_off_and_its_neighbours_scored(bench: Workbench) -> None:
    (scored,), (put_off, _) = bench.submit(1.0), bench.submit_upload()
    bench.blobs.away = True
    before = counted("medqueue_jobs_retried_total", model=bench.model.name, code="blob_unavailable")
    bench.score()
    assert bench.outcomes([scored, put_off]) == ["succeeded", "queued"]
    assert bench.actions(put_off)[-1] == "job.retried"
    assert (
        counted("medqueue_jobs_retried_total", model=bench.model.name, code="blob_unavailable") == before + 1
    )


def test_a_job_that_is_put_off_waits_longer_each_time(bench: Workbench) -> None:
    job_id, _ = bench.submit_upload()
    bench.blobs.away = True
    for _ in range(2):
        bench.score()
        bench.make_due(job_id)
    rows = bench.rows(
        "SELECT (detail->>'delay_s')::float FROM audit_event WHERE action = 'job.retried' AND job_id = %s ORDER BY id",
        job_id,
    )
    assert [row[0] for row in rows] == [RETRY_BASE_S, 2 * RETRY_BASE_S]


def test_a_job_that_is_put_off_is_not_claimed_before_its_time(bench: Workbench) -> None:
    bench.submit_upload()
    bench.blobs.away = True
    bench.score()
    bench.blobs.away = False
    assert bench.score() == 0


def test_a_job_that_was_put_off_is_scored_when_the_blob_store_is_back(bench: Workbench) -> None:
    job_id, _ = bench.submit_upload()
    bench.blobs.away = True
    bench.score()
    bench.blobs.away = False
    bench.make_due(job_id)
    assert bench.score() == 1
    assert bench.outcomes([job_id]) == ["succeeded"]


def test_a_job_that_was_put_off_too_often_is_left_to_an_operator(bench: Workbench) -> None:
    job_id, _ = bench.submit_upload()
    bench.blobs.away = True
    for _ in range(MAX_ATTEMPTS):
        assert bench.score() == 1
        bench.make_due(job_id)
    assert bench.outcomes([job_id]) == ["blob_unavailable"]
    assert bench.view(job_id).state == JobState.QUARANTINED
    assert bench.score() == 0


def away(bench: Workbench) -> Gate:
    """A gate that knows that the blob store is away."""
    fault = Fault(Requirement.BLOB_STORE, "MEDQUEUE_BLOB_URL", "away", "Mend it.")
    gate = Gate("w1", lambda: [fault] if bench.blobs.away else [])
    bench.scorer._gate = bench.scorer._inputs._gate = gate
    return gate


@pytest.mark.parametrize("looked", [True, False], ids=["known", "not known yet"])
def test_while_the_whole_store_is_away_no_attempt_is_used_up(bench: Workbench, looked: bool) -> None:
    job_id, _ = bench.submit_upload()
    gate = away(bench)
    bench.blobs.away = True
    if looked:
        gate.look()
    for _ in range(3 * MAX_ATTEMPTS):
        assert bench.score() == 1
        bench.make_due(job_id)
    bench.blobs.away = False
    bench.score()
    assert (bench.outcomes([job_id]), bench.view(job_id).attempt) == (["succeeded"], 2)


def blobs_of_uploads(bench: Workbench) -> dict[str, bytes]:
    return {place: blob for place, blob in bench.blobs.blobs.items() if place.startswith("uploads/")}


def test_a_job_whose_upload_is_missing_waits_for_it(bench: Workbench) -> None:
    job_id, _ = bench.submit_upload()
    kept = blobs_of_uploads(bench)
    for location in kept:
        bench.blobs.delete(location)
    bench.score()
    assert bench.outcomes([job_id]) == ["queued"]
    bench.blobs.blobs |= kept
    bench.make_due(job_id)
    bench.score()
    assert bench.outcomes([job_id]) == ["succeeded"]


def test_a_job_whose_upload_stays_missing_is_left_to_an_operator(bench: Workbench) -> None:
    job_id, _ = bench.submit_upload()
    kept = blobs_of_uploads(bench)
    for location in kept:
        bench.blobs.delete(location)
    for _ in range(MAX_ATTEMPTS):
        assert bench.score() == 1
        bench.make_due(job_id)
    assert bench.outcomes([job_id]) == ["upload_gone"]
    assert bench.view(job_id).state == JobState.QUARANTINED
    assert bench.score() == 0
    bench.blobs.blobs |= kept
    requeue(bench, job_id)
    bench.score()
    assert bench.outcomes([job_id]) == ["succeeded"]
    assert bench.actions(job_id)[-3:] == ["job.requeued", "job.claimed", "job.succeeded"]


def requeue(bench: Workbench, job_id: UUID) -> None:
    with bench.database.statement() as work:
        queries.requeue(work, job_id, actor="operator:test")


def test_a_job_whose_upload_was_tampered_with_is_left_to_an_operator(bench: Workbench) -> None:
    job_id, _ = bench.submit_upload()
    (location,) = blobs_of_uploads(bench)
    bench.blobs.blobs[location] = bench.blobs.blobs[location][:-1] + b"\0"
    bench.score()
    assert bench.outcomes([job_id]) == ["input_unreadable"]
    assert bench.view(job_id).state == JobState.QUARANTINED


def test_under_another_master_key_jobs_are_put_back_and_no_further_ones_claimed(
    bench: Workbench, database: Database
) -> None:
    """The example: one worker's key was another one, and 142 of 300 jobs failed for good."""
    stranger, inputs, right = Keyring(b"o" * 32), bench.scorer._inputs, bench.scorer._ciphers
    gate = Gate("w1", lambda: [found] if (found := requirements.database(database, stranger)) else [])
    bench.scorer._gate = inputs._gate = gate
    inputs._ciphers = TenantCiphers(database, stranger)
    first = bench.submit(*[1.0] * 8)
    bench.score()
    rest = bench.submit(*[1.0] * 8)
    assert bench.score() == 0
    assert bench.outcomes(first + rest) == ["queued"] * 16
    assert [fault.requirement for fault in gate.faults] == [Requirement.MASTER_KEY]
    assert "MEDQUEUE_MASTER_KEY" in str(gate.faults[0])
    bench.scorer._gate = inputs._gate = Gate("w1", tuple)
    inputs._ciphers = right
    bench.make_due(*first)
    for _ in range(20):
        bench.score()
    assert bench.outcomes(first + rest) == ["succeeded"] * 16
    assert {bench.view(job_id).attempt for job_id in first} == {2}


def test_reading_each_upload_counts_as_progress(bench: Workbench) -> None:
    bench.submit_upload()
    bench.score()
    with_one, bench.heartbeat.steps = bench.heartbeat.steps, 0
    for _ in range(3):
        bench.submit_upload()
    bench.score()
    assert bench.heartbeat.steps >= with_one + 2


def retried(bench: Workbench, count: int) -> list[UUID]:
    """Jobs that were put off once and are due again."""
    found = [bench.submit_upload()[0] for _ in range(count)]
    bench.blobs.away = True
    bench.score()
    bench.blobs.away = False
    bench.make_due(*found)
    return found


def test_retries_and_fresh_jobs_take_turns(bench: Workbench) -> None:
    again = retried(bench, 3)
    fresh = bench.submit(*[1.0] * 24)
    for calls, jobs in ((6, again), (20, fresh)):  # a claim is small where a call took long
        for _ in range(calls):
            bench.score()
        assert set(bench.outcomes(jobs)) == {"succeeded"}


def test_a_retry_is_claimed_alone_and_followed_by_a_wake_up(bench: Workbench) -> None:
    retried(bench, 2)
    bench.queue.waiting.clear()
    assert bench.score() == 1
    assert len(bench.queue.waiting) == 1


@pytest.mark.parametrize("before", [0, 1])
def test_two_models_in_turn_starve_no_retry(before: int, bench: Workbench, tmp_path: Path) -> None:
    other = publish(bench.database, bench.blobs, tmp_path / "other", "other-effect")
    (again,) = retried(bench, 1)
    for _ in range(before):
        bench.scorer.score(other.id)
    for _ in range(6):
        bench.submit(*[1.0] * 8)
        bench.score()
        bench.scorer.score(other.id)
    assert bench.outcomes([again]) == ["succeeded"]


def test_a_long_run_keeps_its_leases(opened: Open) -> None:
    with opened(lease_s=0.6) as bench:
        (job_id,) = bench.submit(1.0)
        rescued: list[UUID] = []

        def linger(_: Mapping[str, Array]) -> None:
            until = time.monotonic() + 1.6
            while time.monotonic() < until:
                time.sleep(0.2)
                with bench.database.statement() as work:
                    rescued.extend(sweeps.rescue(work, max_crashes=3).queued)

        bench.graph.script = linger
        bench.score()
        assert rescued == []
        assert bench.outcomes([job_id]) == ["succeeded"]


def test_a_job_canceled_during_a_long_run_is_known_as_lost(opened: Open) -> None:
    with opened(lease_s=0.6) as bench:
        (job_id,) = bench.submit(1.0)

        def linger(_: Mapping[str, Array]) -> None:
            bench.rows(
                "UPDATE job SET state = 'canceled', finished_at = now(), lease_owner = NULL, lease_expires_at = NULL"
            )
            until = time.monotonic() + 3
            while not bench.heartbeat.lost and time.monotonic() < until:
                time.sleep(0.02)

        bench.graph.script = linger
        bench.score()
        assert bench.heartbeat.lost == {job_id}


@pytest.mark.parametrize("every", [True, False])
def test_nothing_more_is_run_for_jobs_that_were_all_canceled(opened: Open, every: bool) -> None:
    with opened(lease_s=0.6) as bench:
        first, second = bench.submit(1.0, 2.0)
        canceled = [first, second] if every else [first]

        def linger(_: Mapping[str, Array]) -> None:
            bench.graph.script, until = None, time.monotonic() + 5
            for job_id in canceled:
                with bench.database.transaction() as work:
                    queries.cancel(work, bench.caller, job_id)
            while bench.heartbeat.lost != set(canceled) and time.monotonic() < until:
                time.sleep(0.02)
            raise RunFailed  # so that each is run again, alone

        bench.graph.script = linger
        bench.score()
        assert bench.graph.batch_sizes == ([2] if every else [2, 1])
        assert bench.outcomes([first, second]) == ["canceled", "canceled" if every else "succeeded"]


def test_a_job_that_waits_for_company_is_scored_with_it(opened: Open) -> None:
    with opened(max_wait_ms=400) as bench:
        (first,) = bench.submit(1.0)
        late: list[UUID] = []
        timer = threading.Timer(0.1, lambda: late.extend(bench.submit(2.0)))
        timer.start()
        assert bench.score() == 2
        timer.join()
        assert bench.graph.batch_sizes == [2]
        assert bench.outcomes([first, *late]) == ["succeeded", "succeeded"]


def test_a_job_that_got_company_is_not_blamed_alone_for_a_crash(opened: Open) -> None:
    with opened(max_wait_ms=400) as bench:
        bench.submit(1.0)
        timer = threading.Timer(0.1, lambda: bench.submit(2.0))
        timer.start()

        def crash(_: Mapping[str, Array]) -> None:
            raise KeyboardInterrupt  # stands for a process that dies: nothing is stored

        bench.graph.script = crash
        with pytest.raises(KeyboardInterrupt):
            bench.score()
        timer.join()
        bench.rows("UPDATE job SET lease_expires_at = now() - interval '1 s'")
        with bench.database.statement() as work:
            sweeps.rescue(work, max_crashes=3)
        assert bench.rows("SELECT crash_count FROM job") == [(0,), (0,)]


def test_a_wait_for_company_that_is_longer_than_a_lease_loses_no_lease(opened: Open) -> None:
    with opened(max_wait_ms=900, lease_s=0.5) as bench:
        (job_id,) = bench.submit(1.0)
        rescued: list[UUID] = []

        def sweep() -> None:
            with bench.database.statement() as work:
                rescued.extend(sweeps.rescue(work, max_crashes=3).queued)

        timer = threading.Timer(0.7, sweep)
        timer.start()
        bench.score()
        timer.join()
        assert rescued == []
        assert bench.outcomes([job_id]) == ["succeeded"]


def test_a_stop_while_a_job_waits_for_company_gives_it_back_untouched(opened: Open) -> None:
    with opened(max_wait_ms=300) as bench:
        (job_id,) = bench.submit(1.0)
        timer = threading.Timer(0.1, lambda: setattr(bench.scorer, "stopping", True))
        timer.start()
        assert bench.score() == 0
        timer.join()
        assert bench.graph.batch_sizes == []
        assert bench.rows("SELECT state::text, attempt FROM job WHERE id = %s", job_id) == [("queued", 0)]
