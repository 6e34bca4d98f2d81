"""Engine and UnitOfWork. Nobody else opens, commits or rolls back a transaction.

Two forms of work, both one transaction: `database.transaction()` for several statements with the ORM, and
`database.statement()` for exactly one SQL statement, which costs one round trip. The hot paths use the second
with psycopg directly: an INSERT costs 0.02 CPU seconds per 1,000 that way against 0.21 through the ORM.
"""

import select
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import psycopg
import sqlalchemy as sa
import sqlalchemy.event
import structlog
from psycopg.rows import TupleRow, namedtuple_row
from sqlalchemy.orm import Session

from service.database_faults import DatabaseFault, fault_of
from service.errors import DatabaseUnavailable
from service.metrics import DB_CONNECTIONS, DB_CONNECTIONS_LIMIT
from service.postgres_connection import configure_transaction, engine_of, is_pooled
from service.queue import TaskQueue, WakeUp
from service.rows import Row

# Every statement has one good plan, whatever its parameters and however large its tables: rows found by index and joined
# by hash. Plans are kept, and what could walk a table is left out. What each setting does was found by leaving it out in the
# tests of plans on Postgres 18.
PLANS = {
    # A plan is made once. Anew it costs 0.3 ms for a claim, 0.5 ms to end a job and 0.3 ms to read one; all that Postgres
    # does for a job takes 1.4 ms. Left to itself the planner mostly finds so after five runs: no test fails without it.
    "plan_cache_mode": "force_generic_plan",
    # Without it 5 tests fail: a plan that was made while a table was small walks all of it once it is large.
    "enable_seqscan": "off",
    # Without it 3 tests fail: endpoints are looked up anew for each row of a join, and a page of chunks reads more than one.
    "enable_nestloop": "off",
    # Nothing differs without these on Postgres 18. Up to 17 a plan with a scan that is off costs 10**10, for which it would
    # be compiled at each run. Parallel workers would let a count take more than the one backend that it is allowed.
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
}
SETTINGS = PLANS | {"statement_timeout": "60000", "idle_in_transaction_session_timeout": "60000"}

SAME_FAULT_LOGGED_EVERY_S = 30.0
POOL = "medqueue.pool"  # in the notes that SQLAlchemy keeps of a connection: from which pool it was taken

Param = Any

log = structlog.get_logger()


class UnitOfWork:
    """One transaction: commits once, then sends the wake-ups buffered in it; on an error it sends none."""

    def __init__(
        self,
        engine: sa.Engine,
        queue: TaskQueue | None,
        *,
        single: bool,
        report: Callable[[DatabaseFault], None],
    ) -> None:
        self._engine = engine
        self._queue = queue
        self._report = report
        self._single = single
        self._spent = False
        self._wake_ups: list[WakeUp] = []
        self._ended: list[UUID] = []
        self._follow_ups: list[Callable[[UnitOfWork], None]] = []

    def execute(self, query: str, params: Mapping[str, Param] | Sequence[Param] = ()) -> list[Row]:
        """Run one SQL statement with %(name)s or %s parameters; its rows, each a named tuple, or an empty list.

        Rows come in binary: payloads would arrive twice as long in hexadecimal. A type of our own (job_state) must be
        selected as text.
        """
        if self._single and self._spent:
            raise RuntimeError("statement() runs one statement; use transaction() for several")
        self._spent = True
        cursor = self._driver.cursor(binary=True, row_factory=namedtuple_row)
        if self._single and is_pooled(self._driver):
            with self._driver.pipeline():  # one round trip and one transaction
                configure_transaction(self._driver, SETTINGS)
                cursor.execute(query, params)
        else:
            cursor.execute(query, params)
        return cursor.fetchall() if cursor.description else []

    @property
    def session(self) -> Session:
        """The ORM session of this transaction; not available in statement()."""
        assert not self._single
        return self._session

    def wake(self, wake_up: WakeUp) -> None:
        """Send this wake-up once the transaction is committed."""
        self._wake_ups.append(wake_up)

    def announce(self, job_ids: Sequence[UUID]) -> None:
        """Announce the end of these jobs once the transaction is committed."""
        self._ended.extend(job_ids)

    def follow_up(self, step: "Callable[[UnitOfWork], None]") -> None:
        """Run `step` in one more statement once the transaction is committed: to find out whom to wake for what it did.

        A step that finds Postgres unavailable is dropped, like a lost wake-up: the sweeps make up for it.
        """
        self._follow_ups.append(step)

    def __enter__(self) -> Self:
        try:
            if self._single:
                self._fairy = self._engine.raw_connection()
                self._driver: psycopg.Connection[TupleRow] = self._fairy.driver_connection  # type: ignore[assignment]
            else:
                self._session = Session(
                    self._engine.execution_options(isolation_level="READ COMMITTED"), expire_on_commit=False
                )
                self._driver = self._session.connection().connection.driver_connection  # type: ignore[assignment]
        except (sa.exc.DBAPIError, sa.exc.TimeoutError, psycopg.Error) as error:
            self._raise_unavailable(error, fault_of(error))
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        fault = None if error is None else fault_of(error)
        try:
            self._finish(failed=error is not None, refused=fault is DatabaseFault.READ_ONLY)
        except (sa.exc.DBAPIError, psycopg.Error) as late:
            if error is None:
                error, fault = late, fault_of(late)
        if error is not None:
            self._raise_unavailable(error, fault)
            if kind is None:
                raise error
        elif self._queue is not None:
            self._send(self._queue)

    def _raise_unavailable(self, error: BaseException, fault: DatabaseFault | None) -> None:
        """Raise errors after which callers retry. A missing table is raised unchanged, for its caller to handle."""
        if fault is not None and fault is not DatabaseFault.SCHEMA_MISSING:
            self._report(fault)
            raise DatabaseUnavailable(fault=fault) from error

    def _finish(self, *, failed: bool, refused: bool) -> None:
        """Give the connection back; if its server takes no writes, all are closed, so that the next finds one that does."""
        broken = self._driver.broken
        if self._single:
            if broken or refused:
                self._fairy.invalidate()
            else:
                self._fairy.close()
        else:
            try:
                if refused:
                    self._session.invalidate()
                elif failed:
                    self._session.rollback()
                else:
                    self._session.commit()
            finally:
                self._session.close()
        if broken or refused:
            self._engine.dispose()

    def _send(self, queue: TaskQueue) -> None:
        for wake_up in self._wake_ups:
            queue.wake(wake_up)
        if self._ended:
            queue.announce(self._ended)
        for step in self._follow_ups:
            with (
                suppress(DatabaseUnavailable),
                UnitOfWork(self._engine, queue, single=True, report=self._report) as work,
            ):
                step(work)


class Database:
    """The pool of one process. `queue` receives wake-ups after commits; without one they are dropped."""

    def __init__(self, url: str, *, pool_size: int = 10, queue: TaskQueue | None = None) -> None:
        self._queue = queue
        self._last_fault: tuple[DatabaseFault | None, float] = None, 0.0
        self._engine = engine_of(
            url,
            SETTINGS,
            pool_size=pool_size,
            max_overflow=0,
            # Connections wait in autocommit, so that a lone statement needs no BEGIN, no COMMIT and no reset.
            isolation_level="AUTOCOMMIT",
            pool_reset_on_return=None,
            pool_timeout=5,
            pool_recycle=1800,
        )
        sa.event.listen(self._engine, "checkout", _refuse_closed)
        sa.event.listen(self._engine, "checkout", self._taken)
        sa.event.listen(self._engine, "checkin", self._returned)
        DB_CONNECTIONS_LIMIT.inc(pool_size)

    def transaction(self) -> UnitOfWork:
        """A unit of work of several statements."""
        return UnitOfWork(self._engine, self._queue, single=False, report=self._report)

    def statement(self) -> UnitOfWork:
        """A unit of work of exactly one statement, committed by Postgres as it ends."""
        return UnitOfWork(self._engine, self._queue, single=True, report=self._report)

    def _report(self, fault: DatabaseFault) -> None:
        """Log a cause when it first occurs, and at intervals while it lasts, since every caller encounters it."""
        now = time.monotonic()
        last, logged_at = self._last_fault
        if fault is last and now - logged_at < SAME_FAULT_LOGGED_EVERY_S:
            return
        self._last_fault = fault, now
        log.warning("database_unavailable", cause=fault.value, found=fault.found)

    def _taken(self, _: object, record: sa.pool.ConnectionPoolEntry, __: object) -> None:
        DB_CONNECTIONS.inc()
        record.info[POOL] = self._engine.pool

    def _returned(
        self, connection: "psycopg.Connection[TupleRow] | None", record: sa.pool.ConnectionPoolEntry
    ) -> None:
        """Close a connection that was in use while its pool was disposed of: nobody takes it from there again."""
        DB_CONNECTIONS.dec()
        if connection is not None and record.info.get(POOL) is not self._engine.pool:
            connection.close()

    def close(self) -> None:
        """Close the pooled connections, those in use once they are given back."""
        self._engine.dispose()


def _refuse_closed(connection: "psycopg.Connection[TupleRow]", *_: object) -> None:
    """Let the pool reconnect if Postgres has closed an idle connection, such as by a restart.

    What waits has nothing to say, so a socket that can be read was closed. Asking costs a microsecond, a ping would cost
    a round trip.
    """
    waiting = select.poll()
    waiting.register(connection.fileno(), select.POLLIN)
    if waiting.poll(0):
        raise sa.exc.DisconnectionError
