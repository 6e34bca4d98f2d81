"""Every way that a batch can go on real Postgres, and every way that it must not."""

from datetime import timedelta

import pytest

from service import audit
from service.batches import chunks, opening, queries, steps, sweeps
from service.batches.keys import open_layout
from service.batches.steps import PlannedChunk, StepKind
from service.batches.windows import Window
from service.crypto import Keyring
from service.db import Database
from service.errors import (
    BatchNotFound,
    DeadlinePassed,
    IdempotencyKeyReused,
    PayloadUnreadable,
    TransitionRefused,
)
from service.jobs.submission import IdempotencyKey
from service.lifecycle import BatchState
from service.queue import deliver_wake_up
from tests.fakes import FakeTaskQueue, MemoryBlobStore
from tests.integration import hooks as webhook_bench
from tests.integration import nights as bench
from tests.integration.nights import AWAY, GONE, LAYOUT, REQUEST, ROWS, Nights, validation


@pytest.fixture
def nights(database: Database, blobs: MemoryBlobStore, keyring: Keyring, queue: FakeTaskQueue) -> Nights:
    return bench.nights(database, blobs, keyring, queue)


def test_a_batch_from_opening_to_completion(nights: Nights) -> None:
    batch_id = nights.planned(3)
    for failed, state in ((0, "running"), (2, "running"), (1, "finalizing")):
        assert nights.finish(nights.claimed(), failed) == state
    step = nights.step(StepKind.FINALIZE)
    assert step.batch_id == batch_id
    assert nights.complete(step, 27, 3) is BatchState.COMPLETED
    view = nights.view(batch_id)
    assert (view.state, view.rows_total, view.rows_succeeded, view.rows_failed, view.remaining) == (
        *(BatchState.COMPLETED, 30, 27, 3, 0),
    )
    assert (view.results, view.errors) == ({"sha256": "bb" * 32}, {"sha256": "cc" * 32})
    assert (view.chunks_total, view.chunks_done, view.chunks_running) == (3, 3, 0)
    times = [view.created_at, view.scheduled_at, view.started_at, view.finalizing_at, view.finished_at]
    assert None not in times
    assert nights.actions(batch_id) == [
        *("batch.opened", "batch.validated", "batch.started", "batch.progressed", "batch.progressed"),
        *("batch.finalizing", "batch.completed"),
    ]
    assert nights.detail(batch_id, "batch.completed") == {
        "counts": {"total": 30, "succeeded": 27, "failed": 3, "remaining": 0},
        "source_sha256": "aa" * 32,
        "results_sha256": "bb" * 32,
        "errors_sha256": "cc" * 32,
    }


def test_chunks_come_in_input_order_with_what_a_worker_needs(nights: Nights) -> None:
    batch_id = nights.planned(3)
    claimed = [nights.claimed() for _ in range(3)]
    assert [(chunk.number, chunk.first_row, chunk.rows) for chunk in claimed] == [
        *((0, 0, 10), (1, 10, 10), (2, 20, 10)),
    ]
    assert {chunk.batch_id for chunk in claimed} == {batch_id}
    assert [
        chunks.open_seek(nights.caller.cipher, chunk.tenant_id, chunk.lease.id, chunk.seek)
        for chunk in claimed
    ] == [b"at 0", b"at 1", b"at 2"]
    assert {open_layout(nights.caller.cipher, c.tenant_id, batch_id, c.layout) for c in claimed} == {LAYOUT}
    request = opening.open_request(nights.caller.cipher, claimed[0].tenant_id, batch_id, claimed[0].request)
    assert request == REQUEST
    assert nights.claim() is None


def test_what_could_name_patients_is_sealed_and_bound_to_its_row(nights: Nights) -> None:
    first, second = nights.planned(1), nights.planned(1)
    stored = nights.rows("SELECT id, request FROM batch ORDER BY id")
    assert not any(b"mueller" in row[1] for row in stored)
    with pytest.raises(PayloadUnreadable):
        opening.open_request(nights.caller.cipher, nights.caller.tenant_id, first, dict(stored)[second])


def test_finished_chunks_are_read_in_input_order(nights: Nights) -> None:
    batch_id = nights.planned(3)
    first, second, third = (nights.claimed() for _ in range(3))
    nights.finish(third)
    nights.finish(first, failed=4)
    with nights.database.statement() as work:
        found = queries.finished_chunks(work, batch_id)
    assert [(chunk.number, chunk.rows_failed, chunk.results) for chunk in found] == [
        (0, 4, {"location": "r0"}),
        (2, 0, {"location": "r2"}),
    ]
    assert nights.release(second)


def test_the_same_key_opens_one_batch(nights: Nights) -> None:
    key = IdempotencyKey("k", b"digest")
    first, second = nights.open(idempotency=key), nights.open(idempotency=key)
    assert (second.id, second.created_at, second.replayed) == (first.id, first.created_at, True)
    with pytest.raises(IdempotencyKeyReused):
        nights.open(idempotency=IdempotencyKey("k", b"other"))
    assert nights.of_other_tenant().open(idempotency=key).id != first.id
    assert len(nights.list()) == 1


def test_a_batch_that_could_never_begin_is_refused(nights: Nights) -> None:
    now = nights.now()
    with pytest.raises(DeadlinePassed):
        nights.open(deadline=now - timedelta(seconds=1))
    with pytest.raises(DeadlinePassed):
        nights.open(not_before=now + timedelta(hours=2), deadline=now + timedelta(hours=1))
    window = Window.parsed(nights.hours_around_now(120, 180), "UTC")
    with pytest.raises(DeadlinePassed):
        nights.open(window=window, deadline=now + timedelta(hours=1))
    assert nights.list() == []


def test_another_tenant_sees_and_does_nothing(nights: Nights) -> None:
    batch_id, stranger = nights.planned(), nights.of_other_tenant()
    for call in (stranger.view, stranger.pause, stranger.resume, stranger.cancel, stranger.rerun):
        with pytest.raises(BatchNotFound):
            call(batch_id)
    assert stranger.list() == []
    assert nights.state(batch_id) is BatchState.SCHEDULED


def test_a_source_that_is_unusable_fails_the_batch(nights: Nights) -> None:
    batch_id = nights.open().id
    step = nights.step(StepKind.VALIDATE)
    with nights.database.statement() as work:
        assert steps.fail(work, step, GONE, owner="w1")
    view = nights.view(batch_id)
    assert (view.state, view.problem and view.problem["code"]) == (BatchState.FAILED, "source_gone")
    assert nights.detail(batch_id, "batch.failed")["code"] == "source_gone"


def test_chunks_that_hold_other_rows_than_were_counted_fail_the_batch_before_it_begins(
    nights: Nights,
) -> None:
    batch_id = nights.open().id
    assert nights.validate(nights.step(StepKind.VALIDATE), 3, rows=31) is BatchState.FAILED
    assert nights.detail(batch_id, "batch.failed")["code"] == "accounting_mismatch"
    assert nights.claim() is None


@pytest.mark.parametrize(
    "planned",
    [
        [],
        [PlannedChunk(1, 0, 5, b"")],
        [PlannedChunk(0, 0, 5, b""), PlannedChunk(1, 6, 5, b"")],
        [PlannedChunk(0, 0, 5, b""), PlannedChunk(1, 4, 5, b"")],
        [PlannedChunk(0, 0, 0, b"")],
    ],
)
def test_chunks_with_gaps_are_a_fault_of_ours(nights: Nights, planned: list[PlannedChunk]) -> None:
    nights.open()
    found = validation(planned)
    with pytest.raises(ValueError, match=r"chunk|rows"), nights.database.statement() as work:
        steps.validated(work, nights.step(StepKind.VALIDATE), found, cipher=nights.caller.cipher, owner="w1")


def test_a_validation_that_lost_its_lease_plans_nothing(nights: Nights) -> None:
    batch_id = nights.open().id
    late = nights.step(StepKind.VALIDATE, lease_s=-1)
    with nights.database.statement() as work:
        assert sweeps.rescue_steps(work, max_crashes=3).queued == (late.lease.id,)
    second = nights.step(StepKind.VALIDATE)
    assert second.lease.fence == late.lease.fence + 1
    assert nights.validate(late, 2) is None
    assert nights.validate(second, 3) is BatchState.SCHEDULED
    assert nights.validate(second, 3) is None, "twice does nothing"
    assert len(nights.chunk_states(batch_id)) == 3


def test_a_batch_whose_validation_kills_its_worker_three_times_fails(nights: Nights) -> None:
    batch_id = nights.open().id
    for _ in range(3):
        nights.step(StepKind.VALIDATE, lease_s=-1)
        with nights.database.statement() as work:
            sweeps.rescue_steps(work, max_crashes=3)
    assert nights.detail(batch_id, "batch.failed")["code"] == "worker_crashed"


def test_a_step_is_given_back_or_put_off(nights: Nights) -> None:
    nights.open()
    step = nights.step(StepKind.VALIDATE)
    with nights.database.statement() as work:
        assert steps.release(work, step)
    again = nights.step(StepKind.VALIDATE)
    assert again.attempt == 1
    with nights.database.statement() as work:
        assert steps.put_off(work, again, AWAY, delay_s=60, owner="w1")
    with nights.database.statement() as work:
        assert steps.claim(work, owner="w1", lease_s=30) is None


def test_a_step_that_is_tried_again_says_why_and_the_trail_keeps_it(nights: Nights) -> None:
    batch_id = nights.open().id
    step = nights.step(StepKind.VALIDATE)
    with nights.database.statement() as work:
        assert steps.put_off(work, step, AWAY, delay_s=0, owner="w1")
    with nights.database.statement() as work:
        assert not steps.put_off(work, step, AWAY, delay_s=0, owner="w1"), "twice does nothing"
    found = nights.view(batch_id).retrying
    assert found is not None
    assert (found.code, found.detail, found.attempt) == (AWAY.code, AWAY.detail, 1)
    assert nights.detail(batch_id, "batch.step_put_off") == {
        "step": "validate",
        "attempt": 1,
        "code": AWAY.code,
    }
    assert nights.validate(nights.step(StepKind.VALIDATE), 1) is BatchState.SCHEDULED
    assert nights.view(batch_id).retrying is None


# What finalizing says it joined, or what was changed behind everybody's back, is not what was planned and scored.
TAMPERED = {
    "a row is missing in the join": ("SELECT 1", 29, 0),
    "a row is twice in the join": ("SELECT 1", 31, 0),
    "an error counts as a success": ("SELECT 1", 29, 1),
    "nothing was joined": ("SELECT 1", 0, 0),
    "a chunk is gone": ("DELETE FROM batch_chunk WHERE number = 1", 30, 0),
    "a chunk changed": ("UPDATE batch_chunk SET rows_succeeded = 9, rows_failed = 1 WHERE number = 1", 30, 0),
    "a chunk and the join agree, the counters do not": (
        *("UPDATE batch_chunk SET rows_succeeded = 9, rows_failed = 1 WHERE number = 1", 29, 1),
    ),
    "the source was counted otherwise": ("UPDATE batch SET rows_total = 31", 30, 0),
    "the chunks were renumbered": ("UPDATE batch_chunk SET number = 7 WHERE number = 2", 30, 0),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_rows_that_do_not_add_up_fail_the_batch(nights: Nights, name: str) -> None:
    statement, succeeded, failed = TAMPERED[name]
    batch_id = nights.planned(3)
    nights.score_all()
    nights.rows(statement)
    assert nights.complete(nights.step(StepKind.FINALIZE), succeeded, failed) is BatchState.FAILED
    view = nights.view(batch_id)
    assert (view.problem and view.problem["code"], view.results) == ("accounting_mismatch", None)
    assert nights.actions(batch_id)[-1] == "batch.failed"


def test_one_claimant_finalizes(nights: Nights) -> None:
    nights.planned(1)
    nights.score_all()
    late = nights.step(StepKind.FINALIZE, lease_s=-1)
    with nights.database.statement() as work:
        assert steps.claim(work, owner="w2", lease_s=30) is None
    with nights.database.statement() as work:
        sweeps.rescue_steps(work, max_crashes=3)
    second = nights.step(StepKind.FINALIZE)
    assert nights.complete(late, 10) is None
    assert nights.complete(second, 10) is BatchState.COMPLETED
    assert nights.complete(second, 10) is None


def test_what_only_waits_to_be_joined_does_not_expire(nights: Nights) -> None:
    batch_id = nights.planned(1, deadline=nights.now() + timedelta(hours=1))
    nights.score_all()
    nights.rows("UPDATE batch SET deadline_at = now() WHERE id = %s", batch_id)
    assert nights.sweep(sweeps.expire) == []


def test_failed_rows_are_run_again_in_a_batch_of_their_own(nights: Nights) -> None:
    first = nights.planned(2, error_limit=50)
    nights.score_all(failed=1)
    with pytest.raises(TransitionRefused):
        nights.rerun(first)
    nights.complete(nights.step(StepKind.FINALIZE), 18, 2)
    second = nights.rerun(first)
    view = nights.view(second.id)
    assert (view.rerun_of, view.error_limit, view.request) == (first, 50, REQUEST)
    assert nights.step(StepKind.VALIDATE).rerun_of == first
    assert nights.list(queries.BatchFilter(rerun_of=first))[0].id == second.id
    assert nights.state(first) is BatchState.COMPLETED


def test_there_is_nothing_to_run_again_where_nothing_failed(nights: Nights) -> None:
    batch_id = nights.planned(1)
    nights.score_all()
    nights.complete(nights.step(StepKind.FINALIZE), 10)
    with pytest.raises(TransitionRefused):
        nights.rerun(batch_id)


def test_batches_are_listed_newest_first(nights: Nights) -> None:
    ids = [nights.open().id for _ in range(3)]
    assert [view.id for view in nights.list()] == ids[::-1]
    assert nights.list(queries.BatchFilter(state=BatchState.COMPLETED)) == []


def test_the_trail_of_a_batch_is_its_own_and_its_bytes_name_it(nights: Nights) -> None:
    batch_id, _ = nights.planned(), nights.planned()
    with nights.database.statement() as work:
        trail = audit.events_of_batch(work, tenant_id=nights.caller.tenant_id, batch_id=batch_id)
    assert [event.action for event in trail] == ["batch.opened", "batch.validated"]
    canons = nights.rows("SELECT canon, leaf FROM audit_event WHERE batch_id = %s", batch_id)
    assert all(audit.read_canon(canon)["batch_id"] == str(batch_id) for canon, _ in canons)
    assert all(audit.leaf_of(canon) == leaf for canon, leaf in canons)
    others = nights.rows("SELECT canon FROM audit_event WHERE batch_id IS NULL")
    assert others
    assert all("batch_id" not in audit.read_canon(row[0]) for row in others)


def test_webhooks_are_told_of_what_they_asked_for_and_others_of_nothing(nights: Nights) -> None:
    hooks = webhook_bench.Hooks(nights.database, nights.keyring, nights.queue, nights.model, nights.caller)
    told, stranger = hooks.endpoint("batch.started", "batch.completed"), hooks.of_other_tenant()
    stranger.endpoint()
    batch_id = nights.planned(2)
    nights.score_all()
    assert deliver_wake_up() in nights.queue.waiting
    nights.complete(nights.step(StepKind.FINALIZE), 20)
    assert hooks.told() == [(told, "batch.started"), (told, "batch.completed")]
    assert stranger.planned() == []
    assert {delivery.batch_id for delivery in hooks.planned()} == {batch_id}
    claimed = {delivery.event.type: delivery.event for delivery in hooks.claim()}
    body = claimed["batch.completed"].body("https://api.test").decode()
    assert f'"batch_id":"{batch_id}"' in body
    assert f'"batch_url":"https://api.test/v1/batches/{batch_id}"' in body
    assert f'"model_digest":"{nights.model.digest}"' in body
    assert '"counts":{"total":20,"failed":0,"remaining":0,"succeeded":20}' in body
    assert "mueller" not in body
    assert len(body) < 1024


def test_progress_is_told_of_by_tenths_and_by_the_minute(nights: Nights) -> None:
    batch_id = nights.planned(40)
    for _ in range(20):
        nights.finish(nights.claimed())
    assert nights.actions(batch_id).count("batch.progressed") == 5
    nights.rows("UPDATE batch SET told_at = now() - interval '59 s' WHERE id = %s", batch_id)
    nights.finish(nights.claimed())
    assert nights.actions(batch_id).count("batch.progressed") == 5
    nights.rows("UPDATE batch SET told_at = now() - interval '60 s' WHERE id = %s", batch_id)
    nights.finish(nights.claimed())
    assert nights.actions(batch_id).count("batch.progressed") == 6
    counts = nights.detail(batch_id, "batch.progressed")["counts"]
    assert counts == {"total": 400, "succeeded": 220, "failed": 0, "remaining": 180}


def test_pace_and_expected_end_are_those_of_the_newest_chunks(nights: Nights) -> None:
    batch_id = nights.planned(100)
    assert nights.view(batch_id).pace is None
    for _ in range(40):
        nights.finish(nights.claimed())
    # One chunk of 10 rows every 2 seconds of late, but one every 20 seconds before.
    nights.rows(
        "UPDATE batch_chunk SET finished_at = now() - make_interval(secs => 2 * (40 - number)"
        " + CASE WHEN number < 8 THEN 18 * (8 - number) ELSE 0 END) WHERE number < 40"
    )
    nights.rows("UPDATE batch SET open_from = now() - interval '1 h', resumed_at = now() - interval '1 h'")
    view = nights.view(batch_id)
    assert view.pace == pytest.approx(10 * 32 / 84, rel=0.02)
    assert view.expected_end is not None
    assert (view.expected_end - nights.now()).total_seconds() == pytest.approx(600 / (320 / 84), rel=0.03)


def test_a_view_of_a_batch_with_a_window_tells_when_it_is_open(nights: Nights) -> None:
    batch_id = nights.planned(2, window=Window.parsed(nights.hours_around_now(-60, 60), "UTC"))
    opening = nights.view(batch_id).opening
    assert opening.closes_at is not None
    assert opening.opens_at <= nights.now() < opening.closes_at
    assert ROWS == 10
