"""Pausing, resuming, canceling, limits on errors, vanished sources: batches that do not simply go on."""

from datetime import timedelta
from typing import Any

import pytest

from service.batches import sweeps
from service.batches.steps import StepKind
from service.crypto import Keyring
from service.db import Database
from service.errors import (
    TransitionRefused,
)
from service.lifecycle import BatchState
from tests.fakes import FakeTaskQueue, MemoryBlobStore
from tests.integration import nights as bench
from tests.integration.nights import Nights


@pytest.fixture
def nights(database: Database, blobs: MemoryBlobStore, keyring: Keyring, queue: FakeTaskQueue) -> Nights:
    return bench.nights(database, blobs, keyring, queue)


def test_a_batch_is_paused_once_nobody_scores_it_and_goes_on(nights: Nights) -> None:
    batch_id = nights.planned(3)
    first, second = nights.claimed(), nights.claimed()
    assert nights.pause(batch_id) is BatchState.PAUSING
    assert nights.pause(batch_id) is BatchState.PAUSING, "twice is the same"
    assert nights.claim() is None
    assert nights.finish(first) == "pausing"
    assert nights.finish(second) == "paused"
    assert nights.claim() is None
    assert nights.resume(batch_id) is BatchState.SCHEDULED
    assert nights.resume(batch_id) is BatchState.SCHEDULED
    assert nights.finish(nights.claimed()) == "finalizing"
    assert nights.actions(batch_id)[2:] == [
        *("batch.started", "batch.pausing", "batch.progressed", "batch.paused", "batch.progressed"),
        *("batch.resumed", "batch.finalizing"),
    ]


def test_a_batch_that_nobody_scores_is_paused_at_once(nights: Nights) -> None:
    waiting, between = nights.planned(2), nights.planned(2)
    assert nights.pause(waiting) is BatchState.PAUSED
    nights.finish(nights.claimed())
    assert nights.state(between) is BatchState.RUNNING
    assert nights.pause(between) is BatchState.PAUSED


def test_a_pause_that_is_taken_back_goes_on_at_once(nights: Nights) -> None:
    batch_id = nights.planned(3)
    held = nights.claimed()
    nights.pause(batch_id)
    assert nights.resume(batch_id) is BatchState.RUNNING
    assert nights.claim() is not None
    assert nights.finish(held) == "running"


@pytest.mark.parametrize("give_up", [Nights.release, Nights.put_off])
def test_a_chunk_that_is_given_back_lets_the_pause_come(nights: Nights, give_up: Any) -> None:
    batch_id = nights.planned(2)
    held = nights.claimed()
    nights.pause(batch_id)
    assert give_up(nights, held)
    assert nights.state(batch_id) is BatchState.PAUSED


def test_the_last_chunk_finishes_a_batch_that_is_being_paused(nights: Nights) -> None:
    batch_id = nights.planned(1)
    held = nights.claimed()
    nights.pause(batch_id)
    assert nights.finish(held) == "finalizing"


@pytest.mark.parametrize("call", [Nights.pause, Nights.resume])
def test_what_is_validated_finalized_or_ended_is_neither_paused_nor_resumed(
    nights: Nights, call: Any
) -> None:
    validating = nights.open().id
    with pytest.raises(TransitionRefused):
        call(nights, validating)
    nights.cancel(validating)
    with pytest.raises(TransitionRefused):
        call(nights, validating)


def test_what_is_canceled_keeps_its_finished_chunks_and_takes_no_more(nights: Nights) -> None:
    batch_id = nights.planned(4)
    nights.finish(nights.claimed())
    held = nights.claimed()
    assert nights.cancel(batch_id) is BatchState.CANCELED
    assert nights.cancel(batch_id) is BatchState.CANCELED
    assert nights.chunk_states(batch_id) == ["done", "skipped", "skipped", "skipped"]
    assert nights.finish(held) is None
    assert not nights.release(held)
    assert not nights.fail(held)
    view = nights.view(batch_id)
    assert (view.rows_succeeded, view.remaining, view.chunks_running) == (10, 30, 0)
    assert nights.actions(batch_id).count("batch.canceled") == 1


def test_validation_and_finalizing_end_with_a_cancel(nights: Nights) -> None:
    validating = nights.open().id
    step = nights.step(StepKind.VALIDATE)
    nights.cancel(validating)
    assert nights.validate(step, 2) is None
    finalizing = nights.planned(1)
    nights.score_all()
    step = nights.step(StepKind.FINALIZE)
    assert nights.cancel(finalizing) is BatchState.CANCELED
    assert nights.complete(step, 10) is None


@pytest.mark.parametrize("failed", [2, 3])
def test_more_failed_rows_than_the_limit_stop_the_batch(nights: Nights, failed: int) -> None:
    batch_id = nights.planned(3, error_limit=2)
    first, second = nights.claimed(), nights.claimed()
    assert nights.finish(first, failed) == ("running" if failed == 2 else "failed")
    if failed == 2:
        assert nights.finish(second, 1) == "failed"
    else:
        assert nights.finish(second) is None
    assert nights.claim() is None
    view = nights.view(batch_id)
    assert (view.problem and view.problem["code"], view.chunks_running) == ("too_many_errors", 0)
    assert set(nights.chunk_states(batch_id)) == {"done", "skipped"}
    assert nights.detail(batch_id, "batch.failed")["counts"]["failed"] == 3


def test_the_limit_holds_for_the_last_chunk_too(nights: Nights) -> None:
    nights.planned(1, error_limit=0)
    assert nights.finish(nights.claimed(), 1) == "failed"


def test_without_a_limit_all_rows_may_fail(nights: Nights) -> None:
    batch_id = nights.planned(2)
    nights.score_all(failed=10)
    assert nights.complete(nights.step(StepKind.FINALIZE), 0, 20) is BatchState.COMPLETED
    assert nights.view(batch_id).rows_failed == 20


def test_a_source_that_vanishes_fails_the_batch_for_all_its_workers(nights: Nights) -> None:
    batch_id = nights.planned(3)
    first, second = nights.claimed(), nights.claimed()
    assert nights.fail(first)
    assert nights.finish(second) is None
    assert nights.chunk_states(batch_id) == ["skipped"] * 3
    assert nights.state(batch_id) is BatchState.FAILED


@pytest.mark.parametrize("stage", ["validating", "scheduled", "running", "pausing", "paused"])
def test_a_batch_expires_in_every_stage_before_its_end(nights: Nights, stage: str) -> None:
    deadline = nights.now() + timedelta(hours=1)
    batch_id = (
        nights.open(deadline=deadline).id if stage == "validating" else nights.planned(2, deadline=deadline)
    )
    held = nights.claimed() if stage in {"running", "pausing"} else None
    if stage in {"pausing", "paused"}:
        nights.pause(batch_id)
    assert nights.state(batch_id) == stage
    assert nights.sweep(sweeps.expire) == []
    nights.rows("UPDATE batch SET deadline_at = now() WHERE id = %s", batch_id)
    assert nights.sweep(sweeps.expire) == [batch_id]
    assert nights.sweep(sweeps.expire) == []
    assert nights.state(batch_id) is BatchState.EXPIRED
    assert held is None or nights.finish(held) is None
