"""What the database refuses whatever a statement says: transitions, counts, a completion without an account."""

from uuid import UUID, uuid4

import psycopg
import pytest

from service.batches.steps import StepKind
from service.crypto import Keyring
from service.db import Database
from service.lifecycle import BATCH_TRANSITIONS, ENDED_BATCH_STATES, BatchState
from tests.fakes import FakeTaskQueue, MemoryBlobStore
from tests.integration import nights as bench
from tests.integration.nights import Nights


@pytest.fixture
def nights(database: Database, blobs: MemoryBlobStore, keyring: Keyring, queue: FakeTaskQueue) -> Nights:
    return bench.nights(database, blobs, keyring, queue)


ALLOWED = {(before, after) for before, nexts in BATCH_TRANSITIONS.items() for after in nexts}
REFUSED = [
    (before, after)
    for before in BatchState
    for after in BatchState
    if before != after and (before, after) not in ALLOWED
]
PUT = """
INSERT INTO batch (id, tenant_id, model_version_id, open_from, submitted_by, request, data_key, state, finished_at, rows_total,
                   chunks_total)
SELECT %s, %s, %s, now(), 'test', '', '', %s::batch_state, CASE WHEN %s THEN now() END, 0, 0
"""


def put(nights: Nights, state: BatchState) -> UUID:
    batch_id = uuid4()
    params = (batch_id, nights.caller.tenant_id, nights.model.id, state.value, state in ENDED_BATCH_STATES)
    nights.rows(PUT, *params)
    return batch_id


def test_the_database_refuses_every_transition_that_is_not_in_the_table(nights: Nights) -> None:
    for before, after in REFUSED:
        batch_id = put(nights, before)
        with pytest.raises(psycopg.Error) as refused:
            nights.rows("UPDATE batch SET state = %s::batch_state WHERE id = %s", after.value, batch_id)
        assert refused.value.sqlstate == "MQ002", (before, after)


def test_the_database_takes_every_transition_that_is_in_the_table(nights: Nights) -> None:
    for before, after in ALLOWED:
        batch_id = put(nights, before)
        nights.rows("UPDATE batch SET state = %s::batch_state WHERE id = %s", after.value, batch_id)


@pytest.mark.parametrize(
    ("statement", "sqlstate"),
    [
        ("UPDATE batch SET rows_succeeded = rows_succeeded - 1", "23514"),
        ("UPDATE batch SET chunks_running = -1", "23514"),
        ("UPDATE batch_chunk SET state = 'queued', finished_at = NULL WHERE state = 'done'", "MQ002"),
        ("UPDATE batch_chunk SET fence = fence - 1 WHERE state = 'done'", "MQ001"),
        ("UPDATE batch_chunk SET rows_succeeded = rows_succeeded - 1 WHERE state = 'done'", "23514"),
        ("INSERT INTO batch_step (batch_id, kind) SELECT id, 'finalize' FROM batch", "23505"),
        (
            "INSERT INTO audit_event (batch_id, actor, action) SELECT id, 'x', 'batch.failed' FROM batch",
            "23505",
        ),
        (
            "INSERT INTO batch_chunk (batch_id, number, first_row, rows, seek) SELECT id, 0, 0, 1, '' FROM batch",
            "23505",
        ),
    ],
)
def test_the_database_keeps_the_account(nights: Nights, statement: str, sqlstate: str) -> None:
    nights.planned(2)
    nights.score_all()
    nights.complete(nights.step(StepKind.FINALIZE), 20)
    with pytest.raises(psycopg.Error) as refused:
        nights.rows(statement)
    assert refused.value.sqlstate == sqlstate


def test_no_batch_is_completed_whose_rows_are_not_accounted_for(nights: Nights) -> None:
    batch_id = nights.planned(1)
    nights.score_all()
    nights.rows("UPDATE batch SET rows_total = 11 WHERE id = %s", batch_id)
    with pytest.raises(psycopg.errors.CheckViolation):
        nights.rows("UPDATE batch SET state = 'completed' WHERE id = %s", batch_id)
