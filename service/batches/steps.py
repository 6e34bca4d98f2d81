"""Work on a batch as a whole, claimed like a chunk: validating its source, and finalizing its output.

Validation plans the chunks. Finalizing joins the parts and completes the batch if its rows are accounted for: rows
planned, rows scored, rows joined and the independent count of the source must all be equal. Otherwise the batch fails.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb
from uuid_utils.compat import uuid7

from service import leases, rows
from service.audit import Action
from service.batches import settling
from service.batches.chunks import seal_seek
from service.batches.keys import seal_layout
from service.crypto import Cipher
from service.db import Param, UnitOfWork
from service.jobs.execution import Problem
from service.leases import Lease
from service.lifecycle import BatchState
from service.problem_codes import BatchProblem
from service.rows import Row
from service.webhooks import planning

TABLE = "batch_step"
MISCOUNTED = Problem(
    BatchProblem.ACCOUNTING_MISMATCH,
    "The chunks do not hold as many rows as an independent count found in the source.",
)
UNACCOUNTED = Problem(
    BatchProblem.ACCOUNTING_MISMATCH,
    "The rows read do not equal the rows of results and errors. What was scored is kept; no result is published.",
)

# A step may take minutes. The tenant that has fewest in hand is next, one of several by chance, so that nobody's many
# batches go before all of another's.
CLAIM = f"""
WITH due AS MATERIALIZED (
    SELECT id, batch_id, available_at FROM batch_step
    WHERE state = 'queued' AND available_at <= now() AND kind = ANY (%(kinds)s)
), busy AS MATERIALIZED (
    SELECT batch_id FROM batch_step WHERE lease_expires_at IS NOT NULL
), owned AS MATERIALIZED (
    SELECT id, tenant_id FROM batch WHERE id = ANY (ARRAY(SELECT batch_id FROM due UNION SELECT batch_id FROM busy))
), tenants AS MATERIALIZED (
    SELECT owned.tenant_id, count(busy.batch_id) AS held, random() AS turn
    FROM owned LEFT JOIN busy ON busy.batch_id = owned.id GROUP BY owned.tenant_id
), picked AS MATERIALIZED (
    SELECT batch_step.id FROM due JOIN owned ON owned.id = due.batch_id JOIN tenants ON tenants.tenant_id = owned.tenant_id
        JOIN batch_step ON batch_step.id = due.id AND batch_step.id = ANY (ARRAY(SELECT id FROM due))
    WHERE batch_step.state = 'queued'
    ORDER BY tenants.held, tenants.turn, due.available_at LIMIT 1 FOR UPDATE OF batch_step SKIP LOCKED
), claimed AS (
    UPDATE batch_step SET {leases.claim_clause(TABLE)} WHERE id = ANY (ARRAY(SELECT id FROM picked))
    RETURNING id, fence, attempt, kind, batch_id
)
SELECT claimed.id, claimed.fence, claimed.attempt, claimed.kind, claimed.batch_id, batch.tenant_id, batch.model_version_id,
       batch.request, batch.data_key, batch.layout, batch.rows_total, batch.rerun_of,
       greatest(0, coalesce(extract(epoch FROM batch.source_by - now()), 0))::float8 AS source_left_s
FROM claimed JOIN batch ON batch.id = claimed.batch_id AND batch.id = ANY (ARRAY(SELECT batch_id FROM claimed))
"""

HELD = f"""{leases.held_clause(TABLE)} AND {TABLE}.batch_id = ANY (ARRAY(SELECT id FROM locked))"""
ENDED = f"""finished AS (
    UPDATE batch_step SET state = 'done', finished_at = now(), problem = NULL, {leases.RELEASE}
    FROM held WHERE {HELD} RETURNING batch_step.batch_id
)"""

VALIDATED = f"""
WITH {settling.HELD}, {settling.LOCKED}, {ENDED}, chunks AS (
    INSERT INTO batch_chunk (id, batch_id, number, first_row, rows, seek)
    SELECT given.id, finished.batch_id, given.number, given.first_row, given.rows, given.seek
    FROM finished, unnest(%(ids)b::uuid[], %(numbers)s::int[], %(first_rows)s::bigint[], %(sizes)s::int[],
                          %(seeks)b::bytea[])
        AS given (id, number, first_row, rows, seek)
), planned AS (
    UPDATE batch SET state = 'scheduled', rows_total = %(rows)s, chunks_total = %(chunks_total)s, layout = %(layout)s,
        chunk_rows = %(chunk_rows)s, run_rows = %(run_rows)s, source_bytes = %(source_bytes)s,
        source_sha256 = %(source_sha256)s
    WHERE id = ANY (ARRAY(SELECT batch_id FROM finished)) RETURNING *
)
INSERT INTO audit_event (tenant_id, batch_id, actor, action, detail)
SELECT tenant_id, id, %(actor)s, '{Action.BATCH_VALIDATED}', jsonb_strip_nulls(jsonb_build_object(
    'rows', rows_total, 'chunks', chunks_total, 'source_bytes', source_bytes, 'source_sha256', source_sha256))
FROM planned RETURNING batch_id
"""

FAIL = f"""
WITH {settling.HELD}, {settling.LOCKED}, {ENDED}, ended AS (
    UPDATE batch SET state = 'failed', problem = %(problem)s WHERE id = ANY (ARRAY(SELECT batch_id FROM finished))
    RETURNING {settling.ENDED_COLUMNS}
), chunks AS (
    UPDATE batch_chunk SET state = 'skipped' WHERE batch_id = ANY (ARRAY(SELECT id FROM ended)) AND state = 'queued'
), {settling.CLOSED}
SELECT id, {planning.PLANNED} FROM ended
"""

# The chunks are counted again rather than trusting the counters of the batch.
COMPLETE = f"""
WITH {settling.HELD}, {settling.LOCKED}, {ENDED}, counted AS MATERIALIZED (
    SELECT count(*) AS chunks, 1 + max(number) AS numbers, sum(rows) AS rows, sum(rows_succeeded) AS succeeded,
           sum(rows_failed) AS failed, count(finished_at) AS finished
    FROM batch_chunk WHERE batch_id = (SELECT batch_id FROM finished)
), ended AS (
    UPDATE batch SET
        state = CASE WHEN accounted THEN 'completed'::batch_state ELSE 'failed' END,
        problem = CASE WHEN NOT accounted THEN %(problem)s::jsonb END,
        results = CASE WHEN accounted THEN %(results)s::jsonb END,
        errors = CASE WHEN accounted THEN %(errors)s::jsonb END
    FROM (
        SELECT batch.id, (counted.chunks, counted.numbers, counted.finished)
                = (batch.chunks_total, batch.chunks_total, batch.chunks_done)
            AND (counted.rows, counted.succeeded, counted.failed)
                = (batch.rows_total, batch.rows_succeeded, batch.rows_failed)
            AND counted.succeeded + counted.failed = batch.rows_total
            AND (counted.succeeded, counted.failed) = (%(rows_succeeded)s, %(rows_failed)s) IS TRUE AS accounted
        FROM batch, counted WHERE batch.id = (SELECT batch_id FROM finished)
    ) AS sums
    WHERE batch.id = sums.id AND batch.id = ANY (ARRAY(SELECT batch_id FROM finished))
    RETURNING batch.id, batch.tenant_id, batch.state, batch.problem, batch.rows_total, batch.rows_succeeded,
        batch.rows_failed, batch.source_sha256, batch.results, batch.errors
), events AS (
    INSERT INTO audit_event (tenant_id, batch_id, actor, action, detail)
    SELECT tenant_id, id, %(actor)s, 'batch.' || state, jsonb_strip_nulls(jsonb_build_object(
        'counts', {settling.COUNTS}, 'source_sha256', source_sha256, 'results_sha256', results->>'sha256',
        'errors_sha256', errors->>'sha256', 'code', problem->>'code'))
    FROM ended RETURNING {planning.EVENT_COLUMNS}
), {planning.BATCH_DELIVERIES}
SELECT state::text AS state, {planning.PLANNED} FROM ended
"""

RELEASE = f"""
WITH {settling.HELD}
UPDATE batch_step SET state = 'queued', attempt = batch_step.attempt - 1, {leases.RELEASE}
FROM held WHERE {leases.held_clause(TABLE)} RETURNING batch_step.id
"""
# The audit trail records the reason once, however often the work is retried.
PUT_OFF = f"""
WITH {settling.HELD}, delayed AS (
    UPDATE batch_step SET state = 'queued', available_at = now() + make_interval(secs => %(delay_s)s),
        attempt = batch_step.attempt - %(given_back)s, problem = %(problem)s, {leases.RELEASE}
    FROM held WHERE {leases.held_clause(TABLE)}
    RETURNING batch_step.batch_id, batch_step.kind, batch_step.attempt + %(given_back)s AS attempt, batch_step.problem
), events AS (
    INSERT INTO audit_event (tenant_id, batch_id, actor, action, detail)
    SELECT batch.tenant_id, batch.id, %(actor)s, '{Action.STEP_PUT_OFF}',
           jsonb_build_object('step', kind, 'attempt', attempt, 'code', delayed.problem->>'code')
    FROM delayed JOIN batch ON batch.id = delayed.batch_id AND batch.id = ANY (ARRAY(SELECT batch_id FROM delayed))
    WHERE %(given_back)s = 0 OR {settling.CODE_BEFORE.format(t=TABLE)} IS DISTINCT FROM (delayed.problem->>'code')
)
SELECT batch_id FROM delayed
"""

# The audit trail records once that the batch waits for its source. `retrying` shows the problem until the source is there.
AWAIT_SOURCE = f"""
WITH {settling.HELD}, waiting AS (
    UPDATE batch_step SET state = 'queued', attempt = batch_step.attempt - 1,
        available_at = least(now() + make_interval(secs => %(delay_s)s), batch.source_by), {leases.RELEASE},
        problem = jsonb_build_object('code', '{BatchProblem.SOURCE_AWAITED}',
            'detail', 'The source does not exist yet. The batch waits for it until '
            || to_char(batch.source_by AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') || '.')
    FROM held, batch_step AS before, batch
    WHERE {leases.held_clause(TABLE)} AND before.id = held.id AND batch.id = batch_step.batch_id
    RETURNING batch.id, batch.tenant_id, batch.source_by, before.problem->>'code' AS before
), events AS (
    INSERT INTO audit_event (tenant_id, batch_id, actor, action, detail)
    SELECT tenant_id, id, %(actor)s, '{Action.SOURCE_AWAITED}', jsonb_build_object('until', source_by) FROM waiting
    WHERE before IS DISTINCT FROM '{BatchProblem.SOURCE_AWAITED}'
)
SELECT id FROM waiting
"""


# The errors of a chunk that was set aside are written when its batch is finalized.
NOTE_ERRORS = """
UPDATE batch_chunk SET errors = %(errors)s
WHERE batch_chunk.id = %(chunk_id)s AND batch_chunk.state = 'quarantined' AND EXISTS (
    SELECT FROM batch_step WHERE id = %(id)s AND fence = %(fence)s AND state = 'running' AND batch_id = batch_chunk.batch_id)
RETURNING batch_chunk.id
"""
MEASURED = """
SELECT batch.chunk_rows, batch.run_rows, avg(chunk.seconds) AS chunk_s
FROM batch_chunk AS chunk, (
    SELECT id, chunk_rows, run_rows FROM batch
    WHERE model_version_id = %(model_version_id)s AND run_rows IS NOT NULL AND chunks_done > 0
    ORDER BY id DESC LIMIT 1) AS batch
WHERE chunk.batch_id = batch.id AND chunk.state = 'done' AND chunk.rows >= batch.chunk_rows / 2
GROUP BY batch.chunk_rows, batch.run_rows
"""


class StepKind(StrEnum):
    """The kinds of work on a batch as a whole."""

    VALIDATE = "validate"
    FINALIZE = "finalize"


@dataclass(frozen=True)
class ClaimedStep:
    """A step that this claimant holds. `request`, `data_key` and `layout` are still sealed.

    With `rerun_of`, only the failed rows of that batch are scored, unless the request says otherwise. A missing source may
    still appear for `source_left_s` seconds.
    """

    lease: Lease
    attempt: int
    kind: StepKind
    batch_id: UUID
    tenant_id: UUID
    model_version_id: UUID
    request: bytes
    data_key: bytes
    layout: bytes | None
    rows_total: int | None
    rerun_of: UUID | None
    source_left_s: float


@dataclass(frozen=True)
class PlannedChunk:
    """Rows [`first_row`, `first_row` + `rows`) of the source and where in it they are (`seek`)."""

    number: int
    first_row: int
    rows: int
    seek: bytes


@dataclass(frozen=True)
class Validation:
    """The outcome of validating a source. `rows` was counted independently of planning the chunks.

    `layout` is how the source is read, for workers only; `chunk_rows` and `run_rows` are the intended numbers of rows of a
    chunk and of a micro-batch.
    """

    chunks: Sequence[PlannedChunk]
    rows: int
    layout: bytes
    chunk_rows: int
    run_rows: int
    source_bytes: int
    source_sha256: str | None


@dataclass(frozen=True)
class Joined:
    """The outcome of finalizing: the rows it counted, and the description of both files (see service.batches.output)."""

    rows_succeeded: int
    rows_failed: int
    results: dict[str, Any]
    errors: dict[str, Any]


@dataclass(frozen=True)
class Measured:
    """The rows of a chunk and of a micro-batch of a batch, and the mean seconds of its full chunks."""

    chunk_rows: int
    run_rows: int
    chunk_s: float


def claim(
    work: UnitOfWork, *, owner: str, lease_s: float, kinds: Sequence[StepKind] = tuple(StepKind)
) -> ClaimedStep | None:
    """Claim the step of these kinds that has been due the longest, for `lease_s` seconds, regardless of windows and jobs."""
    asked = {"kinds": [kind.value for kind in kinds], "owner": owner, "lease_s": lease_s}
    return next((_claimed(row) for row in work.execute(CLAIM, asked)), None)


def _claimed(row: Row) -> ClaimedStep:
    return rows.build(ClaimedStep, row, lease=Lease(row.id, row.fence), kind=StepKind(row.kind))


def _held(step: ClaimedStep, owner: str) -> dict[str, Param]:
    """The parameters of settling.HELD and settling.LOCKED, and the step's holder."""
    return {**step.lease._asdict(), "batch_id": step.batch_id, "actor": f"worker:{owner}"}


def validated(
    work: UnitOfWork, step: ClaimedStep, found: Validation, *, cipher: Cipher, owner: str
) -> BatchState | None:
    """Plan the chunks of a valid source; returns the new state of the batch, None if the step was no longer held.

    The batch fails at once if the rows of the chunks differ from the rows counted. Raises ValueError if there are no chunks
    or if they have gaps.
    """
    _check(found.chunks)
    if sum(chunk.rows for chunk in found.chunks) != found.rows:
        return BatchState.FAILED if fail(work, step, MISCOUNTED, owner=owner) else None
    ids = [uuid7() for _ in found.chunks]
    planned = work.execute(
        VALIDATED,
        {
            **vars(found),
            **_held(step, owner),
            "ids": ids,
            "numbers": [chunk.number for chunk in found.chunks],
            "first_rows": [chunk.first_row for chunk in found.chunks],
            "sizes": [chunk.rows for chunk in found.chunks],
            "seeks": [
                seal_seek(cipher, step.tenant_id, chunk_id, chunk.seek)
                for chunk_id, chunk in zip(ids, found.chunks, strict=True)
            ],
            "chunks_total": len(ids),
            "layout": seal_layout(cipher, step.tenant_id, step.batch_id, found.layout),
        },
    )
    return BatchState.SCHEDULED if planned else None


def _check(chunks: Sequence[PlannedChunk]) -> None:
    """Check that numbers start at 0 and that rows have no gaps. The rows of a re-run are its own: the failed ones."""
    first_row = 0
    for number, chunk in enumerate(chunks):
        if (chunk.number, chunk.first_row) != (number, first_row) or chunk.rows < 1:
            raise ValueError(f"chunk {number} is out of place")
        first_row += chunk.rows
    if not chunks:
        raise ValueError("a batch without rows is no batch")


def fail(work: UnitOfWork, step: ClaimedStep, problem: Problem, *, owner: str) -> bool:
    """End the batch of a held step whose source is unusable or cannot be joined; returns whether it was still held."""
    ended = work.execute(FAIL, _held(step, owner) | {"problem": Jsonb(asdict(problem))})
    planning.wake_if_planned(work, ended)
    return bool(ended)


def complete(work: UnitOfWork, step: ClaimedStep, joined: Joined, *, owner: str) -> BatchState | None:
    """Complete a batch whose rows are accounted for, or fail it; returns its new state, None if the step was not held.

    The hashes of source, results and errors are recorded in the audit trail.
    """
    ended = work.execute(
        COMPLETE,
        {
            **_held(step, owner),
            "problem": Jsonb(asdict(UNACCOUNTED)),
            "rows_succeeded": joined.rows_succeeded,
            "rows_failed": joined.rows_failed,
            "results": Jsonb(joined.results),
            "errors": Jsonb(joined.errors),
        },
    )
    planning.wake_if_planned(work, ended)
    return BatchState(ended[0].state) if ended else None


def note_errors(work: UnitOfWork, step: ClaimedStep, chunk_id: UUID, errors: dict[str, Any]) -> bool:
    """Record the part with the errors of a chunk that was set aside; returns whether the step was still held."""
    noted = {**step.lease._asdict(), "chunk_id": chunk_id, "errors": Jsonb(errors)}
    return bool(work.execute(NOTE_ERRORS, noted))


def measured(work: UnitOfWork, model_version_id: UUID) -> Measured | None:
    """The measured cost of the newest batch of a model that has a chunk of about the intended size; None without one."""
    found = work.execute(MEASURED, {"model_version_id": model_version_id})
    return next((rows.build(Measured, row) for row in found), None)


def release(work: UnitOfWork, step: ClaimedStep) -> bool:
    """Return a step as it was before its claim; returns whether it was still held."""
    return bool(work.execute(RELEASE, step.lease._asdict()))


def put_off(
    work: UnitOfWork, step: ClaimedStep, problem: Problem, *, delay_s: float, owner: str, counts: bool = True
) -> bool:
    """Queue a step again after a transient fault; returns whether it was still held. `counts`: this uses up an attempt."""
    said = {"delay_s": delay_s, "problem": Jsonb(asdict(problem)), "given_back": int(not counts)}
    return bool(work.execute(PUT_OFF, _held(step, owner) | said))


def await_source(work: UnitOfWork, step: ClaimedStep, *, delay_s: float, owner: str) -> bool:
    """Queue a step again until its source appears; returns whether it was still held. This uses up no attempt."""
    return bool(work.execute(AWAIT_SOURCE, _held(step, owner) | {"delay_s": delay_s}))
