"""A database of the previous release with jobs in every state goes on working once it is migrated, and back."""

from collections.abc import Iterator
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import TupleRow
from uuid_utils.compat import uuid7

from service.crypto import Keyring
from service.db import Database
from service.jobs.execution import Ending
from service.jobs.inputs import NewPart
from service.leases import Lease
from service.lifecycle import ENDED_STATES, JobState
from service.schema import migrate, unmigrate
from tests.fakes import FakeTaskQueue, MemoryBlobStore
from tests.integration import chains as bench
from tests.integration.chains import Chains

PREVIOUS = "0010"
STATES: list[JobState] = [state for state in JobState if state is not JobState.WAITING]
JOB = """
INSERT INTO job (id, tenant_id, submitted_by, model_version_id, priority, rank_at, promise_at, payload, state, finished_at,
                 lease_owner, lease_expires_at, fence, attempt, claim_size, problem)
VALUES (%(id)s, %(tenant_id)s, 'key', %(version_id)s, 3, now(), now() + interval '1 h', 'sealed', %(state)s::job_state,
        CASE WHEN %(ended)s THEN now() END, CASE WHEN %(running)s THEN 'w1' END,
        CASE WHEN %(running)s THEN now() + interval '1 h' END, %(claims)s, %(claims)s, %(claims)s,
        CASE WHEN %(state)s::text = 'failed' THEN '{"code": "model_failed", "detail": "why"}'::jsonb END)
"""
EVENT = "INSERT INTO audit_event (tenant_id, job_id, actor, action) VALUES (%s, %s, 'test', %s)"
ADD_PART = "INSERT INTO job_input SELECT %s, name, tenant_id, payload FROM job_input WHERE job_id = %s"
# As the workers of the previous release end a job.
END = """
UPDATE job SET state = 'succeeded', problem = NULL, finished_at = now(), lease_owner = NULL, lease_expires_at = NULL
WHERE id = %s AND fence = 1 AND state = 'running'
"""


@pytest.fixture
def previous(
    empty_database_url: str, blobs: MemoryBlobStore, keyring: Keyring, queue: FakeTaskQueue
) -> Iterator[Chains]:
    """A caller and a model in a database with the schema of the previous release."""
    migrate(empty_database_url, PREVIOUS)
    database = Database(empty_database_url, pool_size=8, queue=queue)
    yield bench.chains(database, blobs, keyring, queue)
    database.close()


@pytest.fixture
def connection(previous: Chains, empty_database_url: str) -> Iterator[psycopg.Connection[TupleRow]]:
    with psycopg.connect(empty_database_url, autocommit=True) as opened:
        yield opened


def stored(previous: Chains, connection: psycopg.Connection[TupleRow]) -> dict[JobState, UUID]:
    """A job in each state of the previous release, with the event that says so."""
    ids: dict[JobState, UUID] = {state: uuid7() for state in STATES}
    for state, job_id in ids.items():
        values = {
            "id": job_id,
            "tenant_id": previous.caller.tenant_id,
            "version_id": previous.model.id,
            "state": state.value,
            "ended": state in ENDED_STATES,
            "running": state is JobState.RUNNING,
            "claims": int(state is not JobState.QUEUED),
        }
        connection.execute(JOB, values)
        action = f"job.{state}" if state in ENDED_STATES else "job.submitted"
        connection.execute(EVENT, (previous.caller.tenant_id, job_id, action))
    return ids


def test_jobs_in_every_state_are_migrated_and_worked_on(
    previous: Chains, connection: psycopg.Connection[TupleRow], empty_database_url: str
) -> None:
    ids = stored(previous, connection)
    migrate(empty_database_url)
    assert previous.states(*ids.values()) == [state.value for state in ids]
    queued, running, aside = (ids[s] for s in (JobState.QUEUED, JobState.RUNNING, JobState.QUARANTINED))
    follower = previous.submit(queued, running, aside)
    previous.requeue(aside)
    with previous.database.statement() as work:
        assert previous.write(work, [Ending(Lease(running, 1), payload=b"sealed")]) == {running}
    leases = [job.lease for _ in range(2) for job in previous.claim()]
    assert {lease.id for lease in leases} == {queued, aside}
    with previous.database.statement() as work:
        previous.write(work, [Ending(lease, payload=b"sealed") for lease in leases])
    assert previous.states(follower) == ["queued"]


def test_what_a_worker_of_the_previous_release_ends_while_it_still_runs_releases_nothing_unsure(
    previous: Chains, connection: psycopg.Connection[TupleRow], empty_database_url: str
) -> None:
    running = stored(previous, connection)[JobState.RUNNING]
    migrate(empty_database_url)
    follower = previous.submit(running)
    connection.execute(END, (running,))
    assert previous.states(running, follower) == ["succeeded", "failed"]


def test_going_back_ends_what_waits(
    previous: Chains, connection: psycopg.Connection[TupleRow], empty_database_url: str
) -> None:
    ids = stored(previous, connection)
    migrate(empty_database_url)
    waiting = previous.submit(ids[JobState.QUEUED])
    previous.database.close()
    unmigrate(empty_database_url, PREVIOUS)
    (state,) = connection.execute("SELECT state::text FROM job WHERE id = %s", (waiting,)).fetchone() or ("",)
    assert state == "canceled"
    query = "SELECT action FROM audit_event WHERE job_id = %s ORDER BY id"
    assert [row[0] for row in connection.execute(query, (waiting,))] == ["job.submitted", "job.canceled"]
    migrate(empty_database_url)


def test_going_back_ends_what_would_be_scored_without_its_parts(
    previous: Chains, connection: psycopg.Connection[TupleRow], empty_database_url: str
) -> None:
    ids = stored(previous, connection)
    migrate(empty_database_url)
    part = NewPart("scan", content=b"SCAN")
    queued, plain = (previous.submit(parts=parts) for parts in ([part], []))
    follower = previous.submit(queued)
    aside, whole = (ids[JobState.QUARANTINED], ids[JobState.SUCCEEDED])
    for job_id in (aside, whole):
        connection.execute(ADD_PART, (job_id, queued))
    assert previous.states(queued, plain, follower) == ["queued", "queued", "waiting"]
    previous.database.close()
    unmigrate(empty_database_url, "0013")
    found = connection.execute("SELECT id, state::text FROM job").fetchall()
    states: dict[UUID, str] = {row[0]: row[1] for row in found}
    assert [states[each] for each in (queued, plain, follower)] == ["canceled", "queued", "failed"]
    assert [states[each] for each in (aside, whole)] == ["quarantined", "succeeded"]
    migrate(empty_database_url)
