"""What a process whose gate is closed leaves alone: wake-ups, batches and webhooks stay for those that can."""

import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from uuid import UUID, uuid4

import pytest

from service import requirements
from service.consuming import celery_app
from service.crypto import Keyring
from service.db import Database
from service.faults import Fault, Requirement
from service.gate import Gate
from service.lifecycle import BatchState
from service.queue import TaskName, score_wake_up
from tests import factories
from tests.acceptance.stack import eventually
from tests.fakes import FakeTaskQueue, MemoryBlobStore
from tests.integration import shifts
from tests.integration.dispatching import Desk
from tests.integration.shifts import Shift, csv_of, rows_of
from tests.receiver import Receiver
from workers.process import tasks
from workers.process.parts import Parts

STRANGER = Keyring(b"o" * 32)
AWAY = Fault(Requirement.POSTGRES, "MEDQUEUE_DATABASE_URL", "away", "Wait.")
FULL = Fault(Requirement.BLOB_STORE, "MEDQUEUE_BLOB_URL", "full", "Make room.")


def of_key(database: Database, keyring: Keyring) -> Gate:
    """The gate of a process with this master key."""

    def examine() -> list[Fault]:
        found = requirements.database(database, keyring)
        return [] if found is None else [found]

    return Gate("w1", examine)


def test_a_wake_up_is_left_to_others_and_no_further_one_taken_for_a_while(
    queue: FakeTaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The example: a worker that could do nothing ate wake-ups, and a lone job took 1,958 ms in place of 49."""
    monkeypatch.setattr(tasks, "CLOSED_PAUSE_S", 0.2)
    found, scored, version_id = [AWAY], list[UUID](), uuid4()
    gate = Gate("w1", lambda: list(found))
    gate.look()
    scoring = SimpleNamespace(lanes=SimpleNamespace(score=scored.append))
    parts = SimpleNamespace(gate=gate, queue=queue, scoring=scoring, pulse=SimpleNamespace(task=nullcontext))
    app = celery_app("redis://localhost:1/0")
    tasks.register(app, lambda: cast(Parts, parts))
    began = time.monotonic()
    app.tasks[TaskName.SCORE.value](str(version_id))
    assert time.monotonic() - began >= 0.2
    assert (scored, queue.waiting) == ([], [score_wake_up(version_id)])
    found.clear()
    gate.look()
    app.tasks[TaskName.SCORE.value](str(version_id))
    assert scored == [version_id]


@pytest.fixture
def shift(
    database: Database, blobs: MemoryBlobStore, keyring: Keyring, queue: FakeTaskQueue, tmp_path: Path
) -> Iterator[Shift]:
    """A lane whose gate knows when the blob store is away."""
    gate = Gate("w1", lambda: [FULL] if blobs.away else [])
    with shifts.shift(database, blobs, keyring, queue, tmp_path, gate=gate) as made:
        yield made


def test_no_batch_fails_for_a_blob_store_that_stays_away(shift: Shift) -> None:
    shift.chunks_of(64)
    batch_id = shift.open(shift.file("cases.csv", csv_of(rows_of(200))))
    shift.batch_thread.work()
    shift.blobs.away = True
    for _ in range(3 * shifts.MAX_ATTEMPTS):
        shift.work()
        shift.make_due()
    assert shift.nights.state(batch_id) in {BatchState.RUNNING, BatchState.SCHEDULED}
    assert shift.nights.rows("SELECT max(attempt) FROM batch_chunk WHERE batch_id = %s", batch_id) == [(0,)]
    shift.blobs.away = False
    shift.services.gate.look()
    shift.work()
    assert len(shift.lines(batch_id)) == 200


def test_a_batch_is_left_to_others_by_a_worker_with_another_master_key(
    database: Database, blobs: MemoryBlobStore, keyring: Keyring, queue: FakeTaskQueue, tmp_path: Path
) -> None:
    with shifts.shift(database, blobs, keyring, queue, tmp_path, gate=of_key(database, keyring)) as right:
        batch_id = right.open(right.file("cases.csv", csv_of(rows_of(20))))
        gate, services = right.services.gate, right.services
        object.__setattr__(services, "gate", of_key(database, STRANGER))
        object.__setattr__(services, "ciphers", type(services.ciphers)(database, STRANGER))
        right.work()
        assert right.nights.state(batch_id) is BatchState.VALIDATING
        assert right.nights.rows("SELECT attempt FROM batch_step") == [(0,)]
        object.__setattr__(services, "gate", gate)
        object.__setattr__(services, "ciphers", type(services.ciphers)(database, keyring))
        right.work()
        assert right.nights.state(batch_id) is BatchState.COMPLETED


@pytest.fixture
def desk(
    database: Database, blobs: MemoryBlobStore, keyring: Keyring, queue: FakeTaskQueue
) -> Iterator[Desk]:
    caller, model = factories.principal(database, keyring), factories.published(database, blobs)
    with Receiver() as receiver:
        yield Desk(database, keyring, queue, receiver, caller, model)


def test_a_dispatcher_with_another_master_key_fails_no_delivery(desk: Desk) -> None:
    desk.endpoint()
    desk.canceled(5)
    wrong = desk.dispatcher(gate=of_key(desk.database, STRANGER), keyring=STRANGER)
    wrong.start()
    try:
        eventually(lambda: wrong._gate.faults != (), within_s=5)
        for _ in range(5):
            wrong.wake()
            time.sleep(0.1)
        eventually(lambda: desk.states() == ["queued"] * 5, within_s=5)
        assert desk.sql("SELECT sum(tries) AS tries, sum(attempt) AS attempts FROM webhook_delivery") == [
            (0, 0)
        ]
    finally:
        wrong.close()
    assert desk.sql("SELECT failures, state FROM webhook_endpoint") == [(0, "enabled")]
    right = desk.dispatcher()
    right.start()
    try:
        eventually(lambda: desk.states() == ["delivered"] * 5, within_s=10)
    finally:
        right.close()
