"""A real job store to run operations on: several sessions, one observer that reads all and moves rows' times."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg

from service.accounts import Principal
from service.catalog import PublishedModel
from service.crypto import Keyring
from service.db import Database
from service.lifecycle import JobState
from tests import factories
from tests.fakes import FakeTaskQueue, MemoryBlobStore
from tests.faults.job_store_state import Event, Seen, StoredResult, Time

SESSIONS = 4
LOCK_TIMEOUT_S = 2

JOBS = """
SELECT id, state::text, fence, attempt, crash_count, claim_size, lease_owner, lease_expires_at < now(),
       available_at <= now(), finished_at IS NOT NULL, problem->>'code'
FROM job
"""
AFTER = "SELECT job_id, predecessor_id FROM job_after ORDER BY position"
RANKS = "SELECT id, rank_at FROM job WHERE id = ANY (%s)"
RESULTS = "SELECT job_id, fence, payload FROM job_result"
TRAIL = """
SELECT job_id, action, (detail->>'attempt')::int, (detail->>'fence')::int FROM audit_event
WHERE job_id IS NOT NULL ORDER BY id
"""
WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)
PASS_TIME = {
    "lease": "UPDATE job SET lease_expires_at = now() - interval '1 hour' WHERE id = %s",
    "delay": "UPDATE job SET available_at = now() WHERE id = %s",
    "deadline": "UPDATE job SET deadline_at = now() - interval '1 hour' WHERE id = %s",
}
MOVE_EARLIER = """
UPDATE job SET available_at = available_at - by_us * interval '1 microsecond'
FROM unnest(%s::uuid[], %s::int[]) AS moved (job_id, by_us) WHERE id = job_id
"""
ENDED = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELED, JobState.EXPIRED)


@dataclass(frozen=True)
class Forbidden:
    """A statement that the database itself must refuse for jobs in some states, and with which SQLSTATE."""

    states: tuple[JobState, ...]
    sqlstate: str
    statement: str


FORBIDDEN = {
    "second result": Forbidden(
        (JobState.SUCCEEDED,),
        "23505",
        "INSERT INTO job_result SELECT id, tenant_id, fence + 1, now(), 'r', 'p', 'second' FROM job WHERE id = %s",
    ),
    "second end recorded": Forbidden(
        ENDED,
        "23505",
        "INSERT INTO audit_event (tenant_id, job_id, actor, action) "
        "SELECT tenant_id, id, 'test', 'job.failed' FROM job WHERE id = %s",
    ),
    "end state left for the queue": Forbidden(
        ENDED, "MQ002", "UPDATE job SET state = 'queued', finished_at = NULL WHERE id = %s"
    ),
    "end state changed": Forbidden(
        (JobState.FAILED, JobState.CANCELED, JobState.EXPIRED),
        "MQ002",
        "UPDATE job SET state = 'succeeded' WHERE id = %s",
    ),
    "success taken back": Forbidden(
        (JobState.SUCCEEDED,), "MQ002", "UPDATE job SET state = 'canceled' WHERE id = %s"
    ),
    "quarantine ended by a result": Forbidden(
        (JobState.QUARANTINED,), "MQ002", "UPDATE job SET state = 'succeeded' WHERE id = %s"
    ),
    "fence put back": Forbidden(
        (JobState.RUNNING, *ENDED), "MQ001", "UPDATE job SET fence = fence - 1 WHERE id = %s"
    ),
    "running without a lease": Forbidden(
        (JobState.QUEUED,), "23514", "UPDATE job SET state = 'running' WHERE id = %s"
    ),
    "lease without running": Forbidden(
        (JobState.QUEUED,),
        "23514",
        "UPDATE job SET lease_owner = 'w', lease_expires_at = now() WHERE id = %s",
    ),
    "waiting job run": Forbidden(
        (JobState.WAITING,), "MQ002", "UPDATE job SET state = 'succeeded', finished_at = now() WHERE id = %s"
    ),
    "queued job made to wait": Forbidden(
        (JobState.QUEUED,), "MQ002", "UPDATE job SET state = 'waiting' WHERE id = %s"
    ),
    "trail rewritten": Forbidden(
        tuple(JobState), "MQ003", "UPDATE audit_event SET actor = 'nobody' WHERE job_id = %s"
    ),
    "trail shortened": Forbidden(tuple(JobState), "MQ003", "DELETE FROM audit_event WHERE job_id = %s"),
}


class Bench:
    """One database, `SESSIONS` pools of it with a connection each, and an observer."""

    def __init__(self, url: str) -> None:
        self._observer = psycopg.connect(url, autocommit=True)
        name = self._observer.info.dbname
        # A statement that waits for another session's rows is an error soon, not a test that hangs.
        self.change_schema(f"ALTER DATABASE {name} SET lock_timeout = '{LOCK_TIMEOUT_S}s'")
        self.queue = FakeTaskQueue()
        self.sessions = [Database(url, pool_size=1, queue=self.queue) for _ in range(SESSIONS)]
        self.caller: Principal = _caller(url)
        self.model: PublishedModel = factories.published(self.sessions[0], MemoryBlobStore())

    def close(self) -> None:
        """Close all connections."""
        self._observer.close()
        for database in self.sessions:
            database.close()

    def change_schema(self, statement: str) -> None:
        """Run a statement that builds or takes away a part of the schema."""
        self._observer.execute(statement.encode())

    def wipe(self) -> None:
        """Remove all jobs and what belongs to them, past the triggers that keep the trail."""
        self.queue.waiting.clear()
        self.queue.announced.clear()
        with self._observer.transaction():
            self._observer.execute("SET LOCAL session_replication_role = replica")
            self._observer.execute("DELETE FROM job")
            self._observer.execute("DELETE FROM job_after")
            self._observer.execute("DELETE FROM job_result")
            self._observer.execute("DELETE FROM audit_event WHERE job_id IS NOT NULL")

    def seen(self) -> dict[UUID, Seen]:
        """All committed jobs with their results and trails."""
        results: dict[UUID, list[StoredResult]] = defaultdict(list)
        trails: dict[UUID, list[Event]] = defaultdict(list)
        for job_id, *stored in self._observer.execute(RESULTS):
            results[job_id].append(StoredResult(*stored))
        for job_id, *event in self._observer.execute(TRAIL):
            trails[job_id].append(Event(*event))
        after: dict[UUID, list[UUID]] = defaultdict(list)
        for job_id, predecessor_id in self._observer.execute(AFTER):
            after[job_id].append(predecessor_id)
        jobs: dict[UUID, tuple[Any, ...]] = {
            job_id: (
                JobState(state),
                *rest,
                tuple(results[job_id]),
                tuple(trails[job_id]),
                tuple(after[job_id]),
            )
            for job_id, state, *rest in self._observer.execute(JOBS)
        }
        return {job_id: Seen(*columns) for job_id, columns in jobs.items()}

    def pass_time(self, job_id: UUID, what: Time) -> None:
        """Move the times of a row, as if its lease had lapsed, its delay were over or its deadline had passed."""
        self._observer.execute(PASS_TIME[what].encode(), (job_id,))

    def ranks(self, ids: Iterable[UUID]) -> dict[UUID, datetime]:
        """Where these jobs stand in line."""
        return {row[0]: row[1] for row in self._observer.execute(RANKS, (list(ids),))}

    def move_earlier(self, by_us: Mapping[UUID, int]) -> None:
        """Move the times since which jobs may be claimed, by so many microseconds each."""
        self._observer.execute(MOVE_EARLIER, (list(by_us), list(by_us.values())))

    def somebody_waits(self) -> bool:
        """Whether a session waits for another's lock."""
        found = self._observer.execute(WAITING).fetchone()
        return found is not None and found[0] > 0

    def refusal(self, forbidden: Forbidden, job_id: UUID) -> str | None:
        """The SQLSTATE with which the database refuses the statement; None when it lets it through."""
        try:
            with self._observer.transaction(force_rollback=True):
                self._observer.execute(forbidden.statement.encode(), (job_id,))
        except psycopg.Error as error:
            return error.sqlstate
        return None


def _caller(url: str) -> Principal:
    database = Database(url, pool_size=2)  # a caller is made by a transaction within another
    try:
        return factories.principal(database, Keyring(factories.MASTER_KEY))
    finally:
        database.close()


@contextmanager
def bench(url: str) -> Iterator[Bench]:
    """A bench over a migrated database, its connections closed afterwards."""
    opened: Any = Bench(url)
    try:
        yield opened
    finally:
        opened.close()
