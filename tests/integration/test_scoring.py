"""Scoring micro-batches on real Postgres and ONNX Runtime: what comes of each job, whatever befalls its batch."""

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from uuid import UUID

import pytest
import structlog

from models.pipelines import Array
from service.crypto import Keyring
from service.db import Database
from service.embedded import ServerUrls
from service.jobs import queries, sweeps
from service.lifecycle import JobState
from service.queue import score_wake_up
from tests import factories
from tests.acceptance.stack import eventually
from tests.fakes import FakeTaskQueue, MemoryBlobStore
from tests.integration.workbench import AGE, MAX_BATCH, Workbench, counted, workbench
from workers.jobs.scoring import REFUSED_WAKE_S
from workers.runtime import CPU, OutOfMemory, RunFailed, RunTimedOut

POISON = 13.0


@pytest.fixture
def bench(
    database: Database,
    blobs: MemoryBlobStore,
    keyring: Keyring,
    queue: FakeTaskQueue,
    tmp_path: Path,
    servers: ServerUrls,
    database_url: str,
) -> Iterator[Workbench]:
    urls = servers.database_url, database_url
    with workbench(database, blobs, keyring, queue, tmp_path, urls) as made:
        yield made


def probability(dose: float, age: float = AGE) -> float:
    """What the model of the workbench answers."""
    return 1 / (1 + math.exp(-(0.1 * dose + 0.02 * age - 2)))


def raising(fault: BaseException, *doses: float) -> Callable[[Mapping[str, Array]], None]:
    """A script: a run with one of these doses among its rows fails."""

    def script(feeds: Mapping[str, Array]) -> None:
        if set(feeds["features"][:, 0].tolist()) & set(doses):
            raise fault

    return script


def result_of(bench: Workbench, job_id: UUID) -> float:
    result = bench.view(job_id).result
    assert result is not None
    return float(result.content["probabilities"]["ill"])


def test_a_batch_is_scored_in_one_run_and_each_job_gets_its_own_result(bench: Workbench) -> None:
    doses = [1.0, 25.0, 50.0]
    ids = bench.submit(*doses)
    assert bench.score() == 3
    assert bench.graph.batch_sizes == [3]
    assert [result_of(bench, job_id) for job_id in ids] == pytest.approx(
        list(map(probability, doses)), abs=1e-5
    )


def test_an_ended_job_has_one_result_and_one_closing_event_and_is_announced(bench: Workbench) -> None:
    (job_id,) = bench.submit(1.0)
    bench.score()
    assert bench.score() == 0
    assert bench.actions(job_id) == ["job.submitted", "job.claimed", "job.succeeded"]
    assert bench.rows("SELECT count(*) FROM job_result WHERE job_id = %s", job_id) == [(1,)]
    assert bench.queue.announced == [job_id]


def test_a_result_says_what_computed_it(bench: Workbench) -> None:
    (job_id,) = bench.submit(1.0)
    bench.score()
    result = bench.view(job_id).result
    assert result is not None
    assert (result.runtime, result.provider) == ("fake 1.0", "FakeExecutionProvider")


def test_two_tenants_share_a_batch_and_neither_can_read_the_others_result(bench: Workbench) -> None:
    other = factories.principal(bench.database, bench.keyring, tenant="other")
    (ours,), (theirs,) = bench.submit(1.0), bench.submit(2.0, caller=other)
    bench.score()
    assert bench.graph.batch_sizes == [2]
    assert bench.view(ours).result
    assert bench.view(theirs, other).result
    with bench.database.statement() as work:
        assert queries.read(work, [queries.Reading(other, ours)]) == [None]


def test_without_work_nothing_is_run(bench: Workbench) -> None:
    assert bench.score() == 0
    assert bench.graph.batch_sizes == []


def test_a_full_claim_sends_the_next_wake_up_at_once(bench: Workbench) -> None:
    bench.submit(*[1.0] * (MAX_BATCH + 1))
    bench.queue.waiting.clear()
    bench.score()
    assert bench.queue.waiting == [score_wake_up(bench.model.id)]


def test_a_claim_that_took_all_there_was_sends_none(bench: Workbench) -> None:
    bench.submit(*[1.0] * (MAX_BATCH - 1))
    bench.queue.waiting.clear()
    bench.score()
    assert bench.queue.waiting == []


def test_a_job_submitted_while_a_batch_is_scored_sends_its_own_wake_up(bench: Workbench) -> None:
    bench.submit(1.0)
    bench.queue.waiting.clear()

    def submit(_: Mapping[str, Array]) -> None:
        bench.submit(2.0)

    bench.graph.script = submit
    bench.score()
    assert bench.queue.waiting == [score_wake_up(bench.model.id)]


def test_a_full_batch_is_stored_behind_the_next_claim(bench: Workbench) -> None:
    ids = bench.submit(*[1.0] * MAX_BATCH)
    with bench.database.transaction() as work:

        def lock(_: Mapping[str, Array]) -> None:
            work.execute("SELECT FROM job WHERE id = ANY(%s) FOR UPDATE", (ids,))

        bench.graph.script = lock
        assert bench.scorer.score(bench.model.id) == MAX_BATCH  # though nobody can write these rows
        assert bench.outcomes(ids) == ["running"] * MAX_BATCH
        bench.graph.script = None
        assert bench.scorer.score(bench.model.id) == 0
    bench.write_back.wait()
    assert bench.outcomes(ids) == ["succeeded"] * MAX_BATCH


def test_a_worker_that_is_stopping_claims_nothing(bench: Workbench) -> None:
    (job_id,) = bench.submit(1.0)
    bench.scorer.stopping = True
    assert bench.score() == 0
    assert bench.actions(job_id) == ["job.submitted"]


def test_jobs_of_a_model_that_this_worker_refuses_are_left_to_others(bench: Workbench) -> None:
    """As on a GPU whose answers to the golden cases differ: no attempt is used up, and the wake-up is handed on."""
    (job_id,) = bench.submit(1.0)
    bench.pool.refusals.refuse(bench.model, "it computes otherwise here")
    bench.queue.waiting.clear()
    assert bench.score() == 0
    assert bench.queue.waiting == [score_wake_up(bench.model.id)]
    assert bench.actions(job_id) == ["job.submitted"]
    assert bench.outcomes([job_id]) == ["queued"]


def test_a_wake_up_is_not_handed_on_in_a_circle_nor_for_nothing(bench: Workbench) -> None:
    bench.pool.refusals.refuse(bench.model, "it computes otherwise here")
    bench.queue.waiting.clear()
    bench.score()
    assert bench.queue.waiting == []
    time.sleep(REFUSED_WAKE_S)
    bench.submit(1.0)
    bench.score()
    bench.queue.waiting.clear()
    bench.score()
    assert bench.queue.waiting == []


@pytest.mark.parametrize(
    ("fault", "code"),
    [(RunFailed("x"), "model_failed"), (RunTimedOut(), "run_timed_out"), (OutOfMemory(), "out_of_memory")],
    ids=repr,
)
@pytest.mark.parametrize("place", [0, 3, MAX_BATCH - 1])
def test_the_culprit_of_a_batch_fails_alone(
    place: int, fault: Exception, code: str, bench: Workbench
) -> None:
    doses = [1.0] * MAX_BATCH
    doses[place] = POISON
    ids = bench.submit(*doses)
    bench.graph.script = raising(fault, POISON)
    bench.score()
    expected = ["succeeded"] * MAX_BATCH
    expected[place] = code
    assert bench.outcomes(ids) == expected


def test_a_batch_is_halved_until_the_culprit_is_alone(bench: Workbench) -> None:
    bench.submit(POISON, *[1.0] * 7)
    bench.graph.script = raising(RunFailed("x"), POISON)
    bench.score()
    assert bench.graph.batch_sizes == [8, 4, 2, 1, 1, 2, 4]


def test_several_culprits_fail_and_the_others_succeed(bench: Workbench) -> None:
    ids = bench.submit(POISON, 1.0, 2.0, POISON, 3.0, POISON, 4.0)
    bench.graph.script = raising(RunFailed("x"), POISON)
    bench.score()
    failed, done = "model_failed", "succeeded"
    assert bench.outcomes(ids) == [failed, done, done, failed, done, failed, done]
    assert result_of(bench, ids[6]) == pytest.approx(probability(4.0), abs=1e-5)


def test_an_answer_that_is_no_prediction_fails_its_job_alone(bench: Workbench) -> None:
    ids = [*bench.submit(1.0), *bench.submit(0.0, age=0.0), *bench.submit(2.0)]
    bench.score()
    assert bench.outcomes(ids) == ["succeeded", "prediction_invalid", "succeeded"]


def test_a_stored_input_that_is_damaged_fails_its_job_alone(bench: Workbench) -> None:
    ids = [*bench.submit(1.0), *bench.submit_payloads(b"damaged"), *bench.submit(2.0)]
    bench.score()
    assert bench.outcomes(ids) == ["succeeded", "input_unreadable", "succeeded"]
    assert bench.graph.batch_sizes == [2]


def test_several_damaged_inputs_fail_their_jobs_alone(bench: Workbench) -> None:
    ids = bench.submit_payloads(b"damaged", b"damaged", bench.model.encode({"dose": 1.0, "age": AGE}))
    bench.score()
    assert bench.outcomes(ids) == ["input_unreadable", "input_unreadable", "succeeded"]


@pytest.mark.parametrize(
    "stored", [b"", b"\x01", b"\x01" + bytes(12), b"\x01" + bytes(60), b"\x02" + bytes(60)]
)
def test_an_input_that_does_not_decrypt_fails_its_job_alone(stored: bytes, bench: Workbench) -> None:
    ids = bench.submit(1.0, 2.0)
    bench.rows("UPDATE job SET payload = %s WHERE id = %s", stored, ids[0])
    bench.score()
    assert bench.outcomes(ids) == ["input_unreadable", "succeeded"]


def test_inputs_that_changed_places_are_not_scored(bench: Workbench) -> None:
    one, other = bench.submit(1.0, 2.0)
    bench.rows(
        "UPDATE job SET payload = (SELECT payload FROM job AS from_ WHERE from_.id = %s) WHERE id = %s",
        one,
        other,
    )
    bench.score()
    assert bench.outcomes([one, other]) == ["succeeded", "input_unreadable"]


def test_what_is_logged_of_a_run_names_its_jobs(bench: Workbench) -> None:
    ids = bench.submit(1.0, POISON, 2.0)
    bench.graph.script = raising(ZeroDivisionError(), POISON)
    with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as lines:
        bench.score()
    named = [set(line["jobs"]) for line in lines if line["event"] == "pipeline_failed"]
    assert named[0] == {str(job_id) for job_id in ids}
    assert named[-1] == {str(ids[1])}
    assert [line["job"] for line in lines if line["event"] == "job_failed"] == [str(ids[1])]
    assert "jobs" not in structlog.contextvars.get_contextvars()


def test_a_batch_that_is_out_of_memory_is_halved_and_the_size_remembered(bench: Workbench) -> None:
    ids = bench.submit(*map(float, range(1, MAX_BATCH + 1)))
    bench.graph.faults = {5: OutOfMemory()}
    bench.score()
    assert bench.graph.batch_sizes == [8, 4, 4]
    assert set(bench.outcomes(ids)) == {"succeeded"}
    assert bench.pool.get(bench.model.id).batch_limit == 4
    assert counted("medqueue_batch_limit", model=bench.model.name) == 4


def test_after_a_batch_was_out_of_memory_smaller_ones_are_claimed(bench: Workbench) -> None:
    bench.graph.faults = {4: OutOfMemory()}
    bench.submit(*[1.0] * MAX_BATCH)
    bench.score()
    bench.graph.batch_sizes.clear()
    bench.submit(*[1.0] * MAX_BATCH)
    assert [bench.score(), bench.score()] == [2, 2]
    assert bench.graph.batch_sizes == [2, 2]


def test_a_run_past_its_time_is_stopped_and_its_job_failed(
    database: Database, blobs: MemoryBlobStore, keyring: Keyring, queue: FakeTaskQueue, tmp_path: Path,
    servers: ServerUrls, database_url: str,
) -> None:  # fmt: skip
    urls = servers.database_url, database_url
    with workbench(database, blobs, keyring, queue, tmp_path, urls, run_timeout_s=0.2) as bench:

        def hang(_: Mapping[str, Array]) -> None:
            until = threading.Event()
            while not bench.graph.stopped:
                until.wait(0.01)
            raise RunTimedOut

        (job_id,) = bench.submit(1.0)
        bench.graph.script = hang
        bench.score()
        assert bench.outcomes([job_id]) == ["run_timed_out"]
        assert not bench.heartbeat.hung


def test_a_job_canceled_while_it_is_scored_stays_canceled_and_is_counted(bench: Workbench) -> None:
    canceled, kept = bench.submit(1.0, 2.0)
    before = counted("medqueue_jobs_fenced_off_total", model=bench.model.name)

    def cancel(_: Mapping[str, Array]) -> None:
        with bench.database.transaction() as work:
            queries.cancel(work, bench.caller, canceled)

    bench.graph.script = cancel
    bench.score()
    assert bench.outcomes([canceled, kept]) == ["canceled", "succeeded"]
    assert bench.view(canceled).result is None
    assert bench.actions(canceled)[-1] == "job.canceled"
    assert counted("medqueue_jobs_fenced_off_total", model=bench.model.name) == before + 1


def test_a_result_that_comes_after_its_lease_was_lost_is_refused_and_counted(bench: Workbench) -> None:
    (job_id,) = bench.submit(1.0)
    before = counted("medqueue_jobs_fenced_off_total", model=bench.model.name)

    def rescue(_: Mapping[str, Array]) -> None:
        bench.lapse(job_id)
        with bench.database.statement() as work:
            sweeps.rescue(work, max_crashes=3)
        factories.claimed(bench.database, bench.model, owner="w2")

    bench.graph.script = rescue
    bench.score()
    assert bench.view(job_id).state is JobState.RUNNING
    assert bench.queue.announced == []
    assert counted("medqueue_jobs_fenced_off_total", model=bench.model.name) == before + 1


@pytest.mark.parametrize("state", ["succeeded", "failed"])
def test_ended_jobs_are_counted_by_their_state(state: str, bench: Workbench) -> None:
    before = counted("medqueue_jobs_ended_total", model=bench.model.name, state=state)
    bench.submit(1.0, POISON)
    bench.graph.script = raising(RunFailed("x"), POISON)
    bench.score()
    assert counted("medqueue_jobs_ended_total", model=bench.model.name, state=state) == before + 1


def test_on_a_gpu_a_job_is_claimed_beside_a_micro_batch_and_run_behind_it(bench: Workbench) -> None:
    (job_id,) = bench.submit(10.0)
    with bench.turns.micro_batch(lambda: None):
        scoring = threading.Thread(target=bench.score, daemon=True)
        scoring.start()
        eventually(lambda: bench.view(job_id).state is JobState.RUNNING, within_s=5)
        scoring.join(0.1)
        assert bench.graph.batch_sizes == []
    scoring.join(5)
    assert bench.view(job_id).state is JobState.SUCCEEDED


def test_on_the_cpu_a_job_runs_beside_a_micro_batch(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.scorer.runtime, "provider", CPU)
    (job_id,) = bench.submit(10.0)
    with bench.turns.micro_batch(lambda: None):
        assert bench.score() == 1
    assert bench.view(job_id).state is JobState.SUCCEEDED


def test_batches_stand_back_while_jobs_are_scored(bench: Workbench) -> None:
    bench.submit(10.0)
    ran = threading.Event()

    def micro_batch() -> None:
        with bench.turns.micro_batch(lambda: None):
            ran.set()

    other = threading.Thread(target=micro_batch, daemon=True)

    ran_beside = []

    def script(_: Mapping[str, Array]) -> None:
        other.start()
        ran_beside.append(ran.wait(0.2))

    bench.graph.script = script
    assert bench.score() == 1
    assert ran_beside == [False]
    assert ran.wait(2)
