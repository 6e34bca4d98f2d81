"""Scoring micro-batches on real Postgres and ONNX Runtime: what comes of each job."""

import threading
import time
from collections.abc import Mapping

import pytest

from models.pipelines import Array
from service.jobs import queries, sweeps
from service.lifecycle import JobState
from service.queue import score_wake_up
from tests import factories
from tests.acceptance.stack import eventually
from tests.integration.workbench import MAX_BATCH, POISON, Workbench, counted, probability, raising
from workers.jobs.handing_on import REFUSED_WAKE_S
from workers.jobs.write_back import Outcome
from workers.runtime import CPU, RunFailed


def test_a_batch_is_scored_in_one_run_and_each_job_gets_its_own_result(bench: Workbench) -> None:
    doses = [1.0, 25.0, 50.0]
    ids = bench.submit(*doses)
    assert bench.score() == 3
    assert bench.graph.batch_sizes == [3]
    assert [bench.probability_of(job_id) for job_id in ids] == pytest.approx(
        list(map(probability, doses)), abs=1e-5
    )


def test_while_several_tenants_have_jobs_batches_are_small_and_written_before_the_next_claim(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.pace.SHARED_CASES", 3)
    written: list[bool] = []
    store = bench.write_back.store

    def noting(outcome: Outcome, *, behind: bool) -> None:
        written.append(not behind)
        store(outcome, behind=behind)

    monkeypatch.setattr(bench.write_back, "store", noting)
    other = factories.principal(bench.database, bench.keyring, tenant="other")
    bench.submit(*range(1, 2 * MAX_BATCH + 1))
    assert bench.score() == MAX_BATCH
    bench.submit(50.0, caller=other)
    assert [bench.score() for _ in range(2)] == [MAX_BATCH, 1]
    bench.submit(*range(1, MAX_BATCH + 1))
    assert [bench.score() for _ in range(3)] == [3, 3, 2]
    assert written == [False, True, True, True, True, True]


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


@pytest.mark.parametrize(("state", "count"), [("succeeded", 2), ("failed", 1)])
def test_ended_jobs_are_counted_by_their_state(state: str, count: int, bench: Workbench) -> None:
    before = counted("medqueue_jobs_ended_total", model=bench.model.name, state=state)
    bench.submit(1.0, POISON, 2.0)
    bench.graph.script = raising(RunFailed("x"), POISON)
    bench.score()
    assert counted("medqueue_jobs_ended_total", model=bench.model.name, state=state) == before + count


def test_on_a_gpu_a_job_is_claimed_beside_a_micro_batch_and_run_behind_it(bench: Workbench) -> None:
    (job_id,) = bench.submit(10.0)
    with bench.arbiter.micro_batch(lambda: None):
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
    with bench.arbiter.micro_batch(lambda: None):
        assert bench.score() == 1
    assert bench.view(job_id).state is JobState.SUCCEEDED


def test_batches_stand_back_while_jobs_are_scored(bench: Workbench) -> None:
    bench.submit(10.0)
    ran = threading.Event()

    def micro_batch() -> None:
        with bench.arbiter.micro_batch(lambda: None):
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
