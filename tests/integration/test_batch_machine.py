"""The store of batches against a small model of it, on real Postgres: whatever happens, in whatever order, both agree."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from service import leases
from service.batches import sweeps
from service.batches.chunks import ClaimedChunk
from service.batches.steps import StepKind
from service.crypto import Keyring
from service.db import Database
from service.errors import TransitionRefused
from service.lifecycle import ENDED_BATCH_STATES, BatchState
from tests.fakes import FakeTaskQueue, MemoryBlobStore
from tests.integration import nights as bench
from tests.integration.nights import ROWS, Nights

CHUNKS = 3
MAX_CRASHES = 2
S = BatchState


@dataclass
class Expected:
    """What the model says of one batch: each chunk's state, fence, crashes and failed rows, and the batch's state."""

    limit: int | None
    state: BatchState = S.SCHEDULED
    open: bool = True
    chunks: list[str] = field(default_factory=lambda: ["queued"] * CHUNKS)
    fences: list[int] = field(default_factory=lambda: [0] * CHUNKS)
    crashes: list[int] = field(default_factory=lambda: [0] * CHUNKS)
    failed: list[int] = field(default_factory=lambda: [0] * CHUNKS)

    @property
    def running(self) -> int:
        return self.chunks.count("running")

    def settle(self) -> None:
        """What the batch becomes after a chunk was let go of."""
        if self.limit is not None and sum(self.failed) > self.limit:
            self.end(S.FAILED)
        elif all(state in {"done", "quarantined"} for state in self.chunks):
            self.state = S.FINALIZING
        elif self.running == 0 and self.state is S.PAUSING:
            self.state = S.PAUSED
        elif self.running == 0 and self.state is S.RUNNING and not self.open:
            self.state = S.SCHEDULED

    def end(self, state: BatchState) -> None:
        self.state = state
        self.chunks = ["skipped" if chunk in {"queued", "running"} else chunk for chunk in self.chunks]

    def holds(self, chunk: ClaimedChunk) -> bool:
        number = chunk.number
        return self.chunks[number] == "running" and self.fences[number] == chunk.lease.fence


class BatchMachine(RuleBasedStateMachine):
    """Two batches of one tenant, claimants that keep what they once had, callers and sweeps."""

    def __init__(self, nights: Nights) -> None:
        super().__init__()
        self.nights = nights
        nights.rows("UPDATE batch SET state = 'canceled', chunks_running = 0 WHERE finished_at IS NULL")
        nights.rows("UPDATE batch_step SET state = 'skipped' WHERE state = 'queued'")
        # As a cancel does: else a lease of an earlier example may lapse in the middle of a later one.
        nights.rows(
            f"UPDATE batch_chunk SET state = 'skipped', {leases.RELEASE} WHERE state IN ('queued', 'running')"
        )
        self.model: dict[UUID, Expected] = {
            nights.planned(CHUNKS, error_limit=limit): Expected(limit) for limit in (None, 4)
        }
        self.leases: list[ClaimedChunk] = []

    def batch(self, index: int) -> tuple[UUID, Expected]:
        return list(self.model.items())[index % len(self.model)]

    @rule()
    def claim(self) -> None:
        chunk = self.nights.claim()
        open_ones = [
            (batch_id, expected.chunks.index("queued"))
            for batch_id, expected in self.model.items()
            if expected.open and expected.state in {S.SCHEDULED, S.RUNNING} and "queued" in expected.chunks
        ]
        assert (chunk and (chunk.batch_id, chunk.number)) == (open_ones[0] if open_ones else None)
        if chunk is not None:
            expected = self.model[chunk.batch_id]
            expected.chunks[chunk.number] = "running"
            expected.fences[chunk.number] += 1
            expected.state = S.RUNNING
            assert chunk.lease.fence == expected.fences[chunk.number]
            self.leases.append(chunk)

    @precondition(lambda self: self.leases)
    @rule(which=st.integers(0, 30), failed=st.sampled_from([0, 0, 2, 3]))
    def finish(self, which: int, failed: int) -> None:
        chunk = self.leases[which % len(self.leases)]
        expected = self.model[chunk.batch_id]
        stored = self.nights.finish(chunk, failed)
        if not expected.holds(chunk):
            assert stored is None
            return
        expected.chunks[chunk.number], expected.failed[chunk.number] = "done", failed
        expected.settle()
        assert stored == expected.state

    @precondition(lambda self: self.leases)
    @rule(which=st.integers(0, 30))
    def give_back(self, which: int) -> None:
        chunk = self.leases[which % len(self.leases)]
        expected = self.model[chunk.batch_id]
        held = expected.holds(chunk)
        assert self.nights.release(chunk) is held
        if held:
            expected.chunks[chunk.number] = "queued"
            expected.settle()

    @precondition(lambda self: self.leases)
    @rule(which=st.integers(0, 30))
    def break_down(self, which: int) -> None:
        chunk = self.leases[which % len(self.leases)]
        expected = self.model[chunk.batch_id]
        held = expected.holds(chunk)
        assert self.nights.fail(chunk) is held
        if held:
            expected.end(S.FAILED)

    @precondition(lambda self: self.leases)
    @rule(which=st.lists(st.integers(0, 30), min_size=1, max_size=3))
    def crash(self, which: list[int]) -> None:
        chunks = {
            self.leases[each % len(self.leases)].lease: self.leases[each % len(self.leases)] for each in which
        }
        lost = [chunk for chunk in chunks.values() if self.model[chunk.batch_id].holds(chunk)]
        for chunk in lost:
            self.nights.lapse(chunk)
        rescued = self.nights.rescue(MAX_CRASHES)
        assert {*rescued.queued, *rescued.quarantined} == {chunk.lease.id for chunk in lost}
        for chunk in lost:
            expected, number = self.model[chunk.batch_id], chunk.number
            expected.crashes[number] += 1
            aside = expected.crashes[number] >= MAX_CRASHES
            expected.chunks[number] = "quarantined" if aside else "queued"
            expected.failed[number] = ROWS if aside else 0
        for expected in {
            id(self.model[chunk.batch_id]): self.model[chunk.batch_id] for chunk in lost
        }.values():
            expected.settle()

    @rule(index=st.integers(0, 1))
    def pause(self, index: int) -> None:
        batch_id, expected = self.batch(index)
        if expected.state in {S.SCHEDULED, S.RUNNING}:
            expected.state = S.PAUSING if expected.running else S.PAUSED
        self.answered(self.nights.pause, batch_id, expected, {S.PAUSING, S.PAUSED})

    @rule(index=st.integers(0, 1))
    def resume(self, index: int) -> None:
        batch_id, expected = self.batch(index)
        if expected.state in {S.PAUSING, S.PAUSED}:
            expected.state = S.RUNNING if expected.state is S.PAUSING else S.SCHEDULED
        self.answered(self.nights.resume, batch_id, expected, {S.SCHEDULED, S.RUNNING})

    @rule(index=st.integers(0, 1), really=st.integers(0, 3))
    def cancel(self, index: int, really: int) -> None:
        batch_id, expected = self.batch(index)
        if really:
            return
        if expected.state not in ENDED_BATCH_STATES:
            expected.end(S.CANCELED)
        assert self.nights.cancel(batch_id) is expected.state

    @rule(index=st.integers(0, 1), really=st.integers(0, 3))
    def expire(self, index: int, really: int) -> None:
        batch_id, expected = self.batch(index)
        if really:
            return
        ended = expected.state in ENDED_BATCH_STATES | {S.FINALIZING}
        self.nights.rows("UPDATE batch SET deadline_at = now() WHERE id = %s", batch_id)
        assert self.nights.sweep(sweeps.expire) == ([] if ended else [batch_id])
        self.nights.rows("UPDATE batch SET deadline_at = NULL WHERE id = %s", batch_id)
        if not ended:
            expected.end(S.EXPIRED)

    @rule(index=st.integers(0, 1))
    def close_or_open_the_window(self, index: int) -> None:
        batch_id, expected = self.batch(index)
        expected.open = not expected.open
        self.nights.shift(batch_id, *((-60, 3600) if expected.open else (1800, 3600)))

    @rule(wrong=st.booleans())
    def finalize(self, wrong: bool) -> None:
        due = [item for item in self.model.items() if item[1].state is S.FINALIZING]
        if not due:
            return
        step = self.nights.step(StepKind.FINALIZE)
        expected = self.model[step.batch_id]
        failed = sum(expected.failed)
        expected.state = S.FAILED if wrong else S.COMPLETED
        assert self.nights.complete(step, CHUNKS * ROWS - failed, failed + wrong) is expected.state

    def answered(self, call: Any, batch_id: UUID, expected: Expected, fine: set[BatchState]) -> None:
        if expected.state in fine:
            assert call(batch_id) is expected.state
        else:
            with pytest.raises(TransitionRefused):
                call(batch_id)

    @invariant()
    def the_store_is_as_the_model_says(self) -> None:
        for batch_id, expected in self.model.items():
            view = self.nights.view(batch_id)
            assert view.state is expected.state
            assert self.nights.chunk_states(batch_id) == expected.chunks
            finished = [n for n, state in enumerate(expected.chunks) if state in {"done", "quarantined"}]
            failed = sum(expected.failed[number] for number in finished)
            assert (view.rows_failed, view.rows_succeeded) == (failed, ROWS * len(finished) - failed)
            assert (view.chunks_done, view.chunks_running) == (len(finished), expected.running)

    @invariant()
    def each_end_is_recorded_once(self) -> None:
        for batch_id, expected in self.model.items():
            ends = [action for action in self.nights.actions(batch_id) if action[6:] in ENDED_BATCH_STATES]
            assert ends == ([f"batch.{expected.state}"] if expected.state in ENDED_BATCH_STATES else [])


@pytest.fixture
def nights(database: Database, blobs: MemoryBlobStore, keyring: Keyring, queue: FakeTaskQueue) -> Nights:
    return bench.nights(database, blobs, keyring, queue)


@pytest.mark.timeout(600)
def test_the_store_of_batches_does_what_the_model_does(nights: Nights) -> None:
    run_state_machine_as_test(
        lambda: BatchMachine(nights),  # type: ignore[arg-type]  # any factory will do, says its docstring
        settings=settings(
            max_examples=60,
            stateful_step_count=30,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
